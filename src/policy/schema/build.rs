//! From the forms of keys that a reader has recorded to a JSON schema.
//!
//! The schema is made for editors that show a problem at the value to which the violated rule applies, and a problem of
//! a table at each of its values: taplo does. So that one mistake is one line, no rule applies to a table where one may
//! apply to a value: an unknown key is refused by its value; a value with several forms has one rule for each type in
//! place of alternatives; and a missing key is left to `gqos check` (its description says that it is required).

use serde_json::{Map, Value, json};

use super::meaning::Meaning;
use super::meanings::FLOWSPEC;
use crate::ordered::OrderedMap;
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
    /// The meanings of the keys of each table.
    pub(crate) meanings: &'static [(&'static str, &'static [Meaning])],
    /// Further values that a key of a table takes.
    pub(crate) alternatives: fn(&str, &str) -> Vec<Value>,
}

/// The schemas of tables, by path.
pub(crate) type Tables = OrderedMap<String, Map<String, Value>>;

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
                *form = one_of(std::iter::once(form.take()).chain(alternatives).collect());
            }
            self.explain(path, name, form);
        }
        let unknown = json!({ "not": { "title": "an unknown key" } });
        let mut schema =
            json!({ "type": "object", "properties": properties, "additionalProperties": unknown });
        if let Some(required) = self.required_of(path) {
            schema["x-taplo"] = json!({ "initKeys": required });
        }
        schema
    }

    fn required_of(&self, path: &str) -> Option<&'static [&'static str]> {
        self.required.iter().find(|(of, _)| *of == path).map(|(_, required)| *required)
    }

    /// Adds what a key means and its default.
    fn explain(&self, path: &str, key: &str, form: &mut Value) {
        let Some(meaning) = self.meaning(path, key) else { return };
        let notation = form.get("description").and_then(Value::as_str);
        let notation = notation.map_or(String::new(), |notation| format!(" Written as {notation}."));
        let is_required = self.required_of(path).is_some_and(|required| required.contains(&key));
        let required = if is_required { " Required." } else { "" };
        form["description"] = json!(format!("{}{notation}{required}", meaning.text));
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

/// One form for values that have one of several: what holds for a type applies to values of that type only.
pub(crate) fn one_of(forms: Vec<Value>) -> Value {
    // Words would apply to every type.
    if forms.iter().any(|form| form.get("enum").is_some()) {
        return json!({ "anyOf": forms });
    }
    let (mut merged, mut types, mut patterns, mut notations) =
        (Map::new(), Vec::<Value>::new(), Vec::new(), Vec::new());
    for form in forms {
        let Value::Object(form) = form else { continue };
        for (keyword, value) in form {
            match (keyword.as_str(), value) {
                ("type", Value::Array(several)) => types.extend(several),
                ("type", one) => types.push(one),
                ("const", Value::String(word)) => patterns.push(format!("^{word}$")),
                ("pattern", Value::String(pattern)) => patterns.push(pattern),
                ("description", Value::String(notation)) => notations.push(notation),
                (_, value) => drop(merged.insert(keyword, value)),
            }
        }
    }
    types.sort_by_key(Value::to_string);
    types.dedup();
    merged.insert("type".into(), if let [one] = &types[..] { one.clone() } else { json!(types) });
    if !patterns.is_empty() {
        merged.insert("pattern".into(), json!(patterns.join("|")));
    }
    if !notations.is_empty() {
        merged.insert("description".into(), json!(notations.join(", or ")));
    }
    Value::Object(merged)
}

/// One value, or an array of at least `least` of them.
pub(crate) fn one_or_several(one: &Value, least: u64) -> Value {
    let mut array = json!({ "type": "array", "items": one });
    if least > 0 {
        array["minItems"] = json!(least);
    }
    one_of(vec![one.clone(), array])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_different_types_become_one() {
        let word = json!({ "const": "auto" });
        let rate = json!({ "type": "string", "pattern": "^[0-9]+ B$", "description": "a rate" });
        let both = json!({ "type": "string", "pattern": "^[0-9]+ B$|^auto$", "description": "a rate" });
        assert_eq!(one_of(vec![rate.clone(), word]), both);
        let port = json!({ "type": "integer", "maximum": 9 });
        let either = one_of(vec![port, rate.clone()]);
        assert_eq!(
            either,
            json!({ "type": ["integer", "string"], "maximum": 9, "pattern": "^[0-9]+ B$", "description": "a rate" })
        );
        let several = one_or_several(&rate, 1);
        assert_eq!(
            (&several["type"], &several["items"], &several["minItems"]),
            (&json!(["array", "string"]), &rate, &json!(1))
        );
        let words = json!({ "type": "string", "enum": ["a"] });
        assert_eq!(one_of(vec![words.clone(), rate.clone()]), json!({ "anyOf": [words, rate] }));
    }
}
