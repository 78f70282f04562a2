//! The expectations that would hold, in the notation of a test file.

use flowspec::{Both, Rate, Wsa};

use super::compare::{FIRST_RENDITION, Observed};
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
pub(super) fn correction(expect: &Expect, observed: &Observed, ledger: &Ledger, interface: &str) -> String {
    let mut fields = Fields::default();
    if let Some(last) = observed.decisions.last() {
        decision(&mut fields, expect, last);
    }
    fields.add("interface", expect.interface.as_ref().map(quoted));
    let totals = ledger.totals(interface).unwrap_or_default();
    for (name, expected, actual) in [
        ("reserved", expect.reserved, totals.map(|totals| totals.reserved)),
        ("available", expect.available, totals.map(|totals| totals.available())),
        ("charged", expect.charged, observed.charged()),
    ] {
        fields.add(name, expected.map(|expected| rates(expected, actual)));
    }
    let EndedIds { expired, dead, stalled } = observed.all_ended();
    for (name, expected, actual) in [
        ("preempted", &expect.preempted, observed.listed(Decision::preempted)),
        ("notified", &expect.notified, observed.all_notified()),
        ("shed", &expect.shed, observed.listed(Decision::shed)),
        ("expired", &expect.expired, expired),
        ("dead", &expect.dead, dead),
        ("stalled", &expect.stalled, stalled),
    ] {
        fields.add(name, expected.as_ref().map(|_| names(&actual)));
    }
    if let (Some(Tolerance { within, .. }), Some(Ok(rate))) = (expect.rate, &observed.rate) {
        fields.add("rate", Some(quoted(rate)));
        fields.add("within", Some(quoted(within)));
    }
    fields.add("flows", expect.flows.map(|_| ledger.flows().to_string()));
    format!("{{ {} }}", fields.0.join(", "))
}

fn decision(fields: &mut Fields, expect: &Expect, decision: &Decision) {
    let word = if decision.is_ok() { "admitted" } else { "refused" };
    fields.add("decision", expect.admitted.map(|_| quoted(word)));
    let code = |expected: &Option<String>, actual: Option<Wsa>| {
        expected.as_ref().and(actual).map(|wsa| quoted(wsa.name()))
    };
    fields.add("error", code(&expect.error, decision.error()));
    fields.add("status", code(&expect.status, decision.status()));
    fields.add("reason", expect.reason.as_ref().and(decision.reason()).map(quoted));
    let message = expect.message.as_ref().map(|part| match decision.message() {
        message if message.contains(part.as_str()) => quoted(part),
        message => quoted(message),
    });
    fields.add("message", message);
    fields.add("waiting", expect.waiting.map(|_| decision.is_waiting().to_string()));
    let rendition = || quoted(decision.rendition().unwrap_or(FIRST_RENDITION));
    fields.add("rendition", expect.rendition.as_ref().map(|_| rendition()));
    fields.add("would_fit", expect.would_fit.and(decision.would_fit()).map(quoted));
}

fn names(names: &[String]) -> String {
    format!("[{}]", names.iter().map(quoted).collect::<Vec<_>>().join(", "))
}

/// The rates of those directions that are expected.
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
