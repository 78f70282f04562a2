//! Reads a request of a trace from JSON: objects only, and problems by the names of fields.

use core::fmt;
use core::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A value whose form is an object. By themselves, structures also take an array with a value for each field.
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

/// An object as the value of a field, or null.
pub(super) fn optional_object<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::<Object<T>>::deserialize(deserializer)?.map(|Object(value)| value))
}

/// Reads a line that is an object.
///
/// - **Errors**: the line is not JSON or not an object, or a field has the wrong type, which the error names, or an
///   unknown name.
pub(super) fn from_line<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    match serde_json::from_str::<Object<T>>(text) {
        Ok(Object(value)) => Ok(value),
        Err(error) if error.is_data() => Err(named(&error, text)),
        Err(error) => Err(error),
    }
}

/// A problem of one line, whose number the caller adds.
pub(super) fn without_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let problem = match text.strip_suffix(&place) {
        Some(problem) => format!("{problem}, at column {}", error.column()),
        None => text,
    };
    if error.is_data() { problem } else { format!("not a JSON object: {problem}") }
}

/// The same problem with the name of its field, and with words for types of this program.
fn named(error: &serde_json::Error, text: &str) -> serde_json::Error {
    let mut problem = without_line(error).replace("invalid type: sequence", "an array");
    for width in ["u8", "u16", "u32", "u64", "usize"] {
        problem = problem.replace(&format!("expected {width}"), "expected a whole number");
    }
    let path = text.as_bytes().get(..error.column()).map(path_at).unwrap_or_default();
    let is_named = problem.contains(&format!("`{}`", path.rsplit('.').next().unwrap_or_default()));
    if path.is_empty() || is_named {
        return serde_json::Error::custom(problem);
    }
    serde_json::Error::custom(format!("{path}: {problem}"))
}

/// The fields in which a text ends, joined by points: `sending.token_rate`. Escapes in names are kept as they are.
fn path_at(text: &[u8]) -> String {
    let mut fields: Vec<Option<&[u8]>> = Vec::new();
    let (mut string, mut at) = (None, 0);
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => {
                let begin = at + 1;
                at = begin;
                while text.get(at).is_some_and(|&byte| byte != b'"') {
                    at += if text[at] == b'\\' { 2 } else { 1 };
                }
                string = text.get(begin..at);
            }
            b':' => {
                if let Some(field) = fields.last_mut() {
                    *field = string;
                }
            }
            b'{' | b'[' => fields.push(None),
            b'}' | b']' => drop(fields.pop()),
            b',' => {
                if let Some(field) = fields.last_mut() {
                    *field = None;
                }
            }
            _ => {}
        }
        at += 1;
    }
    let names = fields.into_iter().flatten().map(String::from_utf8_lossy);
    names.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, path: &str) {
        assert_eq!(path_at(text.as_bytes()), path, "{text}");
    }

    #[test]
    fn a_place_is_named_by_its_fields() {
        check(r#"{"a":1"#, "a");
        check(r#"{"a":1,"b":"x""#, "b");
        check(r#"{"a":{"b":"6M""#, "a.b");
        check(r#"{"a":{"b":"6M"}"#, "a");
        check(r#"{"a\"{":[1,2"#, "a\\\"{");
        check(r#"{"a":"x\"#, "a");
        check(r#"{"a":1}"#, "");
        check("[1,2", "");
        check("", "");
    }
}
