//! Places: a source text, and a range of bytes in it.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// One policy text and its name.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The name shown in messages, usually a path.
    pub name: &'a str,
    /// The file's content; places are byte offsets into it.
    pub text: &'a str,
}

/// A range of bytes in one of the sources.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Place {
    /// The index of the source, in the order given.
    pub source: usize,
    /// Byte offsets in its text.
    pub span: Range<usize>,
    /// The line in which the range begins, from 1; 0 if lines have not been counted.
    pub line: usize,
}

impl Source<'_> {
    /// The line and the column of a byte offset, both from 1. Columns count characters; an offset beyond the text is its
    /// end.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (line, before[start..].chars().count() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let text = "a = 1\nü = \"é\" x\n";
        let source = Source { name: "test", text };
        assert_eq!(source.position(0), (1, 1));
        assert_eq!(source.position(6), (2, 1));
        assert_eq!(source.position(text.find('x').expect("x")), (2, 9));
        assert_eq!(source.position(text.len()), (3, 1));
        assert_eq!(source.position(999), (3, 1));
    }
}
