//! From facts to findings.

use super::facts::Facts;
use super::finding::Finding;
use super::{confinement, host, kernel};

/// Every finding, by topic. No finding is [`Lacking`](super::FindingState::Lacking) where everything is there that
/// `enforcement = "kernel"` needs.
pub fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings: Vec<_> =
        facts.features.iter().map(|(feature, state)| kernel::feature(*feature, state)).collect();
    findings.extend(host::privileges(facts.privileges));
    findings.extend(confinement::offer(&facts.confinement));
    findings.extend(host::interfaces(&facts.interfaces));
    findings.extend(kernel::settings(&facts.system));
    findings
}
