//! The delay that the tree can be held to: RFC 2212's error terms for its leaves.
//!
//! In any window of length t a leaf j with tokens of its own sends at most its conforming traffic,
//! `b_j + r_j·t`, and one packet more, since HTB overdraws by one; what is sent by others is one packet that
//! has begun already, for whatever borrows waits for those who do not. A leaf i with a backlog therefore gets
//!
//! ```text
//!   C·t - A - Σ_{j≠i} (b_j + L_j + r_j·t)  ≥  R_i · (t - D),   D = (A + Σ (b_j + L_j)) / (C - Σ r_j)
//! ```
//!
//! whatever the quanta are, where its bucket holds `R_i·D`: with less, tokens would overflow while it waits.
//! Its own last packet is served at its own rate: the other term is L.

use flowspec::{Bytes, ErrorTerms, Micros, Rate, Ratio};

use super::tree::{LARGEST_AGGREGATE, LARGEST_FLOW_CLASSES, LARGEST_OVERHEAD, LINK_PART};

/// What a packet that the stack has put together takes of the link with the headers of its segments, of 536
/// bytes at least (RFC 9293), Ethernet's among them.
const LARGEST_SERVED: u64 = LARGEST_AGGREGATE + LARGEST_AGGREGATE.div_ceil(536) * (14 + 60 + 60);

/// How late a timer of the kernel may be, in microseconds: one tick of the slowest.
const TIMER_MICROS: u64 = 10_000;

/// C and D of every leaf of a tree for this link, with at most so many flows whose buckets come to at most
/// so much; nothing where flows would share leaves, or where the leaves' rates may come to all that the
/// link sends.
///
/// - **Units**: IP bytes, as in a flowspec; link headers are allowed for at their largest.
/// - **Source**: RFC 2212, section "Exported Information"; kernel `net/sched/sch_htb.c`.
pub fn error_terms(capacity: Rate, budget: Rate, flows: u64, buckets: Bytes) -> Option<ErrorTerms> {
    if flows > u64::from(LARGEST_FLOW_CLASSES) {
        return None;
    }
    let (payload, framed) = LARGEST_OVERHEAD;
    let (kept, whole) = LINK_PART;
    let sent = capacity.scale_down(Ratio { numerator: kept, denominator: whole });
    let left = sent.saturating_sub(budget.scale_up(Ratio { numerator: framed, denominator: payload })).get();
    if left == 0 {
        return None;
    }
    let buckets = u128::from(buckets.get()) * u128::from(framed) / u128::from(payload) + 1;
    // One packet of everybody's, one that is being sent, one in the device.
    let packets = u128::from(flows + 2) * u128::from(LARGEST_SERVED);
    let micros = ((buckets + packets) * 1_000_000).div_ceil(u128::from(left));
    let d = u64::try_from(micros).ok()?.checked_add(TIMER_MICROS)?;
    Some(ErrorTerms { c: Bytes::new(LARGEST_SERVED), d: Micros::new(d) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_needs_room_and_leaves_of_their_own() {
        let check = |megabits: u64, percent: u64, flows, buckets| {
            let capacity = Rate::from_mbit(megabits);
            error_terms(capacity, capacity.scale_down(Ratio::percent(percent)), flows, Bytes::new(buckets))
        };
        // (400000·78/64 + 22·82018) / (0.99·125 MB/s - 62.5 MB/s·78/64), rounded up, and a tick.
        let terms = check(1000, 50, 20, 400_000).expect("half a link leaves room");
        assert_eq!((terms.c.get(), terms.d.get()), (82_018, 48_172 + TIMER_MICROS));
        assert_eq!(check(1000, 82, 20, 400_000), None, "headers may take all that is left");
        assert_eq!(check(1000, 50, 1001, 400_000), None, "flows would share a leaf");
        let more = check(1000, 50, 40, 400_000).expect("more flows");
        assert!(more.d > terms.d);
        let faster = check(10_000, 50, 20, 400_000).expect("a faster link");
        assert!(faster.d < terms.d);
    }
}
