//! JSON that is read once its type is known.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// A JSON value as its text: the parameters of a call before its method is known, or a record that is passed on unread.
/// Equal are equal texts.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(transparent)]
pub struct JsonText(Box<RawValue>);

impl JsonText {
    /// The text of a value.
    ///
    /// - **Errors**: a map whose keys are neither texts nor numbers.
    pub fn of(value: &impl Serialize) -> serde_json::Result<Self> {
        serde_json::value::to_raw_value(value).map(Self)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// Reads the text.
    ///
    /// - **Errors**: it is a value of another type. The place is that within the text.
    pub fn read<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_str(self.as_str())
    }

    /// The text as a value that has every field.
    pub fn value(&self) -> Value {
        // It was valid JSON when it was made.
        serde_json::from_str(self.as_str()).unwrap_or_default()
    }
}

/// What an error says, without its place.
pub(super) fn problem(error: &serde_json::Error) -> String {
    let problem = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    problem.strip_suffix(&place).unwrap_or(&problem).to_owned()
}

impl Default for JsonText {
    /// An object without fields.
    fn default() -> Self {
        // The text is an object.
        Self(RawValue::from_string("{}".to_owned()).unwrap_or_else(|_| RawValue::NULL.to_owned()))
    }
}

impl PartialEq for JsonText {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for JsonText {}

impl From<Value> for JsonText {
    fn from(value: Value) -> Self {
        // The keys of its objects are texts.
        Self::of(&value).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::control::FlowId;

    #[test]
    fn a_text_is_read_as_what_it_is_and_written_as_it_was() {
        #[derive(Debug, Deserialize, PartialEq, Serialize)]
        struct Envelope {
            parameters: JsonText,
        }
        let text = r#"{"parameters":{"id": "a\u0000b","more":[1,null]}}"#;
        let envelope: Envelope = serde_json::from_str(text).unwrap();
        assert_eq!(envelope.parameters.as_str(), r#"{"id": "a\u0000b","more":[1,null]}"#);
        assert_eq!(envelope.parameters.value(), json!({ "id": "a\0b", "more": [1, null] }));
        assert_eq!(serde_json::to_string(&envelope).unwrap(), text);
        assert_eq!(JsonText::default().value(), json!({}));
        assert_eq!(
            JsonText::from(json!({ "id": "v1" })).read::<FlowId>().unwrap(),
            FlowId { id: "v1".into() }
        );
    }

    #[test]
    fn problems_have_no_place() {
        let problem = |text: Value| problem(&JsonText::from(text).read::<FlowId>().unwrap_err());
        assert_eq!(problem(json!({})), "missing field `id`");
        assert_eq!(problem(json!({ "id": 7 })), "invalid type: integer `7`, expected a string");
    }
}
