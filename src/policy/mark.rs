//! The byte order mark that editors on Windows write at the start of a text in UTF-8.

const MARK: char = '\u{feff}';

/// A text without the mark at its start. A second mark is no text of any file: both are left to the reader, which reports
/// what it finds there.
pub(crate) fn without_mark(text: &str) -> &str {
    match text.strip_prefix(MARK) {
        Some(rest) if !rest.starts_with(MARK) => rest,
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mark_is_taken_away() {
        for (text, expected) in [
            ("", ""),
            ("a", "a"),
            ("\u{feff}", ""),
            ("\u{feff}a\u{feff}", "a\u{feff}"),
            ("\u{feff}\u{feff}a", "\u{feff}\u{feff}a"),
        ] {
            assert_eq!(without_mark(text), expected, "{text:?}");
        }
    }
}
