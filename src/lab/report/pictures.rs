//! The demo's result as charts.

use crate::chart::{Axis, Chart, ChartMark, Colour, MarkShape, Panel, Row, Series};
use crate::lab::demo::{DemoResult, PhaseName, PhaseResult, ViewerResult, ViewerVerdict};
use flowspec::Rate;

/// A second with less than this part of the stream's mean rate, in per cent, is very short; with less than
/// [`ViewerVerdict::KEPT_PERCENT`] it is short.
const VERY_SHORT: u64 = 80;

/// The most cells in a row; where a phase has more seconds, a cell stands for several.
const MOST_CELLS: usize = 60;

/// The series of [`picture`], in the order of the legend.
const FULL: usize = 0;
const SHORT_SECOND: usize = 1;
const VERY_SHORT_SECOND: usize = 2;
const STALLED: usize = 3;
const REFUSED: usize = 4;

/// The series of [`rates`].
const EXPECTED: usize = 0;
const MEDIAN: usize = 1;
const WORST: usize = 2;
const REFUSED_RATE: usize = 3;

/// Every viewer's seconds, without gqos and with it. `id` is unique on a page.
pub fn picture(outcome: &DemoResult, id: &str) -> Chart {
    let seconds = outcome.phases.iter().map(whole_seconds).max().unwrap_or(0);
    let per_cell = seconds.div_ceil(MOST_CELLS).max(1);
    let cells =
        if per_cell == 1 { String::new() } else { format!("; a cell shows the worst of {per_cell} seconds") };
    let panels = outcome.phases.iter().map(|phase| {
        let seconds = Seconds { all: seconds, per_cell };
        let rows = phase.viewers.iter().map(|viewer| seconds_of(viewer, phase.verdict(viewer), seconds));
        Panel { heading: title(phase.name).to_owned(), notes: notes(phase), rows: rows.collect() }
    });
    Chart {
        id: id.to_owned(),
        title: headline(outcome),
        description: description(outcome),
        series: vec![
            series("98 % or more of the stream's rate in a second", Colour::Blue, MarkShape::Bar),
            series("80 to 98 %", Colour::Orange, MarkShape::StripedBar),
            series("below 80 %", Colour::Vermillion, MarkShape::CrossedBar),
            series("play stopped", Colour::Vermillion, MarkShape::Triangle),
            series("refused", Colour::Grey, MarkShape::OutlinedBar),
        ],
        x: Axis {
            label: format!("time since the viewer's first byte (s){cells}"),
            // After the last second, the viewers that stalled are marked.
            end: position(seconds + 2 * per_cell),
            positions_per_unit: 1,
        },
        y_label: "viewers, in the order of their arrival".to_owned(),
        panels: panels.collect(),
    }
}

/// Every viewer's rate beside what it needs, without gqos, and what it was promised, with gqos. `id` is unique on a page.
pub fn rates(outcome: &DemoResult, id: &str) -> Chart {
    let viewers = || outcome.phases.iter().flat_map(|phase| &phase.viewers);
    let shown =
        viewers().flat_map(|viewer| [viewer.achieved.median_second, viewer.token_rate, viewer.media_rate]);
    let end = kilobits(shown.max().unwrap_or_default()).div_ceil(500).max(1) * 500;
    let panels = outcome.phases.iter().map(|phase| Panel {
        heading: title(phase.name).to_owned(),
        notes: vec![rate_note(phase)],
        rows: phase.viewers.iter().map(|viewer| rates_of(phase, viewer, end)).collect(),
    });
    Chart {
        id: id.to_owned(),
        title: "Each viewer's rate beside what it needs or was promised".to_owned(),
        description: outcome.phases.iter().map(rate_note).collect::<Vec<_>>().join(" "),
        series: vec![
            series(
                "the rate that the viewer needs (without gqos) or was promised (with gqos)",
                Colour::Text,
                MarkShape::Tick,
            ),
            series("its median second", Colour::Blue, MarkShape::Circle),
            series("its worst second", Colour::Vermillion, MarkShape::Triangle),
            series("refused", Colour::Grey, MarkShape::OutlinedBar),
        ],
        x: Axis { label: "payload rate (Mbit/s)".to_owned(), end, positions_per_unit: 1000 },
        y_label: "viewers, in the order of their arrival".to_owned(),
        panels: panels.collect(),
    }
}

pub(super) const fn title(phase: PhaseName) -> &'static str {
    match phase {
        PhaseName::Managed => "With gqos",
        PhaseName::Unmanaged => "Without gqos",
    }
}

/// A phase in sentences: its viewers, and the bulk transfer.
pub(super) fn notes(phase: &PhaseResult) -> Vec<String> {
    let totals = phase.totals();
    let viewers = match phase.name {
        PhaseName::Unmanaged => format!("{} watch, {} of them stall.", totals.admitted, totals.stalled),
        PhaseName::Managed => format!(
            "{} admitted, {} of them stall; {} refused at once.",
            totals.admitted, totals.stalled, totals.refused
        ),
    };
    vec![viewers, format!("The bulk transfer gets {}.", whole_megabits(phase.bulk.mean))]
}

/// The run in one line.
pub(super) fn headline(outcome: &DemoResult) -> String {
    let viewers = outcome.phases.iter().map(|phase| phase.viewers.len()).max().unwrap_or(0);
    let noun = if viewers == 1 { "viewer" } else { "viewers" };
    format!("{viewers} {noun} and a bulk transfer share {}", outcome.link_bytes_per_second)
}

fn description(outcome: &DemoResult) -> String {
    let phases =
        outcome.phases.iter().map(|phase| format!("{}: {}", title(phase.name), notes(phase).join(" ")));
    let phases: Vec<_> = phases.collect();
    format!("One row per viewer, one cell per second of its stream. {}", phases.join(" "))
}

fn rate_note(phase: &PhaseResult) -> String {
    let totals = phase.totals();
    match phase.name {
        PhaseName::Unmanaged => {
            let enough = |viewer: &&ViewerResult| carries(viewer.achieved.worst_second, viewer.media_rate);
            let enough = phase.viewers.iter().filter(enough).count();
            format!("{enough} of {} viewers get what they need in every second.", phase.viewers.len())
        }
        PhaseName::Managed => {
            format!("{} of {} promises are kept, by the median second.", totals.kept, totals.admitted)
        }
    }
}

fn carries(second: Rate, rate: Rate) -> bool {
    percent(second, rate) >= ViewerVerdict::KEPT_PERCENT
}

#[derive(Clone, Copy)]
struct Seconds {
    all: usize,
    per_cell: usize,
}

fn seconds_of(viewer: &ViewerResult, verdict: ViewerVerdict, Seconds { all, per_cell }: Seconds) -> Row {
    let name = viewer.id.clone();
    if verdict == ViewerVerdict::Refused {
        return Row { name, marks: vec![ChartMark { series: REFUSED, from: 0, to: position(all) }] };
    }
    let cells = viewer.achieved.by_second.chunks(per_cell).enumerate();
    let mut marks: Vec<_> = cells
        .map(|(index, seconds)| {
            let worst = seconds.iter().map(|second| percent(*second, viewer.media_rate)).min().unwrap_or(0);
            let series = match worst {
                ViewerVerdict::KEPT_PERCENT.. => FULL,
                VERY_SHORT.. => SHORT_SECOND,
                _ => VERY_SHORT_SECOND,
            };
            let from = index * per_cell;
            ChartMark { series, from: position(from), to: position(from + seconds.len()) }
        })
        .collect();
    if verdict == ViewerVerdict::Stalled {
        let beyond = position(all + per_cell);
        marks.push(ChartMark { series: STALLED, from: beyond, to: beyond });
    }
    Row { name, marks }
}

fn rates_of(phase: &PhaseResult, viewer: &ViewerResult, end: u32) -> Row {
    let name = viewer.id.clone();
    if phase.verdict(viewer) == ViewerVerdict::Refused {
        return Row { name, marks: vec![ChartMark { series: REFUSED_RATE, from: 0, to: end }] };
    }
    let expected = match phase.name {
        PhaseName::Managed => viewer.token_rate,
        PhaseName::Unmanaged => viewer.media_rate,
    };
    let at = |series, rate| ChartMark { series, from: kilobits(rate), to: kilobits(rate) };
    let marks = vec![
        at(EXPECTED, expected),
        at(MEDIAN, viewer.achieved.median_second),
        at(WORST, viewer.achieved.worst_second),
    ];
    Row { name, marks }
}

fn series(label: &str, colour: Colour, shape: MarkShape) -> Series {
    Series { label: label.to_owned(), colour, shape }
}

/// The largest number of whole seconds of a viewer of the phase.
fn whole_seconds(phase: &PhaseResult) -> usize {
    phase.viewers.iter().map(|viewer| viewer.achieved.by_second.len()).max().unwrap_or(0)
}

/// A rate as a part of another, in per cent, rounded down.
fn percent(part: Rate, whole: Rate) -> u64 {
    let percent = u128::from(part.get()) * 100 / u128::from(whole.get().max(1));
    u64::try_from(percent).unwrap_or(u64::MAX)
}

/// Kilobits per second, rounded down.
fn kilobits(rate: Rate) -> u32 {
    u32::try_from(rate.get() / 125).unwrap_or(u32::MAX / 2)
}

/// A rate in whole megabits per second, rounded to the nearest; a smaller rate as it is.
pub(super) fn whole_megabits(rate: Rate) -> Rate {
    if rate < Rate::from_mbit(1) { rate } else { Rate::new((rate.get() + 62_500) / 125_000 * 125_000) }
}

fn position(seconds: usize) -> u32 {
    u32::try_from(seconds).unwrap_or(u32::MAX)
}
