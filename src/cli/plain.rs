//! Names of clients on a terminal: nothing in them moves the cursor or turns the text around.

use std::borrow::Cow;

use gqos::telemetry::is_hostile;
pub(super) use gqos::telemetry::plain;

/// Lines of text in which the ends of lines alone are left of what a terminal would obey.
pub(super) fn plain_lines(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|letter| letter != '\n' && is_hostile(letter)) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.split('\n').map(plain).collect::<Vec<_>>().join("\n"))
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn lines_keep_their_ends_alone() {
        assert_eq!(plain_lines("a\n\u{1b}[31mb\u{202e}\n"), "a\n\\u{1b}[31mb\\u{202e}\n");
        assert!(matches!(plain_lines("a\nb\n"), Cow::Borrowed(_)));
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
