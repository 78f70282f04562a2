//! The pictures of the page: budget, reserved and used of each interface and class over the last ten minutes.

use flowspec::Rate;

use super::history::{History, HistorySample, SECONDS, SeriesKey};
use crate::chart::{Colour, LineShape, TimeSeries, Timeline};

/// The most pictures of a page.
const MOST_PICTURES: usize = 24;

/// How many seconds one point of a line stands for.
const POINT: u32 = 4;

/// One picture, with what it is about.
pub(super) struct Picture {
    pub(super) heading: String,
    pub(super) timeline: Timeline,
}

/// The pictures of what has a budget: first those of interfaces, then those of their classes.
pub(super) fn pictures(history: &History) -> Vec<Picture> {
    let mut shown: Vec<_> = history.series().filter(|(_, samples)| has_a_budget(samples)).collect();
    // Nothing is received where nothing was ever reserved for it: the picture would have no line but the budget's.
    shown.retain(|(key, samples)| {
        !key.is_receiving || samples.iter().any(|(_, sample)| sample.totals.reserved > Rate::ZERO)
    });
    shown.sort_by_key(|(key, _)| (key.interface.clone(), key.class.is_some()));
    let pictures = shown.into_iter().take(MOST_PICTURES).enumerate();
    pictures.map(|(number, (key, samples))| picture(number, key, &samples)).collect()
}

fn has_a_budget(samples: &[(u32, HistorySample)]) -> bool {
    samples.iter().any(|(_, sample)| sample.totals.budget > Rate::ZERO)
}

fn picture(number: usize, key: &SeriesKey, samples: &[(u32, HistorySample)]) -> Picture {
    let direction = key.direction();
    let heading = match &key.class {
        Some(class) => format!("{} {class}, {direction}", key.interface),
        None => format!("{}, {direction}", key.interface),
    };
    let line = |label: &str, colour, shape, value: &dyn Fn(&HistorySample) -> Option<Rate>| TimeSeries {
        label: label.to_owned(),
        colour,
        shape,
        points: points(samples, value),
    };
    let last = samples.last().map(|(_, sample)| *sample).unwrap_or_default();
    let used = last.used.map_or_else(|| "not measured".to_owned(), |used| used.to_string());
    let description = format!(
        "Over the last ten minutes. Now: {} reserved and {} free of {}; used: {used}.",
        last.totals.reserved,
        last.totals.available(),
        last.totals.budget
    );
    let timeline = Timeline {
        id: format!("picture-{number}"),
        title: heading.clone(),
        description,
        unit: "Mbit/s".to_owned(),
        positions_per_unit: 1000,
        minutes: SECONDS / 60,
        series: vec![
            line("used", Colour::Grey, LineShape::Area, &|sample| sample.used),
            line("reserved", Colour::Blue, LineShape::Thick, &|sample| Some(sample.totals.reserved)),
            line("budget", Colour::Text, LineShape::Thin, &|sample| Some(sample.totals.budget)),
        ],
    };
    Picture { heading, timeline }
}

/// The largest value of each few seconds, in kilobits per second. The last point is the last second.
fn points(
    samples: &[(u32, HistorySample)],
    value: &dyn Fn(&HistorySample) -> Option<Rate>,
) -> Vec<(u32, Option<u32>)> {
    let of_one_point = samples.chunk_by(|(one, _), (other, _)| one / POINT == other / POINT);
    let point = |samples: &[(u32, HistorySample)]| {
        let ago = samples.last().map_or(0, |(ago, _)| *ago);
        let highest = samples.iter().filter_map(|(_, sample)| value(sample)).max();
        (ago, highest.map(kilobits))
    };
    of_one_point.map(point).collect()
}

fn kilobits(rate: Rate) -> u32 {
    u32::try_from(u128::from(rate.get()) * 8 / 1000).unwrap_or(u32::MAX)
}
