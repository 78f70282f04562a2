//! The JSON schema of a test file, recorded from its reader as that of a policy is.

use serde_json::{Value, json};
use toml::de::DeTable;

use super::step_meanings::MEANINGS;
use super::suite::Suite;
use crate::policy::problems::Problems;
use crate::policy::read::section::pattern_of;
use crate::policy::schema::build::Outline;
use crate::policy::schema::flowspec_alternatives;

/// A test file with every key.
const EVERYTHING: &str = include_str!("everything.toml");

const OUTLINE: Outline = Outline {
    title: "gqos admission tests",
    named: &[],
    arrays: &["test", "test.step"],
    required: &[
        ("test", &["name", "step"]),
        ("test.step.connect", &["id", "interface"]),
        ("test.step.connect.sending", &["service_type"]),
        ("test.step.connect.receiving", &["service_type"]),
        ("test.step.accept", &["id", "interface"]),
        ("test.step.accept.sending", &["service_type"]),
        ("test.step.accept.receiving", &["service_type"]),
        ("test.step.query", &["interface"]),
        ("test.step.query.sending", &["service_type"]),
        ("test.step.query.receiving", &["service_type"]),
        ("test.step.renegotiate", &["id"]),
        ("test.step.renegotiate.sending", &["service_type"]),
        ("test.step.renegotiate.receiving", &["service_type"]),
        ("test.step.refresh", &["id", "ttl"]),
        ("test.step.close", &["id"]),
        ("test.step.peer", &["id", "state"]),
        ("test.step.group", &["id", "interface"]),
        ("test.step.group.sending", &["service_type"]),
        ("test.step.group.receiving", &["service_type"]),
        ("test.step.capacity", &["interface", "direction", "capacity"]),
        ("test.step.measure", &["interface", "class", "window"]),
        ("test.step.transfer", &["id"]),
    ],
    meanings: MEANINGS,
    alternatives,
};

fn alternatives(path: &str, key: &str) -> Vec<Value> {
    match (path, key) {
        ("test.step", "close") => vec![json!({ "type": "string", "description": "the id of one flow" })],
        ("test.step.expect", "reserved" | "available" | "charged") => {
            let description = "a rate in the sending direction";
            vec![
                json!({ "type": "string", "description": description, "pattern": pattern_of::<flowspec::Rate>() }),
            ]
        }
        _ => flowspec_alternatives(key),
    }
}

/// The JSON schema (draft 2020-12) of a test file (`*.qostest.toml`).
pub fn test_schema() -> Value {
    let problems = Problems::recording_forms();
    // A step with every action is not a valid step; only the forms of its keys are of interest.
    let (table, _) = DeTable::parse_recoverable(EVERYTHING);
    Suite::read(table.get_ref(), &problems);
    OUTLINE.schema(problems.into_forms(), |_| {})
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that every key of a document is in the schema.
    fn check(document: &toml::Value, schema: &Value, path: &str) {
        let forms = || std::iter::once(schema).chain(schema["anyOf"].as_array().into_iter().flatten());
        match document {
            toml::Value::Table(table) => {
                for (key, value) in table {
                    let inner = forms().find_map(|form| form["properties"].get(key));
                    let inner =
                        inner.unwrap_or_else(|| panic!("{path}.{key} is not in the schema: {schema}"));
                    assert!(inner["description"].as_str().is_some(), "{path}.{key} has no meaning");
                    check(value, inner, &format!("{path}.{key}"));
                }
            }
            toml::Value::Array(array) => {
                let items = forms().find_map(|form| form.get("items"));
                let items = items.unwrap_or_else(|| panic!("{path} is no array: {schema}"));
                array.iter().for_each(|value| check(value, items, path));
            }
            toml::Value::String(_) => {
                let is_string = |form: &Value| {
                    form["type"] == "string"
                        || form["type"].as_array().is_some_and(|types| types.contains(&json!("string")))
                };
                assert!(forms().any(is_string), "{path} is no string: {schema}");
            }
            _ => {}
        }
    }

    #[test]
    fn the_schema_has_every_key_of_the_examples() {
        let schema = test_schema();
        for text in [
            EVERYTHING,
            include_str!("../../examples/policies/streaming.qostest.toml"),
            include_str!("../../examples/policies/live-ladder.qostest.toml"),
            include_str!("../../examples/policies/vod-and-live.qostest.toml"),
            include_str!("../../examples/policies/tiers.qostest.toml"),
            include_str!("../../examples/policies/origin.qostest.toml"),
            include_str!("../../examples/policies/event.qostest.toml"),
            include_str!("../../examples/policies/ingest.qostest.toml"),
        ] {
            check(&toml::from_str(text).expect("TOML"), &schema, "");
        }
        assert_eq!(schema["properties"]["test"]["items"]["x-taplo"]["initKeys"], json!(["name", "step"]));
    }
}
