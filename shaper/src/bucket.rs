//! The exact limiter: two coupled token buckets, in integers.
//!
//! A packet takes its size from both [`TokenBucket`]s or from neither: RFC 2212's `min(M + p·T, b + r·T)`, applied
//! before the packet leaves.

use std::time::Duration;

use flowspec::{Bytes, Timestamp, TokenBucket};

use crate::limiter::{Deficit, Due, Limiter};
use crate::plan::{Plan, Tokens};

/// The buckets of a plan, full at the start.
///
/// ```
/// use flowspec::{Bytes, Direction, Flowspec, Rate, TSpec, Timestamp};
/// use shaper::{Bucket, Due, Framing, Limiter, Plan};
///
/// let video = Flowspec::guaranteed(Rate::from_mbit(8), Bytes::new(3000));
/// let tspec = TSpec::new(&video, Direction::Sending, Bytes::new(1500))?.expect("it reserves");
/// let plan = Plan::new(&tspec, Framing::Datagram { header: 28 }).expect("it has space for payload");
/// let start = Timestamp::from_nanos(0);
/// let mut bucket = Bucket::new(&plan, start);
/// // Two packets may leave at once, and a third is due a packet's time later: 1.5 ms at 1 MB/s.
/// assert!(bucket.take(start, Bytes::new(1500)) && bucket.take(start, Bytes::new(1500)));
/// assert_eq!(bucket.due(start, Bytes::new(1500)), Due::At(Timestamp::from_nanos(1_500_000)));
/// # Ok::<(), flowspec::FlowspecError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Bucket {
    sustained: TokenBucket,
    peak: Option<TokenBucket>,
    /// Up to when both buckets have been filled.
    at: Timestamp,
}

impl Bucket {
    /// Full buckets for this plan, at this time.
    pub fn new(plan: &Plan, now: Timestamp) -> Self {
        Self { sustained: full(plan.sustained), peak: plan.peak.map(full), at: now }
    }

    fn advance(&mut self, now: Timestamp) {
        if now > self.at {
            let elapsed = now.saturating_since(self.at);
            self.at = now;
            self.buckets().for_each(|bucket| bucket.pass(elapsed));
        }
    }

    fn buckets(&mut self) -> impl Iterator<Item = &mut TokenBucket> {
        std::iter::once(&mut self.sustained).chain(&mut self.peak)
    }
}

impl Limiter for Bucket {
    fn due(&mut self, now: Timestamp, size: Bytes) -> Due {
        self.advance(now);
        let at = self.at;
        let longest = self
            .buckets()
            .try_fold(Duration::ZERO, |longest, bucket| bucket.wait(size).map(|wait| longest.max(wait)));
        match longest {
            None => Due::Never,
            Some(Duration::ZERO) => Due::Now,
            Some(wait) => Due::At(at.saturating_add(wait)),
        }
    }

    fn available(&mut self, now: Timestamp) -> Bytes {
        self.advance(now);
        self.buckets().map(|bucket| bucket.held()).min().unwrap_or(Bytes::ZERO)
    }

    fn take(&mut self, now: Timestamp, size: Bytes) -> bool {
        let conforms = size <= self.available(now);
        if conforms {
            self.buckets().for_each(|bucket| bucket.take(size));
        }
        conforms
    }

    fn refund(&mut self, now: Timestamp, size: Bytes) {
        self.advance(now);
        self.buckets().for_each(|bucket| bucket.refund(size));
    }

    fn set_plan(&mut self, now: Timestamp, plan: &Plan) {
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

    fn deficit(&mut self, now: Timestamp) -> Deficit {
        self.advance(now);
        let peak = self.peak.as_ref().map_or(Bytes::ZERO, TokenBucket::deficit);
        Deficit { sustained: self.sustained.deficit(), peak }
    }

    fn withdraw(&mut self, now: Timestamp, tokens: Deficit) {
        self.advance(now);
        self.sustained.withdraw(tokens.sustained);
        if let Some(peak) = &mut self.peak {
            peak.withdraw(tokens.peak);
        }
    }

    fn invariants(&self) {
        self.sustained.invariants();
        if let Some(peak) = &self.peak {
            peak.invariants();
        }
    }
}

fn full(tokens: Tokens) -> TokenBucket {
    TokenBucket::full(tokens.rate, tokens.depth)
}
