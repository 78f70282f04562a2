//! The last ten minutes of interfaces and classes, by the second.

use std::collections::{BTreeMap, VecDeque};

use flowspec::{Direction, Rate};

use crate::admission::Totals;

/// How many seconds are kept.
pub(super) const SECONDS: u32 = 600;

/// The most series; a daemon with more interfaces and classes keeps those by name that came first.
const MOST_SERIES: usize = 128;

/// What a series is about: an interface, or a class on it, in a direction.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct SeriesKey {
    pub(super) interface: String,
    pub(super) class: Option<String>,
    /// Sending is first.
    pub(super) is_receiving: bool,
}

/// What was so at one second.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct HistorySample {
    pub(super) totals: Totals,
    /// What the kernel sent or received; `None` where it is not known.
    pub(super) used: Option<Rate>,
}

/// All series.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The number of the last second.
    now: u32,
    series: BTreeMap<SeriesKey, VecDeque<(u32, HistorySample)>>,
}

impl SeriesKey {
    pub(super) fn new(interface: &str, class: Option<&str>, direction: Direction) -> Self {
        let is_receiving = direction == Direction::Receiving;
        Self { interface: interface.to_owned(), class: class.map(str::to_owned), is_receiving }
    }

    pub(super) const fn direction(&self) -> Direction {
        if self.is_receiving { Direction::Receiving } else { Direction::Sending }
    }
}

impl History {
    /// A second has passed: each of these has been so at its end. What is too old is forgotten.
    pub(super) fn add(&mut self, samples: impl IntoIterator<Item = (SeriesKey, HistorySample)>) {
        self.now = self.now.saturating_add(1);
        for (key, sample) in samples {
            let fits_now = self.series.len() < MOST_SERIES || self.series.contains_key(&key);
            if fits_now {
                self.series.entry(key).or_default().push_back((self.now, sample));
            }
        }
        let oldest = self.now.saturating_sub(SECONDS);
        self.series.retain(|_, samples| {
            while samples.front().is_some_and(|(at, _)| *at < oldest) {
                samples.pop_front();
            }
            !samples.is_empty()
        });
    }

    /// Each series: how many seconds ago, oldest first, and what was so then.
    pub(super) fn series(&self) -> impl Iterator<Item = (&SeriesKey, Vec<(u32, HistorySample)>)> {
        self.series.iter().map(|(key, samples)| {
            (key, samples.iter().map(|(at, sample)| (self.now - at, *sample)).collect())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(reserved: u64) -> HistorySample {
        HistorySample { totals: Totals { reserved: Rate::new(reserved), ..Totals::default() }, used: None }
    }

    #[test]
    fn the_last_ten_minutes_are_kept() {
        let mut history = History::default();
        let [eth0, eth1] = ["eth0", "eth1"].map(|name| SeriesKey::new(name, None, Direction::Sending));
        history.add([(eth1.clone(), sample(9))]);
        for second in 0..700 {
            history.add([(eth0.clone(), sample(second))]);
        }
        let series: Vec<_> = history.series().collect();
        assert_eq!(series.len(), 1, "an interface that is gone is forgotten");
        let samples = &series[0].1;
        assert_eq!((samples[0].0, samples.len()), (SECONDS, SECONDS as usize + 1));
        assert_eq!(samples.last(), Some(&(0, sample(699))));
    }

    #[test]
    fn there_are_so_many_series() {
        let mut history = History::default();
        let keys = (0..MOST_SERIES + 9).map(|n| SeriesKey::new(&format!("eth{n}"), None, Direction::Sending));
        history.add(keys.map(|key| (key, sample(1))));
        assert_eq!(history.series().count(), MOST_SERIES);
    }
}
