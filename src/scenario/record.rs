//! Turns a trace into a test, with the decisions of a policy as expectations.

use std::fmt::Write;
use std::sync::Arc;

use flowspec::{Both, Direction, Flowspec, Moment};

use super::names::IdPattern;
use super::trace::{TraceError, TraceReader};
use crate::admission::{
    Decision, GroupRequest, Ladder, Operation, OperationKind, Refusal, RefusedRequest, RequestKind,
};
use crate::manager::DryRun;
use crate::policy::notation::{flowspec, quoted};
use crate::policy::{GroupMode, Policy};

/// What a test file is made from.
#[derive(Clone, Copy, Debug)]
pub struct Recording<'a> {
    /// The text of the trace, one request a line.
    pub trace: &'a str,
    /// Decides each request; the test expects its decisions.
    pub policy: &'a Arc<Policy>,
    /// The policy's name in the test file, relative to it.
    pub policy_name: &'a str,
}

/// Why a trace cannot be turned into a test.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The line is not JSON, or not a request.
    #[error("{line}: {error}")]
    Line {
        /// From 1.
        line: usize,
        /// Why it is not a request.
        error: TraceError,
    },
    /// `{n}` in the id of a test's flow stands for a number.
    #[error("{line}: the id {id:?} contains {{n}}, which stands for a number in a test")]
    Pattern {
        /// From 1.
        line: usize,
        /// The flow's id.
        id: String,
    },
    /// A test needs a step.
    #[error(" the trace has no request, and a test of no steps would be invalid")]
    NoRequest,
    /// No step of a test does what the line requests.
    #[error("{line}: a test has no step for {}", op.name())]
    NoStep {
        /// From 1.
        line: usize,
        /// The operation that the line requests.
        op: OperationKind,
    },
}

/// A test file with a step for each line of the trace. Each step expects what the policy decides now.
///
/// - **Errors**: the trace has no request, a line is not one, or no step of a test does what it requests.
pub fn record(recording: &Recording<'_>) -> Result<String, RecordError> {
    let Recording { trace, policy, policy_name } = *recording;
    let mut manager = DryRun::new(Arc::clone(policy));
    let mut reader = TraceReader::new(policy);
    let mut text = format!("policy = {}\n\n[[test]]\nname = \"recorded\"\n", quoted(policy_name));
    let mut has_step = false;
    for (number, row) in trace.lines().enumerate() {
        let line = number + 1;
        let traced = reader.read(row).map_err(|error| RecordError::Line { line, error })?;
        let Some(traced) = traced else { continue };
        if let Some(id) = flow_id(&traced.request).filter(|id| IdPattern::is_pattern(id)) {
            return Err(RecordError::Pattern { line, id: id.to_owned() });
        }
        let decision = traced.clone().decide_by_manager(&mut manager);
        let action = match &traced.request {
            Ok(operation) => Some(action(operation, traced.at)),
            Err(refused) => refused_action(refused),
        };
        let Some(action) = action else {
            return Err(RecordError::NoStep { line, op: decision.operation() });
        };
        let expects = Expects::of(&traced.request);
        let at = traced.at.saturating_since(Moment::START);
        // Writing to a String cannot fail.
        let _ = write!(text, "\n[[test.step]]\nat = \"{at}\"\n{action}");
        let mut expected = expectations(&decision, expects);
        if expected.is_empty() {
            // Nothing else is known after time has passed on several interfaces.
            expected.push(format!("flows = {}", manager.ledger().flows()));
        }
        let _ = writeln!(text, "expect = {{ {} }}", expected.join(", "));
        has_step = true;
    }
    if has_step { Ok(text) } else { Err(RecordError::NoRequest) }
}

/// What a recorded step expects besides sums and lists.
#[derive(Clone, Copy)]
struct Expects {
    /// Its decision: not of time that passes, nor of a query for what is free.
    decision: bool,
    /// Which of several renditions a flow got.
    rendition: bool,
    /// Whether the flow waits for capacity.
    waiting: bool,
}

impl Expects {
    fn of(request: &Result<Operation, RefusedRequest>) -> Self {
        let ladder = match request {
            Ok(Operation::Reserve(ladder)) => Some(ladder),
            _ => None,
        };
        Self {
            decision: !matches!(request, Ok(Operation::Tick | Operation::Query { request: None, .. })),
            rendition: ladder.is_some_and(|ladder| !ladder.renditions.is_empty()),
            waiting: ladder.is_some_and(|ladder| ladder.request.wait),
        }
    }
}

/// The id of the flow that a step names.
fn flow_id(request: &Result<Operation, RefusedRequest>) -> Option<&str> {
    match request {
        Ok(Operation::Reserve(ladder)) => Some(&ladder.request.id),
        Ok(
            Operation::Renegotiate { id, .. }
            | Operation::Refresh { id, .. }
            | Operation::Peer { id, .. }
            | Operation::Release { id },
        ) => Some(id),
        Ok(
            Operation::Group(_)
            | Operation::Ungroup { .. }
            | Operation::Capacity { .. }
            | Operation::Measure { .. }
            | Operation::Query { .. }
            | Operation::Tick,
        ) => None,
        Err(RefusedRequest { kind, .. }) => match kind {
            RequestKind::Group { .. } | RequestKind::Query => None,
            RequestKind::Reserve { id } | RequestKind::Renegotiate { id } | RequestKind::Release { id } => {
                Some(id)
            }
        },
    }
}

fn action(operation: &Operation, now: Moment) -> String {
    match operation {
        Operation::Reserve(ladder) => connect(ladder, now),
        Operation::Renegotiate { id, flowspecs } => {
            let mut fields = vec![format!("id = {}", quoted(id))];
            both(&mut fields, flowspecs);
            format!("renegotiate = {{ {} }}\n", fields.join(", "))
        }
        Operation::Refresh { id, time_to_live } => {
            format!("refresh = {{ id = {}, ttl = \"{time_to_live}\" }}\n", quoted(id))
        }
        Operation::Peer { id, state, since } => {
            let lasting = since.map(|since| format!(", for = \"{}\"", now.saturating_since(since)));
            format!(
                "peer = {{ id = {}, state = \"{}\"{} }}\n",
                quoted(id),
                state.name(),
                lasting.unwrap_or_default()
            )
        }
        Operation::Release { id } => format!("close = {}\n", quoted(id)),
        Operation::Capacity { interface, direction, capacity } => {
            let direction = match direction {
                Direction::Sending => "egress",
                Direction::Receiving => "ingress",
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
        Operation::Group(request) => group(request),
        Operation::Ungroup { id } => format!("ungroup = {}\n", quoted(id)),
        Operation::Query { request: Some(request), .. } => {
            let ladder = Ladder { request: (**request).clone(), first: None, renditions: Vec::new() };
            let mut fields = flow(&ladder, now);
            if request.id.is_empty() {
                fields.remove(0);
            }
            format!("query = {{ {} }}\n", fields.join(", "))
        }
        Operation::Query { request: None, .. } | Operation::Tick => String::new(),
    }
}

/// The action of a step that names a template which the policy does not have; `None` for any other refusal.
fn refused_action(refused: &RefusedRequest) -> Option<String> {
    let RefusedRequest { kind, interface, refusal: Refusal::UnknownTemplate { template } } = refused else {
        return None;
    };
    let (action, id) = match kind {
        RequestKind::Reserve { id } => ("connect", id),
        RequestKind::Group { id } => ("group", id),
        RequestKind::Query => {
            let (interface, template) = (quoted(interface.as_ref()?), quoted(template));
            return Some(format!("query = {{ interface = {interface}, template = {template} }}\n"));
        }
        RequestKind::Renegotiate { id } => ("renegotiate", id),
        RequestKind::Release { .. } => return None,
    };
    let (id, template) = (quoted(id), quoted(template));
    if action == "renegotiate" {
        return Some(format!("renegotiate = {{ id = {id}, template = {template} }}\n"));
    }
    let interface = quoted(interface.as_ref()?);
    Some(format!("{action} = {{ id = {id}, interface = {interface}, template = {template} }}\n"))
}

fn connect(ladder: &Ladder, now: Moment) -> String {
    format!("connect = {{ {} }}\n", flow(ladder, now).join(", "))
}

/// The fields of a flow.
fn flow(ladder: &Ladder, now: Moment) -> Vec<String> {
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
    match (first, renditions.is_empty()) {
        (None, true) => both(&mut fields, &request.qos.map(Some)),
        (Some(first), true) => fields.push(format!("template = {}", quoted(first))),
        (first, false) => {
            let names = first.iter().chain(renditions.iter().map(|(name, _)| name));
            let names: Vec<_> = names.map(quoted).collect();
            fields.push(format!("templates = [{}]", names.join(", ")));
        }
    }
    let begins = request.start.unwrap_or(now);
    fields.extend(request.start.map(|_| format!("start = \"{}\"", begins.saturating_since(now))));
    fields.extend(request.end.map(|end| {
        let duration = end.saturating_since(begins.max(now));
        format!("duration = \"{duration}\"")
    }));
    fields.extend(request.time_to_live.map(|time| format!("ttl = \"{time}\"")));
    fields.extend(request.setup_priority.map(|priority| format!("setup_priority = {priority}")));
    fields.extend(request.holding_priority.map(|priority| format!("holding_priority = {priority}")));
    fields
}

fn group(request: &GroupRequest) -> String {
    let GroupRequest { id, interface, class, mode, qos } = request;
    let mut fields = vec![format!("id = {}", quoted(id)), format!("interface = {}", quoted(interface))];
    fields.extend(class.as_ref().map(|class| format!("class = {}", quoted(class))));
    let word = GroupMode::WORDS.iter().find(|(_, known)| known == mode).map(|(word, _)| *word);
    fields.extend(word.map(|word| format!("mode = \"{word}\"")));
    both(&mut fields, &qos.map(Some));
    format!("group = {{ {} }}\n", fields.join(", "))
}

fn both(fields: &mut Vec<String>, flowspecs: &Both<Option<Flowspec>>) {
    let specs = [("sending", &flowspecs.sending), ("receiving", &flowspecs.receiving)];
    fields.extend(
        specs.into_iter().filter_map(|(name, spec)| Some(format!("{name} = {}", flowspec(spec.as_ref()?)))),
    );
}

fn expectations(decision: &Decision, expects: Expects) -> Vec<String> {
    let mut fields = Vec::new();
    if expects.decision {
        fields.push(format!("decision = \"{}\"", if decision.is_ok() { "admitted" } else { "refused" }));
        fields.extend(decision.error().map(|error| format!("error = \"{}\"", error.name())));
        fields.extend(decision.reason().map(|reason| format!("reason = \"{reason}\"")));
    }
    let rendition = decision.rendition().filter(|_| expects.rendition);
    fields.extend(rendition.map(|name| format!("rendition = {}", quoted(name))));
    fields.extend(expects.waiting.then(|| format!("waiting = {}", decision.is_waiting())));
    for (name, lists) in [
        ("preempted", decision.preempted()),
        ("shed", decision.shed()),
        ("expired", &decision.expired),
        ("dead", &decision.dead),
        ("stalled", &decision.stalled),
    ] {
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
    fields
}
