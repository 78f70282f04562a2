//! Runs a test in virtual time, and compares.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flowspec::{Bytes, Direction, Micros, Moment, Qos, Rate};

use super::step::{Action, Connect, Step, Time, Transfer};
use super::suite::Test;
use super::trace::Asked;
use crate::admission::{Decision, Operation, Reason, Refusal, RefusedRequest, Request, RequestKind};
use crate::manager::{Input, Manager};
use crate::policy::{Place, Policy, Subject};

/// What became of a test.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it went.
    pub verdict: Verdict,
    /// What it touched of the policy.
    pub touched: BTreeSet<Touched>,
    /// Every decision, as a trace has it, with the step's number.
    pub decisions: Vec<(usize, Decision)>,
    /// What is expected otherwise than it came: where it stands, and what would be right there.
    pub corrections: Vec<(Place, String)>,
}

/// How a test went.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Everything as expected.
    Ok,
    /// Something otherwise.
    Failed(Box<Failure>),
    /// It was not run, and why.
    Skipped(String),
}

/// The first thing that was otherwise.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// The step.
    pub place: Place,
    /// What was compared: `available`.
    pub what: String,
    /// What the test says.
    pub expected: String,
    /// What was found.
    pub actual: String,
    /// The decision, in its own words.
    pub why: String,
    /// The whole ledger at that step.
    pub ledger: String,
    /// Where in the policy the constraint stands that decided.
    pub rule: Option<Place>,
}

/// Something that a policy defines, or a kind of refusal.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Touched {
    /// An interface, as its table is called.
    Interface(String),
    /// A class.
    Class(String),
    /// A group.
    Group(String),
    /// A template.
    Template(String),
    /// A rule, by its number from 1.
    Rule(usize),
    /// A kind of refusal.
    Reason(Reason),
}

/// A test while it runs.
pub(super) struct Run<'a> {
    pub(super) manager: Manager,
    now: u64,
    pub(super) last_interface: String,
    policies: &'a BTreeMap<String, Arc<Policy>>,
    touched: BTreeSet<Touched>,
    decisions: Vec<(usize, Decision)>,
    corrections: Vec<(Place, String)>,
    granted: BTreeMap<String, Granted>,
    lab: Option<&'a mut dyn Laboratory>,
}

/// A flow that is admitted, as far as a transfer needs to know.
#[derive(Clone, Debug)]
struct Granted {
    interface: String,
    class: Option<String>,
    qos: Qos,
}

/// What a `transfer` step sends for real.
#[derive(Clone, Debug)]
pub struct Sending {
    /// The policy.
    pub policy: Arc<Policy>,
    /// The interface, as the policy calls it.
    pub interface: String,
    /// What it carries now.
    pub capacity: Rate,
    /// The flow's class.
    pub class: Option<String>,
    /// What the flow was granted.
    pub qos: Qos,
    /// How long it is measured.
    pub duration: Micros,
    /// Until so much has been sent.
    pub bytes: Option<Bytes>,
}

/// Where transfers are measured.
pub trait Laboratory {
    /// The rate at which the flow's IP datagrams leave.
    ///
    /// # Errors
    /// Why it could not be measured, for people.
    fn transfer(&mut self, sending: &Sending) -> Result<Rate, String>;
}

/// What a step gave, to be compared.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) decisions: Vec<Decision>,
    pub(super) expired: Vec<String>,
    pub(super) notified: Vec<String>,
    /// What a transfer came to.
    pub(super) rate: Option<Result<Rate, String>>,
}

/// Runs a test under a policy. `policies` has those that it reloads, by the names it gives them. Transfers
/// are measured in the laboratory; without one a test that has some is skipped.
///
/// # Panics
/// When a policy that the test reloads is not among them: the caller has read them all.
pub fn run_test<'a>(
    test: &Test,
    policy: &Arc<Policy>,
    policies: &'a BTreeMap<String, Arc<Policy>>,
    lab: Option<&'a mut dyn Laboratory>,
) -> Outcome {
    let manager = Manager::new(Arc::clone(policy));
    let last_interface = policy.interfaces.keys().next().cloned().unwrap_or_default();
    let (touched, decisions) = (BTreeSet::new(), Vec::new());
    let corrections = Vec::new();
    let granted = BTreeMap::new();
    let mut run =
        Run { manager, now: 0, last_interface, policies, touched, decisions, corrections, granted, lab };
    if run.lab.is_none() && test.steps.iter().any(|step| matches!(step.action, Action::Transfer(_))) {
        let why = "a transfer is measured on a private network: run it with --lab".to_owned();
        return Outcome {
            verdict: Verdict::Skipped(why),
            touched: run.touched,
            decisions: run.decisions,
            corrections: run.corrections,
        };
    }
    let mut verdict = Verdict::Ok;
    for (number, step) in test.steps.iter().enumerate() {
        // The first failure is told; what happens goes on, so that all can be corrected at once.
        if let Err(failure) = run.step(number, step)
            && verdict == Verdict::Ok
        {
            verdict = Verdict::Failed(failure);
        }
    }
    Outcome { verdict, touched: run.touched, decisions: run.decisions, corrections: run.corrections }
}

impl Run<'_> {
    fn step(&mut self, number: usize, step: &Step) -> Result<(), Box<Failure>> {
        let at = match step.at {
            Time::At(at) => at.get(),
            Time::After(after) => self.now.saturating_add(after.get()),
        };
        if at < self.now {
            let (expected, actual) = (format!("at least {} us", self.now), format!("{at} us"));
            return Err(self.failure(step, "at", expected, actual, None));
        }
        self.now = at;
        let seen = self.act(&step.action);
        for decision in &seen.decisions {
            self.touch(decision);
            self.decisions.push((number, decision.clone()));
        }
        if let Some(Err(why)) = &seen.rate {
            return Err(self.failure(step, "transfer", "to be measured", why, None));
        }
        let Some(expect) = &step.expect else { return Ok(()) };
        let result = self.compare(step, expect, &seen);
        if result.is_err() {
            self.corrections.push((expect.place.clone(), self.right(expect, &seen)));
        }
        result
    }

    fn act(&mut self, action: &Action) -> Seen {
        let mut seen =
            Seen { expired: self.manager.advance(Moment::from_micros(self.now)), ..Seen::default() };
        if !seen.expired.is_empty() {
            // What has ended by itself makes room as well: a tick says for whom.
            let tick = self.decide(&Operation::Tick);
            seen.notified = tick.notified;
        }
        match action {
            Action::Connect(connect) => {
                self.last_interface.clone_from(&connect.interface);
                for id in connect.id.each() {
                    let decision = match self.reserve(connect, id) {
                        Ok(operation) => {
                            let decision = self.decide(&operation);
                            self.remember(&operation, &decision);
                            decision
                        }
                        Err(refused) => self.manager.decide_refused(refused, Moment::from_micros(self.now)),
                    };
                    seen.decisions.push(decision);
                }
            }
            Action::Renegotiate { id, template, asked } => {
                let policy = Arc::clone(self.manager.ledger().policy());
                let named = template.as_ref().map(|name| (name, policy.templates.get(name)));
                for id in id.each() {
                    let operation = match named {
                        None => Operation::Renegotiate { id, asked: asked.clone() },
                        Some((_, Some(template))) => {
                            Operation::Renegotiate { id, asked: Box::new(template.qos.map(Some)) }
                        }
                        Some((name, None)) => {
                            let refusal = Refusal::UnknownTemplate { template: name.clone() };
                            let interface = Some(self.last_interface.clone());
                            let kind = RequestKind::Renegotiate;
                            let refused = RefusedRequest { kind, id, interface, refusal };
                            seen.decisions
                                .push(self.manager.decide_refused(refused, Moment::from_micros(self.now)));
                            continue;
                        }
                    };
                    let decision = self.decide(&operation);
                    self.remember(&operation, &decision);
                    seen.decisions.push(decision);
                }
            }
            Action::Refresh { id, time_to_live } => {
                for id in id.each() {
                    seen.decisions.push(self.decide(&Operation::Refresh { id, time_to_live: *time_to_live }));
                }
            }
            Action::Close(names) => seen.decisions = self.close(names.each()),
            Action::Crash(client) => {
                let flows = self.manager.ledger().flows_of(client);
                seen.decisions = self.close(flows.into_iter());
            }
            Action::Capacity { interface, direction, capacity } => {
                self.last_interface.clone_from(interface);
                let (direction, capacity) = (*direction, *capacity);
                let operation = Operation::Capacity { interface: interface.clone(), direction, capacity };
                seen.decisions.push(self.decide(&operation));
            }
            Action::Measure { interface, class, window, rate } => {
                self.last_interface.clone_from(interface);
                let (interface, class) = (interface.clone(), class.clone());
                let operation = Operation::Measure { interface, class, window: *window, rate: *rate };
                seen.decisions.push(self.decide(&operation));
            }
            Action::Reload(path) => drop(
                self.manager
                    .handle(Input::Policy(Arc::clone(&self.policies[path])), Moment::from_micros(self.now)),
            ),
            Action::Transfer(transfer) => seen.rate = Some(self.transfer(transfer)),
            Action::Wait => {}
        }
        seen
    }

    /// Keeps what a flow was granted, for its transfers.
    fn remember(&mut self, operation: &Operation, decision: &Decision) {
        if !decision.is_ok() {
            return;
        }
        match operation {
            Operation::Reserve(ladder) => {
                let Request { interface, class, qos, .. } = &ladder.request;
                let lower =
                    ladder.renditions.iter().find(|(name, _)| Some(name.as_str()) == decision.rendition());
                let (interface, class) = (interface.clone(), class.clone());
                let qos = lower.map_or(*qos, |(_, qos)| *qos);
                self.granted
                    .insert(decision.id().unwrap_or_default().to_owned(), Granted { interface, class, qos });
            }
            Operation::Renegotiate { id, asked } => {
                if let Some(granted) = self.granted.get_mut(id) {
                    granted.qos.sending = asked.sending.unwrap_or(granted.qos.sending);
                    granted.qos.receiving = asked.receiving.unwrap_or(granted.qos.receiving);
                }
            }
            _ => {}
        }
    }

    /// Sends for real what a flow may send.
    fn transfer(&mut self, transfer: &Transfer) -> Result<Rate, String> {
        let Transfer { id, duration, bytes } = transfer;
        let granted = self.granted.get(id).filter(|_| self.manager.ledger().flow(id).is_some());
        let Some(Granted { interface, class, qos }) = granted.cloned() else {
            return Err(format!("no flow {id:?} is admitted"));
        };
        self.last_interface.clone_from(&interface);
        let Some(capacity) = self.manager.ledger().capacity(&interface, Direction::Sending) else {
            return Err(format!("{interface}: what it carries is not known"));
        };
        let policy = Arc::clone(self.manager.ledger().policy());
        let sending = Sending { policy, interface, capacity, class, qos, duration: *duration, bytes: *bytes };
        match &mut self.lab {
            Some(lab) => lab.transfer(&sending),
            None => Err("there is no laboratory".to_owned()),
        }
    }

    fn close(&mut self, ids: impl Iterator<Item = String>) -> Vec<Decision> {
        let mut decisions = Vec::new();
        for id in ids {
            if let Some((interface, _)) = self.manager.ledger().flow(&id) {
                self.last_interface = interface.to_owned();
            }
            decisions.push(self.decide(&Operation::Release { id }));
        }
        decisions
    }

    fn reserve(&mut self, connect: &Connect, id: String) -> Result<Operation, RefusedRequest> {
        let policy = Arc::clone(self.manager.ledger().policy());
        let mut request = Request::new(id, connect.interface.clone(), Qos::BEST_EFFORT);
        request.class.clone_from(&connect.class);
        request.group.clone_from(&connect.group);
        request.client.clone_from(&connect.client);
        request.owner.clone_from(&connect.owner);
        let start = self.now.saturating_add(connect.start.map_or(0, Micros::get));
        request.start = Some(start);
        request.end = connect.duration.map(|duration| start.saturating_add(duration.get()));
        request.time_to_live = connect.time_to_live;
        request.wait = connect.wait;
        (request.setup_priority, request.holding_priority) =
            (connect.setup_priority, connect.holding_priority);
        let mut templates = connect.templates.clone();
        if templates.is_empty() && connect.sending.is_none() && connect.receiving.is_none() {
            let subject = Subject {
                protocol: connect.protocol.unwrap_or(crate::policy::Protocol::Tcp),
                local_port: connect.local_port.unwrap_or_default(),
                peer: connect
                    .peer
                    .as_deref()
                    .and_then(|peer| peer.parse().ok())
                    .unwrap_or(core::net::Ipv4Addr::UNSPECIFIED.into()),
            };
            let rules = policy.rules.iter().enumerate();
            if let Some((number, rule)) = rules.into_iter().find(|(_, rule)| rule.matches.is_met_by(&subject))
            {
                self.touched.insert(Touched::Rule(number + 1));
                templates.push(rule.template.clone());
                request.class = request.class.or_else(|| rule.class.clone());
            }
        }
        for template in &templates {
            if policy.templates.contains_key(template) {
                self.touched.insert(Touched::Template(template.clone()));
            }
        }
        if let Some(class) = request.class.as_ref().filter(|class| policy.classes.contains_key(*class)) {
            self.touched.insert(Touched::Class(class.clone()));
        }
        if let Some(group) = request.group.as_ref().filter(|group| policy.groups.contains_key(*group)) {
            self.touched.insert(Touched::Group(group.clone()));
        }
        let asked = Asked { templates, sending: connect.sending, receiving: connect.receiving };
        let (id, interface) = (request.id.clone(), request.interface.clone());
        let ladder = asked.reserve(request, &policy).unwrap_or_else(|_| {
            // The file's reader has refused a template beside a flowspec.
            let refusal = Refusal::UnknownTemplate { template: String::new() };
            Err(RefusedRequest { kind: RequestKind::Reserve, id, interface: Some(interface), refusal })
        });
        ladder.map(|ladder| Operation::Reserve(Box::new(ladder)))
    }

    fn decide(&mut self, operation: &Operation) -> Decision {
        self.manager.decide(operation.clone(), Moment::from_micros(self.now))
    }

    fn touch(&mut self, decision: &Decision) {
        let policy = self.manager.ledger().policy();
        for interface in decision.totals.keys() {
            let known = if policy.interfaces.contains_key(interface) { interface.as_str() } else { "*" };
            self.touched.insert(Touched::Interface(known.to_owned()));
        }
        self.touched.extend(decision.reason().map(Touched::Reason));
    }
}

#[cfg(test)]
mod tests {
    use crate::scenario::step::Names;

    #[test]
    fn names_are_numbered_from_one() {
        let names = Names { pattern: "v{n}".into(), repeat: 3 };
        assert_eq!(names.each().collect::<Vec<_>>(), ["v1", "v2", "v3"]);
    }
}
