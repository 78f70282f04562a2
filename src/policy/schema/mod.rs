//! The JSON schema of a policy file, for editors that complete and check what is written.
//!
//! The schema is recorded from the reader of policies itself, which notes for each key which values it takes. What no
//! value shows is written by hand: names, required keys, meanings.
//!
//! # Types
//!
//! - **Recorded**: `Forms` of [`Problems`], one JSON schema for each key of each table.
//! - **Written by hand**: an [`Outline`] of the tables of a file; a [`Meaning`](meaning::Meaning) of each key, with its
//!   default, in [`meanings`].
//! - **Assembled**: [`Tables`], the schema of each table by its path.
//!
//! # Order of calls
//!
//! 1. [`Problems::recording_forms`], and the reader reads `everything.toml`, a policy with every table, into it.
//! 2. [`Outline::schema`] makes one document of the forms and the meanings; keys that take one value or a list are
//!    added.
//!
//! `scenario` makes the schemas of tests and traces with the same [`Outline`].

pub(crate) mod build;
pub(crate) mod meaning;
mod meanings;

use serde_json::{Value, json};

use super::model::Policy;
use super::place::Source;
use super::problems::Problems;
use super::read::section::pattern_of;
use build::{Outline, Tables, one_of, one_or_several};

/// A policy with every table, so that every key is read.
const EVERYTHING: &str = include_str!("everything.toml");

const OUTLINE: Outline = Outline {
    title: "gqos policy",
    named: &["interface", "template", "class", "group", "client", "proxy"],
    arrays: &["rule", "proxy.*.rule"],
    required: &[
        ("", &["version"]),
        ("interface.*.egress", &["capacity"]),
        ("interface.*.ingress", &["capacity"]),
        ("interface.*.error_terms", &["c", "d"]),
        ("template.*.sending", &["service_type"]),
        ("template.*.receiving", &["service_type"]),
        ("group.*", &["interface"]),
        ("group.*.sending", &["service_type"]),
        ("group.*.receiving", &["service_type"]),
        ("rule", &["template"]),
        ("daemon.audit", &["path"]),
        ("proxy.*", &["listen", "to"]),
        ("proxy.*.rule", &["template"]),
    ],
    meanings: meanings::MEANINGS,
    alternatives,
};

/// The values that a key takes besides those that its reader records.
fn alternatives(_: &str, key: &str) -> Vec<Value> {
    match key {
        "capacity" => vec![json!({ "const": "auto", "description": "\"auto\"" })],
        "dead_after" | "stalled_after" => vec![json!({ "const": "off", "description": "\"off\"" })],
        "audit" => vec![
            json!({ "type": "string", "description": "an absolute path: \"/var/log/gqos/audit.jsonl\"" }),
        ],
        "dscp" => vec![json!({ "type": "integer", "minimum": 0, "maximum": 63 })],
        _ => flowspec_alternatives(key),
    }
}

/// The values that a key of a flowspec takes besides those that its reader records.
pub(crate) fn flowspec_alternatives(key: &str) -> Vec<Value> {
    match key {
        "peak_bandwidth" => vec![json!({ "const": "infinite", "description": "\"infinite\"" })],
        "token_bucket_size" => {
            let description = "a time at the flow's own rate: \"20 ms\"";
            vec![
                json!({ "type": "string", "description": description, "pattern": pattern_of::<flowspec::Micros>() }),
            ]
        }
        _ => Vec::new(),
    }
}

/// The JSON schema (draft 2020-12) of a policy file.
pub fn schema() -> Value {
    let problems = Problems::recording_forms();
    let mut policy = Policy::default();
    policy.read_source(0, &Source { name: "everything", text: EVERYTHING }, &problems);
    OUTLINE.schema(problems.into_forms(), value_lists)
}

/// The keys that take one value or an array of them, for which the reader records no form, and the version.
fn value_lists(tables: &mut Tables) {
    let range = |most: u32, example: &str| {
        let description = format!("a number, a range: {example:?}");
        one_of(vec![
            json!({ "type": "integer", "minimum": 0, "maximum": most }),
            json!({ "type": "string", "pattern": "^ *[0-9]+ *(- *[0-9]+ *)?$", "description": description }),
        ])
    };
    let network = json!({ "type": "string", "description": "an address or a network: \"10.0.0.0/8\"" });
    let id = range(u32::MAX, "1000-1999");
    let path = json!({ "type": "string", "pattern": "^/", "description": "a control group: \"/system.slice/origin.service\"" });
    let template = json!({ "type": "string" });
    let pattern = json!({ "type": "string", "description": "a pattern, in which * stands for any text" });
    for (table, key, one) in [
        ("rule", "template", template.clone()),
        ("proxy.*", "template", template.clone()),
        ("proxy.*.rule", "template", template),
        ("rule.match", "local_port", range(65_535, "1935-1940")),
        ("rule.match", "peer", network.clone()),
        ("proxy.*.rule.match", "host", pattern.clone()),
        ("proxy.*.rule.match", "path", pattern.clone()),
        ("proxy.*.rule.match", "sni", pattern),
        ("proxy.*.rule.match", "peer", network.clone()),
        ("proxy.*.rule.match", "port", range(65_535, "1024-65535")),
        ("proxy.*.proxy_protocol", "accept", network),
        ("class.*.match", "uid", id.clone()),
        ("class.*.match", "gid", id),
        ("class.*.match", "cgroup", path),
    ] {
        tables.entry(table.into()).or_default().insert(key.into(), one_or_several(&one, 1));
    }
    tables.entry(String::new()).or_default().insert("version".into(), json!({ "const": 1 }));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a value of this type may be valid.
    fn has_type(schema: &Value, name: &str) -> bool {
        let forms = std::iter::once(schema).chain(schema["anyOf"].as_array().into_iter().flatten());
        let mut types = forms.map(|form| &form["type"]).flat_map(|types| match types {
            Value::Array(several) => several.iter().collect::<Vec<_>>(),
            one => vec![one],
        });
        types.any(|of| of == name || of == "number" && name == "integer") || schema.get("const").is_some()
    }

    /// Checks that every key of a document is in the schema, and every required key in the document.
    fn check(document: &toml::Value, schema: &Value, path: &str) {
        match document {
            toml::Value::Table(table) => {
                let properties = schema["properties"].as_object();
                for (key, value) in table {
                    let inner = properties.and_then(|properties| properties.get(key)).or_else(|| {
                        schema.get("additionalProperties").filter(|other| other.get("not").is_none())
                    });
                    let inner =
                        inner.unwrap_or_else(|| panic!("{path}.{key} is not in the schema: {schema}"));
                    check(value, inner, &format!("{path}.{key}"));
                }
                for required in schema["x-taplo"]["initKeys"].as_array().into_iter().flatten() {
                    assert!(
                        table.contains_key(required.as_str().expect("a name")),
                        "{path} lacks {required}"
                    );
                }
            }
            toml::Value::Array(values) => {
                assert!(has_type(schema, "array"), "{path}: {schema}");
                values.iter().for_each(|value| check(value, &schema["items"], path));
            }
            toml::Value::String(text) => {
                if let Some(words) = schema["enum"].as_array() {
                    assert!(words.contains(&json!(text)), "{path}: {text} is not one of {words:?}");
                }
                assert!(has_type(schema, "string"), "{path}: {schema}");
            }
            toml::Value::Integer(_) => assert!(has_type(schema, "integer"), "{path}: {schema}"),
            _ => {}
        }
    }

    #[test]
    fn the_schema_has_every_key_of_the_examples() {
        let schema = schema();
        for text in [
            EVERYTHING,
            include_str!("../../../fuzz/policy.toml"),
            include_str!("../../../examples/policies/streaming.toml"),
            include_str!("../../../examples/policies/live-ladder.toml"),
            include_str!("../../../examples/policies/vod-and-live.toml"),
            include_str!("../../../examples/policies/tiers.toml"),
            include_str!("../../../examples/policies/origin.toml"),
            include_str!("../../../examples/policies/event.toml"),
            include_str!("../../../examples/policies/ingest.toml"),
        ] {
            check(&toml::from_str(text).expect("TOML"), &schema, "");
        }
        assert_eq!(
            schema["properties"]["class"]["additionalProperties"]["properties"]["allocate"]["enum"],
            json!(["rate", "peak"])
        );
        let unknown = &schema["properties"]["interface"]["additionalProperties"]["additionalProperties"];
        assert!(unknown["not"].is_object(), "{unknown}");
    }

    #[test]
    fn the_policy_with_every_table_is_valid() {
        let parsed = Policy::parse(&[Source { name: "everything", text: EVERYTHING }]);
        assert!(parsed.is_ok(), "{parsed:?}");
    }

    /// Every key with its path, its schema and its meaning.
    fn keys(schema: &Value, path: &str, found: &mut Vec<(String, Value)>) {
        for (key, form) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{key}");
            found.push((path.clone(), form.clone()));
            keys(form, &path, found);
            keys(&form["items"], &path, found);
            keys(&form["additionalProperties"], &path, found);
        }
    }

    #[test]
    fn every_key_has_a_meaning() {
        let mut found = Vec::new();
        keys(&schema(), "", &mut found);
        assert!(found.len() > 80, "{}", found.len());
        for (path, form) in &found {
            let meaning = form["description"].as_str().unwrap_or_default();
            assert!(meaning.len() > 10, "{path} has no meaning: {form}");
        }
        let defaults = found.iter().filter(|(_, form)| form.get("default").is_some()).count();
        assert!(defaults >= 20, "{defaults} defaults");
        for (path, form) in found.iter().filter(|(_, form)| form.get("enum").is_some()) {
            let words = form["enum"].as_array().expect("words");
            assert!(form.get("default").is_none_or(|default| words.contains(default)), "{path}: {form}");
        }
    }
}
