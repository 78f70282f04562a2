//! The exact limiter: two coupled token buckets, in integers.

use std::time::Duration;

use flowspec::{Bytes, Timestamp, TokenBucket};

use crate::coupled::{Coupled, Store};
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
pub type Bucket = Coupled<TokenBucket>;

impl Bucket {
    /// Full buckets for this plan, at this time.
    pub fn new(plan: &Plan, now: Timestamp) -> Self {
        Self { sustained: full(plan.sustained), peak: plan.peak.map(full), at: now }
    }
}

impl Store for TokenBucket {
    fn full(tokens: Tokens) -> Option<Self> {
        Some(full(tokens))
    }

    fn set_tokens(&mut self, tokens: Tokens) {
        self.change(tokens.rate, tokens.depth);
    }

    fn pass(&mut self, elapsed: Duration) {
        self.pass(elapsed);
    }

    fn available(&self) -> Bytes {
        self.held()
    }

    fn wait(&self, size: Bytes) -> Option<Duration> {
        self.wait(size)
    }

    fn take(&mut self, size: Bytes) -> bool {
        let conforms = size <= self.held();
        if conforms {
            self.take(size);
        }
        conforms
    }

    fn refund(&mut self, size: Bytes) {
        self.refund(size);
    }

    fn deficit(&self) -> Bytes {
        self.deficit()
    }

    fn withdraw(&mut self, tokens: Bytes) {
        self.withdraw(tokens);
    }

    fn invariants(&self) {
        self.invariants();
    }
}

fn full(tokens: Tokens) -> TokenBucket {
    TokenBucket::full(tokens.rate, tokens.depth)
}
