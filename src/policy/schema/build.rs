//! From the forms of keys that a reader has recorded to a JSON schema.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::meaning::Meaning;
use super::meanings::FLOWSPEC;
use crate::policy::problems::Forms;

/// What a schema has besides the recorded forms.
pub(crate) struct Outline {
    pub(crate) title: &'static str,
    /// Tables at the top whose keys are names.
    pub(crate) named: &'static [&'static str],
    /// Arrays of tables, by path.
    pub(crate) arrays: &'static [&'static str],
    /// The required keys of each table, by path.
    pub(crate) required: &'static [(&'static str, &'static [&'static str])],
    /// Tables that need one of several keys.
    pub(crate) one_of: &'static [(&'static str, &'static [&'static str])],
    /// The meanings of the keys of each table.
    pub(crate) meanings: &'static [(&'static str, &'static [Meaning])],
    /// Further values that a key of a table takes.
    pub(crate) alternatives: fn(&str, &str) -> Vec<Value>,
}

/// The schemas of tables, by path.
pub(crate) type Tables = BTreeMap<String, Map<String, Value>>;

impl Outline {
    /// The JSON schema (draft 2020-12) of a file.
    pub(crate) fn schema(&self, forms: Forms, more: impl FnOnce(&mut Tables)) -> Value {
        let mut tables = Tables::new();
        for ((path, key), form) in forms {
            tables.entry(self.general(&path)).or_default().insert(key.to_owned(), form);
        }
        more(&mut tables);
        let mut root = self.table("", &tables);
        root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
        root["title"] = json!(self.title);
        root
    }

    /// The path of a table in the schema: that of `interface.eth0.egress` is `interface.*.egress`.
    fn general(&self, path: &str) -> String {
        let mut parts: Vec<_> = path.split('.').collect();
        if parts.len() > 1 && self.named.contains(&parts[0]) {
            parts[1] = "*";
        }
        parts.join(".")
    }

    /// The schema of a table, with its keys and the tables below it.
    fn table(&self, path: &str, tables: &Tables) -> Value {
        let mut properties = tables.get(path).cloned().unwrap_or_default();
        let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        for array in
            self.arrays.iter().filter(|array| array.rsplit_once('.').map_or("", |(of, _)| of) == path)
        {
            let name = array.rsplit('.').next().unwrap_or(array);
            properties.insert(name.into(), json!({ "type": "array", "items": self.table(array, tables) }));
        }
        for (name, form) in &mut properties {
            let inner = below(name);
            if self.arrays.contains(&inner.as_str()) {
            } else if path.is_empty() && self.named.contains(&name.as_str()) {
                let one = self.table(&format!("{inner}.*"), tables);
                *form = json!({ "type": "object", "additionalProperties": one });
            } else if tables.contains_key(&inner) {
                *form = self.table(&inner, tables);
            }
            let alternatives = (self.alternatives)(path, name);
            if !alternatives.is_empty() {
                let all: Vec<_> = std::iter::once(form.take()).chain(alternatives).collect();
                *form = json!({ "anyOf": all });
            }
            self.explain(path, name, form);
        }
        let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
        if let Some((_, required)) = self.required.iter().find(|(of, _)| *of == path) {
            schema["required"] = json!(required);
        }
        if let Some((_, keys)) = self.one_of.iter().find(|(of, _)| *of == path) {
            schema["anyOf"] = keys.iter().map(|key| json!({ "required": [key] })).collect();
        }
        schema
    }

    /// Adds what a key means and its default.
    fn explain(&self, path: &str, key: &str, form: &mut Value) {
        let Some(meaning) = self.meaning(path, key) else { return };
        let notation = form.get("description").and_then(Value::as_str);
        let notation = notation.map_or(String::new(), |notation| format!(" Written as {notation}."));
        form["description"] = json!(format!("{}{notation}", meaning.text));
        if let Some(default) = meaning.default.and_then(|default| serde_json::from_str::<Value>(default).ok())
        {
            form["default"] = default;
        }
    }

    /// What a key of a table means. The keys of a flowspec have the same meaning everywhere.
    fn meaning(&self, path: &str, key: &str) -> Option<&'static Meaning> {
        let own = self.meanings.iter().find(|(of, _)| *of == path).map(|(_, meanings)| *meanings);
        let is_flowspec = path.ends_with(".sending") || path.ends_with(".receiving");
        own.or(is_flowspec.then_some(FLOWSPEC))?.iter().find(|meaning| meaning.key == key)
    }
}
