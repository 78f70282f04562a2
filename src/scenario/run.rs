//! Runs a test in virtual time, and compares.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

use flowspec::{Both, Direction, Qos, Rate};

use super::suite::{Action, Connect, Expect, Step, Test, Time};
use super::trace::Asked;
use crate::admission::{Decision, Ledger, Op, Operation, Refusal, Request};
use crate::policy::effective::quoted;
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
    Reason(&'static str),
}

/// A test while it runs.
struct Run<'a> {
    ledger: Ledger,
    now: u64,
    last_interface: String,
    policies: &'a BTreeMap<String, Arc<Policy>>,
    touched: BTreeSet<Touched>,
    decisions: Vec<(usize, Decision)>,
    corrections: Vec<(Place, String)>,
}

/// What a step gave, to be compared.
#[derive(Default)]
struct Seen {
    decisions: Vec<Decision>,
    expired: Vec<String>,
    notified: Vec<String>,
}

/// Runs a test under a policy. `policies` has those that it reloads, by the names it gives them.
///
/// # Panics
/// When a policy that the test reloads is not among them: the caller has read them all.
pub fn run_test(test: &Test, policy: &Arc<Policy>, policies: &BTreeMap<String, Arc<Policy>>) -> Outcome {
    let ledger = Ledger::new(Arc::clone(policy));
    let last_interface = policy.interfaces.keys().next().cloned().unwrap_or_default();
    let (touched, decisions) = (BTreeSet::new(), Vec::new());
    let corrections = Vec::new();
    let mut run = Run { ledger, now: 0, last_interface, policies, touched, decisions, corrections };
    if test.steps.iter().any(|step| matches!(step.action, Action::Transfer)) {
        let why = "transfer is measured on the private network, and this is virtual time".to_owned();
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
        let Some(expect) = &step.expect else { return Ok(()) };
        let result = self.compare(step, expect, &seen);
        if result.is_err() {
            self.corrections.push((expect.place.clone(), self.right(expect, &seen)));
        }
        result
    }

    fn act(&mut self, action: &Action) -> Seen {
        let mut seen = Seen { expired: self.ledger.advance(self.now), ..Seen::default() };
        if !seen.expired.is_empty() {
            // What has ended by itself makes room as well: a tick says for whom.
            let tick = self.decide(&Operation::Tick);
            seen.notified = tick.notified;
        }
        match action {
            Action::Connect(connect) => {
                self.last_interface.clone_from(&connect.interface);
                for id in connect.id.each() {
                    let operation = self.reserve(connect, id);
                    seen.decisions.push(self.decide(&operation));
                }
            }
            Action::Renegotiate { id, template, asked } => {
                let policy = Arc::clone(self.ledger.policy());
                let named = template.as_ref().map(|name| (name, policy.templates.get(name)));
                for id in id.each() {
                    let operation = match named {
                        None => Operation::Renegotiate { id, asked: asked.clone() },
                        Some((_, Some(template))) => {
                            Operation::Renegotiate { id, asked: Box::new(template.qos.map(Some)) }
                        }
                        Some((name, None)) => {
                            let refusal = Box::new(Refusal::UnknownTemplate { template: name.clone() });
                            let interface = self.last_interface.clone();
                            Operation::Impossible { op: Op::Renegotiate, id, interface, refusal }
                        }
                    };
                    seen.decisions.push(self.decide(&operation));
                }
            }
            Action::Refresh { id, time_to_live } => {
                for id in id.each() {
                    seen.decisions.push(self.decide(&Operation::Refresh { id, time_to_live: *time_to_live }));
                }
            }
            Action::Close(names) => seen.decisions = self.close(names.each()),
            Action::Crash(client) => {
                let flows = self.ledger.flows_of(client);
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
            Action::Reload(path) => self.ledger.reload(Arc::clone(&self.policies[path])),
            Action::Wait | Action::Transfer => {}
        }
        seen
    }

    fn close(&mut self, ids: impl Iterator<Item = String>) -> Vec<Decision> {
        let mut decisions = Vec::new();
        for id in ids {
            if let Some((interface, _)) = self.ledger.flow(&id) {
                self.last_interface = interface.to_owned();
            }
            decisions.push(self.decide(&Operation::Release { id }));
        }
        decisions
    }

    fn reserve(&mut self, connect: &Connect, id: String) -> Operation {
        let policy = Arc::clone(self.ledger.policy());
        let mut request = Request::new(id, connect.interface.clone(), Qos::BEST_EFFORT);
        request.class.clone_from(&connect.class);
        request.group.clone_from(&connect.group);
        request.client.clone_from(&connect.client);
        request.owner.clone_from(&connect.owner);
        let start = self.now.saturating_add(connect.start.map_or(0, flowspec::Micros::get));
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
            if let Some((number, rule)) = rules.into_iter().find(|(_, rule)| rule.matches.admits(&subject)) {
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
        asked.reserve(request, &policy).unwrap_or_else(|_| {
            // The file's reader has refused a template beside a flowspec.
            let refusal = Box::new(Refusal::UnknownTemplate { template: String::new() });
            Operation::Impossible { op: Op::Reserve, id, interface, refusal }
        })
    }

    fn decide(&mut self, operation: &Operation) -> Decision {
        self.ledger.decide(self.now, operation)
    }

    fn touch(&mut self, decision: &Decision) {
        let policy = self.ledger.policy();
        for interface in decision.reserved.keys() {
            let known = if policy.interfaces.contains_key(interface) { interface.as_str() } else { "*" };
            self.touched.insert(Touched::Interface(known.to_owned()));
        }
        self.touched.extend(decision.reason.map(Touched::Reason));
    }

    fn compare(&self, step: &Step, expect: &Expect, seen: &Seen) -> Result<(), Box<Failure>> {
        let last = seen.decisions.last();
        // Everything that is said of a decision is said of each.
        for decision in &seen.decisions {
            self.compare_decision(step, expect, decision)?;
        }
        if seen.decisions.is_empty()
            && let Some(what) = expect.about_a_decision()
        {
            let (expected, actual) = ("a decision".to_owned(), "this step decides nothing".to_owned());
            return Err(self.failure(step, what, expected, actual, None));
        }
        let interface = expect.interface.as_ref().unwrap_or(&self.last_interface);
        let totals = self.ledger.totals(interface).unwrap_or_default();
        let (reserved, available) =
            (totals.map(|totals| totals.reserved), totals.map(|totals| totals.available()));
        for (what, expected, actual) in [
            ("reserved", expect.reserved, reserved),
            ("available", expect.available, available),
            ("charged", expect.charged, last.map_or(Both::default(), |decision| decision.charged)),
        ] {
            for direction in Direction::BOTH {
                if let Some(wanted) = expected.and_then(|expected| *expected.get(direction))
                    && wanted != *actual.get(direction)
                {
                    let what = format!("{what} ({interface} {direction})");
                    return Err(self.failure(step, &what, wanted, *actual.get(direction), last));
                }
            }
        }
        let together = |pick: fn(&Decision) -> &Vec<String>| {
            seen.decisions.iter().flat_map(|decision| pick(decision).iter().cloned()).collect::<Vec<_>>()
        };
        let mut expired = seen.expired.clone();
        expired.extend(together(|decision| &decision.expired));
        for (what, expected, actual) in [
            (
                "notified",
                &expect.notified,
                [seen.notified.clone(), together(|decision| &decision.notified)].concat(),
            ),
            ("preempted", &expect.preempted, together(|decision| &decision.preempted)),
            ("shed", &expect.shed, together(|decision| &decision.shed)),
            ("expired", &expect.expired, expired),
        ] {
            if let Some(expected) = expected
                && *expected != actual
            {
                return Err(self.failure(step, what, format!("{expected:?}"), format!("{actual:?}"), last));
            }
        }
        if let Some(flows) = expect.flows
            && flows != self.ledger.flows() as u64
        {
            return Err(self.failure(step, "flows", flows, self.ledger.flows(), last));
        }
        Ok(())
    }

    /// What would have been right to expect, in the same words: an inline table.
    fn right(&self, expect: &Expect, seen: &Seen) -> String {
        let mut fields = Vec::new();
        let mut field =
            |name: &str, value: Option<String>| fields.extend(value.map(|value| format!("{name} = {value}")));
        if let Some(last) = seen.decisions.last() {
            let word = if last.ok { "admitted" } else { "refused" };
            field("decision", expect.admitted.map(|_| quoted(word)));
            // What is none any more is not expected any more.
            let wsa = |given: &Option<String>, wsa: Option<flowspec::Wsa>| {
                given.as_ref().and(wsa).map(|wsa| quoted(wsa.name()))
            };
            field("error", wsa(&expect.error, last.error));
            field("status", wsa(&expect.status, last.status));
            field("reason", expect.reason.as_ref().and(last.reason).map(quoted));
            let message = expect.message.as_ref();
            field(
                "message",
                message.map(|part| {
                    if last.message.contains(part.as_str()) { quoted(part) } else { quoted(&last.message) }
                }),
            );
            field("waiting", expect.waiting.map(|_| last.waiting.to_string()));
            field(
                "rendition",
                expect.rendition.as_ref().map(|_| quoted(last.rendition.as_deref().unwrap_or("the first"))),
            );
            field("would_fit", expect.would_fit.and(last.would_fit).map(quoted));
        }
        field("interface", expect.interface.as_ref().map(quoted));
        let interface = expect.interface.as_ref().unwrap_or(&self.last_interface);
        let totals = self.ledger.totals(interface).unwrap_or_default();
        let charged = seen.decisions.last().map_or(Both::default(), |decision| decision.charged);
        for (name, expected, actual) in [
            ("reserved", expect.reserved, totals.map(|totals| totals.reserved)),
            ("available", expect.available, totals.map(|totals| totals.available())),
            ("charged", expect.charged, charged),
        ] {
            field(name, expected.map(|expected| rates(expected, actual)));
        }
        let names =
            |names: &[String]| format!("[{}]", names.iter().map(quoted).collect::<Vec<_>>().join(", "));
        let together = |pick: fn(&Decision) -> &Vec<String>| {
            seen.decisions.iter().flat_map(|decision| pick(decision).iter().cloned()).collect::<Vec<_>>()
        };
        field(
            "preempted",
            expect.preempted.as_ref().map(|_| names(&together(|decision| &decision.preempted))),
        );
        field(
            "notified",
            expect
                .notified
                .as_ref()
                .map(|_| names(&[seen.notified.clone(), together(|decision| &decision.notified)].concat())),
        );
        field("shed", expect.shed.as_ref().map(|_| names(&together(|decision| &decision.shed))));
        field("expired", expect.expired.as_ref().map(|_| names(&seen.expired)));
        field("flows", expect.flows.map(|_| self.ledger.flows().to_string()));
        format!("{{ {} }}", fields.join(", "))
    }

    fn compare_decision(
        &self,
        step: &Step,
        expect: &Expect,
        decision: &Decision,
    ) -> Result<(), Box<Failure>> {
        let fail = |what: &str, expected: &dyn std::fmt::Display, actual: &dyn std::fmt::Display| {
            Err(self.failure(step, what, expected, actual, Some(decision)))
        };
        let word = |ok| if ok { "admitted" } else { "refused" };
        if let Some(admitted) = expect.admitted
            && admitted != decision.ok
        {
            return fail("decision", &word(admitted), &word(decision.ok));
        }
        if let Some(waiting) = expect.waiting
            && waiting != decision.waiting
        {
            return fail("waiting", &waiting, &decision.waiting);
        }
        let name = |wsa: Option<flowspec::Wsa>| wsa.map_or("none", flowspec::Wsa::name);
        for (what, expected, actual) in [
            ("error", &expect.error, name(decision.error)),
            ("status", &expect.status, name(decision.status)),
            ("reason", &expect.reason, decision.reason.unwrap_or("none")),
            ("rendition", &expect.rendition, decision.rendition.as_deref().unwrap_or("the first")),
        ] {
            if let Some(expected) = expected
                && expected != actual
            {
                return fail(what, expected, &actual);
            }
        }
        if let Some(part) = &expect.message
            && !decision.message.contains(part.as_str())
        {
            return fail("message", part, &decision.message);
        }
        match (expect.would_fit, decision.would_fit) {
            (Some(expected), actual) if actual != Some(expected) => {
                fail("would_fit", &expected, &actual.map_or("none".to_owned(), |rate| rate.to_string()))
            }
            _ => Ok(()),
        }
    }

    fn failure(
        &self,
        step: &Step,
        what: &str,
        expected: impl std::fmt::Display,
        actual: impl std::fmt::Display,
        decision: Option<&Decision>,
    ) -> Box<Failure> {
        Box::new(Failure {
            place: step.place.clone(),
            what: what.to_owned(),
            expected: expected.to_string(),
            actual: actual.to_string(),
            why: decision.map_or(String::new(), |decision| {
                let error = decision.error.map_or(String::new(), |error| format!("{error}, "));
                format!("{}: {error}{}", decision.id, decision.message)
            }),
            ledger: table(&self.ledger),
            rule: decision.and_then(|decision| decision.rule.clone()),
        })
    }
}

impl Expect {
    /// Something that only a decision can have.
    fn about_a_decision(&self) -> Option<&'static str> {
        let given = [
            ("decision", self.admitted.is_some()),
            ("error", self.error.is_some()),
            ("status", self.status.is_some()),
            ("reason", self.reason.is_some()),
            ("message", self.message.is_some()),
            ("rendition", self.rendition.is_some()),
            ("charged", self.charged.is_some()),
            ("would_fit", self.would_fit.is_some()),
            ("waiting", self.waiting.is_some()),
        ];
        given.into_iter().find(|(_, given)| *given).map(|(what, _)| what)
    }
}

/// The rates that were asked about, as a test has them.
fn rates(expected: Both<Option<Rate>>, actual: Both<Rate>) -> String {
    match (expected.sending, expected.receiving) {
        (Some(_), None) => quoted(actual.sending),
        (sending, receiving) => {
            let sending = sending.map(|_| format!("sending = {}", quoted(actual.sending)));
            let receiving = receiving.map(|_| format!("receiving = {}", quoted(actual.receiving)));
            let both: Vec<_> = sending.into_iter().chain(receiving).collect();
            format!("{{ {} }}", both.join(", "))
        }
    }
}

/// The whole ledger, for people: each interface with its flows, largest first.
fn table(ledger: &Ledger) -> String {
    const SHOWN: usize = 20;
    let mut text = String::new();
    for (name, totals) in ledger.interfaces() {
        for direction in Direction::BOTH {
            let totals = totals.get(direction);
            if totals.budget > Rate::ZERO || totals.reserved > Rate::ZERO {
                let (reserved, budget, free) = (totals.reserved, totals.budget, totals.available());
                // Writing to a String cannot fail.
                let _ =
                    writeln!(text, "{name} {direction}: {reserved} reserved of {budget}, {free} available");
            }
        }
        let flows = ledger.holders(&name);
        for (id, charged) in flows.iter().take(SHOWN) {
            let Both { sending, receiving } = charged;
            let _ = writeln!(text, "  {id}: sending {sending}, receiving {receiving}");
        }
        if flows.len() > SHOWN {
            let _ = writeln!(text, "  and {} more", flows.len() - SHOWN);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::scenario::suite::Names;

    #[test]
    fn names_are_numbered_from_one() {
        let names = Names { pattern: "v{n}".into(), repeat: 3 };
        assert_eq!(names.each().collect::<Vec<_>>(), ["v1", "v2", "v3"]);
    }
}
