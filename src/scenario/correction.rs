//! The expectations that would hold, in the notation of a test file.

use flowspec::{Both, Rate, Wsa};

use super::compare::{Mismatch, ObservedStep, rendition};
use super::outcome::NoExpectations;
use super::step::{Expect, Tolerance};
use crate::admission::{Decision, EndedIds, Ledger};
use crate::policy::notation::quoted;

/// The fields of an inline table.
#[derive(Default)]
struct Fields(Vec<String>);

impl Fields {
    fn add(&mut self, name: &str, value: Option<String>) {
        self.0.extend(value.map(|value| format!("{name} = {value}")));
    }
}

/// An inline table with the same keys and the values that were found. A key whose quantity no longer exists, such as the
/// error of an admitted flow, is left out.
///
/// - **Errors**: no values of these keys hold.
pub(super) fn correction(
    expect: &Expect,
    observed: &ObservedStep,
    ledger: &Ledger,
    interface: Option<&str>,
) -> Result<String, NoExpectations> {
    let mut found = found(expect, observed, ledger, interface);
    if found.is_empty() {
        found.admitted = observed.decisions.last().map(Decision::is_ok);
    }
    if found.is_empty() {
        return Err(NoExpectations::NothingExists);
    }
    match observed.compare(&found, ledger, interface) {
        Ok(()) => Ok(notation(&found)),
        Err(mismatch) => {
            let Mismatch { compared, expected: second, actual: first, .. } = *mismatch;
            let decisions = observed.decisions.len();
            Err(NoExpectations::DecisionsDiffer { decisions, compared, first, second })
        }
    }
}

/// Expectations with the values that the last decision has, and the ledger.
fn found(expect: &Expect, observed: &ObservedStep, ledger: &Ledger, interface: Option<&str>) -> Expect {
    let last = observed.decisions.last();
    let wsa = |wsa: Option<Wsa>| wsa.map(|wsa| wsa.name().to_owned());
    let known = interface.and_then(|interface| ledger.totals(interface));
    let (has_totals, totals) = (known.is_some(), known.unwrap_or_default());
    let reserved = totals.map(|totals| totals.reserved);
    let available = totals.map(|totals| totals.available());
    let rates = |expected: Option<Both<Option<Rate>>>, actual: Both<Rate>| {
        expected.map(|Both { sending, receiving }| Both {
            sending: sending.map(|_| actual.sending),
            receiving: receiving.map(|_| actual.receiving),
        })
    };
    let list = |expected: &Option<Vec<String>>, actual: Vec<String>| expected.as_ref().map(|_| actual);
    let EndedIds { expired, dead, stalled } = observed.all_ended();
    let measured = observed.rate.as_ref().and_then(|rate| rate.as_ref().ok());
    Expect {
        admitted: expect.admitted.and(last.map(Decision::is_ok)),
        error: expect.error.as_ref().and(wsa(last.and_then(Decision::error))),
        status: expect.status.as_ref().and(wsa(last.and_then(Decision::status))),
        reason: expect.reason.as_ref().and(last.and_then(Decision::reason)).map(|reason| reason.to_string()),
        message: expect.message.as_ref().zip(last).map(|(part, last)| match last.message() {
            message if message.contains(part.as_str()) => part.clone(),
            message => message,
        }),
        rendition: expect
            .rendition
            .as_deref()
            .zip(last)
            .map(|(name, last)| rendition(last, Some(name)).to_owned()),
        interface: expect.interface.clone(),
        reserved: rates(expect.reserved.filter(|_| has_totals), reserved),
        available: rates(expect.available.filter(|_| has_totals), available),
        charged: rates(expect.charged.filter(|_| last.is_some()), observed.charged()),
        would_fit: expect.would_fit.and(last.and_then(Decision::would_fit)),
        preempted: list(&expect.preempted, observed.listed(Decision::preempted)),
        shed: list(&expect.shed, observed.listed(Decision::shed)),
        expired: list(&expect.expired, expired),
        dead: list(&expect.dead, dead),
        stalled: list(&expect.stalled, stalled),
        notified: list(&expect.notified, observed.all_notified()),
        waiting: expect.waiting.and(last.map(Decision::is_waiting)),
        flows: expect.flows.map(|_| ledger.flows() as u64),
        rate: expect.rate.zip(measured).map(|(rate, measured)| Tolerance { rate: *measured, ..rate }),
        keys: Vec::new(),
        place: expect.place.clone(),
    }
}

/// Expectations as an inline table.
fn notation(expect: &Expect) -> String {
    let mut fields = Fields::default();
    let word = |admitted| if admitted { "admitted" } else { "refused" };
    fields.add("decision", expect.admitted.map(word).map(quoted));
    for (name, value) in [
        ("error", &expect.error),
        ("status", &expect.status),
        ("reason", &expect.reason),
        ("message", &expect.message),
        ("rendition", &expect.rendition),
        ("interface", &expect.interface),
    ] {
        fields.add(name, value.as_ref().map(quoted));
    }
    fields.add("waiting", expect.waiting.map(|waiting| waiting.to_string()));
    fields.add("would_fit", expect.would_fit.map(quoted));
    for (name, value) in
        [("reserved", expect.reserved), ("available", expect.available), ("charged", expect.charged)]
    {
        fields.add(name, value.map(rates));
    }
    for (name, value) in [
        ("preempted", &expect.preempted),
        ("notified", &expect.notified),
        ("shed", &expect.shed),
        ("expired", &expect.expired),
        ("dead", &expect.dead),
        ("stalled", &expect.stalled),
    ] {
        fields.add(name, value.as_deref().map(names));
    }
    fields.add("rate", expect.rate.map(|tolerance| quoted(tolerance.rate)));
    fields.add("within", expect.rate.map(|tolerance| quoted(tolerance.within)));
    fields.add("flows", expect.flows.map(|flows| flows.to_string()));
    format!("{{ {} }}", fields.0.join(", "))
}

fn names(names: &[String]) -> String {
    format!("[{}]", names.iter().map(quoted).collect::<Vec<_>>().join(", "))
}

/// One value for the sending direction alone, or a table.
fn rates(rates: Both<Option<Rate>>) -> String {
    match (rates.sending, rates.receiving) {
        (Some(sending), None) => quoted(sending),
        (sending, receiving) => {
            let sending = sending.map(|rate| format!("sending = {}", quoted(rate)));
            let receiving = receiving.map(|rate| format!("receiving = {}", quoted(rate)));
            let both: Vec<_> = sending.into_iter().chain(receiving).collect();
            format!("{{ {} }}", both.join(", "))
        }
    }
}
