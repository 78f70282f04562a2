//! What a socket owes from the plans that it was shaped by before.

use flowspec::{Bytes, Rate, Timestamp, TokenDebt};

use crate::limiter::Deficit;
use crate::plan::Plan;

/// The tokens that the buckets of a socket's earlier plans owe. The buckets of its next plan start with that much less.
#[derive(Debug, Default)]
pub(crate) struct Debts {
    sustained: TokenDebt,
    peak: TokenDebt,
    /// Up to when both have been refilled.
    at: Timestamp,
}

impl Debts {
    /// The buckets of a plan are released with these tokens missing.
    pub(crate) fn owe(&mut self, now: Timestamp, plan: &Plan, missing: Deficit) {
        self.advance(now);
        self.sustained.owe(missing.sustained, plan.sustained.rate);
        self.peak.owe(missing.peak, plan.peak.map_or(Rate::ZERO, |peak| peak.rate));
    }

    /// The buckets of a plan are made: the tokens that they start without.
    pub(crate) fn take_over(&mut self, now: Timestamp, plan: &Plan) -> Deficit {
        self.advance(now);
        let sustained = self.sustained.take_over(plan.sustained.depth);
        let peak = plan.peak.map_or(Bytes::ZERO, |peak| self.peak.take_over(peak.depth));
        Deficit { sustained, peak }
    }

    /// The tokens that are owed to sustained buckets.
    pub(crate) fn sustained(&mut self, now: Timestamp) -> Bytes {
        self.advance(now);
        self.sustained.owed()
    }

    fn advance(&mut self, now: Timestamp) {
        let elapsed = now.saturating_since(self.at);
        self.at = self.at.max(now);
        for debt in [&mut self.sustained, &mut self.peak] {
            debt.pass(elapsed, Rate::new(u64::MAX));
        }
    }
}
