//! A trace as a test: what was asked, and what is decided now, to be kept.

use std::fmt::Write;
use std::sync::Arc;

use flowspec::{Both, Flowspec, Micros};

use super::trace::{LONGEST_LINE, TraceError, parse_line};
use crate::admission::{Decision, Ladder, Operation};
use crate::manager::Manager;
use crate::policy::Policy;
use crate::policy::notation::{flowspec, quoted};

/// Why a trace is not a test.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A line is no request.
    #[error("{line}: {error}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// Why not.
        error: TraceError,
    },
    /// Time goes back, or a line is too long.
    #[error("{line}: {problem}")]
    Shape {
        /// Which, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// Something that no step of a test does.
    #[error("{line}: a test has no step for {op}")]
    NoStep {
        /// Which, from 1.
        line: usize,
        /// What was asked.
        op: &'static str,
    },
}

/// A trace as a test file, with the decisions that this policy gives; `policy_name` is how the file is to
/// call it.
///
/// - **Errors**: a line that is no request, or that no step of a test can do.
pub fn record(trace: &str, policy: &Arc<Policy>, policy_name: &str) -> Result<String, RecordError> {
    let mut manager = Manager::new(Arc::clone(policy));
    let mut text = format!("policy = {}\n\n[[test]]\nname = \"recorded\"\n", quoted(policy_name));
    let mut last = 0;
    for (number, row) in trace.lines().enumerate() {
        let line = number + 1;
        if row.trim().is_empty() {
            continue;
        }
        if row.len() > LONGEST_LINE {
            return Err(RecordError::Shape {
                line,
                problem: format!("a line of more than {LONGEST_LINE} bytes"),
            });
        }
        let traced = parse_line(row, policy).map_err(|error| RecordError::Line { line, error })?;
        if traced.at_us < last {
            return Err(RecordError::Shape {
                line,
                problem: format!("at_us goes back from {last} to {}", traced.at_us),
            });
        }
        last = traced.at_us;
        let decision = traced.clone().decide_by_manager(&mut manager);
        let action = traced.request.as_ref().ok().and_then(|operation| action(operation, traced.at_us));
        let Some(action) = action else {
            return Err(RecordError::NoStep { line, op: decision.operation().name() });
        };
        let about = !matches!(traced.request, Ok(Operation::Tick | Operation::Query { .. }));
        // Writing to a String cannot fail.
        let _ = write!(text, "\n[[test.step]]\nat = \"{}\"\n{action}", Micros::new(traced.at_us));
        let _ = writeln!(text, "expect = {{ {} }}", expectations(&decision, about));
    }
    Ok(text)
}

/// The step's own line; nothing where there is none for it.
fn action(operation: &Operation, now: u64) -> Option<String> {
    Some(match operation {
        Operation::Reserve(ladder) => connect(ladder, now),
        Operation::Renegotiate { id, asked } => {
            let mut fields = vec![format!("id = {}", quoted(id))];
            both(&mut fields, asked);
            format!("renegotiate = {{ {} }}\n", fields.join(", "))
        }
        Operation::Refresh { id, time_to_live } => {
            format!("refresh = {{ id = {}, ttl = \"{time_to_live}\" }}\n", quoted(id))
        }
        Operation::Release { id } => format!("close = {}\n", quoted(id)),
        Operation::Capacity { interface, direction, capacity } => {
            let direction = match direction {
                flowspec::Direction::Sending => "egress",
                flowspec::Direction::Receiving => "ingress",
            };
            format!(
                "capacity = {{ interface = {}, direction = \"{direction}\", capacity = \"{capacity}\" }}\n",
                quoted(interface)
            )
        }
        Operation::Measure { interface, class, window, rate } => {
            format!(
                "measure = {{ interface = {}, class = {}, window = \"{window}\", sending = \"{}\", receiving = \"{}\" }}\n",
                quoted(interface),
                quoted(class),
                rate.sending,
                rate.receiving
            )
        }
        Operation::Query { .. } | Operation::Tick => String::new(),
        Operation::Group(_) | Operation::Ungroup { .. } => return None,
    })
}

fn connect(ladder: &Ladder, now: u64) -> String {
    let Ladder { request, first, renditions } = ladder;
    let mut fields =
        vec![format!("id = {}", quoted(&request.id)), format!("interface = {}", quoted(&request.interface))];
    let mut text = |name: &str, value: &Option<String>| {
        fields.extend(value.as_ref().map(|value| format!("{name} = {}", quoted(value))))
    };
    text("class", &request.class);
    text("group", &request.group);
    text("client", &request.client);
    text("cgroup", &request.owner.cgroup);
    fields.extend(request.owner.uid.map(|uid| format!("uid = {uid}")));
    fields.extend(request.owner.gid.map(|gid| format!("gid = {gid}")));
    fields.extend(request.wait.then(|| "wait = true".to_owned()));
    if renditions.is_empty() && !first.is_empty() {
        fields.push(format!("template = {}", quoted(first)));
    } else if renditions.is_empty() {
        both(&mut fields, &request.qos.map(Some));
    } else {
        let names: Vec<_> =
            std::iter::once(first).chain(renditions.iter().map(|(name, _)| name)).map(quoted).collect();
        fields.push(format!("templates = [{}]", names.join(", ")));
    }
    let time = |at: u64| Micros::new(at.saturating_sub(now));
    fields.extend(request.start.map(|start| format!("start = \"{}\"", time(start))));
    let start = request.start.unwrap_or(now).max(now);
    fields
        .extend(request.end.map(|end| format!("duration = \"{}\"", Micros::new(end.saturating_sub(start)))));
    fields.extend(request.time_to_live.map(|time| format!("ttl = \"{time}\"")));
    fields.extend(request.setup_priority.map(|priority| format!("setup_priority = {priority}")));
    fields.extend(request.holding_priority.map(|priority| format!("holding_priority = {priority}")));
    format!("connect = {{ {} }}\n", fields.join(", "))
}

fn both(fields: &mut Vec<String>, asked: &Both<Option<Flowspec>>) {
    let specs = [("sending", &asked.sending), ("receiving", &asked.receiving)];
    fields.extend(
        specs.into_iter().filter_map(|(name, spec)| Some(format!("{name} = {}", flowspec(spec.as_ref()?)))),
    );
}

fn expectations(decision: &Decision, about: bool) -> String {
    let mut fields = Vec::new();
    if about {
        fields.push(format!("decision = \"{}\"", if decision.is_ok() { "admitted" } else { "refused" }));
        fields.extend(decision.error().map(|error| format!("error = \"{}\"", error.name())));
        fields.extend(decision.reason().map(|reason| format!("reason = \"{reason}\"")));
    }
    for (name, lists) in
        [("preempted", decision.preempted()), ("shed", decision.shed()), ("expired", &decision.expired)]
    {
        if !lists.is_empty() {
            let names: Vec<_> = lists.iter().map(quoted).collect();
            fields.push(format!("{name} = [{}]", names.join(", ")));
        }
    }
    if let Some((interface, totals)) = decision.totals.first_key_value()
        && decision.totals.len() == 1
    {
        let Both { sending, receiving } = totals.map(|totals| totals.reserved);
        fields.push(format!("interface = {}", quoted(interface)));
        fields.push(format!("reserved = {{ sending = \"{sending}\", receiving = \"{receiving}\" }}"));
    }
    fields.join(", ")
}
