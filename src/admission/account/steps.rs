//! What changes from one moment to another, as steps: the largest of several reservations at each moment.

use std::cmp::Reverse;

use flowspec::{Both, Bytes, Direction, Moment, Rate};

use crate::ordered::OrderedSet;

use super::window::Window;

/// What a group takes during a part of the time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct TakenStep {
    pub(crate) window: Window,
    pub(crate) charged: Both<Rate>,
    pub(crate) buffer: Both<Bytes>,
}

/// Amounts, each during a window, of which the largest counts at each moment.
///
/// The steps are found from the largest amount down, until every moment is covered. It costs a logarithm where the
/// largest amount has begun and has no end, and grows with the amounts that are larger and have an end or begin later.
#[derive(Clone, Debug, Default)]
pub(crate) struct Largest {
    amounts: OrderedSet<SlotAmount>,
}

/// The amount of one slot, largest first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct SlotAmount {
    amount: Reverse<u64>,
    start: Moment,
    end: Option<Moment>,
    slot: u32,
}

impl Largest {
    pub(crate) fn insert(&mut self, slot: u32, amount: u64, window: Window) {
        if amount > 0 {
            self.amounts.insert(SlotAmount::of(slot, amount, window));
        }
    }

    pub(crate) fn remove(&mut self, slot: u32, amount: u64, window: Window) {
        self.amounts.remove(&SlotAmount::of(slot, amount, window));
    }

    /// The largest amount at each moment from now on, with one more amount: windows in order, of which neighbours
    /// differ. What is zero is left out.
    pub(crate) fn steps(&self, with: Option<(u64, Window)>, now: Moment) -> Vec<(Window, u64)> {
        let with = with.map(|(amount, window)| SlotAmount::of(u32::MAX, amount, window));
        let mut amounts = self.amounts.iter().copied().peekable();
        let mut one_more = with.filter(|with| with.amount.0 > 0).into_iter().peekable();
        let mut free = Gaps::from(now);
        let mut steps = Vec::new();
        while !free.is_empty() {
            let takes_one_more = match (one_more.peek(), amounts.peek()) {
                (Some(one_more), Some(next)) => one_more < next,
                (one_more, _) => one_more.is_some(),
            };
            let next = if takes_one_more { one_more.next() } else { amounts.next() };
            let Some(SlotAmount { amount: Reverse(amount), start, end, .. }) = next else { break };
            for Window { start, end } in free.take(Window { start: start.max(now), end }) {
                steps.push((Window { start, end }, amount));
            }
        }
        steps.sort_unstable_by_key(|(step, _)| step.start);
        let mut joined: Vec<(Window, u64)> = Vec::new();
        for (step, amount) in steps {
            match joined.last_mut() {
                Some((last, same)) if last.end == Some(step.start) && *same == amount => last.end = step.end,
                _ => joined.push((step, amount)),
            }
        }
        joined
    }
}

impl SlotAmount {
    const fn of(slot: u32, amount: u64, Window { start, end }: Window) -> Self {
        Self { amount: Reverse(amount), start, end, slot }
    }
}

/// Windows that nothing covers, in order.
struct Gaps(Vec<Window>);

impl Gaps {
    fn from(start: Moment) -> Self {
        Self(vec![Window { start, end: None }])
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Covers a window, and gives the parts of it that were not covered.
    fn take(&mut self, window: Window) -> Vec<Window> {
        if !window.ends_after(window.start) {
            return Vec::new();
        }
        // The gap before may reach into the window.
        let first = self.0.partition_point(|gap| !gap.ends_after(window.start));
        let end = first + self.0[first..].partition_point(|gap| window.ends_after(gap.start));
        let (mut left, mut taken) = (Vec::new(), Vec::new());
        for gap in &self.0[first..end] {
            if gap.start < window.start {
                left.push(Window { start: gap.start, end: Some(window.start) });
            }
            if let Some(end) = window.end
                && gap.ends_after(end)
            {
                left.push(Window { start: end, end: gap.end });
            }
            let end = match (gap.end, window.end) {
                (Some(gap), Some(window)) => Some(gap.min(window)),
                (gap, window) => gap.or(window),
            };
            taken.push(Window { start: gap.start.max(window.start), end });
        }
        self.0.splice(first..end, left);
        taken
    }
}

/// The steps of four quantities together: what is charged and what is buffered, in each direction.
pub(crate) fn together(
    charged: &Both<Vec<(Window, u64)>>,
    buffer: &Both<Vec<(Window, u64)>>,
) -> Vec<TakenStep> {
    let mut steps: Vec<TakenStep> = Vec::new();
    let lists = [&charged.sending, &charged.receiving, &buffer.sending, &buffer.receiving];
    let windows = lists.iter().flat_map(|list| list.iter().map(|(window, _)| *window));
    for window in pieces(windows) {
        let at = |list: &[(Window, u64)]| {
            let place = list.partition_point(|(step, _)| step.start <= window.start);
            let step = place.checked_sub(1).map(|place| list[place]);
            step.filter(|(step, _)| step.ends_after(window.start)).map_or(0, |(_, amount)| amount)
        };
        let step = TakenStep {
            window,
            charged: Both {
                sending: Rate::new(at(&charged.sending)),
                receiving: Rate::new(at(&charged.receiving)),
            },
            buffer: Both {
                sending: Bytes::new(at(&buffer.sending)),
                receiving: Bytes::new(at(&buffer.receiving)),
            },
        };
        match steps.last_mut() {
            Some(last) if last.window.end == Some(window.start) && last.takes_the_same(&step) => {
                last.window.end = window.end;
            }
            _ => steps.push(step),
        }
    }
    steps.retain(|step| !step.takes_the_same(&TakenStep::nothing(step.window)));
    steps
}

/// Whether both take the same from now on; each is in order, and its neighbours differ.
pub(crate) fn are_same(one: &[TakenStep], other: &[TakenStep], now: Moment) -> bool {
    fn later(steps: &[TakenStep], now: Moment) -> impl Iterator<Item = TakenStep> {
        let later = steps.iter().filter(move |step| step.window.ends_after(now));
        later.map(move |step| TakenStep { window: from(step.window, now), ..*step })
    }
    later(one, now).eq(later(other, now))
}

/// The windows in which one takes more than the other of anything, with what both take there.
pub(crate) fn above(one: &[TakenStep], other: &[TakenStep], now: Moment) -> Vec<(TakenStep, TakenStep)> {
    let windows = one.iter().chain(other).map(|step| step.window);
    let windows = windows.filter(|window| window.ends_after(now)).map(|window| from(window, now));
    let both = pieces(windows).into_iter().map(|window| (at(one, window), at(other, window)));
    both.filter(|(one, other)| one.takes_more_than(other)).collect()
}

/// What is taken during a window that is part of one step, or of none.
fn at(steps: &[TakenStep], window: Window) -> TakenStep {
    let place = steps.partition_point(|step| step.window.start <= window.start);
    let step = place.checked_sub(1).map(|place| steps[place]);
    match step.filter(|step| step.window.ends_after(window.start)) {
        Some(step) => TakenStep { window, ..step },
        None => TakenStep::nothing(window),
    }
}

fn from(window: Window, now: Moment) -> Window {
    Window { start: window.start.max(now), ..window }
}

/// The windows between all moments at which one of these begins or ends.
fn pieces(windows: impl Iterator<Item = Window>) -> Vec<Window> {
    let mut moments = Vec::new();
    let mut lasts = false;
    for Window { start, end } in windows {
        moments.push(start);
        moments.extend(end);
        lasts |= end.is_none();
    }
    moments.sort_unstable();
    moments.dedup();
    let ends = moments.iter().skip(1).copied().map(Some).chain([None]);
    let pieces = moments.iter().zip(ends).map(|(&start, end)| Window { start, end });
    pieces.filter(|piece| piece.end.is_some() || lasts).collect()
}

impl TakenStep {
    const fn nothing(window: Window) -> Self {
        let charged = Both { sending: Rate::ZERO, receiving: Rate::ZERO };
        Self { window, charged, buffer: Both { sending: Bytes::ZERO, receiving: Bytes::ZERO } }
    }

    fn takes_the_same(&self, other: &Self) -> bool {
        (self.charged, self.buffer) == (other.charged, other.buffer)
    }

    fn takes_more_than(&self, other: &Self) -> bool {
        Direction::BOTH.iter().any(|&direction| {
            self.charged.get(direction) > other.charged.get(direction)
                || self.buffer.get(direction) > other.buffer.get(direction)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn window(start: u64, end: Option<u64>) -> Window {
        Window { start: Moment::from_micros(start), end: end.map(Moment::from_micros) }
    }

    #[test]
    fn the_largest_covers_the_others() {
        let mut largest = Largest::default();
        largest.insert(1, 5, window(0, None));
        largest.insert(2, 9, window(10, Some(20)));
        largest.insert(3, 4, window(12, Some(30)));
        let now = Moment::START;
        let peak = vec![(window(0, Some(10)), 5), (window(10, Some(20)), 9), (window(20, None), 5)];
        assert_eq!(largest.steps(None, now), peak);
        assert_eq!(largest.steps(Some((9, window(0, None))), now), [(window(0, None), 9)]);
        largest.remove(1, 5, window(0, None));
        assert_eq!(largest.steps(None, now), [(window(10, Some(20)), 9), (window(20, Some(30)), 4)]);
        largest.remove(2, 9, window(10, Some(20)));
        largest.remove(3, 4, window(12, Some(30)));
        assert_eq!(largest.steps(None, now), []);
    }

    proptest! {
        /// Against a table of every moment.
        #[test]
        fn agrees_with_a_table(
            steps in prop::collection::vec((0u64..40, 1u64..40, 0u64..6, any::<bool>()), 1..60),
            now in 0u64..50,
        ) {
            const SLOTS: u64 = 100;
            let (mut largest, mut kept) = (Largest::default(), Vec::new());
            for (slot, (start, length, amount, undo)) in (0..).zip(steps) {
                if undo && let Some((slot, amount, window)) = kept.pop() {
                    largest.remove(slot, amount, window);
                } else {
                    let window = window(start, (length < 35).then_some(start + length));
                    largest.insert(slot, amount, window);
                    kept.push((slot, amount, window));
                }
                let found = largest.steps(None, Moment::from_micros(now));
                let at = |moment: u64| {
                    let at = Moment::from_micros(moment);
                    let inside = found.iter().filter(|(window, _)| window.start <= at && window.ends_after(at));
                    inside.map(|(_, amount)| *amount).sum::<u64>()
                };
                for moment in now..SLOTS {
                    let at_moment = Moment::from_micros(moment);
                    let all = kept.iter().filter(|(.., window)| window.start <= at_moment && window.ends_after(at_moment));
                    let expected = all.map(|(_, amount, _)| *amount).max().unwrap_or(0);
                    prop_assert_eq!(at(moment), expected, "{:?} at {}: {:?}", kept, moment, found);
                }
                for pair in found.windows(2) {
                    let ((first, before), (second, after)) = (pair[0], pair[1]);
                    prop_assert!(first.end.is_some_and(|end| end <= second.start));
                    prop_assert!(first.end < Some(second.start) || before != after);
                }
            }
        }
    }
}
