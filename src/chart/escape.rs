//! Text in XML and HTML.

/// Text as XML and HTML write it, in elements and in quoted attributes. Control characters, which XML cannot write, are
/// replaced.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(printable(letter)),
        }
    }
    escaped
}

/// The letter, or a replacement for one that XML cannot write.
pub(super) const fn printable(letter: char) -> char {
    match letter {
        '\t' | '\n' => letter,
        '\0'..='\u{1F}' | '\u{7F}'..='\u{9F}' | '\u{FFFE}' | '\u{FFFF}' => char::REPLACEMENT_CHARACTER,
        letter => letter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_an_element_or_an_attribute() {
        assert_eq!(escape("<b a=\"1\">&'</b>"), "&lt;b a=&quot;1&quot;&gt;&amp;&#39;&lt;/b&gt;");
        assert_eq!(escape("a\u{1}b\r\n\u{1B}[31m"), "a\u{FFFD}b\u{FFFD}\n\u{FFFD}[31m");
        assert_eq!(escape("1080p – Größe"), "1080p – Größe");
    }
}
