//! The words of expectations: each is one that a decision can have.

use std::collections::BTreeSet;

use flowspec::Wsa;

use super::compare::{FIRST_RENDITION, NO_RENDITION};
use super::named::{NameKind, NameUses};
use super::names::IdPattern;
use super::step::Expect;
use crate::admission::Reason;
use crate::policy::read::section::{Section, nearest};
use crate::policy::{Code, Problem};

/// What an expected word is called that a decision does not have: the error of an admitted flow.
pub(super) const NONE: &str = "none";

/// Of so few known words all are shown where none is near.
const FEW_WORDS: usize = 12;

/// The Winsock error of a refusal, or "none".
pub(super) fn error(section: &Section<'_>) -> Option<String> {
    word(section, "error", Reason::ALL.iter().map(|reason| reason.wsa().name()))
}

/// The status of a refusal, or "none".
pub(super) fn status(section: &Section<'_>) -> Option<String> {
    // An inconsistent flowspec has the status of another reason, or that of its own.
    word(section, "status", Reason::ALL.iter().map(|reason| reason.status().name()))
}

/// A reason of refusals, or "none".
pub(super) fn reason(section: &Section<'_>) -> Option<String> {
    word(section, "reason", Reason::ALL.iter().map(|reason| reason.name()))
}

/// One of several words, or "none". A word may occur more than once.
fn word(
    section: &Section<'_>,
    key: &'static str,
    words: impl Iterator<Item = &'static str>,
) -> Option<String> {
    let mut words: Vec<_> = words.collect();
    let mut seen = BTreeSet::new();
    words.retain(|word| seen.insert(*word));
    words.push(NONE);
    let text = section.string(key);
    section.record_words(key, &words);
    let text = text?;
    if !words.contains(&text.value) {
        let message = format!("{}.{key}: no decision has the {key} {:?}", section.path, text.value);
        let known = || (words.len() <= FEW_WORDS).then(|| format!("known: {}", words.join(", ")));
        // A name of Winsock is no misspelt one.
        let is_code = Wsa::ALL.iter().any(|wsa| wsa.name() == text.value);
        let near = suggestion(text.value, words.iter().copied()).filter(|_| !is_code);
        let help = near.or_else(known);
        section.add(Problem::new(Code::UnknownName, text.place, message).with_help(help));
    }
    Some(text.value.to_owned())
}

/// "did you mean", if a name is near.
pub(super) fn suggestion<'n>(text: &str, names: impl Iterator<Item = &'n str>) -> Option<String> {
    nearest(text, names).map(|near| format!("did you mean {near:?}?"))
}

/// A part of a message. Every message has the empty part.
pub(super) fn message(section: &Section<'_>) -> Option<String> {
    let part = section.string("message")?;
    if part.value.is_empty() {
        let message = format!("{}.message: every message has an empty part; leave the key out", section.path);
        section.add(Problem::new(Code::BadValue, part.place, message));
        return None;
    }
    Some(part.value.to_owned())
}

/// A template, "the first" or "none".
pub(super) fn rendition(section: &Section<'_>, names: &NameUses) -> Option<String> {
    let rendition = section.string("rendition")?;
    if ![FIRST_RENDITION, NO_RENDITION].contains(&rendition.value) {
        names.note(NameKind::Template, IdPattern::one(rendition.value), rendition.place);
    }
    Some(rendition.value.to_owned())
}

impl Expect {
    /// Whether nothing is expected that a step could fail.
    pub(super) fn is_empty(&self) -> bool {
        let Self { admitted, waiting, would_fit, flows, rate, .. } = self;
        let words = [&self.error, &self.status, &self.reason, &self.message, &self.rendition];
        let rates = [&self.reserved, &self.available, &self.charged];
        let lists = [&self.preempted, &self.shed, &self.expired, &self.dead, &self.stalled, &self.notified];
        admitted.is_none()
            && waiting.is_none()
            && would_fit.is_none()
            && flows.is_none()
            && rate.is_none()
            && words.iter().all(|word| word.is_none())
            && rates.iter().all(|rates| rates.is_none())
            && lists.iter().all(|list| list.is_none())
    }
}

#[cfg(test)]
mod tests {
    use flowspec::{Direction, Field, FlowspecError, ServiceType};

    use super::*;

    /// The statuses of flowspecs that contradict themselves are among those of reasons.
    #[test]
    fn every_status_of_a_refused_flowspec_is_known() {
        let errors = [
            FlowspecError::InfiniteTokenRate,
            FlowspecError::NoDelay { field: Field::Latency },
            FlowspecError::ServiceMisplaced { service: ServiceType::NoChange, direction: Direction::Sending },
        ];
        for error in errors {
            assert!(Reason::ALL.iter().any(|reason| reason.status() == error.wsa()), "{error}");
        }
    }
}
