//! From two looks at a flow's peer to what is reported of it.

use flowspec::Moment;

use crate::admission::PeerState;
use crate::linux::peer::PeerCounters;

/// What was seen of a flow's peer so far.
#[derive(Debug)]
pub(super) struct Observer {
    /// What was seen last; `None` before the first look.
    last: Option<PeerCounters>,
    /// The last look at which the peer was not silent.
    heard: Moment,
    /// The last look at which the peer was not stalled.
    progressed: Moment,
    silent: bool,
    stalled: bool,
}

/// What is reported of a flow's peer, and since when.
pub(super) type ObservedPeer = (PeerState, Option<Moment>);

impl Observer {
    pub(super) const fn new(now: Moment) -> Self {
        Self { last: None, heard: now, progressed: now, silent: false, stalled: false }
    }

    /// Looks at the peer: the reports that follow, in order.
    ///
    /// A state needs two looks: the same at the end of a time as at its beginning. It is counted from the first of
    /// them, so that a peer is never blamed for a time before anything was expected of it.
    pub(super) fn look(&mut self, now: Moment, seen: PeerCounters) -> Vec<ObservedPeer> {
        if seen.closed {
            return vec![(PeerState::Gone, None)];
        }
        let last = self.last.replace(seen);
        let is_same =
            |same: fn(&PeerCounters, &PeerCounters) -> bool| last.is_some_and(|last| same(&last, &seen));
        let silent =
            is_same(|last, seen| last.unanswered && seen.unanswered && last.received == seen.received);
        let stalled =
            is_same(|last, seen| last.waiting && seen.waiting && last.acknowledged == seen.acknowledged);
        if !silent {
            self.heard = now;
        }
        if !stalled {
            self.progressed = now;
        }
        let mut reports = Vec::new();
        if (self.silent && !silent) || (self.stalled && !stalled) {
            reports.push((PeerState::Active, None));
        }
        if silent {
            reports.push((PeerState::Silent, Some(self.heard)));
        }
        if stalled {
            reports.push((PeerState::Stalled, Some(self.progressed)));
        }
        (self.silent, self.stalled) = (silent, stalled);
        reports
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn second(second: u64) -> Moment {
        Moment::from_micros(second * 1_000_000)
    }

    /// Looks at an idle peer at second 0, then at these seconds; the last look's reports.
    #[track_caller]
    fn check(name: &str, looks: &[(u64, PeerCounters)], expected: &[ObservedPeer]) {
        let mut observer = Observer::new(second(0));
        let mut reports = observer.look(second(0), PeerCounters::default());
        for (at, seen) in looks {
            reports = observer.look(second(*at), *seen);
        }
        assert_eq!(reports, expected, "{name}");
    }

    #[test]
    fn a_state_counts_from_the_first_look_at_it() {
        let idle = PeerCounters::default();
        let waits = PeerCounters { waiting: true, ..idle };
        let accepts = PeerCounters { acknowledged: 1, ..waits };
        let probed = PeerCounters { unanswered: true, ..idle };
        let answers = PeerCounters { received: 1, ..probed };
        let both = PeerCounters { waiting: true, unanswered: true, ..idle };
        let since = |state, at| (state, Some(second(at)));
        check("an idle connection", &[(1, idle), (100, idle)], &[]);
        check("data waits", &[(1, waits)], &[]);
        check("and still waits", &[(1, waits), (2, waits), (9, waits)], &[since(PeerState::Stalled, 1)]);
        check("a byte is accepted", &[(1, waits), (2, waits), (3, accepts)], &[(PeerState::Active, None)]);
        check("and no more", &[(1, waits), (3, accepts), (9, accepts)], &[since(PeerState::Stalled, 3)]);
        check("all is accepted", &[(1, waits), (2, waits), (3, idle)], &[(PeerState::Active, None)]);
        check("a probe is not answered", &[(1, probed), (5, probed)], &[since(PeerState::Silent, 1)]);
        check("it is answered", &[(1, probed), (5, probed), (6, answers)], &[(PeerState::Active, None)]);
        check(
            "both",
            &[(1, waits), (4, both), (7, both)],
            &[since(PeerState::Silent, 4), since(PeerState::Stalled, 1)],
        );
        check(
            "a silent peer that is heard may still be stalled",
            &[(1, both), (4, both), (7, PeerCounters { received: 1, ..both })],
            &[(PeerState::Active, None), since(PeerState::Stalled, 1)],
        );
        check(
            "the connection has failed",
            &[(1, PeerCounters { closed: true, ..idle })],
            &[(PeerState::Gone, None)],
        );
    }
}
