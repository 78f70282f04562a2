//! The delay that the leaves of a tree guarantee: RFC 2212's error terms.
//!
//! In any window of length t a leaf j with tokens of its own sends at most its conforming traffic, `b_j + r_j·t`, and
//! one packet, since HTB overdraws by one. Leaves that borrow wait for those with tokens, so all that they add is one
//! packet, of length A, which is being sent already. A leaf i with a backlog therefore gets
//!
//! ```text
//!   C·t - A - Σ_{j≠i} (b_j + L_j + r_j·t)  ≥  R_i · (t - D),   D = (A + Σ (b_j + L_j)) / (C - Σ r_j)
//! ```
//!
//! for any quanta, if its bucket holds `R_i·D`: with a smaller one, tokens would overflow while it waits. Its own last
//! packet is served at its own rate: the other term, RFC 2212's C, is L.

use flowspec::{Bytes, ErrorTerms, Micros, Ratio};

use super::layout::LARGEST_FLOW_CLASSES;
use super::shape::{LARGEST_AGGREGATE, LARGEST_OVERHEAD, LINK_PART, LinkRates};

/// The bytes that the largest aggregate takes of the link, with the headers of its segments. A segment has at least
/// 536 bytes (RFC 9293), and headers of Ethernet, IP and TCP.
const LARGEST_SERVED: u64 = LARGEST_AGGREGATE + LARGEST_AGGREGATE.div_ceil(536) * (14 + 60 + 60);

/// How late a kernel timer may be, in microseconds: one tick of the slowest.
const TIMER_MICROS: u64 = 10_000;

/// The most flows, and the largest buckets together, for which a delay is guaranteed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Load {
    /// How many leaves compete, each with a flow of its own.
    pub flows: u64,
    /// The sum of their token bucket sizes, as in their flowspecs.
    pub buckets: Bytes,
}

impl LinkRates {
    /// The error terms C and D of every leaf under this load.
    ///
    /// `None` where flows would share leaves, or where the rates of the leaves may add up to all that the link sends.
    ///
    /// - **Units**: IP bytes, as in a flowspec; link headers are counted at their largest.
    /// - **Source**: RFC 2212, section "Exported Information"; kernel `net/sched/sch_htb.c`.
    pub fn error_terms(&self, load: Load) -> Option<ErrorTerms> {
        if load.flows > u64::from(LARGEST_FLOW_CLASSES) {
            return None;
        }
        // A link that carries nothing is granted a byte per second in its tree, which guarantees no delay.
        let left = self.capacity.scale_down(LINK_PART).saturating_sub(self.framed_budget()).get();
        // A leaf that borrows a part of its rate has no bound.
        if left == 0 || self.framed_budget() > self.left_for_leaves() {
            return None;
        }
        let Ratio { numerator, denominator } = LARGEST_OVERHEAD;
        let buckets = u128::from(load.buckets.get()) * u128::from(numerator) / u128::from(denominator) + 1;
        // One packet of each flow, one that is being sent, one in the device.
        let packets = u128::from(load.flows + 2) * u128::from(LARGEST_SERVED);
        let micros = ((buckets + packets) * 1_000_000).div_ceil(u128::from(left));
        let d = u64::try_from(micros).ok()?.checked_add(TIMER_MICROS)?;
        Some(ErrorTerms { c: Bytes::new(LARGEST_SERVED), d: Micros::new(d) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flowspec::Rate;

    #[test]
    fn a_bound_needs_rate_that_is_left_and_leaves_of_their_own() {
        let check = |megabits: u64, percent: u64, flows, buckets| {
            let capacity = Rate::from_mbit(megabits);
            let budget = capacity.scale_down(Ratio::percent(percent));
            LinkRates { capacity, budget }.error_terms(Load { flows, buckets: Bytes::new(buckets) })
        };
        // (400000·78/64 + 22·82018) / (0.99·125 MB/s - 62.5 MB/s·78/64), rounded up, and a tick.
        let terms = check(1000, 50, 20, 400_000).expect("half a link is left");
        assert_eq!((terms.c.get(), terms.d.get()), (82_018, 48_172 + TIMER_MICROS));
        assert_eq!(check(1000, 82, 20, 400_000), None, "headers may take all that is left");
        assert_eq!(check(1000, 50, 1001, 400_000), None, "flows would share a leaf");
        assert_eq!(check(0, 50, 20, 400_000), None, "a link that carries nothing");
        let more = check(1000, 50, 40, 400_000).expect("more flows");
        assert!(more.d > terms.d);
        let faster = check(10_000, 50, 20, 400_000).expect("a faster link");
        assert!(faster.d < terms.d);
    }
}
