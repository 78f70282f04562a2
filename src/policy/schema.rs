//! The JSON schema of a policy file, for editors. It is recorded from the reader itself, which reads a policy with every
//! table and notes for each key which values it takes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::model::Policy;
use super::place::Source;
use super::problems::Problems;

/// A policy with every table, so that every key is read.
const EVERYTHING: &str = include_str!("everything.toml");

/// Tables whose keys are names.
const NAMED: [&str; 5] = ["interface", "template", "class", "group", "client"];

/// The required keys of each table, by its path in the schema.
const REQUIRED: [(&str, &[&str]); 9] = [
    ("", &["version"]),
    ("interface.*.egress", &["capacity"]),
    ("interface.*.ingress", &["capacity"]),
    ("interface.*.error_terms", &["c", "d"]),
    ("template.*.sending", &["service_type"]),
    ("template.*.receiving", &["service_type"]),
    ("group.*.sending", &["service_type"]),
    ("group.*.receiving", &["service_type"]),
    ("rule", &["template"]),
];

/// The values that a key takes besides those that its reader records.
fn other_forms(key: &str, form: Value) -> Value {
    let quantity = |kind: &str| json!({ "type": "string", "description": kind });
    match key {
        "capacity" => json!({ "anyOf": [form, { "const": "auto" }] }),
        "peak_bandwidth" => json!({ "anyOf": [form, { "const": "infinite" }] }),
        "token_bucket_size" => {
            json!({ "anyOf": [form, quantity("a time at the flow's own rate: \"20 ms\"")] })
        }
        "dscp" => json!({ "anyOf": [form, { "type": "integer", "minimum": 0, "maximum": 63 }] }),
        "dead_after" | "stalled_after" => json!({ "anyOf": [form, { "const": "off" }] }),
        "version" => json!({ "const": 1 }),
        _ => form,
    }
}

/// The JSON schema (draft 2020-12) of a policy file.
pub fn schema() -> Value {
    let problems = Problems::recording_forms();
    let mut policy = Policy::default();
    policy.read_source(0, &Source { name: "everything", text: EVERYTHING }, &problems);
    let mut tables = Tables::new();
    for ((path, key), form) in problems.into_forms() {
        let path = general(&path);
        tables.entry(path).or_default().insert(key.to_owned(), other_forms(key, form));
    }
    value_lists(&mut tables);
    let mut root = table("", &tables);
    let object = root.as_object_mut().expect("a table is an object");
    object.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    object.insert("title".into(), json!("gqos policy"));
    root
}

/// The schemas of tables, by path.
type Tables = BTreeMap<String, Map<String, Value>>;

/// The keys that take one value or an array of them, for which the reader records no form.
fn value_lists(tables: &mut Tables) {
    let one_or_more =
        |one: Value| json!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] });
    let port = json!({ "anyOf": [{ "type": "integer", "minimum": 0, "maximum": 65535 }, { "type": "string", "description": "a range: \"1935-1940\"" }] });
    let network = json!({ "type": "string", "description": "an address or a network: \"10.0.0.0/8\"" });
    let conditions = tables.entry("rule.match".into()).or_default();
    for (key, one) in [("local_port", port), ("peer", network)] {
        conditions.insert(key.into(), one_or_more(one));
    }
    let id = json!({ "anyOf": [{ "type": "integer", "minimum": 0, "maximum": u32::MAX }, { "type": "string", "description": "a range: \"1000-1999\"" }] });
    let path = json!({ "type": "string", "pattern": "^/", "description": "a control group: \"/system.slice/origin.service\"" });
    let conditions = tables.entry("class.*.match".into()).or_default();
    for (key, one) in [("uid", id.clone()), ("gid", id), ("cgroup", path)] {
        conditions.insert(key.into(), one_or_more(one));
    }
}

/// The path of a table in the schema: that of `interface.eth0.egress` is `interface.*.egress`.
fn general(path: &str) -> String {
    let mut parts: Vec<_> = path.split('.').collect();
    if parts.len() > 1 && NAMED.contains(&parts[0]) {
        parts[1] = "*";
    }
    parts.join(".")
}

/// The schema of a table, with its keys and the tables below it.
fn table(path: &str, tables: &Tables) -> Value {
    let mut properties = tables.get(path).cloned().unwrap_or_default();
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let names: Vec<_> = properties.keys().cloned().collect();
    for name in names {
        let inner = below(&name);
        let named = path.is_empty() && NAMED.contains(&name.as_str());
        if named {
            let one = table(&format!("{inner}.*"), tables);
            properties.insert(name, json!({ "type": "object", "additionalProperties": one }));
        } else if tables.contains_key(&inner) {
            properties.insert(name, table(&inner, tables));
        }
    }
    if path.is_empty() {
        properties.insert("rule".into(), json!({ "type": "array", "items": table("rule", tables) }));
    }
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if let Some((_, required)) = REQUIRED.iter().find(|(of, _)| *of == path) {
        schema["required"] = json!(required);
    }
    if path == "interface.*" {
        schema["anyOf"] = json!([{ "required": ["egress"] }, { "required": ["ingress"] }]);
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that every key of a document is in the schema, and every required key in the document.
    fn check(document: &toml::Value, schema: &Value, path: &str) {
        match document {
            toml::Value::Table(table) => {
                let properties = schema["properties"].as_object();
                for (key, value) in table {
                    let inner = properties
                        .and_then(|properties| properties.get(key))
                        .or_else(|| schema.get("additionalProperties").filter(|other| other.is_object()));
                    let inner =
                        inner.unwrap_or_else(|| panic!("{path}.{key} is not in the schema: {schema}"));
                    check(value, inner, &format!("{path}.{key}"));
                }
                for required in schema["required"].as_array().into_iter().flatten() {
                    assert!(
                        table.contains_key(required.as_str().expect("a name")),
                        "{path} lacks {required}"
                    );
                }
            }
            toml::Value::Array(values) if schema["type"] == "array" => {
                values.iter().for_each(|value| check(value, &schema["items"], path));
            }
            toml::Value::String(text) => {
                if let Some(words) = schema["enum"].as_array() {
                    assert!(words.contains(&json!(text)), "{path}: {text} is not one of {words:?}");
                }
                assert_ne!(schema["type"], "integer", "{path}");
            }
            toml::Value::Integer(_) => assert_ne!(schema["type"], "string", "{path}"),
            _ => {}
        }
    }

    #[test]
    fn the_schema_has_every_key_of_the_examples() {
        let schema = schema();
        for text in [
            EVERYTHING,
            include_str!("../../fuzz/policy.toml"),
            include_str!("../../examples/policies/streaming.toml"),
            include_str!("../../examples/policies/live-ladder.toml"),
            include_str!("../../examples/policies/vod-and-live.toml"),
            include_str!("../../examples/policies/tiers.toml"),
            include_str!("../../examples/policies/origin.toml"),
            include_str!("../../examples/policies/event.toml"),
            include_str!("../../examples/policies/ingest.toml"),
        ] {
            check(&toml::from_str(text).expect("TOML"), &schema, "");
        }
        assert_eq!(
            schema["properties"]["class"]["additionalProperties"]["properties"]["allocate"]["enum"],
            json!(["rate", "peak"])
        );
        assert_eq!(schema["properties"]["interface"]["additionalProperties"]["additionalProperties"], false);
    }

    #[test]
    fn the_policy_with_every_table_is_valid() {
        let parsed = Policy::parse(&[Source { name: "everything", text: EVERYTHING }]);
        assert!(parsed.is_ok(), "{parsed:?}");
    }
}
