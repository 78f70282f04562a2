//! A timing wheel: which of many timers are due, in constant time for each.
//!
//! Takes keys (small numbers, such as indices into a slab), the times at which they are due, and the time now; returns the
//! keys that are due. Reads no clock and waits for nothing. A key that is due between two steps of the wheel is returned at
//! the later one, and so never early.
//!
//! One turn of the wheel covers [`SLOTS`] steps, of which a bitmap says which have timers. Timers beyond it are in a list of their own, which is sorted into the wheel
//! at most once in a turn. Lists are linked by indices, so that no call allocates, except for a key that is larger than all
//! before.

use std::time::Duration;

use flowspec::Timestamp;

/// The steps of one turn.
pub const SLOTS: usize = WORDS * 64;

/// The words of the bitmap of occupied slots: one bit of `Wheel::words` for each.
const WORDS: usize = 64;

/// The list of timers beyond the turn, after those of the slots.
const FAR: u32 = 4096;

const _: () = assert!(FAR as usize == SLOTS, "the lists of slots come first");

/// No list, or the end of one.
const NONE: u32 = u32::MAX;

/// Timers, each with a key.
#[derive(Clone, Debug)]
pub struct Wheel {
    /// Of a step, in nanoseconds.
    width: u64,
    /// The step up to which all timers have been returned. None is due before it.
    current: u64,
    /// The words of `occupied` that are not zero.
    words: u64,
    /// The slots that have timers.
    occupied: [u64; WORDS],
    /// The first timer of each slot, and of the list beyond the turn.
    heads: Box<[u32]>,
    /// No timer beyond the turn is due before this step.
    far_from: u64,
    /// By key.
    timers: Vec<Timer>,
    len: usize,
}

/// A timer, or the place of one. The timers of a list form a ring.
#[derive(Clone, Copy, Debug)]
struct Timer {
    /// The step at which it is due.
    step: u64,
    next: u32,
    previous: u32,
    /// Its slot, [`FAR`] or [`NONE`].
    list: u32,
}

impl Timer {
    const UNUSED: Self = Self { step: 0, next: NONE, previous: NONE, list: NONE };
}

impl Wheel {
    /// An empty wheel whose steps have this width, at least a nanosecond, as whole multiples of it since the origin of the
    /// timestamps.
    pub fn new(width: Duration, now: Timestamp) -> Self {
        let width = u64::try_from(width.as_nanos()).unwrap_or(u64::MAX).max(1);
        Self {
            width,
            current: now.as_nanos() / width,
            words: 0,
            occupied: [0; WORDS],
            heads: vec![NONE; SLOTS + 1].into_boxed_slice(),
            far_from: u64::MAX,
            timers: Vec::new(),
            len: 0,
        }
    }

    /// How many timers there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no timers.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sets the timer of a key, in place of the one that it has.
    ///
    /// Keys are dense: the wheel has 24 bytes for each number up to the largest key.
    pub fn set(&mut self, key: u32, due: Timestamp) {
        self.cancel(key);
        let place = index(key);
        if place >= self.timers.len() {
            self.timers.resize(place + 1, Timer::UNUSED);
        }
        // Rounded up: never early.
        let step = due.as_nanos().div_ceil(self.width).max(self.current);
        self.link(key, step);
        self.len += 1;
    }

    /// Removes the timer of a key, and says whether it had one.
    pub fn cancel(&mut self, key: u32) -> bool {
        let is_set = self.timers.get(index(key)).is_some_and(|timer| timer.list != NONE);
        if is_set {
            self.unlink(key);
            self.len -= 1;
        }
        is_set
    }

    /// Removes a timer that is due, and returns its key: step by step, and within a step in the order in which they were
    /// set.
    pub fn pop(&mut self, now: Timestamp) -> Option<u32> {
        let until = now.as_nanos() / self.width;
        loop {
            let next = self.next_step().filter(|&next| next <= until);
            let Some(next) = next else {
                self.current = self.current.max(until);
                return None;
            };
            self.current = self.current.max(next);
            if self.far_from <= self.current {
                self.sort_far();
            }
            let key = self.heads[self.slot(self.current)];
            if key != NONE {
                self.unlink(key);
                self.len -= 1;
                return Some(key);
            }
        }
    }

    /// When [`pop`](Self::pop) is to be called next; `None` without timers. Not after the first timer is due, and at most
    /// once in a turn without one that is.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.next_step().map(|step| Timestamp::from_nanos(step.saturating_mul(self.width)))
    }

    /// Asserts in debug builds that lists, bitmap and count agree.
    pub fn invariants(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        let mut linked = 0;
        for list in 0..=FAR {
            let head = self.heads[index(list)];
            let mut at = head;
            while at != NONE {
                let timer = self.timers[index(at)];
                debug_assert_eq!(timer.list, list, "timer {at} is in another list");
                debug_assert_eq!(self.timers[index(timer.next)].previous, at, "the ring is broken at {at}");
                if list == FAR {
                    debug_assert!(timer.step >= self.far_from, "{} < {}", timer.step, self.far_from);
                } else {
                    let steps = timer.step - self.current;
                    debug_assert!(steps < SLOTS as u64, "timer {at} is {steps} steps ahead");
                    debug_assert_eq!(self.slot(timer.step), index(list));
                }
                linked += 1;
                at = if timer.next == head { NONE } else { timer.next };
            }
            if list != FAR {
                let (word, bit) = word_and_bit(index(list));
                debug_assert_eq!(self.occupied[word] & bit != 0, head != NONE, "slot {list}");
                debug_assert_eq!(self.words & 1 << word != 0, self.occupied[word] != 0, "word {word}");
            }
        }
        debug_assert_eq!(linked, self.len, "timers are lost");
    }

    /// The first step with a timer, or before which none is due.
    fn next_step(&self) -> Option<u64> {
        let far = (self.heads[index(FAR)] != NONE).then_some(self.far_from);
        [self.first_near(), far].into_iter().flatten().min()
    }

    /// The first step of the turn that has a timer.
    fn first_near(&self) -> Option<u64> {
        let from = self.slot(self.current);
        let (word, bit) = (from / 64, from % 64);
        let here = self.occupied[word] >> bit;
        let slots = if here != 0 {
            here.trailing_zeros() as usize
        } else {
            let later = self.words & (u64::MAX << word << 1);
            // After the last word comes the first one, and at the end the part of this word before `from`.
            let found = if later != 0 { later } else { self.words };
            if found == 0 {
                return None;
            }
            let word = found.trailing_zeros() as usize;
            let slot = word * 64 + self.occupied[word].trailing_zeros() as usize;
            (slot + SLOTS - from) % SLOTS
        };
        Some(self.current.saturating_add(slots as u64))
    }

    /// Moves the timers of the far list that this turn reaches into the wheel.
    fn sort_far(&mut self) {
        let head = std::mem::replace(&mut self.heads[index(FAR)], NONE);
        self.far_from = u64::MAX;
        let mut at = head;
        while at != NONE {
            let Timer { step, next, .. } = self.timers[index(at)];
            self.link(at, step);
            at = if next == head { NONE } else { next };
        }
    }

    /// Appends a timer to the list of its step.
    fn link(&mut self, key: u32, step: u64) {
        let list = if step - self.current < SLOTS as u64 {
            let slot = self.slot(step);
            let (word, bit) = word_and_bit(slot);
            self.occupied[word] |= bit;
            self.words |= 1 << word;
            #[expect(clippy::cast_possible_truncation, reason = "less than SLOTS")]
            let list = slot as u32;
            list
        } else {
            self.far_from = self.far_from.min(step);
            FAR
        };
        let head = self.heads[index(list)];
        let (next, previous) =
            if head == NONE { (key, key) } else { (head, self.timers[index(head)].previous) };
        self.timers[index(key)] = Timer { step, next, previous, list };
        self.timers[index(previous)].next = key;
        self.timers[index(next)].previous = key;
        if head == NONE {
            self.heads[index(list)] = key;
        }
    }

    /// Removes a timer from its list.
    fn unlink(&mut self, key: u32) {
        let Timer { next, previous, list, .. } = self.timers[index(key)];
        self.timers[index(key)] = Timer::UNUSED;
        if next != key {
            self.timers[index(previous)].next = next;
            self.timers[index(next)].previous = previous;
            if self.heads[index(list)] == key {
                self.heads[index(list)] = next;
            }
            return;
        }
        self.heads[index(list)] = NONE;
        if list == FAR {
            self.far_from = u64::MAX;
        } else {
            let (word, bit) = word_and_bit(index(list));
            self.occupied[word] &= !bit;
            if self.occupied[word] == 0 {
                self.words &= !(1 << word);
            }
        }
    }

    /// The slot of a step.
    fn slot(&self, step: u64) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "less than SLOTS")]
        let slot = (step % SLOTS as u64) as usize;
        slot
    }
}

const fn index(number: u32) -> usize {
    number as usize
}

const fn word_and_bit(slot: usize) -> (usize, u64) {
    (slot / 64, 1 << (slot % 64))
}
