//! When each transfer of a worker sends: the core, which is told the time.
//!
//! Takes transfers and what has happened to them; sends by an [`Outlet`], which may be a socket. Reads no clock and does not
//! wait. A transfer is in one of three places: on the wheel until it has tokens, nowhere until its socket has space, or in
//! the line of those that have sent a turn and have tokens for more.

use std::collections::VecDeque;
use std::io;
use std::task::Waker;
use std::time::Duration;

use flowspec::{Direction, Timestamp};

use super::error::TransferProblem;
use crate::control::Control;
use crate::direction_state::Acquired;
use crate::wheel::Wheel;

/// Completes a transfer of granted bytes, of which so many have passed.
pub(super) type Complete<'a> = &'a mut dyn FnMut(Option<usize>);

/// Where a transfer's data goes.
pub(super) trait Outlet {
    /// How many bytes are left.
    fn remaining(&self) -> u64;

    /// Sends at most so many bytes, and gives how many were accepted; `None` where nothing is to be sent any more. Calls
    /// `complete` once, with what was accepted or `None`.
    ///
    /// - **Errors**: `WouldBlock` where there is no space; the outlet has failed.
    fn send(&mut self, most: usize, complete: Complete<'_>) -> Option<Result<usize, TransferProblem>>;
}

/// A transfer, as it is scheduled.
pub(super) struct Scheduled<O> {
    pub(super) outlet: O,
    pub(super) control: Control,
    /// Woken when the plan changes.
    pub(super) waker: Waker,
}

/// A transfer that has ended.
pub(super) struct Ended<O> {
    pub(super) outlet: O,
    /// `Ok` at its end, and where nothing was to be sent any more.
    pub(super) result: Result<(), TransferProblem>,
}

/// The transfers of a worker, by small numbers.
pub(super) struct Schedule<O> {
    places: Vec<Option<(Scheduled<O>, Place)>>,
    unused: Vec<u32>,
    wheel: Wheel,
    /// The transfers that have tokens, in turn. A key may be there that is another transfer's now, or no one's.
    line: VecDeque<u32>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    /// On the wheel.
    Waiting,
    /// Nowhere: its socket has no space.
    Blocked,
    /// In the line.
    InLine,
}

/// The step of a worker's wheel: for precise waits. The slots of plans and the times of periods are multiples of it.
const STEP: Duration = Duration::from_nanos(62_500);

/// The most that a transfer sends before others have their turn.
const TURN: u64 = 256 << 10;

impl<O: Outlet> Schedule<O> {
    pub(super) fn new(now: Timestamp) -> Self {
        let wheel = Wheel::new(STEP, now);
        Self { places: Vec::new(), unused: Vec::new(), wheel, line: VecDeque::new() }
    }

    /// The key of the next transfer that is [added](Self::add).
    pub(super) fn next_key(&self) -> u32 {
        // A worker has fewer transfers than 2^32 by its limit.
        self.unused.last().copied().unwrap_or(u32::try_from(self.places.len()).unwrap_or(u32::MAX))
    }

    /// Adds a transfer, which is first in line from now on.
    pub(super) fn add(&mut self, transfer: Scheduled<O>) -> u32 {
        let key = self.next_key();
        let place = Some((transfer, Place::InLine));
        match self.unused.pop() {
            Some(_) => self.places[key as usize] = place,
            None => self.places.push(place),
        }
        self.line.push_back(key);
        key
    }

    /// Removes a transfer, wherever it is.
    pub(super) fn remove(&mut self, key: u32) -> Option<O> {
        let (transfer, _) = self.places.get_mut(key as usize)?.take()?;
        self.wheel.cancel(key);
        self.unused.push(key);
        Some(transfer.outlet)
    }

    /// Removes all transfers.
    pub(super) fn remove_all(&mut self) -> impl Iterator<Item = O> {
        let places = std::mem::take(&mut self.places);
        self.unused.clear();
        self.line.clear();
        self.wheel = Wheel::new(STEP, Timestamp::default());
        places.into_iter().flatten().map(|(transfer, _)| transfer.outlet)
    }

    /// A transfer.
    pub(super) fn get(&self, key: u32) -> Option<&O> {
        self.places.get(key as usize)?.as_ref().map(|(transfer, _)| &transfer.outlet)
    }

    /// The next transfer whose time has come. Each is [advanced](Self::advance).
    pub(super) fn due(&mut self, now: Timestamp) -> Option<u32> {
        self.wheel.pop(now)
    }

    /// How many transfers are in line.
    pub(super) fn in_line(&self) -> usize {
        self.line.len()
    }

    /// Advances the transfer that is first in line, unless it has left.
    pub(super) fn advance_first_in_line(&mut self, now: Timestamp) -> Option<Ended<O>> {
        let key = self.line.pop_front()?;
        if self.place(key) == Some(Place::InLine) { self.advance(key, now) } else { None }
    }

    /// When a transfer is due next.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.wheel.next_due()
    }

    /// The outlet of a transfer has space.
    pub(super) fn unblocked(&mut self, key: u32, now: Timestamp) -> Option<Ended<O>> {
        if self.place(key) == Some(Place::Blocked) { self.advance(key, now) } else { None }
    }

    /// The plan of a transfer has changed: it may have tokens.
    pub(super) fn plan_changed(&mut self, key: u32, now: Timestamp) -> Option<Ended<O>> {
        if self.place(key) == Some(Place::Waiting) { self.advance(key, now) } else { None }
    }

    fn place(&self, key: u32) -> Option<Place> {
        self.places.get(key as usize)?.as_ref().map(|(_, place)| *place)
    }

    /// Sends what a transfer has tokens for, at most a turn, and says whether it has ended.
    pub(super) fn advance(&mut self, key: u32, now: Timestamp) -> Option<Ended<O>> {
        let (transfer, place) = self.places.get_mut(key as usize)?.as_mut()?;
        let result = match transfer.advance(now) {
            Advanced::Until(due) => {
                *place = Place::Waiting;
                self.wheel.set(key, due);
                return None;
            }
            Advanced::Blocked => {
                *place = Place::Blocked;
                self.wheel.cancel(key);
                return None;
            }
            Advanced::Turn => {
                *place = Place::InLine;
                self.wheel.cancel(key);
                self.line.push_back(key);
                return None;
            }
            Advanced::Ended(result) => result,
        };
        self.remove(key).map(|outlet| Ended { outlet, result })
    }
}

/// How far a transfer has come.
enum Advanced {
    /// It has no tokens before this time.
    Until(Timestamp),
    /// Its outlet has no space.
    Blocked,
    /// It has sent enough for one turn.
    Turn,
    Ended(Result<(), TransferProblem>),
}

impl<O: Outlet> Scheduled<O> {
    fn advance(&mut self, now: Timestamp) -> Advanced {
        let mut turn = TURN;
        loop {
            let remaining = self.outlet.remaining();
            if remaining == 0 {
                return Advanced::Ended(Ok(()));
            }
            if turn == 0 {
                return Advanced::Turn;
            }
            let wanted = usize::try_from(remaining.min(turn)).unwrap_or(usize::MAX);
            let granted = {
                let mut state = self.control.state(Direction::Sending);
                match state.acquire(now, wanted) {
                    Acquired::Granted(granted) => granted,
                    Acquired::Wait(wait) => {
                        state.wake_on_change(&self.waker);
                        return Advanced::Until(wait.shared_end(state.plan()));
                    }
                }
            };
            let Self { outlet, control, .. } = self;
            let mut complete = |passed| control.state(Direction::Sending).complete(now, granted, passed);
            match outlet.send(granted, &mut complete) {
                Some(Ok(sent)) => turn = turn.saturating_sub(sent as u64),
                Some(Err(TransferProblem::Socket(error))) if error.kind() == io::ErrorKind::Interrupted => {}
                Some(Err(TransferProblem::Socket(error))) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Advanced::Blocked;
                }
                Some(Err(problem)) => return Advanced::Ended(Err(problem)),
                None => return Advanced::Ended(Ok(())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use flowspec::{Bytes, Flowspec, Peak, Rate, TSpec};
    use proptest::prelude::*;

    use super::*;
    use crate::clock;
    use crate::plan::{Framing, Plan, Tokens};

    const TCP: Framing = Framing::Stream { header: 52, segment: 1448 };
    const MILLISECOND: u64 = 1_000_000;

    fn plan(rate: u64, depth: u64, peak: Option<u64>) -> Plan {
        let mut spec = Flowspec::guaranteed(Rate::new(rate), Bytes::new(depth));
        spec.peak_bandwidth = peak.map(|peak| Peak::Finite(Rate::new(peak)));
        let tspec = TSpec::new(&spec, Direction::Sending, Bytes::new(1500)).expect("valid");
        Plan::new(&tspec.expect("it reserves"), TCP).expect("packets with payload")
    }

    /// What each outlet accepts, and when.
    #[derive(Clone, Default)]
    struct Wire(Rc<RefCell<Recording>>);

    #[derive(Default)]
    struct Recording {
        now: Timestamp,
        /// The space of each outlet; endless where there is none.
        space: Vec<Option<usize>>,
        sent: Vec<(usize, Timestamp, usize)>,
    }

    struct Recorder {
        number: usize,
        left: u64,
        wire: Wire,
    }

    impl Outlet for Recorder {
        fn remaining(&self) -> u64 {
            self.left
        }

        fn send(&mut self, most: usize, complete: Complete<'_>) -> Option<Result<usize, TransferProblem>> {
            let mut wire = self.wire.0.borrow_mut();
            let now = wire.now;
            let space = wire.space[self.number].unwrap_or(usize::MAX);
            let sent = most.min(space);
            complete((sent > 0).then_some(sent));
            if sent == 0 {
                return Some(Err(TransferProblem::Socket(io::ErrorKind::WouldBlock.into())));
            }
            wire.space[self.number] = wire.space[self.number].map(|space| space - sent);
            self.left -= sent as u64;
            wire.sent.push((self.number, now, sent));
            Some(Ok(sent))
        }
    }

    struct Bench {
        wire: Wire,
        schedule: Schedule<Recorder>,
        controls: Vec<Control>,
        now: Timestamp,
        ended: Vec<usize>,
    }

    impl Bench {
        fn new() -> Self {
            let now = clock::now();
            let (wire, schedule) = (Wire::default(), Schedule::new(now));
            wire.0.borrow_mut().now = now;
            Self { wire, schedule, controls: Vec::new(), now, ended: Vec::new() }
        }

        fn add(&mut self, plan: Option<Plan>, bytes: u64, space: Option<usize>) -> u32 {
            let control = Control::default();
            control.set(Direction::Sending, plan);
            let number = self.controls.len();
            self.controls.push(control.clone());
            self.wire.0.borrow_mut().space.push(space);
            let outlet = Recorder { number, left: bytes, wire: self.wire.clone() };
            self.schedule.add(Scheduled { outlet, control, waker: Waker::noop().clone() })
        }

        fn pass(&mut self, nanos: u64) {
            self.now = self.now.saturating_add(Duration::from_nanos(nanos));
            self.wire.0.borrow_mut().now = self.now;
        }

        /// What a worker does after a wake.
        fn turn(&mut self) {
            let mut ended = Vec::new();
            while let Some(key) = self.schedule.due(self.now) {
                ended.extend(self.schedule.advance(key, self.now));
            }
            for _ in 0..self.schedule.in_line() {
                ended.extend(self.schedule.advance_first_in_line(self.now));
            }
            for Ended { outlet, result } in ended {
                result.expect("the outlet does not fail");
                self.ended.push(outlet.number);
            }
        }

        /// Up to a time, with wakes that are late by what `lateness` gives.
        fn run_until(&mut self, until: Timestamp, mut lateness: impl FnMut() -> u64) {
            loop {
                self.turn();
                let next = match self.schedule.next_due() {
                    _ if self.schedule.in_line() > 0 => self.now,
                    Some(next) => next.saturating_add(Duration::from_nanos(lateness())).max(self.now),
                    None => return,
                };
                if next > until {
                    return;
                }
                let passed = next.saturating_since(self.now);
                self.pass(u64::try_from(passed.as_nanos()).expect("short"));
            }
        }

        fn sent(&self, number: usize) -> Vec<(Timestamp, usize)> {
            let wire = self.wire.0.borrow();
            wire.sent.iter().filter(|(of, ..)| *of == number).map(|&(_, at, sent)| (at, sent)).collect()
        }
    }

    /// Every window holds at most what the buckets allow.
    #[track_caller]
    fn conforms(plan: &Plan, sent: &[(Timestamp, usize)]) {
        for Tokens { rate, depth } in [Some(plan.sustained), plan.peak].into_iter().flatten() {
            for (first, &(from, _)) in sent.iter().enumerate() {
                let mut sum = 0;
                for &(at, size) in &sent[first..] {
                    sum += plan.charge(size as u64).get();
                    let time = at.saturating_since(from).as_nanos();
                    let allowed = u128::from(depth.get()) + u128::from(rate.get()) * time / 1_000_000_000 + 1;
                    assert!(u128::from(sum) <= allowed, "{sum} B in {time} ns, {allowed} are allowed");
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_transfer_conforms_and_is_whole_however_late_its_worker_is(
            rates in prop::collection::vec((8_000_u64..20_000_000, 1_500_u64..200_000, any::<bool>()), 1..8),
            late in prop::collection::vec(0_u64..30 * MILLISECOND, 1..20),
            space in prop::collection::vec(prop::option::of(1_usize..20_000), 8),
        ) {
            const BYTES: u64 = 150_001;
            let mut bench = Bench::new();
            let plans: Vec<_> =
                rates.iter().map(|&(rate, depth, peaked)| plan(rate, depth, peaked.then_some(rate * 4))).collect();
            for (number, plan) in plans.iter().enumerate() {
                bench.add(Some(*plan), BYTES, space[number]);
            }
            let mut turn = 0;
            for round in 0..200 {
                let until = bench.now.saturating_add(Duration::from_millis(500));
                bench.run_until(until, || { turn += 1; late[turn % late.len()] });
                if bench.ended.len() == plans.len() {
                    break;
                }
                // Outlets without space get some.
                for (number, more) in space.iter().take(plans.len()).enumerate() {
                    bench.wire.0.borrow_mut().space[number] = more.map(|more| more << round.min(16));
                    let ended = bench.schedule.unblocked(u32::try_from(number).expect("small"), bench.now);
                    bench.ended.extend(ended.map(|ended| ended.outlet.number));
                }
                bench.pass(50 * MILLISECOND);
            }
            prop_assert_eq!(bench.ended.len(), plans.len(), "all have ended");
            for (number, plan) in plans.iter().enumerate() {
                let sent = bench.sent(number);
                conforms(plan, &sent);
                let whole: usize = sent.iter().map(|(_, size)| size).sum();
                prop_assert_eq!(whole as u64, BYTES);
                prop_assert_eq!(bench.controls[number].stats(Direction::Sending).bytes, whole as u64);
            }
        }
    }

    fn bytes_of(sent: &[(Timestamp, usize)]) -> usize {
        sent.iter().map(|(_, size)| size).sum()
    }

    #[test]
    fn streams_get_their_rate_and_share_the_times_of_their_releases() {
        let mut bench = Bench::new();
        let plan = plan(129_490, 16_384, None);
        for _ in 0..1000 {
            bench.add(Some(plan), u64::MAX, None);
        }
        let warm = bench.now.saturating_add(Duration::from_secs(1));
        bench.run_until(warm, || 0);
        let before: Vec<_> = (0..1000).map(|number| bytes_of(&bench.sent(number))).collect();
        bench.wire.0.borrow_mut().sent.clear();
        bench.run_until(warm.saturating_add(Duration::from_secs(2)), || 0);
        let mut times: Vec<_> = bench.wire.0.borrow().sent.iter().map(|&(_, at, _)| at).collect();
        times.dedup();
        assert!(times.len() <= 401, "{} wakes in two seconds", times.len());
        let mut by_stream = vec![0; 1000];
        bench.wire.0.borrow().sent.iter().for_each(|&(number, _, size)| by_stream[number] += size);
        // 125 kB/s of payload; whole segments alone are sent.
        assert!(by_stream.iter().all(|sent| (247_500..=252_500).contains(sent)), "{by_stream:?}");
        assert!(before.iter().all(|&sent| sent >= 16_384 / 1500 * 1448));
    }

    #[test]
    fn an_outlet_without_space_delays_no_other_and_keeps_its_credit() {
        let mut bench = Bench::new();
        let plan = plan(750_000, 65_536, None);
        let blocked = bench.add(Some(plan), 10_000_000, Some(10_000));
        bench.add(Some(plan), 1_000_000, None);
        let end = bench.now.saturating_add(Duration::from_secs(3));
        bench.run_until(end, || 0);
        assert_eq!(bench.ended, [1]);
        assert_eq!(bytes_of(&bench.sent(0)), 10_000);
        assert!(bench.schedule.next_due().is_none(), "it is on no timer");
        bench.wire.0.borrow_mut().space[0] = None;
        assert!(bench.schedule.unblocked(blocked, bench.now).is_none());
        // What has space again gets all of its bucket, and no more.
        let first = bytes_of(&bench.sent(0)) - 10_000;
        assert_eq!(first as u64, plan.payload_within(plan.sustained.depth));
        conforms(&plan, &bench.sent(0));
    }

    #[test]
    fn a_change_of_the_plan_counts_at_once() {
        let mut bench = Bench::new();
        let key = bench.add(Some(plan(1_500, 15_000, None)), 1_000_000, None);
        bench.turn();
        let before = bytes_of(&bench.sent(0));
        assert!(before <= 15_000);
        bench.controls[0].set(Direction::Sending, Some(plan(1_500_000, 150_000, None)));
        // The plan has changed by the clock.
        let passed = clock::now().saturating_since(bench.now);
        bench.pass(u64::try_from(passed.as_nanos()).expect("short"));
        assert!(bench.schedule.plan_changed(key, bench.now).is_none());
        bench.run_until(bench.now.saturating_add(Duration::from_millis(100)), || 0);
        assert!(bytes_of(&bench.sent(0)) >= before + 100_000);
        bench.controls[0].set(Direction::Sending, None);
        // The rest is sent in turns, so that others are served between them.
        let mut turns = 0;
        let mut ended = bench.schedule.plan_changed(key, bench.now);
        while ended.is_none() {
            turns += 1;
            ended = bench.schedule.advance_first_in_line(bench.now);
        }
        assert!((3..=4).contains(&turns), "{turns}");
        assert_eq!(bytes_of(&bench.sent(0)), 1_000_000);
    }

    #[test]
    fn a_place_is_used_again_and_a_removed_transfer_leaves_no_timer() {
        let mut bench = Bench::new();
        let slow = Some(plan(1_500, 1_500, None));
        let keys: Vec<_> = (0..3).map(|_| bench.add(slow, 1_000_000, None)).collect();
        bench.turn();
        assert!(bench.schedule.next_due().is_some());
        keys.iter().for_each(|&key| drop(bench.schedule.remove(key)));
        assert!(bench.schedule.next_due().is_none() && bench.schedule.remove(keys[0]).is_none());
        let again: Vec<_> = (0..3).map(|_| bench.add(slow, 10, None)).collect();
        assert_eq!(bench.schedule.next_key(), 3, "{again:?}");
        bench.schedule.remove(again[1]);
        bench.turn();
        assert_eq!(bench.ended, [3, 5]);
    }
}
