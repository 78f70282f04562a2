//! A QOS as text. JSON has integers in Winsock's units; TOML has quantities with units, as a policy has.

use std::fmt;

use anyhow::{Context, bail};
use clap::ValueEnum;
use flowspec::{Bytes, Direction, Flowspec, Micros, Peak, QosRequest, Rate, UnitError};
use serde::Serialize;
use serde_json::Value;

use super::raw;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum DocumentFormat {
    /// Integers in bytes per second, bytes and microseconds.
    Json,
    /// Quantities with units, as in a policy.
    Toml,
}

/// The unit of a field's number.
#[derive(Clone, Copy)]
enum FieldUnit {
    Rate,
    Size,
    Time,
}

fn kind(field: &str) -> Option<FieldUnit> {
    match field {
        "token_rate" | "reserved_rate" | "peak_bandwidth" | "shaping_rate" | "path_bandwidth" => {
            Some(FieldUnit::Rate)
        }
        "token_bucket_size" | "max_sdu_size" | "minimum_policed_size" | "path_mtu" => Some(FieldUnit::Size),
        "latency" | "delay_variation" => Some(FieldUnit::Time),
        _ => None,
    }
}

/// The document as text, ending with a line break.
pub(super) fn show(document: &impl Serialize, format: DocumentFormat) -> anyhow::Result<String> {
    let value = serde_json::to_value(document)?;
    match format {
        DocumentFormat::Json => Ok(serde_json::to_string_pretty(&document)? + "\n"),
        DocumentFormat::Toml => Ok(toml::to_string(&with_units("", value)?)?),
    }
}

/// A QOS that was read from text.
pub(super) enum Parsed {
    Raw(Box<raw::RawDocument>),
    Request(Box<QosRequest>),
}

/// What is wrong with a text, and the key that it is about.
#[derive(Debug)]
pub(super) struct DocumentProblem {
    /// Absent where the problem is that of the whole text.
    pub(super) key: Option<String>,
    pub(super) message: String,
}

impl fmt::Display for DocumentProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{key}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// Of the whole text.
fn whole(error: impl fmt::Display) -> Vec<DocumentProblem> {
    vec![DocumentProblem { key: None, message: error.to_string() }]
}

/// Reads JSON or TOML: a QOS, its raw form, or one flowspec, which is then the sending one.
///
/// - **Errors**: every value that is no quantity, and every key of a flowspec that cannot be read.
pub(super) fn parse(text: &str) -> Result<Parsed, Vec<DocumentProblem>> {
    let mut problems = Vec::new();
    let value: Value = if text.trim_start().starts_with('{') {
        serde_json::from_str(text).map_err(whole)?
    } else {
        without_units(&Key::default(), toml::from_str(text).map_err(whole)?, &mut problems)
    };
    if value.get("raw").is_some() {
        let document: raw::RawDocument = serde_json::from_value(value).map_err(whole)?;
        return Ok(Parsed::Raw(Box::new(document)));
    }
    let is_flowspec = value.get("service_type").is_some();
    if is_flowspec {
        unreadable_keys(&Key::default(), &value, &mut problems);
    } else {
        for direction in Direction::BOTH {
            if let Some(flowspec) = value.get(direction.name()) {
                unreadable_keys(&Key::default().then(direction.name()), flowspec, &mut problems);
            }
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let request = if is_flowspec {
        let sending: Flowspec = serde_json::from_value(value).map_err(whole)?;
        QosRequest { sending, receiving: Flowspec::BEST_EFFORT, provider_specific: Vec::new() }
    } else {
        serde_json::from_value(value).map_err(whole)?
    };
    Ok(Parsed::Request(Box::new(request)))
}

/// Notes each key of a flowspec that a flowspec does not have, or whose value it cannot have.
fn unreadable_keys(at: &Key, flowspec: &Value, problems: &mut Vec<DocumentProblem>) {
    let Value::Object(fields) = flowspec else { return };
    for (name, value) in fields {
        let key = at.then(name);
        // A quantity that could not be read has a problem of its own, and no value.
        if value.is_null() && problems.iter().any(|problem| problem.key.as_deref() == Some(&key.path)) {
            continue;
        }
        let mut alone = serde_json::Map::new();
        alone.insert("service_type".into(), "best_effort".into());
        alone.insert(name.clone(), value.clone());
        if let Err(error) = serde_json::from_value::<Flowspec>(Value::Object(alone)) {
            problems.push(DocumentProblem { key: Some(key.path), message: error.to_string() });
        }
    }
}

/// The path of a key in a document.
#[derive(Default)]
struct Key {
    path: String,
}

impl Key {
    fn then(&self, name: &str) -> Self {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Self { path }
    }

    /// The last name of the path.
    fn name(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or_default()
    }
}

/// JSON as TOML. Numbers that count something get their units; a null is left out.
fn with_units(field: &str, value: Value) -> anyhow::Result<toml::Value> {
    Ok(match value {
        Value::Object(fields) => {
            let present = fields.into_iter().filter(|(_, value)| !value.is_null());
            let fields = present.map(|(name, value)| anyhow::Ok((name.clone(), with_units(&name, value)?)));
            toml::Value::Table(fields.collect::<Result<_, _>>()?)
        }
        Value::Array(values) => {
            let values = values.into_iter().map(|value| with_units("", value));
            toml::Value::Array(values.collect::<Result<_, _>>()?)
        }
        Value::String(text) => toml::Value::String(text),
        Value::Bool(flag) => toml::Value::Boolean(flag),
        Value::Number(number) => {
            let Some(number) = number.as_u64() else { bail!("{field}: {number} is not a whole number") };
            match kind(field) {
                Some(FieldUnit::Rate) => toml::Value::String(Rate::new(number).to_string()),
                Some(FieldUnit::Size) => toml::Value::String(Bytes::new(number).to_string()),
                Some(FieldUnit::Time) => toml::Value::String(Micros::new(number).to_string()),
                None => toml::Value::Integer(number.try_into().context("TOML has no integer as large")?),
            }
        }
        Value::Null => bail!("TOML has no null"),
    })
}

/// TOML as JSON. Quantities become numbers in Winsock's units. A value that cannot be read is noted, and null.
fn without_units(key: &Key, value: toml::Value, problems: &mut Vec<DocumentProblem>) -> Value {
    match value {
        toml::Value::Table(fields) => {
            let fields = fields.into_iter().map(|(name, value)| {
                let value = without_units(&key.then(&name), value, problems);
                (name, value)
            });
            Value::Object(fields.collect())
        }
        toml::Value::Array(values) => {
            let values = values.into_iter().enumerate();
            Value::Array(
                values.map(|(n, value)| without_units(&key.then(&n.to_string()), value, problems)).collect(),
            )
        }
        toml::Value::Boolean(flag) => Value::Bool(flag),
        toml::Value::String(text) => match kind(key.name()) {
            Some(unit) => quantity(unit, &text).unwrap_or_else(|error| unreadable(key, error, problems)),
            None => Value::String(text),
        },
        toml::Value::Integer(number) => match kind(key.name()) {
            // A number without a unit is no quantity; the error says in which ways it can be read.
            Some(unit) => match quantity(unit, &number.to_string()) {
                Ok(value) => value,
                Err(error) => unreadable(key, error, problems),
            },
            None => Value::from(number),
        },
        toml::Value::Float(_) | toml::Value::Datetime(_) => {
            unreadable(key, "expected a quantity, a whole number or a string", problems)
        }
    }
}

fn unreadable(key: &Key, error: impl fmt::Display, problems: &mut Vec<DocumentProblem>) -> Value {
    problems.push(DocumentProblem { key: Some(key.path.clone()), message: error.to_string() });
    Value::Null
}

/// A quantity in Winsock's unit.
fn quantity(unit: FieldUnit, text: &str) -> Result<Value, UnitError> {
    Ok(match unit {
        FieldUnit::Rate => match text.parse::<Peak>()? {
            Peak::Infinite => Value::from(text),
            Peak::Finite(rate) => Value::from(rate.get()),
        },
        FieldUnit::Size => Value::from(text.parse::<Bytes>()?.get()),
        FieldUnit::Time => Value::from(text.parse::<Micros>()?.get()),
    })
}
