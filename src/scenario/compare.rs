//! What is expected of a step, and what came.

use std::fmt::Write;

use flowspec::{Both, Direction, Rate};

use super::run::{Failure, Run, Seen};
use super::step::{Expect, Step};
use crate::admission::{Decision, Ledger, Reason};
use crate::policy::notation::quoted;

impl Run<'_> {
    pub(super) fn compare(&self, step: &Step, expect: &Expect, seen: &Seen) -> Result<(), Box<Failure>> {
        let last = seen.decisions.last();
        // Everything that is said of a decision is said of each.
        for decision in &seen.decisions {
            self.compare_decision(step, expect, decision)?;
        }
        match (expect.rate, &seen.rate) {
            (Some(_), None) => {
                return Err(self.failure(step, "rate", "a transfer", "this step measures nothing", None));
            }
            (Some((rate, within)), Some(Ok(actual))) => {
                let least = rate.saturating_sub(within.of(rate));
                let most = rate.checked_add(within.of(rate)).unwrap_or(rate);
                if !(least..=most).contains(actual) {
                    let expected = format!("{rate} within {within}");
                    return Err(self.failure(step, "rate", expected, actual, None));
                }
            }
            (None, _) | (_, Some(Err(_))) => {}
        }
        if seen.decisions.is_empty()
            && let Some(what) = expect.about_a_decision()
        {
            let (expected, actual) = ("a decision".to_owned(), "this step decides nothing".to_owned());
            return Err(self.failure(step, what, expected, actual, None));
        }
        let interface = expect.interface.as_ref().unwrap_or(&self.last_interface);
        let totals = self.manager.ledger().totals(interface).unwrap_or_default();
        let (reserved, available) =
            (totals.map(|totals| totals.reserved), totals.map(|totals| totals.available()));
        for (what, expected, actual) in [
            ("reserved", expect.reserved, reserved),
            ("available", expect.available, available),
            ("charged", expect.charged, last.map_or(Both::default(), |decision| decision.charged())),
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
        let together = |pick: fn(&Decision) -> &[String]| {
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
            ("preempted", &expect.preempted, together(|decision| decision.preempted())),
            ("shed", &expect.shed, together(|decision| decision.shed())),
            ("expired", &expect.expired, expired),
        ] {
            if let Some(expected) = expected
                && *expected != actual
            {
                return Err(self.failure(step, what, format!("{expected:?}"), format!("{actual:?}"), last));
            }
        }
        if let Some(flows) = expect.flows
            && flows != self.manager.ledger().flows() as u64
        {
            return Err(self.failure(step, "flows", flows, self.manager.ledger().flows(), last));
        }
        Ok(())
    }

    /// What would have been right to expect, in the same words: an inline table.
    pub(super) fn right(&self, expect: &Expect, seen: &Seen) -> String {
        let mut fields = Vec::new();
        let mut field =
            |name: &str, value: Option<String>| fields.extend(value.map(|value| format!("{name} = {value}")));
        if let Some(last) = seen.decisions.last() {
            let word = if last.is_ok() { "admitted" } else { "refused" };
            field("decision", expect.admitted.map(|_| quoted(word)));
            // What is none any more is not expected any more.
            let wsa = |given: &Option<String>, wsa: Option<flowspec::Wsa>| {
                given.as_ref().and(wsa).map(|wsa| quoted(wsa.name()))
            };
            field("error", wsa(&expect.error, last.error()));
            field("status", wsa(&expect.status, last.status()));
            field("reason", expect.reason.as_ref().and(last.reason()).map(quoted));
            let message = expect.message.as_ref();
            field(
                "message",
                message.map(|part| {
                    if last.message().contains(part.as_str()) { quoted(part) } else { quoted(last.message()) }
                }),
            );
            field("waiting", expect.waiting.map(|_| last.is_waiting().to_string()));
            field(
                "rendition",
                expect.rendition.as_ref().map(|_| quoted(last.rendition().unwrap_or("the first"))),
            );
            field("would_fit", expect.would_fit.and(last.would_fit()).map(quoted));
        }
        field("interface", expect.interface.as_ref().map(quoted));
        let interface = expect.interface.as_ref().unwrap_or(&self.last_interface);
        let totals = self.manager.ledger().totals(interface).unwrap_or_default();
        let charged = seen.decisions.last().map_or(Both::default(), |decision| decision.charged());
        for (name, expected, actual) in [
            ("reserved", expect.reserved, totals.map(|totals| totals.reserved)),
            ("available", expect.available, totals.map(|totals| totals.available())),
            ("charged", expect.charged, charged),
        ] {
            field(name, expected.map(|expected| rates(expected, actual)));
        }
        let names =
            |names: &[String]| format!("[{}]", names.iter().map(quoted).collect::<Vec<_>>().join(", "));
        let together = |pick: fn(&Decision) -> &[String]| {
            seen.decisions.iter().flat_map(|decision| pick(decision).iter().cloned()).collect::<Vec<_>>()
        };
        field(
            "preempted",
            expect.preempted.as_ref().map(|_| names(&together(|decision| decision.preempted()))),
        );
        field(
            "notified",
            expect
                .notified
                .as_ref()
                .map(|_| names(&[seen.notified.clone(), together(|decision| &decision.notified)].concat())),
        );
        field("shed", expect.shed.as_ref().map(|_| names(&together(|decision| decision.shed()))));
        field("expired", expect.expired.as_ref().map(|_| names(&seen.expired)));
        if let (Some((_, within)), Some(Ok(rate))) = (expect.rate, &seen.rate) {
            field("rate", Some(quoted(rate)));
            field("within", Some(quoted(within)));
        }
        field("flows", expect.flows.map(|_| self.manager.ledger().flows().to_string()));
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
            && admitted != decision.is_ok()
        {
            return fail("decision", &word(admitted), &word(decision.is_ok()));
        }
        if let Some(waiting) = expect.waiting
            && waiting != decision.is_waiting()
        {
            return fail("waiting", &waiting, &decision.is_waiting());
        }
        let name = |wsa: Option<flowspec::Wsa>| wsa.map_or("none", flowspec::Wsa::name);
        for (what, expected, actual) in [
            ("error", &expect.error, name(decision.error())),
            ("status", &expect.status, name(decision.status())),
            ("reason", &expect.reason, decision.reason().map_or("none", Reason::name)),
            ("rendition", &expect.rendition, decision.rendition().unwrap_or("the first")),
        ] {
            if let Some(expected) = expected
                && expected != actual
            {
                return fail(what, expected, &actual);
            }
        }
        if let Some(part) = &expect.message
            && !decision.message().contains(part.as_str())
        {
            return fail("message", part, &decision.message());
        }
        match (expect.would_fit, decision.would_fit()) {
            (Some(expected), actual) if actual != Some(expected) => {
                fail("would_fit", &expected, &actual.map_or("none".to_owned(), |rate| rate.to_string()))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn failure(
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
                let error = decision.error().map_or(String::new(), |error| format!("{error}, "));
                format!("{}: {error}{}", decision.id().unwrap_or_default(), decision.message())
            }),
            ledger: table(self.manager.ledger()),
            rule: decision.and_then(|decision| decision.rule().cloned()),
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
