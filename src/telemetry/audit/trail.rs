//! The lines of an audit trail, and what is held at its end.

use std::collections::HashSet;

use flowspec::{Micros, Moment};
use serde_json::json;

use super::fact::{AuditClient, AuditFact, Audited};
use super::header::{AuditRun, policy_digest};
use super::line::{Epoch, Fields, Line};
use super::live::{LiveFlow, LiveState};
use super::time::time_of;
use crate::admission::{Decision, Ladder, Operation, Reason};
use crate::policy::Policy;

/// Turns the facts of a manager into lines of JSON, numbered from 1 on.
#[derive(Debug)]
pub struct AuditTrail {
    run: AuditRun,
    epoch: Epoch,
    policy: PolicyName,
    seq: u64,
    live: LiveState,
}

#[derive(Debug)]
struct PolicyName {
    files: Vec<String>,
    digest: String,
}

impl PolicyName {
    fn of(policy: &Policy) -> Self {
        Self { files: policy.sources.clone(), digest: policy_digest(policy) }
    }
}

impl AuditTrail {
    /// A trail of a manager without flows. `epoch` is the manager's start, from 1970 on.
    pub fn new(run: AuditRun, epoch: Moment, policy: &Policy) -> Self {
        let epoch = Epoch(epoch.saturating_since(Moment::START));
        Self { run, epoch, policy: PolicyName::of(policy), seq: 0, live: LiveState::default() }
    }

    /// The lines of a fact, each with its end; none where it need not be replayed. `client` is that of the flow or the group,
    /// where the trail may not know it.
    pub fn lines(&mut self, audited: &Audited, client: AuditClient) -> String {
        let mut text = String::new();
        // Before it ends.
        let uid = client.uid.or_else(|| self.live.uid(&audited.fact));
        let AuditClient { pid, .. } = client;
        self.live.follow(audited, AuditClient { uid, pid });
        let epoch = self.epoch;
        match &audited.fact {
            AuditFact::Decided { operation, decision } => {
                if is_of_interest(operation, decision) {
                    let fields = Fields::of_operation(operation, epoch).by(uid);
                    let line = Line { pid, fields, ..Line::default() };
                    self.write(&mut text, (audited.at, operation.kind().name()), line, Some(decision));
                }
            }
            AuditFact::Adopted { operation, decision } => {
                let fields = Fields::of_operation(operation, epoch).by(uid);
                let line = Line { held: true, pid, fields, ..Line::default() };
                // A flow that was adopted needs no verdict. A refused one has ended with the process that was killed.
                let refusal = Some(&**decision).filter(|decision| !decision.is_ok());
                self.write(&mut text, (audited.at, operation.kind().name()), line, refusal);
            }
            AuditFact::Refused { request, decision } => {
                let fields = match request {
                    Some(ladder) => Fields::of_ladder(ladder, epoch),
                    None => Fields::of_refusal(decision).by(uid),
                };
                let line = Line { pid, fields, ..Line::default() };
                let op = if request.is_some() && may_decide(decision) { "reserve" } else { "refused" };
                self.write(&mut text, (audited.at, op), line, Some(decision));
            }
            AuditFact::Renegotiating { id, flowspecs } => {
                let fields = Fields::of_renegotiation(id, flowspecs, Some("begun")).by(uid);
                self.write(&mut text, (audited.at, "renegotiate"), Line::with(fields), None);
            }
            AuditFact::Renegotiated { id, flowspecs, decision } => {
                let step = if flowspecs.is_some() { "finished" } else { "abandoned" };
                let flowspecs = flowspecs.as_deref().copied().unwrap_or_default();
                let fields = Fields::of_renegotiation(id, &flowspecs, Some(step)).by(uid);
                self.write(&mut text, (audited.at, "renegotiate"), Line::with(fields), Some(decision));
            }
            AuditFact::TakenBack { id } => {
                let fields = Fields::of_flow(id).by(uid);
                self.write(&mut text, (audited.at, "release"), Line::with(fields), None);
            }
            AuditFact::Reinstated { ids, .. } => self.reinstated(&mut text, audited.at, ids),
            AuditFact::Ended { ids } => {
                self.write(&mut text, (audited.at, "tick"), Line::with(Fields::of_ended(ids)), None);
            }
            AuditFact::Link { interface, mtu, speed, again } => {
                let fields = Fields::of_link(interface, *mtu, *speed).again(*again);
                self.write(&mut text, (audited.at, "link"), Line::with(fields), None);
            }
            AuditFact::Programmed { interface, programmed } => {
                let fields = Fields::of_tree(interface, *programmed);
                self.write(&mut text, (audited.at, "link"), Line::with(fields), None);
            }
            AuditFact::Failed { method, id, error, problem, client } => {
                let fields = Fields::of_failure(method, id.as_deref(), (error, problem)).by(client.uid);
                let line = Line { pid: client.pid, fields, ..Line::default() };
                self.write(&mut text, (audited.at, "failed"), line, None);
            }
            AuditFact::Reloaded(policy) => {
                self.policy = PolicyName::of(policy);
                self.note(&mut text, audited.at, "reload");
            }
        }
        text
    }

    /// The lines that a file begins with: its header, and what is held at that moment.
    pub fn restate(&mut self, at: Moment) -> String {
        let mut text = String::new();
        self.note(&mut text, at, "audit");
        let live = std::mem::take(&mut self.live);
        for (interface, link) in &live.links {
            let seen = Fields::of_link(interface, link.mtu, link.speed).again(false);
            self.held(&mut text, (at, "link"), seen, None);
            if let Some(programmed) = link.programmed {
                self.held(&mut text, (at, "link"), Fields::of_tree(interface, programmed), None);
            }
        }
        for group in live.groups.values() {
            let fields = Fields::of_group(&group.request).by(group.uid);
            self.held(&mut text, (at, "group"), fields, None);
        }
        let epoch = self.epoch;
        for flow in live.flows() {
            let ladder = remaining(flow, at);
            self.held(&mut text, (at, "reserve"), Fields::of_ladder(&ladder, epoch), flow.pid);
        }
        for group in live.groups.values().filter(|group| group.is_closing) {
            let fields = Fields::of_flow(&group.request.id).by(group.uid);
            self.held(&mut text, (at, "ungroup"), fields, None);
        }
        for ((interface, direction), capacity) in &live.capacities {
            self.held(
                &mut text,
                (at, "capacity"),
                Fields::of_capacity(interface, *direction, *capacity),
                None,
            );
        }
        for ((interface, class), (window, rate)) in &live.measured {
            let measured = Fields::of_measure((interface, class), *window, *rate);
            self.held(&mut text, (at, "measure"), measured, None);
        }
        self.live = live;
        text
    }

    /// How many lines were made.
    pub const fn written(&self) -> u64 {
        self.seq
    }

    /// How many flows hold a reservation.
    pub fn flows(&self) -> usize {
        self.live.len()
    }

    /// The line that says how many facts are missing from the trail.
    pub fn gap(&mut self, at: Moment, missing: u64) -> String {
        let mut text = String::new();
        let record = json!({ "missing": missing });
        self.record(&mut text, (at, "gap"), record);
        text
    }

    /// Facts are missing: only these flows hold a reservation.
    pub fn resume(&mut self, live: &HashSet<String>) {
        self.live.keep(|id| live.contains(id));
    }

    /// The line that says that the daemon has ended.
    pub fn stopped(&mut self, at: Moment) -> String {
        let mut text = String::new();
        self.record(&mut text, (at, "stop"), json!({}));
        text
    }

    /// The reservations of flows that have them again.
    fn reinstated(&mut self, text: &mut String, at: Moment, ids: &[String]) {
        for id in ids {
            let Some(flow) = self.live.flow(id).cloned() else { continue };
            let ladder = remaining(&flow, at);
            let fields = Fields::of_ladder(&ladder, self.epoch);
            self.held(text, (at, "reserve"), fields, flow.pid);
        }
    }

    /// A line that says what is held already.
    fn held(
        &mut self,
        text: &mut String,
        when: (Moment, &'static str),
        fields: Fields<'_>,
        pid: Option<u32>,
    ) {
        self.write(text, when, Line { held: true, fields, pid, ..Line::default() }, None);
    }

    /// The header, or that the policy is another one.
    fn note(&mut self, text: &mut String, at: Moment, op: &'static str) {
        let AuditRun { run, version, pid } = &self.run;
        let record = json!({
            "version": 1,
            "run": run,
            "gqos": version,
            "pid": pid,
            "policy": { "files": self.policy.files, "digest": self.policy.digest },
            "flows": self.live.len(),
        });
        self.record(text, (at, op), record);
    }

    fn record(&mut self, text: &mut String, (at, op): (Moment, &'static str), mut record: serde_json::Value) {
        self.seq += 1;
        let at = self.epoch.at(at);
        let known = json!({ "at_us": at, "op": op, "seq": self.seq, "time": time_of(at) });
        if let (Some(fields), serde_json::Value::Object(known)) = (record.as_object_mut(), known) {
            // The time and the kind of a line come first where the order is kept.
            let rest = std::mem::replace(fields, known);
            fields.extend(rest);
        }
        text.push_str(&record.to_string());
        text.push('\n');
    }

    fn write(
        &mut self,
        text: &mut String,
        (at, op): (Moment, &'static str),
        line: Line<'_>,
        decision: Option<&Decision>,
    ) {
        self.seq += 1;
        let decision =
            decision.map(|decision| Decision { at: self.epoch.at(decision.at), ..decision.clone() });
        let at_us = self.epoch.at(at);
        let line =
            Line { at_us, op, seq: self.seq, time: time_of(at_us), decision: decision.as_ref(), ..line };
        // A line has no map with keys that are not strings, which alone is no JSON.
        if let Ok(json) = serde_json::to_string(&line) {
            text.push_str(&json);
            text.push('\n');
        }
    }
}

/// Whether the ledger may have changed, or a request was refused.
fn is_of_interest(operation: &Operation, decision: &Decision) -> bool {
    match operation {
        Operation::Query { .. } => false,
        Operation::Tick => decision.ended_any() || !decision.notified.is_empty(),
        // A flow that has lost its reservation before is released once more.
        _ => true,
    }
}

/// Whether a policy decides a request that has not reached the ledger: another one may have the template.
fn may_decide(decision: &Decision) -> bool {
    decision.reason() == Some(Reason::UnknownTemplate)
}

/// The request of a flow for the time that it has left.
fn remaining(flow: &LiveFlow, at: Moment) -> Ladder {
    let mut ladder = flow.ladder.clone();
    ladder.request.time_to_live =
        flow.expires.map(|expires| expires.saturating_since(at).max(Micros::new(1)));
    ladder
}

impl<'a> Line<'a> {
    fn with(fields: Fields<'a>) -> Self {
        Self { fields, ..Self::default() }
    }
}
