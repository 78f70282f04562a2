//! Datagrams in the order of their sequence numbers, as a receiver of RTP has them before it plays them.

use std::collections::VecDeque;

/// Holds datagrams that have overtaken others, until these have come or are given up.
#[derive(Clone, Debug, Default)]
pub(super) struct Reorder {
    /// The next number; `None` before the first datagram.
    expected: Option<u16>,
    /// Later datagrams, the next one first.
    held: VecDeque<(u16, Vec<u8>)>,
}

/// What a datagram leads to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Arrived {
    /// This one is next.
    Payload(Vec<u8>),
    /// As many are missing before the one that is next, and are not waited for.
    Lost(u16),
}

/// How many datagrams may have overtaken one before it is given up. CPUs that take turns with a flow's packets reorder a few.
const MOST_HELD: usize = 32;

impl Reorder {
    /// A datagram has come: what follows from it, in order.
    pub(super) fn arrive(&mut self, sequence: u16, payload: &[u8]) -> Vec<Arrived> {
        let expected = *self.expected.get_or_insert(sequence);
        let ahead = |number: u16| number.wrapping_sub(expected);
        if ahead(sequence) >= 1 << 15 {
            // It was given up, or has come before.
            return Vec::new();
        }
        let place = self.held.partition_point(|(number, _)| ahead(*number) < ahead(sequence));
        if self.held.get(place).is_none_or(|(number, _)| *number != sequence) {
            self.held.insert(place, (sequence, payload.to_vec()));
        }
        let mut arrived = Vec::new();
        if self.held.len() > MOST_HELD
            && let Some((first, _)) = self.held.front()
        {
            let lost = ahead(*first);
            if lost > 0 {
                arrived.push(Arrived::Lost(lost));
            }
            self.expected = Some(*first);
        }
        while let (Some(expected), Some((number, _))) = (self.expected, self.held.front())
            && *number == expected
        {
            let payload = self.held.pop_front().map(|(_, payload)| payload).unwrap_or_default();
            arrived.push(Arrived::Payload(payload));
            self.expected = Some(expected.wrapping_add(1));
        }
        arrived
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of what is played, and how many are lost, for datagrams that come in this order.
    #[track_caller]
    fn check(sequences: &[u16], played: &[u16], lost: u16) {
        let mut reorder = Reorder::default();
        let arrived = sequences.iter().flat_map(|number| reorder.arrive(*number, &number.to_be_bytes()));
        let (mut numbers, mut given_up) = (Vec::new(), 0);
        for arrived in arrived.collect::<Vec<_>>() {
            match arrived {
                Arrived::Payload(payload) => numbers.push(u16::from_be_bytes([payload[0], payload[1]])),
                Arrived::Lost(count) => given_up += count,
            }
        }
        assert_eq!((numbers.as_slice(), given_up), (played, lost), "{sequences:?}");
    }

    #[test]
    fn what_was_overtaken_is_played_in_its_place() {
        check(&[7, 8, 9], &[7, 8, 9], 0);
        check(&[7, 9, 8, 10], &[7, 8, 9, 10], 0);
        check(&[7, 10, 9, 8], &[7, 8, 9, 10], 0);
        check(&[65_534, 0, 65_535, 1], &[65_534, 65_535, 0, 1], 0);
    }

    #[test]
    fn copies_and_what_is_too_late_are_not_played() {
        check(&[7, 7, 8, 7, 8], &[7, 8], 0);
        check(&[7, 9, 9], &[7], 0);
        check(&[7, 6], &[7], 0);
    }

    #[test]
    fn what_does_not_come_is_lost_once_others_wait_for_it() {
        let most = u16::try_from(MOST_HELD).unwrap();
        let after: Vec<u16> = (3..3 + most).collect();
        let come: Vec<u16> = [0].into_iter().chain(after.clone()).collect();
        check(&come, &[0], 0);
        let come: Vec<u16> = come.into_iter().chain([3 + most]).collect();
        let played: Vec<u16> = [0].into_iter().chain(3..=3 + most).collect();
        check(&come, &played, 2);
        let late: Vec<u16> = come.into_iter().chain([1, 2]).collect();
        check(&late, &played, 2);
    }
}
