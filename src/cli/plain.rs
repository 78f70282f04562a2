//! Names of clients on a terminal: nothing in them moves the cursor or turns the text around.

use std::borrow::Cow;
use std::fmt::Write;

/// A text in which characters that a terminal does not show as such are written as their code points.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hostile) {
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

/// A JSON text whose strings have what a terminal would obey as escape sequences of JSON: the same values.
pub(super) fn plain_json(json: &str) -> Cow<'_, str> {
    if !json.chars().any(is_hostile) {
        return Cow::Borrowed(json);
    }
    let mut shown = String::with_capacity(json.len() + 8);
    for letter in json.chars() {
        match is_hostile(letter) {
            // Such letters are in strings alone: a document on one line has none between its values.
            true => letter
                .encode_utf16(&mut [0; 2])
                .iter()
                .for_each(|unit| shown.push_str(&format!("\\u{unit:04x}"))),
            false => shown.push(letter),
        }
    }
    Cow::Owned(shown)
}

/// Control characters, marks that change the direction of a text, and characters without a width.
fn is_hostile(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
        )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown_as_text() {
        assert_eq!(plain("v1/déjà vu 日本"), "v1/déjà vu 日本");
        assert_eq!(plain("\u{1b}[2Jv\r\n"), "\\u{1b}[2Jv\\u{d}\\u{a}");
        assert_eq!(plain("\u{202e}1v\u{2066}\u{9b}"), "\\u{202e}1v\\u{2066}\\u{9b}");
    }

    #[test]
    fn json_keeps_its_values_and_loses_what_a_terminal_would_obey() {
        let record = json!({ "id": "<b>\u{202e}1v\u{1b}[2J\u{7f}\u{9b}é日\u{1F600}" });
        let text = record.to_string();
        let shown = plain_json(&text);
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), record);
        assert_eq!(shown, "{\"id\":\"<b>\\u202e1v\\u001b[2J\\u007f\\u009bé日\u{1F600}\"}");
        assert!(matches!(plain_json("{\"id\":\"v1\"}"), Cow::Borrowed(_)));
    }
}
