//! Runs a test in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flowspec::{Both, Direction, Flowspec, Micros, Moment, Qos, Rate};

use super::compare::{Mismatch, ObservedStep};
use super::connect::Connect;
use super::correction::correction;
use super::coverage::CoverageItem;
use super::laboratory::{Laboratory, TransferFailure, TransferRequest};
use super::names::IdPattern;
use super::outcome::{
    Compared, Correction, NoExpectations, Requested, SkipReason, StepDecision, TestFailure, TestOutcome,
    Uncorrectable, Verdict,
};
use super::requested::{RequestedQos, renegotiated};
use super::snapshot::LedgerSnapshot;
use super::step::{Action, Expect, GroupStep, Step, Transfer};
use super::suite::Test;
use crate::admission::{
    Decision, GroupRequest, Ledger, Operation, PeerState, RefusedRequest, Request, RequestKind,
};
use crate::manager::DryRun;
use crate::policy::Policy;

/// A test while it runs.
struct Run<'a> {
    manager: DryRun,
    now: Moment,
    /// The interface of the last request, at first that of the policy's first table; none if it has only `"*"`.
    interface: Option<String>,
    policies: &'a BTreeMap<String, Arc<Policy>>,
    /// The policy that was reloaded last, by its name in `policies`.
    reloaded: Option<String>,
    lab: Option<&'a mut dyn Laboratory>,
    granted: BTreeMap<String, GrantedFlow>,
    /// What the present step requests.
    requested: Requested,
    outcome: TestOutcome,
}

/// What a transfer needs to know of an admitted flow.
#[derive(Clone, Debug)]
struct GrantedFlow {
    interface: String,
    class: Option<String>,
    qos: Qos,
}

/// Runs a test under a policy.
///
/// `policies` holds the policies that the test reloads, by the names that it gives them. `transfer` steps are measured in
/// the laboratory; without one, a test that has such steps is skipped.
///
/// # Panics
/// When a policy that the test reloads is not in `policies`.
pub fn run_test<'a>(
    test: &Test,
    policy: &Arc<Policy>,
    policies: &'a BTreeMap<String, Arc<Policy>>,
    lab: Option<&'a mut dyn Laboratory>,
) -> TestOutcome {
    let outcome = TestOutcome {
        verdict: Verdict::Ok,
        covered: BTreeSet::new(),
        covered_after_reload: BTreeMap::new(),
        decisions: Vec::new(),
        corrections: Vec::new(),
        uncorrectable: Vec::new(),
    };
    let is_transfer = |step: &Step| matches!(step.action, Action::Transfer(_));
    if lab.is_none() && test.steps.iter().any(is_transfer) {
        return TestOutcome { verdict: Verdict::Skipped(SkipReason::NeedsLaboratory), ..outcome };
    }
    let mut run = Run {
        manager: DryRun::new(Arc::clone(policy)),
        now: Moment::START,
        interface: policy.interfaces.keys().next().cloned(),
        policies,
        reloaded: None,
        lab,
        granted: BTreeMap::new(),
        requested: Requested::default(),
        outcome,
    };
    for (number, step) in test.steps.iter().enumerate() {
        // The verdict names the first failure. Later steps are run all the same, to correct all expectations at once.
        let corrections = run.outcome.corrections.len() + run.outcome.uncorrectable.len();
        let Err(mismatch) = run.step(number, step) else { continue };
        if run.outcome.corrections.len() + run.outcome.uncorrectable.len() == corrections {
            // It is not an expectation that does not hold.
            let Mismatch { compared, expected, actual, .. } = (*mismatch).clone();
            let reason = NoExpectations::StepFails { compared, expected, actual };
            run.outcome.uncorrectable.push(Uncorrectable { place: step.place.clone(), reason });
        }
        if run.outcome.verdict == Verdict::Ok {
            run.outcome.verdict = Verdict::Failed(run.failure(step, *mismatch));
        }
    }
    run.outcome
}

impl Run<'_> {
    fn step(&mut self, number: usize, step: &Step) -> Result<(), Box<Mismatch>> {
        let at = step.time.after(self.now);
        if at < self.now {
            let (expected, actual) = (self.now.as_micros(), at.as_micros());
            let expected = format!("at least {expected} us");
            return Err(Mismatch::new(Compared::Time, expected, format!("{actual} us")));
        }
        self.now = at;
        self.requested = Requested { policy: self.reloaded.clone(), ..Requested::default() };
        let observed = self.act(&step.action);
        for decision in &observed.decisions {
            self.cover_decision(decision);
            let (requested, decision) = (self.requested.clone(), decision.clone());
            self.outcome.decisions.push(StepDecision { step: number, requested, decision });
        }
        if let Some(Err(failure)) = &observed.rate {
            return Err(Mismatch::new(Compared::Transfer, "a measured rate", failure));
        }
        let Some(expect) = &step.expect else { return Ok(()) };
        self.compare(expect, &observed)
    }

    /// Compares the expectations, and notes those that would hold if one does not.
    fn compare(&mut self, expect: &Expect, observed: &ObservedStep) -> Result<(), Box<Mismatch>> {
        let ledger = self.manager.ledger();
        let decided = self.interface.as_deref().filter(|_| !observed.decisions.is_empty());
        let elsewhere = decided.filter(|decided| expect.names_another_interface(decided));
        let corrected = elsewhere.map(|decided| Expect { interface: Some(decided.into()), ..expect.clone() });
        let wanted = corrected.as_ref().unwrap_or(expect);
        let interface = wanted.interface.as_deref().or(self.interface.as_deref());
        let result = match (elsewhere, &expect.interface) {
            (Some(decided), Some(named)) => Err(Mismatch::new(Compared::Interface, named, decided)),
            _ => observed.compare(expect, ledger, interface),
        };
        if result.is_err() {
            let place = expect.place.clone();
            match correction(wanted, observed, ledger, interface) {
                Ok(expectations) => self.outcome.corrections.push(Correction { place, expectations }),
                Err(reason) => self.outcome.uncorrectable.push(Uncorrectable { place, reason }),
            }
        }
        result
    }

    fn failure(&self, step: &Step, mismatch: Mismatch) -> Box<TestFailure> {
        let Mismatch { compared, expected, actual, decision } = mismatch;
        let expect = step.expect.as_ref();
        let key = expect.and_then(|expect| expect.keys.iter().find(|(key, _)| key == compared.key()));
        let place = key.map_or(&step.place, |(_, place)| place).clone();
        let ledger = LedgerSnapshot::of(self.ledger());
        let policy = self.reloaded.clone();
        Box::new(TestFailure { place, compared, expected, actual, decision, policy, ledger })
    }

    fn act(&mut self, action: &Action) -> ObservedStep {
        let mut observed = ObservedStep { ended: self.manager.advance(self.now), ..ObservedStep::default() };
        if !observed.ended.is_empty() {
            // A tick says which flows are notified of the capacity that these have freed.
            observed.notified = self.decide(Operation::Tick).notified;
        }
        match action {
            Action::Connect(connect) => observed.decisions = self.connect(connect),
            Action::Query(query) => observed.decisions.push(self.query(query)),
            Action::Renegotiate { id, template, flowspecs } => {
                observed.decisions = self.renegotiate(id, template.as_deref(), flowspecs);
            }
            Action::Refresh { id, time_to_live } => {
                let time_to_live = *time_to_live;
                observed.decisions = id.each().map(|id| self.refresh(id, time_to_live)).collect();
            }
            Action::Peer { id, state, lasting } => {
                let lasting = lasting.as_ref().map(|lasting| lasting.value);
                observed.decisions = id.each().map(|id| self.see_peer(id, *state, lasting)).collect();
            }
            Action::Close(names) => observed.decisions = names.each().map(|id| self.release(id)).collect(),
            Action::Crash(client) => {
                let flows = self.ledger().flows_of(client);
                observed.decisions = flows.into_iter().map(|id| self.release(id)).collect();
            }
            Action::Group(group) => observed.decisions.push(self.group(group)),
            Action::Ungroup(id) => {
                if let Some((interface, _)) = self.manager.ledger().group_totals(id) {
                    self.interface = Some(interface.to_owned());
                }
                observed.decisions.push(self.decide(Operation::Ungroup { id: id.clone() }));
            }
            Action::Capacity { interface, direction, capacity } => {
                self.interface = Some(interface.clone());
                let (interface, direction, capacity) = (interface.clone(), *direction, *capacity);
                observed.decisions.push(self.decide(Operation::Capacity { interface, direction, capacity }));
            }
            Action::Measure { interface, class, window, rate } => {
                self.interface = Some(interface.clone());
                let (interface, class) = (interface.clone(), class.clone());
                let operation = Operation::Measure { interface, class, window: *window, rate: *rate };
                observed.decisions.push(self.decide(operation));
            }
            Action::Reload(path) => {
                let policy = Arc::clone(&self.policies[path]);
                self.reloaded = Some(path.clone());
                let mut decision = self.manager.reload(policy, self.now);
                observed.ended.append(decision.take_ended());
                observed.notified.append(&mut decision.notified);
            }
            Action::Transfer(transfer) => observed.rate = Some(self.transfer(transfer)),
            Action::Wait => {}
        }
        observed
    }

    fn connect(&mut self, connect: &Connect) -> Vec<Decision> {
        self.interface = Some(connect.interface.clone());
        let policy = Arc::clone(self.ledger().policy());
        let submit = |id| {
            let mut request = connect.request(id, self.now);
            let qos = self.choose_qos(connect, &mut request, &policy);
            match qos.reserve(request, &policy) {
                Ok(ladder) => self.decide_and_remember(Operation::Reserve(Box::new(ladder))),
                Err(refused) => self.manager.refuse(*refused, self.now),
            }
        };
        connect.id.each().map(submit).collect()
    }

    fn query(&mut self, query: &Connect) -> Decision {
        self.interface = Some(query.interface.clone());
        let policy = Arc::clone(self.ledger().policy());
        let mut request = query.request(query.id.pattern.clone(), self.now);
        let qos = self.choose_qos(query, &mut request, &policy);
        match qos.reserve(request, &policy) {
            Ok(ladder) => {
                let (interface, request) = (query.interface.clone(), Some(Box::new(ladder.request)));
                self.decide(Operation::Query { interface, request })
            }
            Err(refused) => {
                self.manager.refuse(RefusedRequest { kind: RequestKind::Query, ..*refused }, self.now)
            }
        }
    }

    fn group(&mut self, group: &GroupStep) -> Decision {
        let GroupStep { id, interface, class, mode, qos } = group.clone();
        self.interface = Some(interface.clone());
        let policy = Arc::clone(self.ledger().policy());
        for template in qos.templates().iter().filter(|name| policy.templates.contains_key(*name)) {
            self.cover(CoverageItem::Template(template.clone()));
        }
        match qos.group(&policy) {
            Ok(qos) => {
                let request = GroupRequest { id, interface, class, mode, qos };
                self.decide(Operation::Group(Box::new(request)))
            }
            Err(refusal) => {
                let (kind, interface) = (RequestKind::Group { id }, Some(interface));
                self.manager.refuse(RefusedRequest { kind, interface, refusal }, self.now)
            }
        }
    }

    /// What the flow asks for: what the step names, or else what the policy's rules give. A rule may also give the class.
    fn choose_qos(&mut self, connect: &Connect, request: &mut Request, policy: &Policy) -> RequestedQos {
        let mut qos = connect.qos.clone();
        if qos.is_absent() {
            let subject = connect.subject();
            if let Some(rule) = policy.rule_for(&subject, &connect.interface) {
                let number = policy.rules.iter().take_while(|before| !std::ptr::eq(*before, rule)).count();
                self.cover(CoverageItem::Rule(number + 1));
                self.requested.rule = Some(number + 1);
                qos = RequestedQos::Templates(rule.templates.clone());
                request.class = request.class.take().or_else(|| rule.class.clone());
                request.group = request.group.take().or_else(|| rule.group.clone());
            }
        }
        for template in qos.templates().iter().filter(|name| policy.templates.contains_key(*name)) {
            self.cover(CoverageItem::Template(template.clone()));
        }
        self.requested.templates = qos.templates().to_vec();
        // A flow without a class and a group gets the class that its owner matches.
        let of_owner = || policy.class_for(&request.owner).filter(|_| request.group.is_none());
        let class = request.class.as_deref().or_else(of_owner);
        if let Some(class) = class.filter(|class| policy.classes.contains_key(*class)) {
            self.cover(CoverageItem::Class(class.to_owned()));
        }
        let group = request.group.as_ref().and_then(|name| policy.groups.get_key_value(name));
        if let Some((name, group)) = group {
            self.cover(CoverageItem::Group(name.clone()));
            // The class that is charged for its members.
            group.class.iter().for_each(|class| self.cover(CoverageItem::Class(class.clone())));
        }
        qos
    }

    fn renegotiate(
        &mut self,
        names: &IdPattern,
        template: Option<&str>,
        flowspecs: &Both<Option<Flowspec>>,
    ) -> Vec<Decision> {
        let policy = Arc::clone(self.ledger().policy());
        self.requested.templates = template.map(str::to_owned).into_iter().collect();
        let requested = renegotiated(template, *flowspecs, &policy);
        let submit = |id: String| {
            self.name_interface_of(&id);
            match &requested {
                Ok(flowspecs) => {
                    self.decide_and_remember(Operation::Renegotiate { id, flowspecs: Box::new(*flowspecs) })
                }
                Err(refusal) => {
                    let refusal = refusal.clone();
                    let (kind, interface) = (RequestKind::Renegotiate { id }, self.interface.clone());
                    let refused = RefusedRequest { kind, interface, refusal };
                    self.manager.refuse(refused, self.now)
                }
            }
        };
        names.each().map(submit).collect()
    }

    fn refresh(&mut self, id: String, time_to_live: Micros) -> Decision {
        self.name_interface_of(&id);
        self.decide(Operation::Refresh { id, time_to_live })
    }

    /// From now on, expectations are about the interface of this flow.
    fn name_interface_of(&mut self, id: &str) {
        if let Some((interface, _)) = self.manager.ledger().flow(id) {
            self.interface = Some(interface.to_owned());
        }
    }

    fn see_peer(&mut self, id: String, state: PeerState, lasting: Option<Micros>) -> Decision {
        self.name_interface_of(&id);
        let since = lasting.map(|lasting| self.now.saturating_sub(lasting));
        self.decide(Operation::Peer { id, state, since })
    }

    fn release(&mut self, id: String) -> Decision {
        self.name_interface_of(&id);
        self.decide(Operation::Release { id })
    }

    /// Decides, and keeps what a flow was granted for its transfers.
    fn decide_and_remember(&mut self, operation: Operation) -> Decision {
        let decision = self.decide(operation.clone());
        if !decision.is_ok() {
            return decision;
        }
        match operation {
            Operation::Reserve(ladder) => {
                let lower = decision.rendition().filter(|_| !decision.is_first_rendition());
                let rendition = ladder.renditions.iter().find(|(name, _)| Some(name.as_str()) == lower);
                let Request { id, interface, class, qos, .. } = ladder.request;
                let qos = rendition.map_or(qos, |(_, qos)| *qos);
                self.granted.insert(id, GrantedFlow { interface, class, qos });
            }
            Operation::Renegotiate { id, flowspecs } => {
                if let Some(granted) = self.granted.get_mut(&id) {
                    granted.qos.sending = flowspecs.sending.unwrap_or(granted.qos.sending);
                    granted.qos.receiving = flowspecs.receiving.unwrap_or(granted.qos.receiving);
                }
            }
            _ => {}
        }
        decision
    }

    /// Measures what an admitted flow sends.
    fn transfer(&mut self, transfer: &Transfer) -> Result<Rate, TransferFailure> {
        let Transfer { id, duration, bytes } = transfer;
        let granted = self.granted.get(id).filter(|_| self.ledger().flow(id).is_some());
        let Some(GrantedFlow { interface, class, qos }) = granted.cloned() else {
            return Err(TransferFailure::UnknownFlow { id: id.clone() });
        };
        self.interface = Some(interface.clone());
        let Some(capacity) = self.ledger().capacity(&interface, Direction::Sending) else {
            return Err(TransferFailure::UnknownCapacity { interface });
        };
        let policy = Arc::clone(self.ledger().policy());
        let (duration, bytes) = (*duration, *bytes);
        let request = TransferRequest { policy, interface, capacity, class, qos, duration, bytes };
        let lab = self.lab.as_mut().expect("a test with transfers is skipped without a laboratory");
        lab.transfer(&request)
    }

    fn decide(&mut self, operation: Operation) -> Decision {
        self.manager.decide(operation, self.now)
    }

    fn ledger(&self) -> &Ledger {
        self.manager.ledger()
    }

    /// What the steps up to here cover of the policy that is in use.
    fn covered(&mut self) -> &mut BTreeSet<CoverageItem> {
        match &self.reloaded {
            Some(name) => self.outcome.covered_after_reload.entry(name.clone()).or_default(),
            None => &mut self.outcome.covered,
        }
    }

    fn cover(&mut self, item: CoverageItem) {
        self.covered().insert(item);
    }

    /// Covers the interfaces of a decision, and its reason.
    fn cover_decision(&mut self, decision: &Decision) {
        let policy = Arc::clone(self.manager.ledger().policy());
        let covered = self.covered();
        for interface in decision.totals.keys() {
            let table = if policy.interfaces.contains_key(interface) { interface.as_str() } else { "*" };
            covered.insert(CoverageItem::Interface(table.to_owned()));
        }
        covered.extend(decision.reason().map(CoverageItem::Reason));
    }
}
