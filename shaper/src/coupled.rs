//! Two coupled buckets of one kind: the rules that every limiter has in common.
//!
//! A packet takes its size from both buckets or from neither: RFC 2212's `min(M + p·T, b + r·T)`, applied before the
//! packet leaves. Takes buckets as a [`Store`] each, and does not know how one counts.

use std::time::Duration;

use flowspec::{Bytes, Timestamp};

use crate::limiter::{Deficit, Due, Limiter};
use crate::plan::{Plan, Tokens};

/// The buckets of a plan: one for the sustained rate and, where the peak is finite, one for the peak.
#[derive(Clone, Debug)]
pub struct Coupled<S> {
    pub(crate) sustained: S,
    pub(crate) peak: Option<S>,
    /// Up to when both buckets have been filled.
    pub(crate) at: Timestamp,
}

/// One token bucket. Only this crate implements it: the module is private.
pub trait Store: Send + Sized {
    /// A full bucket; `None` where this kind cannot express its depth.
    fn full(tokens: Tokens) -> Option<Self>;

    /// Sets another rate and depth. The tokens stay, up to the new depth.
    fn set_tokens(&mut self, tokens: Tokens);

    /// Adds the tokens for a time that has passed.
    fn pass(&mut self, elapsed: Duration);

    /// The tokens in the bucket, in whole bytes.
    fn available(&self) -> Bytes;

    /// How long until `size` bytes may leave, rounded up to a nanosecond; `None` where they never may.
    fn wait(&self, size: Bytes) -> Option<Duration>;

    /// Takes the tokens for a packet of this size; takes nothing where the bucket holds fewer.
    fn take(&mut self, size: Bytes) -> bool;

    /// Returns tokens that were taken and not used.
    fn refund(&mut self, size: Bytes);

    /// How many tokens the bucket is below its depth, rounded up to whole bytes.
    fn deficit(&self) -> Bytes;

    /// Takes tokens without a packet, as many as there are of this many.
    fn withdraw(&mut self, tokens: Bytes);

    /// Asserts in debug builds that the bucket holds no more than its depth.
    fn invariants(&self);
}

impl<S: Store> Coupled<S> {
    fn advance(&mut self, now: Timestamp) {
        if now > self.at {
            let elapsed = now.saturating_since(self.at);
            self.at = now;
            self.buckets().for_each(|bucket| bucket.pass(elapsed));
        }
    }

    fn buckets(&mut self) -> impl Iterator<Item = &mut S> {
        std::iter::once(&mut self.sustained).chain(&mut self.peak)
    }
}

impl<S: Store> Limiter for Coupled<S> {
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
        self.buckets().map(|bucket| bucket.available()).min().unwrap_or(Bytes::ZERO)
    }

    fn take(&mut self, now: Timestamp, size: Bytes) -> bool {
        self.advance(now);
        if !self.sustained.take(size) {
            return false;
        }
        // Where the peak refuses, the sustained bucket is refunded exactly: nothing was added to it in between.
        let taken = self.peak.as_mut().is_none_or(|peak| peak.take(size));
        if !taken {
            self.sustained.refund(size);
        }
        taken
    }

    fn refund(&mut self, now: Timestamp, size: Bytes) {
        self.advance(now);
        self.buckets().for_each(|bucket| bucket.refund(size));
    }

    fn set_plan(&mut self, now: Timestamp, plan: &Plan) {
        self.advance(now);
        self.sustained.set_tokens(plan.sustained);
        self.peak = plan.peak.and_then(|tokens| match self.peak.take() {
            Some(mut bucket) => {
                bucket.set_tokens(tokens);
                Some(bucket)
            }
            None => S::full(tokens),
        });
    }

    fn deficit(&mut self, now: Timestamp) -> Deficit {
        self.advance(now);
        let peak = self.peak.as_ref().map_or(Bytes::ZERO, S::deficit);
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
