//! Compares what a test expects of a step with what came of it.

use std::fmt::Display;

use flowspec::{Both, Direction, Rate, Wsa};

use super::laboratory::TransferFailure;
use super::outcome::{ChargeQuantity, Compared};
use super::step::{Expect, Tolerance};
use crate::admission::{Decision, EndedIds, Ledger, Reason};

#[derive(Default)]
pub(super) struct ObservedStep {
    pub(super) decisions: Vec<Decision>,
    /// Flows that time has ended before the step's own event.
    pub(super) ended: EndedIds,
    /// Flows that were notified of capacity before the step's own event.
    pub(super) notified: Vec<String>,
    pub(super) rate: Option<Result<Rate, TransferFailure>>,
}

/// An expectation that does not hold.
#[derive(Clone, Debug)]
pub(super) struct Mismatch {
    pub(super) compared: Compared,
    pub(super) expected: String,
    pub(super) actual: String,
    pub(super) decision: Option<Decision>,
}

/// The rendition that a flow has if it got the first of its ladder, or had only one.
pub(super) const FIRST_RENDITION: &str = "the first";

/// The rendition of a decision that admits no flow.
pub(super) const NO_RENDITION: &str = "none";

/// The rendition that a flow got, as this expectation has it: by its name, or as the first.
pub(super) fn rendition<'a>(decision: &'a Decision, expected: Option<&str>) -> &'a str {
    match decision.rendition() {
        Some(name) if expected != Some(FIRST_RENDITION) => name,
        _ if decision.is_first_rendition() => FIRST_RENDITION,
        name => name.unwrap_or(NO_RENDITION),
    }
}

impl Mismatch {
    pub(super) fn new(compared: Compared, expected: impl Display, actual: impl Display) -> Box<Self> {
        let (expected, actual) = (expected.to_string(), actual.to_string());
        Box::new(Self { compared, expected, actual, decision: None })
    }

    fn of(mut self: Box<Self>, decision: Option<&Decision>) -> Box<Self> {
        self.decision = decision.cloned();
        self
    }
}

impl ObservedStep {
    /// The flows that a quantity of all decisions lists.
    pub(super) fn listed(&self, list: fn(&Decision) -> &[String]) -> Vec<String> {
        self.decisions.iter().flat_map(|decision| list(decision).iter().cloned()).collect()
    }

    /// The flows that time has ended: before the step's own event, and by it.
    pub(super) fn all_ended(&self) -> EndedIds {
        EndedIds {
            expired: [self.ended.expired.clone(), self.listed(|decision| &decision.expired)].concat(),
            dead: [self.ended.dead.clone(), self.listed(|decision| &decision.dead)].concat(),
            stalled: [self.ended.stalled.clone(), self.listed(|decision| &decision.stalled)].concat(),
        }
    }

    pub(super) fn all_notified(&self) -> Vec<String> {
        [self.notified.clone(), self.listed(|decision| &decision.notified)].concat()
    }

    /// What the last decision charges.
    pub(super) fn charged(&self) -> Both<Rate> {
        self.decisions.last().map_or_else(Both::default, Decision::charged)
    }

    /// Compares all expectations.
    ///
    /// - **Errors**: the first that does not hold.
    pub(super) fn compare(
        &self,
        expect: &Expect,
        ledger: &Ledger,
        interface: Option<&str>,
    ) -> Result<(), Box<Mismatch>> {
        // Expectations about a decision hold for each decision of the step.
        for decision in &self.decisions {
            compare_decision(expect, decision).map_err(|mismatch| mismatch.of(Some(decision)))?;
        }
        self.compare_rate(expect.rate)?;
        if self.decisions.is_empty()
            && let Some(compared) = expect.of_a_decision()
        {
            return Err(Mismatch::new(compared, "a decision", "this step decides nothing"));
        }
        let last = self.decisions.last();
        self.compare_charges(expect, ledger, interface).map_err(|mismatch| mismatch.of(last))?;
        let EndedIds { expired, dead, stalled } = self.all_ended();
        for (compared, expected, actual) in [
            (Compared::Notified, &expect.notified, self.all_notified()),
            (Compared::Preempted, &expect.preempted, self.listed(Decision::preempted)),
            (Compared::Shed, &expect.shed, self.listed(Decision::shed)),
            (Compared::Expired, &expect.expired, expired),
            (Compared::Dead, &expect.dead, dead),
            (Compared::Stalled, &expect.stalled, stalled),
        ] {
            if let Some(expected) = expected
                && *expected != actual
            {
                let mismatch = Mismatch::new(compared, format!("{expected:?}"), format!("{actual:?}"));
                return Err(mismatch.of(last));
            }
        }
        match expect.flows {
            Some(flows) if flows != ledger.flows() as u64 => {
                Err(Mismatch::new(Compared::Flows, flows, ledger.flows()).of(last))
            }
            _ => Ok(()),
        }
    }

    fn compare_rate(&self, expected: Option<Tolerance>) -> Result<(), Box<Mismatch>> {
        match (expected, &self.rate) {
            (Some(_), None) => Err(Mismatch::new(Compared::Rate, "a transfer", "this step measures nothing")),
            (Some(Tolerance { rate, within }), Some(Ok(actual))) => {
                let difference = within.of(rate);
                let least = rate.saturating_sub(difference);
                let most = rate.checked_add(difference).unwrap_or(rate);
                if (least..=most).contains(actual) {
                    return Ok(());
                }
                Err(Mismatch::new(Compared::Rate, format!("{rate} within {within}"), actual))
            }
            (None, _) | (_, Some(Err(_))) => Ok(()),
        }
    }

    fn compare_charges(
        &self,
        expect: &Expect,
        ledger: &Ledger,
        interface: Option<&str>,
    ) -> Result<(), Box<Mismatch>> {
        let known = interface.and_then(|interface| ledger.totals(interface));
        let of_interface = expect.reserved.map(|_| ChargeQuantity::Reserved);
        let of_interface = of_interface.or(expect.available.map(|_| ChargeQuantity::Available));
        if let (None, Some(quantity)) = (known, of_interface) {
            let compared = Compared::Charge { quantity, place: None };
            let found = match interface {
                Some(interface) => format!("the policy has no interface {interface:?}"),
                None => "no step has named an interface yet".to_owned(),
            };
            return Err(Mismatch::new(compared, "a rate", found));
        }
        let totals = known.unwrap_or_default();
        for (quantity, expected, actual) in [
            (ChargeQuantity::Reserved, expect.reserved, totals.map(|totals| totals.reserved)),
            (ChargeQuantity::Available, expect.available, totals.map(|totals| totals.available())),
            (ChargeQuantity::Charged, expect.charged, self.charged()),
        ] {
            for direction in Direction::BOTH {
                let actual = *actual.get(direction);
                if let Some(expected) = expected.and_then(|expected| *expected.get(direction))
                    && expected != actual
                {
                    let place = interface.map(|interface| (interface.to_owned(), direction));
                    return Err(Mismatch::new(Compared::Charge { quantity, place }, expected, actual));
                }
            }
        }
        Ok(())
    }
}

fn compare_decision(expect: &Expect, decision: &Decision) -> Result<(), Box<Mismatch>> {
    let word = |ok| if ok { "admitted" } else { "refused" };
    if let Some(admitted) = expect.admitted
        && admitted != decision.is_ok()
    {
        return Err(Mismatch::new(Compared::Decision, word(admitted), word(decision.is_ok())));
    }
    if let Some(waiting) = expect.waiting
        && waiting != decision.is_waiting()
    {
        return Err(Mismatch::new(Compared::Waiting, waiting, decision.is_waiting()));
    }
    let name = |wsa: Option<Wsa>| wsa.map_or("none", Wsa::name);
    for (compared, expected, actual) in [
        (Compared::Error, &expect.error, name(decision.error())),
        (Compared::Status, &expect.status, name(decision.status())),
        (Compared::Reason, &expect.reason, decision.reason().map_or("none", Reason::name)),
        (Compared::Rendition, &expect.rendition, rendition(decision, expect.rendition.as_deref())),
    ] {
        if let Some(expected) = expected
            && expected != actual
        {
            return Err(Mismatch::new(compared, expected, actual));
        }
    }
    if let Some(part) = &expect.message
        && !decision.message().contains(part.as_str())
    {
        return Err(Mismatch::new(Compared::Message, part, decision.message()));
    }
    match (expect.would_fit, decision.would_fit()) {
        (Some(expected), actual) if actual != Some(expected) => {
            let actual = actual.map_or_else(|| "none".to_owned(), |rate| rate.to_string());
            Err(Mismatch::new(Compared::WouldFit, expected, actual))
        }
        _ => Ok(()),
    }
}

impl Expect {
    /// Whether the step is expected to be about another interface. Where totals are compared, `interface` names theirs.
    pub(super) fn names_another_interface(&self, interface: &str) -> bool {
        let has_totals = self.reserved.is_some() || self.available.is_some();
        !has_totals && self.interface.as_deref().is_some_and(|named| named != interface)
    }

    /// An expected quantity that only a decision has.
    fn of_a_decision(&self) -> Option<Compared> {
        let expected = [
            (Compared::Decision, self.admitted.is_some()),
            (Compared::Error, self.error.is_some()),
            (Compared::Status, self.status.is_some()),
            (Compared::Reason, self.reason.is_some()),
            (Compared::Message, self.message.is_some()),
            (Compared::Rendition, self.rendition.is_some()),
            (Compared::Charge { quantity: ChargeQuantity::Charged, place: None }, self.charged.is_some()),
            (Compared::WouldFit, self.would_fit.is_some()),
            (Compared::Waiting, self.waiting.is_some()),
        ];
        expected.into_iter().find_map(|(compared, expected)| expected.then_some(compared))
    }
}
