//! Texts of others for people: nothing in them moves the cursor, turns the text around, or hides.

use std::borrow::Cow;
use std::fmt::Write;

/// A text in which characters that a terminal does not show as such are written as their code points.
pub fn plain(text: &str) -> Cow<'_, str> {
    // Most texts are ASCII, of which the control characters alone are hostile.
    let is_ascii = text.bytes().fold(true, |is_ascii, byte| is_ascii & (b' '..=b'~').contains(&byte));
    if is_ascii || !text.chars().any(is_hostile) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match is_hostile(character) {
            // Writing to a String cannot fail.
            true => drop(write!(shown, "\\u{{{:x}}}", u32::from(character))),
            false => shown.push(character),
        }
    }
    Cow::Owned(shown)
}

/// Control characters, and what is [not seen](is_unseen).
pub fn is_hostile(character: char) -> bool {
    character.is_control() || is_unseen(character)
}

/// Marks that change the direction of a text, separators of lines, and characters that are drawn as nothing.
///
/// - **Source**: Unicode 16, `Default_Ignorable_Code_Point`, and the interlinear annotations.
pub const fn is_unseen(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown_as_text() {
        assert_eq!(plain("v1/déjà vu 日本"), "v1/déjà vu 日本");
        assert_eq!(plain("\u{1b}[2Jv\r\n"), "\\u{1b}[2Jv\\u{d}\\u{a}");
        assert_eq!(plain("\u{202e}1v\u{2066}\u{9b}"), "\\u{202e}1v\\u{2066}\\u{9b}");
    }

    #[test]
    fn what_is_drawn_as_nothing_is_shown() {
        assert_eq!(plain("a\u{ad}b\u{e0041}c\u{180e}d\u{fff9}"), "a\\u{ad}b\\u{e0041}c\\u{180e}d\\u{fff9}");
    }
}
