//! `gqos events`: what happens, as it happens.

use std::process::ExitCode;

use flowspec::{Micros, Moment, Rate};
use gqos::control::{Call, EventBatch, MethodCall, Nothing};
use gqos::telemetry::Event;
use gqos::telemetry::audit::time_of;
use serde_json::Value;

use super::client::{SocketArgument, failure};
use crate::cli::failure::CommandFailure;
use crate::cli::names::NamedValue;
use crate::cli::output::print;
use crate::cli::plain::{plain, plain_json};

/// Print events from now on: flows that are admitted, refused and ended, changes of capacities and of the trees.
///
/// Users other than administrators see only their own flows. If the output is read too slowly, events are dropped;
/// standard error states their number.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// End after this many events.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Print only events of this kind, such as flow_refused; several may be given.
    #[arg(long, value_name = "KIND", value_parser = KIND, hide_possible_values = true)]
    event: Vec<String>,
    /// Print one JSON record for each event and line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    socket: SocketArgument,
}

/// The names of the kinds of events.
const KIND: NamedValue = NamedValue { kind: "kind of event", names: || Event::KINDS.to_vec() };

pub(in crate::cli) fn run(arguments: &Arguments) -> Result<ExitCode, CommandFailure> {
    // The next event may take any time.
    let mut client = arguments.socket.connect()?.limit_waits(None)?;
    client.send(&Call::new(&MethodCall::Events(Nothing {})))?;
    let (mut left, mut lost) = (arguments.count, 0);
    loop {
        let reply = client.reply()?;
        let continues = reply.continues;
        let EventBatch { events, dropped, began_us } = reply.parameters().map_err(failure)?;
        if dropped > lost {
            eprintln!("gqos: {dropped} events were lost");
            lost = dropped;
        }
        for event in events.iter().filter(|event| arguments.takes(event)) {
            print(&if arguments.json {
                plain_json(&event.to_string()).into_owned() + "\n"
            } else {
                line(event, began_us)
            })?;
            left = left.map(|left| left - 1);
            if left == Some(0) {
                return Ok(ExitCode::SUCCESS);
            }
        }
        if !continues {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

impl Arguments {
    fn takes(&self, event: &Value) -> bool {
        let kind = event.get("event").and_then(Value::as_str).unwrap_or_default();
        self.event.is_empty() || self.event.iter().any(|wanted| wanted == kind)
    }
}

/// The fields that are rates, or rates for each direction, in bytes per second.
const RATES: [&str; 6] = ["budget", "capacity", "charged", "previously", "rate", "reserved"];

/// `2026-11-27T02:03:04.500000Z flow_released id=v1 interface=eth0`: the time, where the daemon says when its clock began; the
/// kind of the event, then its fields.
fn line(event: &Value, began: Option<Moment>) -> String {
    let kind = event.get("event").and_then(Value::as_str).unwrap_or_default();
    let since = event.get("at_us").and_then(Value::as_u64).map(Micros::new);
    let time = began.zip(since).map(|(began, since)| time_of(began.saturating_add(since)));
    let mut words: Vec<_> = time.into_iter().chain([kind.to_owned()]).collect();
    for (name, value) in event.as_object().into_iter().flatten() {
        match value {
            Value::Null => {}
            _ if name == "event" || name == "at_us" => {}
            value if RATES.contains(&name.as_str()) => words.extend(rates(name, value)),
            Value::String(text) if !text.contains(' ') => words.push(format!("{name}={text}")),
            value => words.push(format!("{name}={value}")),
        }
    }
    // Names come from clients.
    plain(&words.join(" ")).into_owned() + "\n"
}

/// A rate as people read it, or those of both directions: `charged.sending="6 Mbit/s"`.
fn rates(name: &str, value: &Value) -> Vec<String> {
    let rate = |rate: &Value| {
        rate.as_u64().map_or_else(|| rate.to_string(), |rate| format!("\"{}\"", Rate::new(rate)))
    };
    match value {
        Value::Object(directions) => directions
            .iter()
            .map(|(direction, value)| format!("{name}.{direction}={}", rate(value)))
            .collect(),
        value => vec![format!("{name}={}", rate(value))],
    }
}
