//! Values in TOML notation.

use std::fmt::{Display, Write};

use flowspec::{Flowspec, Peak};

/// A flowspec as an inline table.
#[cfg(feature = "scenario")]
pub(crate) fn flowspec(spec: &Flowspec) -> String {
    inline_table(&flowspec_fields(spec))
}

pub(super) fn inline_table(fields: &[(&str, String)]) -> String {
    let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    format!("{{ {} }}", fields.join(", "))
}

/// By Winsock's names; a field that is not specified is left out.
pub(super) fn flowspec_fields(spec: &Flowspec) -> Vec<(&'static str, String)> {
    let mut fields = vec![("service_type", quoted(spec.service_type))];
    let mut field = |name: &'static str, value: Option<String>| {
        fields.extend(value.map(|value| (name, value)));
    };
    field("token_rate", spec.token_rate.map(quoted));
    field("token_bucket_size", spec.token_bucket_size.map(quoted));
    field("peak_bandwidth", spec.peak_bandwidth.map(|peak: Peak| quoted(peak)));
    field("latency", spec.latency.map(quoted));
    field("delay_variation", spec.delay_variation.map(quoted));
    field("max_sdu_size", spec.max_sdu_size.map(quoted));
    field("minimum_policed_size", spec.minimum_policed_size.map(quoted));
    field("reserved_rate", spec.reserved_rate.map(quoted));
    fields
}

/// A TOML basic string, with its quotes and escapes.
pub(crate) fn quoted(value: impl Display) -> String {
    let mut text = String::from("\"");
    for character in value.to_string().chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            control if control.is_control() => {
                // Writing to a String cannot fail.
                let _ = write!(text, "\\u{:04X}", u32::from(control));
            }
            plain => text.push(plain),
        }
    }
    text.push('"');
    text
}

/// A key, in quotes if it needs them.
pub(super) fn key(name: &str) -> String {
    let bare = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    if !name.is_empty() && name.chars().all(bare) { name.to_owned() } else { quoted(name) }
}

/// The word of a value, quoted.
///
/// # Panics
/// When the value has no word.
pub(super) fn word<T: Copy + PartialEq>(words: &[(&str, T)], value: T) -> String {
    let word = words.iter().find(|(_, of)| *of == value).map(|(word, _)| quoted(word));
    word.expect("every value has a word")
}
