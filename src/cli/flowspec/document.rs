//! A QOS as text. JSON has integers in Winsock's units; TOML has quantities with units, as a policy has.

use std::fmt;

use anyhow::{Context, bail};
use clap::ValueEnum;
use flowspec::{Bytes, Direction, Flowspec, Micros, Peak, QosRequest, Rate, UnitError};
use gqos::policy::{FlowspecProblem, flowspecs_of_toml};
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

/// Of the whole text.
fn whole(error: impl fmt::Display) -> Vec<FlowspecProblem> {
    vec![FlowspecProblem { key: None, message: error.to_string(), wsa: None }]
}

/// Reads JSON or TOML: a QOS, its raw form, or one flowspec, which is then the sending one. A direction that a QOS does not
/// have is best effort.
///
/// - **Errors**: every value that is no quantity, every key of a flowspec that cannot be read, and beside these in what the
///   rest contradicts itself.
pub(super) fn parse(text: &str) -> Result<Parsed, Vec<FlowspecProblem>> {
    let is_json = text.trim_start().starts_with('{');
    let mut problems = Vec::new();
    let mut value: Value = if is_json {
        serde_json::from_str(text).map_err(whole)?
    } else {
        let mut table = toml::from_str(text).map_err(whole)?;
        let flowspecs = take_flowspecs(text, &mut table, &mut problems);
        match without_units(&Key::default(), table, &mut problems) {
            Value::Object(rest) => Value::Object(rest.into_iter().chain(flowspecs).collect()),
            other => other,
        }
    };
    if value.get("raw").is_some() {
        let document: raw::RawDocument = serde_json::from_value(value).map_err(whole)?;
        return Ok(Parsed::Raw(Box::new(document)));
    }
    if value.get("service_type").is_some() {
        value = serde_json::json!({ (Direction::Sending.name()): value });
    }
    for direction in Direction::BOTH {
        if is_json && let Some(flowspec) = value.get(direction.name()) {
            unreadable_keys(direction, flowspec, &mut problems);
        }
    }
    if problems.is_empty() {
        complete(&mut value);
        return Ok(Parsed::Request(Box::new(serde_json::from_value(value).map_err(whole)?)));
    }
    // The flowspecs have their problems already; the rest may have others.
    if let Value::Object(rest) = &mut value {
        for direction in Direction::BOTH {
            rest.insert(direction.name().into(), serde_json::json!(Flowspec::BEST_EFFORT));
        }
        if let Err(error) = serde_json::from_value::<QosRequest>(value) {
            problems.extend(whole(error));
        }
    }
    Err(problems)
}

/// Best effort for the direction that a QOS leaves out. One without both is none.
fn complete(value: &mut Value) {
    let Value::Object(fields) = value else { return };
    if !Direction::BOTH.iter().any(|direction| fields.contains_key(direction.name())) {
        return;
    }
    for direction in Direction::BOTH {
        let absent = || serde_json::json!(Flowspec::BEST_EFFORT);
        fields.entry(direction.name()).or_insert_with(absent);
    }
}

/// Takes the flowspecs out of a table of TOML, as the templates of a policy are read, and gives them as JSON.
fn take_flowspecs(
    text: &str,
    table: &mut toml::Value,
    problems: &mut Vec<FlowspecProblem>,
) -> Vec<(String, Value)> {
    let toml::Value::Table(fields) = table else { return Vec::new() };
    if fields.contains_key("raw") {
        return Vec::new();
    }
    if fields.contains_key("service_type") {
        fields.clear();
    }
    for direction in Direction::BOTH {
        fields.remove(direction.name());
    }
    match flowspecs_of_toml(text) {
        Ok(flowspecs) => Direction::BOTH
            .into_iter()
            .filter_map(|direction| {
                Some((direction.name().to_owned(), serde_json::json!((*flowspecs.get(direction))?)))
            })
            .collect(),
        Err(found) => {
            problems.extend(found);
            Vec::new()
        }
    }
}

/// Notes each key of a flowspec in JSON that a flowspec does not have, or whose value it cannot have, and beside these in
/// what the other keys contradict each other.
fn unreadable_keys(direction: Direction, flowspec: &Value, problems: &mut Vec<FlowspecProblem>) {
    let Value::Object(fields) = flowspec else { return };
    let at = Key::default().then(direction.name());
    let before = problems.len();
    let mut readable = fields.clone();
    for (name, value) in fields {
        let mut alone = serde_json::Map::new();
        alone.insert("service_type".into(), "best_effort".into());
        alone.insert(name.clone(), value.clone());
        if let Err(error) = serde_json::from_value::<Flowspec>(Value::Object(alone)) {
            let key = Some(at.then(name).path);
            problems.push(FlowspecProblem { key, message: error.to_string(), wsa: None });
            readable.remove(name);
        }
    }
    if problems.len() == before {
        return;
    }
    readable.entry("service_type").or_insert_with(|| "controlled_load".into());
    // A rate that could not be read contradicts nothing.
    if fields.contains_key("token_rate") && !readable.contains_key("token_rate") {
        readable.insert("token_rate".into(), 1.into());
        readable.remove("peak_bandwidth");
    }
    let Ok(spec) = serde_json::from_value::<Flowspec>(Value::Object(readable)) else { return };
    problems.extend(spec.problems(direction, Bytes::MAX).into_iter().map(|error| FlowspecProblem {
        key: Some(at.then(error.field().name()).path),
        message: error.to_string(),
        wsa: Some(error.wsa()),
    }));
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
fn without_units(key: &Key, value: toml::Value, problems: &mut Vec<FlowspecProblem>) -> Value {
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

fn unreadable(key: &Key, error: impl fmt::Display, problems: &mut Vec<FlowspecProblem>) -> Value {
    let key = Some(key.path.clone());
    problems.push(FlowspecProblem { key, message: error.to_string(), wsa: None });
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
