//! The JSON schema of a line of a trace.

use serde_json::{Map, Value, json};

use super::trace::takes;
use crate::admission::{OperationKind, PeerState};
use crate::policy::GroupMode;
use crate::policy::read::flowspec::SERVICES;

#[derive(Clone, Copy)]
enum FieldForm {
    /// The time of the line, which every line has.
    Time,
    /// Microseconds, or bytes, or bytes per second.
    Number,
    Text,
    Texts,
    Flag,
    Priority,
    /// A user or group id.
    Id,
    Flowspec,
    /// A rate for each direction.
    Rates,
    Operation,
    Mode,
    Direction,
    State,
}

const FIELDS: &[(&str, FieldForm, &str)] = &[
    (
        "at_us",
        FieldForm::Time,
        "When the request is made, in microseconds; never less than in the line before.",
    ),
    ("op", FieldForm::Operation, "The operation."),
    ("id", FieldForm::Text, "The flow or the group."),
    ("interface", FieldForm::Text, "The interface."),
    ("class", FieldForm::Text, "The flow's class; the class that a group is charged to; the measured class."),
    ("group", FieldForm::Text, "The group whose reservation the flow shares."),
    ("client", FieldForm::Text, "The identity that requests, for the limits of [client]."),
    ("template", FieldForm::Text, "A template of the policy, in place of sending and receiving."),
    ("templates", FieldForm::Texts, "A ladder of templates, best first: the flow gets the first that fits."),
    ("sending", FieldForm::Flowspec, "What the flow or the group sends; best effort if absent."),
    ("receiving", FieldForm::Flowspec, "What it receives; best effort if absent."),
    ("start_us", FieldForm::Number, "When the reservation begins; now if absent."),
    ("end_us", FieldForm::Number, "When it ends; when it is released if absent."),
    ("ttl_us", FieldForm::Number, "How long it lasts without a refresh."),
    (
        "wait",
        FieldForm::Flag,
        "Whether the flow waits for capacity if it is refused or gets less than the best.",
    ),
    ("setup_priority", FieldForm::Priority, "0 (best) to 7; the class's if absent."),
    ("holding_priority", FieldForm::Priority, "0 (best) to 7; the class's if absent."),
    ("mode", FieldForm::Mode, "How a group is charged; envelope if absent."),
    ("direction", FieldForm::Direction, "The direction of a changed capacity: egress is sending."),
    ("capacity", FieldForm::Number, "What the link carries from now on, in bytes per second."),
    ("uid", FieldForm::Id, "The owner's user id."),
    ("gid", FieldForm::Id, "The owner's group id."),
    ("cgroup", FieldForm::Text, "The owner's control group, from the root of the hierarchy."),
    ("window_us", FieldForm::Number, "How long was measured, until now: 100 ms to a day."),
    (
        "rate",
        FieldForm::Rates,
        "The mean rates that the class's flows sent and received, in bytes per second.",
    ),
    ("state", FieldForm::State, "What is seen of the flow's peer."),
    ("since_us", FieldForm::Number, "Since when it is seen; from now on if absent."),
];

/// The operations with the fields that each requires besides `at_us`.
const OPERATIONS: &[(&str, OperationKind, &[&str])] = &[
    ("reserve", OperationKind::Reserve, &["id", "interface"]),
    ("renegotiate", OperationKind::Renegotiate, &["id"]),
    ("refresh", OperationKind::Refresh, &["id", "ttl_us"]),
    ("release", OperationKind::Release, &["id"]),
    ("peer", OperationKind::Peer, &["id", "state"]),
    ("group", OperationKind::Group, &["id", "interface"]),
    ("ungroup", OperationKind::Ungroup, &["id"]),
    ("capacity", OperationKind::Capacity, &["interface", "direction", "capacity"]),
    ("measure", OperationKind::Measure, &["interface", "class", "window_us", "rate"]),
    ("query", OperationKind::Query, &["interface"]),
    ("tick", OperationKind::Tick, &[]),
];

/// The fields of a flowspec that are numbers.
const NUMBERS: &[(&str, &str)] = &[
    ("token_rate", "r, in bytes per second."),
    ("token_bucket_size", "b, in bytes."),
    ("latency", "The largest acceptable delay, in microseconds."),
    ("delay_variation", "The largest acceptable difference between delays, in microseconds."),
    ("max_sdu_size", "M, in bytes."),
    ("minimum_policed_size", "m, in bytes."),
    (
        "reserved_rate",
        "R, in bytes per second: the rate to reserve if it is more than the delay bound needs.",
    ),
];

/// The JSON schema (draft 2020-12) of one line of a trace: the fields, and by the operation which of them it has.
///
/// A field that is absent or null is not specified. The reader takes null for a field that the operation does not use
/// as well.
pub fn trace_schema() -> Value {
    let properties = FIELDS.iter().map(|(name, form, meaning)| ((*name).to_owned(), form.schema(meaning)));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "a line of a gqos trace",
        "type": "object",
        "properties": Value::Object(properties.collect()),
        "required": ["at_us", "op"],
        "oneOf": OPERATIONS.iter().map(operation).collect::<Vec<_>>(),
        "$defs": { "flowspec": flowspec() },
    })
}

fn operation((word, kind, required): &(&str, OperationKind, &[&str])) -> Value {
    let used = FIELDS.iter().map(|(name, ..)| *name).filter(|name| *name == "at_us" || takes(*kind, name));
    let mut fields: Map<_, _> = used.map(|name| (name.to_owned(), json!(true))).collect();
    fields.insert("op".to_owned(), json!({ "const": word }));
    let required: Vec<_> = ["at_us", "op"].iter().chain(*required).collect();
    json!({
        "title": word,
        "properties": fields,
        "required": required,
        "additionalProperties": false,
    })
}

impl FieldForm {
    fn schema(self, meaning: &str) -> Value {
        let mut schema = match self {
            Self::Time => json!({ "type": "integer", "minimum": 0 }),
            Self::Number => number(),
            Self::Text => json!({ "type": ["string", "null"] }),
            Self::Texts => json!({ "type": ["array", "null"], "items": { "type": "string" } }),
            Self::Flag => json!({ "type": ["boolean", "null"] }),
            Self::Priority => json!({ "type": ["integer", "null"], "minimum": 0, "maximum": 7 }),
            Self::Id => json!({ "type": ["integer", "null"], "minimum": 0, "maximum": u32::MAX }),
            Self::Flowspec => json!({ "$ref": "#/$defs/flowspec" }),
            Self::Rates => rates(),
            Self::Operation => words(OPERATIONS.iter().map(|(op, ..)| *op)),
            Self::Mode => words_or_null(GroupMode::WORDS.iter().map(|(word, _)| *word)),
            Self::Direction => words_or_null(["egress", "ingress"].into_iter()),
            Self::State => words_or_null(PeerState::WORDS.iter().map(|(word, _)| *word)),
        };
        schema["description"] = json!(meaning);
        schema
    }
}

fn number() -> Value {
    json!({ "type": ["integer", "null"], "minimum": 0 })
}

fn words<'w>(words: impl Iterator<Item = &'w str>) -> Value {
    json!({ "enum": words.collect::<Vec<_>>() })
}

fn words_or_null<'w>(words: impl Iterator<Item = &'w str>) -> Value {
    json!({ "enum": words.map(Value::from).chain([Value::Null]).collect::<Vec<_>>() })
}

fn rates() -> Value {
    let rate = json!({ "type": "integer", "minimum": 0 });
    json!({
        "type": ["object", "null"],
        "properties": { "sending": rate, "receiving": rate },
        "required": ["sending", "receiving"],
    })
}

fn flowspec() -> Value {
    let numbers =
        NUMBERS.iter().map(|(name, meaning)| ((*name).to_owned(), FieldForm::Number.schema(meaning)));
    let mut fields: Map<_, _> = numbers.collect();
    let mut service = words(SERVICES.iter().map(|(word, _)| *word));
    service["description"] = json!("The service that is requested.");
    fields.insert("service_type".to_owned(), service);
    let peak = json!({
        "type": ["integer", "string", "null"],
        "minimum": 0,
        "pattern": "^infinite$",
        "description": "p, in bytes per second, or \"infinite\".",
    });
    fields.insert("peak_bandwidth".to_owned(), peak);
    for (flag, meaning) in [
        ("no_traffic_control", "Whether the kernel's traffic control leaves the flow alone."),
        ("no_qos_signaling", "Whether nothing is signalled to the network."),
    ] {
        fields.insert(flag.to_owned(), json!({ "type": "boolean", "description": meaning }));
    }
    json!({
        "type": ["object", "null"],
        "properties": fields,
        "required": ["service_type"],
        "additionalProperties": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;
    use crate::scenario::{TraceError, parse_line};

    /// A value that a line's field takes.
    fn value(form: FieldForm) -> Value {
        match form {
            FieldForm::Time | FieldForm::Number => json!(200_000),
            FieldForm::Text => json!("x"),
            FieldForm::Texts => json!(["x"]),
            FieldForm::Flag => json!(true),
            FieldForm::Priority => json!(4),
            FieldForm::Id => json!(33),
            FieldForm::Flowspec => {
                json!({ "service_type": "guaranteed", "token_rate": 1, "peak_bandwidth": "infinite" })
            }
            FieldForm::Rates => json!({ "sending": 1, "receiving": 2 }),
            FieldForm::Operation => json!("tick"),
            FieldForm::Mode => json!("shared"),
            FieldForm::Direction => json!("egress"),
            FieldForm::State => json!("silent"),
        }
    }

    fn line(op: &str, fields: impl IntoIterator<Item = &'static str>) -> Value {
        let mut line = json!({ "at_us": 0, "op": op });
        for field in fields {
            let (_, form, _) = FIELDS.iter().find(|(name, ..)| *name == field).expect(field);
            line[field] = value(*form);
        }
        line
    }

    #[test]
    fn the_schema_has_exactly_the_fields_that_are_read() {
        let policy = Policy::default();
        let error =
            parse_line("{\"at_us\":0,\"op\":\"tick\",\"no\":1}", &policy).expect_err("an unknown field");
        let text = error.to_string();
        let mut read: Vec<_> = text.split('`').skip(3).step_by(2).collect();
        let mut described: Vec<_> = FIELDS.iter().map(|(name, ..)| *name).collect();
        read.sort_unstable();
        described.sort_unstable();
        assert_eq!(described, read);
        // Each field takes the value that the schema describes where an operation uses it, and null everywhere.
        for (name, form, _) in FIELDS.iter().skip(2) {
            let line = json!({ "at_us": 0, "op": "tick", *name: Value::Null });
            parse_line(&line.to_string(), &policy).expect(name);
            let line = json!({ "at_us": 0, "op": "tick", *name: value(*form) });
            let error = parse_line(&line.to_string(), &policy).expect_err(name);
            assert!(matches!(&error, TraceError::Unused { field, .. } if field == name), "{name}: {error}");
        }
    }

    #[test]
    fn the_schema_requires_what_each_operation_needs() {
        let policy = Policy::default();
        for (op, _, required) in OPERATIONS {
            parse_line(&line(op, required.iter().copied()).to_string(), &policy).expect(op);
            for missing in *required {
                let fields = required.iter().copied().filter(|field| field != missing);
                let error = parse_line(&line(op, fields).to_string(), &policy).expect_err(missing);
                assert!(
                    matches!(&error, TraceError::Missing { field, .. } if field == missing),
                    "{op}: {error}"
                );
            }
        }
        let schema = trace_schema();
        assert_eq!(schema["properties"]["op"]["enum"].as_array().map(Vec::len), Some(OPERATIONS.len()));
        assert_eq!(schema["oneOf"][2]["required"], json!(["at_us", "op", "id", "ttl_us"]));
    }

    /// Whether the schema gives a field to the lines of an operation.
    fn describes(op: &str, field: &str) -> bool {
        let schema = trace_schema();
        let mut operations = schema["oneOf"].as_array().into_iter().flatten();
        let one = operations.find(|one| one["properties"]["op"]["const"] == op).expect(op);
        one["properties"].get(field).is_some()
    }

    #[test]
    fn the_schema_has_the_fields_that_each_operation_takes_and_no_others() {
        let policy = Policy::default();
        for (op, _, required) in OPERATIONS {
            for (name, form, _) in FIELDS.iter().skip(2) {
                let mut line = line(op, required.iter().copied());
                line[*name] = value(*form);
                let is_unused = matches!(
                    parse_line(&line.to_string(), &policy),
                    Err(TraceError::Unused { field, .. }) if field == *name
                );
                assert_eq!(describes(op, name), !is_unused, "{op} {name}");
            }
        }
    }
}
