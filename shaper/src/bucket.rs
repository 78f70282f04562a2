//! The exact limiter: rate and peak as one structure, in integers.
//!
//! Two [`TokenBucket`]s of which a packet takes from both or from neither: RFC 2212's policer
//! `min(M + p·T, b + r·T)`, asked in advance.

use flowspec::{Bytes, TokenBucket};

use crate::limiter::{Due, Limiter, Moment};
use crate::plan::{Plan, Tokens};

/// Two coupled token buckets, full at the start.
#[derive(Clone, Debug)]
pub struct Bucket {
    sustained: TokenBucket,
    peak: Option<TokenBucket>,
    at: Moment,
}

impl Bucket {
    /// Full buckets for this plan, at this moment.
    pub fn new(plan: &Plan, now: Moment) -> Self {
        Self { sustained: full(plan.sustained), peak: plan.peak.map(full), at: now }
    }

    fn advance(&mut self, now: Moment) {
        let nanos = now.since(self.at);
        if nanos > 0 {
            self.at = now;
            self.buckets().for_each(|bucket| bucket.pass(nanos));
        }
    }

    fn buckets(&mut self) -> impl Iterator<Item = &mut TokenBucket> {
        std::iter::once(&mut self.sustained).chain(&mut self.peak)
    }
}

impl Limiter for Bucket {
    fn due(&mut self, now: Moment, size: u64) -> Due {
        self.advance(now);
        let (at, size) = (self.at, Bytes::new(size));
        match self.buckets().try_fold(0, |longest, bucket| bucket.wait(size).map(|wait| longest.max(wait))) {
            None => Due::Never,
            Some(0) => Due::Now,
            Some(wait) => Due::At(Moment::from_nanos(at.nanos().saturating_add(wait))),
        }
    }

    fn available(&mut self, now: Moment) -> u64 {
        self.advance(now);
        self.buckets().map(|bucket| bucket.held().get()).min().unwrap_or(0)
    }

    fn take(&mut self, now: Moment, size: u64) -> bool {
        let fits = size <= self.available(now);
        if fits {
            self.buckets().for_each(|bucket| bucket.take(Bytes::new(size)));
        }
        fits
    }

    fn refund(&mut self, now: Moment, size: u64) {
        self.advance(now);
        self.buckets().for_each(|bucket| bucket.give_back(Bytes::new(size)));
    }

    fn replan(&mut self, now: Moment, plan: &Plan) {
        self.advance(now);
        self.sustained.change(plan.sustained.rate, plan.sustained.depth);
        self.peak = plan.peak.map(|tokens| match self.peak.take() {
            Some(mut bucket) => {
                bucket.change(tokens.rate, tokens.depth);
                bucket
            }
            None => full(tokens),
        });
    }
}

fn full(tokens: Tokens) -> TokenBucket {
    TokenBucket::full(tokens.rate, tokens.depth)
}
