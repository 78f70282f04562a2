//! A QOS as text. JSON has integers in Winsock's units; TOML has quantities with units, as a policy has.

use anyhow::{Context, bail};
use clap::ValueEnum;
use flowspec::{Bytes, Flowspec, Micros, Peak, QosRequest, Rate};
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

/// Reads JSON or TOML: a QOS, its raw form, or one flowspec, which is then the sending one.
pub(super) fn parse(text: &str) -> anyhow::Result<Parsed> {
    let value: Value = if text.trim_start().starts_with('{') {
        serde_json::from_str(text)?
    } else {
        without_units("", toml::from_str(text)?)?
    };
    if value.get("raw").is_some() {
        let document: raw::RawDocument = serde_json::from_value(value)?;
        return Ok(Parsed::Raw(Box::new(document)));
    }
    let request = if value.get("service_type").is_some() {
        let sending: Flowspec = serde_json::from_value(value)?;
        QosRequest { sending, receiving: Flowspec::BEST_EFFORT, provider_specific: Vec::new() }
    } else {
        serde_json::from_value(value)?
    };
    Ok(Parsed::Request(Box::new(request)))
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

/// TOML as JSON. Quantities become numbers in Winsock's units; a quantity without a unit is refused.
fn without_units(field: &str, value: toml::Value) -> anyhow::Result<Value> {
    Ok(match (value, kind(field)) {
        (toml::Value::Table(fields), _) => {
            let fields = fields.into_iter().map(|(name, value)| {
                let value = without_units(&name, value)?;
                anyhow::Ok((name, value))
            });
            Value::Object(fields.collect::<Result<_, _>>()?)
        }
        (toml::Value::Array(values), _) => {
            let values = values.into_iter().map(|value| without_units("", value));
            Value::Array(values.collect::<Result<_, _>>()?)
        }
        (toml::Value::String(text), Some(kind)) => {
            let number = match kind {
                FieldUnit::Rate => match text.parse::<Peak>() {
                    Ok(Peak::Infinite) => return Ok(Value::String(text)),
                    Ok(Peak::Finite(rate)) => Ok(rate.get()),
                    Err(error) => Err(error),
                },
                FieldUnit::Size => text.parse().map(Bytes::get),
                FieldUnit::Time => text.parse().map(Micros::get),
            };
            Value::from(number.with_context(|| field.to_owned())?)
        }
        (toml::Value::Integer(number), Some(kind)) => {
            let text = number.to_string();
            let error = match kind {
                FieldUnit::Rate => text.parse::<Rate>().err(),
                FieldUnit::Size => text.parse::<Bytes>().err(),
                FieldUnit::Time => text.parse::<Micros>().err(),
            };
            bail!("{field}: {}", error.map_or_else(String::new, |error| error.to_string()))
        }
        (toml::Value::String(text), None) => Value::String(text),
        (toml::Value::Integer(number), None) => Value::from(number),
        (toml::Value::Boolean(flag), _) => Value::Bool(flag),
        (toml::Value::Float(_) | toml::Value::Datetime(_), _) => {
            bail!("{field}: expected a quantity, a whole number or a string")
        }
    })
}
