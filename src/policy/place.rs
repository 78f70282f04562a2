//! Places: a source text, and a range of bytes in it.

use std::ops::Range;

/// One policy text and its name.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The name shown in messages, usually a path.
    pub name: &'a str,
    /// The whole text.
    pub text: &'a str,
}

/// A range of bytes in one of the sources.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Place {
    /// The index of the source, in the order given.
    pub source: usize,
    /// Byte offsets in its text.
    pub span: Range<usize>,
    /// The line in which the range begins, from 1; 0 if lines have not been counted.
    pub line: usize,
}
