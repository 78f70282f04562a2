//! What is too scarce for flows that have waited longer, and when.

use flowspec::Moment;

use crate::admission::account::resource::Resource;
use crate::admission::account::window::Window;
use crate::ordered::OrderedMap;

/// The resources that are too scarce for flows that have waited longer, each with the time for which they wait.
#[derive(Debug, Default)]
pub(crate) struct Scarce(OrderedMap<(u32, Resource), TimeSpans>);

/// Windows as few that have no moment in common: the start of each with its end.
#[derive(Debug, Default)]
struct TimeSpans(OrderedMap<Moment, Option<Moment>>);

impl Scarce {
    /// A flow lacks resources in a window. Each resource has the number of its interface.
    pub(crate) fn add(&mut self, lacked: Vec<(u32, Resource)>, window: Window) {
        for resource in lacked {
            self.0.entry(resource).or_default().add(window);
        }
    }

    /// Whether a flow lacks a resource at some moment of a window.
    pub(crate) fn has(&self, resource: (u32, Resource), window: &Window) -> bool {
        self.0.get(&resource).is_some_and(|spans| spans.overlap(window))
    }
}

impl TimeSpans {
    fn add(&mut self, window: Window) {
        let Window { mut start, mut end } = window;
        while let Some((other_start, other_end)) = self.last_until(end).filter(|(_, other_end)| {
            // Windows that only touch are one as well.
            other_end.is_none_or(|other_end| start <= other_end)
        }) {
            self.0.remove(&other_start);
            start = start.min(other_start);
            end = end.zip(other_end).map(|(end, other_end)| end.max(other_end));
        }
        self.0.insert(start, end);
    }

    fn overlap(&self, window: &Window) -> bool {
        // Of those that begin early enough, the last one ends last.
        let last = match window.end {
            Some(end) => self.0.range(..end).next_back(),
            None => self.0.last_key_value(),
        };
        last.is_some_and(|(_, end)| end.is_none_or(|end| window.start < end))
    }

    /// The last span that begins by a moment.
    fn last_until(&self, moment: Option<Moment>) -> Option<(Moment, Option<Moment>)> {
        let last = match moment {
            Some(moment) => self.0.range(..=moment).next_back(),
            None => self.0.last_key_value(),
        };
        last.map(|(start, end)| (*start, *end))
    }
}

#[cfg(test)]
mod tests {
    use flowspec::Direction;

    use super::*;

    fn window(start: u64, end: Option<u64>) -> Window {
        Window { start: Moment::from_micros(start), end: end.map(Moment::from_micros) }
    }

    proptest::proptest! {
        #[test]
        fn a_window_overlaps_what_it_has_a_moment_in_common_with(
            windows in proptest::collection::vec((0_u64..20, 1_u64..6, proptest::bool::weighted(0.05)), 0..12),
        ) {
            let windows = windows.into_iter().map(|(start, length, is_endless)| {
                window(start, (!is_endless).then_some(start + length))
            });
            let windows: Vec<_> = windows.collect();
            let (budget, other) = (Resource::Budget(Direction::Sending), Resource::Flows);
            let mut scarce = Scarce::default();
            for (number, added) in windows.iter().enumerate() {
                scarce.add(vec![(3, budget)], *added);
                for (start, end) in (0..28).flat_map(|start| [(start, None), (start, Some(start + 1)), (start, Some(start + 4))]) {
                    let asked = window(start, end);
                    let expected = windows[..=number].iter().any(|added| added.overlaps(&asked));
                    proptest::prop_assert_eq!(scarce.has((3, budget), &asked), expected, "{:?} in {:?}", asked, scarce);
                }
                let spans: Vec<_> = scarce.0[&(3, budget)].0.iter().collect();
                let is_apart = spans.windows(2).all(|pair| pair[0].1.is_some_and(|end| end < *pair[1].0));
                proptest::prop_assert!(is_apart, "{:?}", scarce);
            }
            proptest::prop_assert!(!scarce.has((3, other), &window(0, None)) && !scarce.has((2, budget), &window(0, None)));
        }
    }
}
