//! Places: a source text, and where something stands in it.

use std::ops::Range;

/// One policy text, and what to call it.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The name shown in messages, usually a path.
    pub name: &'a str,
    /// The text.
    pub text: &'a str,
}

/// Where something stands in the sources: which one, and which of its bytes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Place {
    /// The number of the source, in the order given.
    pub source: usize,
    /// Byte offsets in its text.
    pub span: Range<usize>,
    /// The line where it begins, from 1; 0 where nobody has counted.
    pub line: usize,
}
