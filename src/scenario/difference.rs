//! The decisions of a test that differ under another policy.

use std::collections::{BTreeMap, VecDeque};

use super::outcome::{Requested, TestOutcome};
use crate::admission::Decision;

/// A request that two policies decide differently.
#[derive(Clone, Debug)]
pub struct DecisionDifference {
    /// What was requested, by the names of the test's own policy.
    pub requested: Requested,
    /// The decision under the test's own policy.
    pub own: Decision,
    /// The decision under the other policy.
    pub other: Decision,
}

/// The decisions of one test that differ between two runs: in the verdict, the reason, or the rendition.
///
/// Decisions are paired by their step and their flow. A flow that one run alone decides about, such as one that ends with
/// its client and was admitted under one policy only, differs in an earlier decision already.
pub fn differences(own: &TestOutcome, other: &TestOutcome) -> Vec<DecisionDifference> {
    let mut others: BTreeMap<(usize, Option<&str>), VecDeque<&Decision>> = BTreeMap::new();
    for decided in &other.decisions {
        others.entry((decided.step, decided.decision.id())).or_default().push_back(&decided.decision);
    }
    let mut found = Vec::new();
    for decided in &own.decisions {
        let key = (decided.step, decided.decision.id());
        let Some(other) = others.get_mut(&key).and_then(VecDeque::pop_front) else { continue };
        let (requested, own) = (decided.requested.clone(), decided.decision.clone());
        let difference = DecisionDifference { requested, own, other: other.clone() };
        let [own, other] = difference.verdicts();
        if own != other {
            found.push(difference);
        }
    }
    found
}

impl DecisionDifference {
    /// Both verdicts in a few words, the own one first.
    pub fn verdicts(&self) -> [String; 2] {
        [self.verdict(&self.own), self.verdict(&self.other)]
    }

    /// `admitted`, `refused (class_share)`, or of a ladder `admitted as 720p`.
    fn verdict(&self, decision: &Decision) -> String {
        let rendition = decision.rendition().filter(|_| self.requested.templates.len() > 1);
        match (decision.reason(), rendition) {
            (Some(reason), _) => format!("refused ({reason})"),
            (None, Some(rendition)) => format!("admitted as {rendition}"),
            (None, None) => "admitted".to_owned(),
        }
    }
}
