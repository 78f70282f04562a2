//! Where everything of a chart is, in pixels.

use super::data::{Chart, Panel, Row, Series};
use super::escape::printable;

/// The sizes of a chart that are the same for all.
pub(super) const MARGIN: u32 = 10;
/// A line of text, and one of a heading.
pub(super) const LINE: u32 = 18;
const TITLE_LINE: u32 = 24;
/// The swatch of a legend's entry, with the gap to its text.
pub(super) const SWATCH: u32 = 22;
const LEGEND_LINE: u32 = 20;
const GAP: u32 = 16;
/// The numbers below a plot.
pub(super) const NUMBERS: u32 = 28;

/// The widths that a chart can have.
const NARROWEST: u32 = 280;
const WIDEST: u32 = 4000;
/// Below this width, a panel is put below the one before it.
const NARROWEST_PANEL: u32 = 340;

/// A row is so high where all are named, and where every fifth is.
const NAMED_ROW: u32 = 18;
const ROW: u32 = 10;
/// With more rows, only every fifth is named.
const MOST_NAMED: usize = 12;

/// The longest name of a row that is shown, in characters.
const LONGEST_NAME: usize = 10;

/// The mean width of the characters of a text in Helvetica or a font of its width, rounded up: of ordinary text with 13
/// pixels, and of titles with 17 pixels in bold type.
const CHARACTER: u32 = 7;
const TITLE_CHARACTER: u32 = 10;

/// A line of text at a place: its left and upper end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct TextLine {
    pub(super) text: String,
    pub(super) left: u32,
    pub(super) top: u32,
}

/// The place of everything.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) title: Vec<TextLine>,
    pub(super) legend: Vec<LegendEntry>,
    pub(super) panels: Vec<PanelLayout>,
}

/// An entry of the legend: a series, the place of its swatch, and its text.
#[derive(Clone, Debug)]
pub(super) struct LegendEntry {
    pub(super) series: usize,
    pub(super) left: u32,
    pub(super) top: u32,
    pub(super) lines: Vec<TextLine>,
}

#[derive(Clone, Debug)]
pub(super) struct PanelLayout {
    pub(super) heading: Vec<TextLine>,
    pub(super) notes: Vec<TextLine>,
    /// The plot with the names of its rows to its left and the numbers of its axis below it.
    pub(super) left: u32,
    pub(super) top: u32,
    pub(super) width: u32,
    pub(super) height: u32,
    /// The width of the names of the rows.
    pub(super) names: u32,
    pub(super) x_label: Vec<TextLine>,
}

impl Layout {
    pub(super) fn new(chart: &Chart, width: u32) -> Self {
        let width = width.clamp(NARROWEST, WIDEST);
        let mut page = Pen { left: MARGIN, top: MARGIN, width: width - 2 * MARGIN };
        let title = page.write(&chart.title, TITLE_LINE, TITLE_CHARACTER);
        let legend = page.legend(chart);
        let columns =
            (page.width / NARROWEST_PANEL).clamp(1, u32::try_from(chart.panels.len().max(1)).unwrap_or(1));
        let mut panels = Vec::new();
        for side_by_side in chart.panels.chunks(columns as usize) {
            page.top += GAP / 2;
            let each = (page.width - GAP * (columns - 1)) / columns;
            let pens = (0..columns).map(|column| Pen {
                left: page.left + column * (each + GAP),
                width: each,
                ..page
            });
            let laid_out = beside_each_other(chart, side_by_side, pens.collect());
            page.top = laid_out.iter().map(|(_, bottom)| *bottom).max().unwrap_or(page.top);
            panels.extend(laid_out.into_iter().map(|(panel, _)| panel));
        }
        Self { width, height: page.top + MARGIN, title, legend, panels }
    }
}

/// The panels with their lower ends. Their plots begin at one height.
fn beside_each_other(chart: &Chart, panels: &[Panel], mut pens: Vec<Pen>) -> Vec<(PanelLayout, u32)> {
    let texts: Vec<_> = panels
        .iter()
        .zip(&mut pens)
        .map(|(panel, pen)| {
            let heading = pen.write(&panel.heading, TITLE_LINE, TITLE_CHARACTER);
            let written = panel.notes.iter().flat_map(|note| pen.write(note, LINE, CHARACTER));
            (heading, written.collect::<Vec<_>>())
        })
        .collect();
    let top = pens.iter().map(|pen| pen.top).max().unwrap_or_default();
    let laid_out = panels.iter().zip(pens).zip(texts).map(|((panel, mut pen), (heading, mut notes))| {
        pen.top = top + GAP / 2;
        notes.extend(pen.write(&chart.y_label, LINE, CHARACTER));
        let (left, top, width) = (pen.left, pen.top, pen.width);
        let height = plot_height(panel) + NUMBERS;
        pen.top += height;
        let x_label = pen.write(&chart.x.label, LINE, CHARACTER);
        let names = name_width(&panel.rows);
        (PanelLayout { heading, notes, left, top, width, height, names, x_label }, pen.top)
    });
    laid_out.collect()
}

pub(super) const fn all_named(rows: &[Row]) -> bool {
    rows.len() <= MOST_NAMED
}

const fn row_height(rows: &[Row]) -> u32 {
    if all_named(rows) { NAMED_ROW } else { ROW }
}

pub(super) fn shown_name(name: &str) -> String {
    let letters = name.chars().map(printable);
    if name.chars().count() <= LONGEST_NAME {
        return letters.collect();
    }
    letters.take(LONGEST_NAME - 1).chain(['…']).collect()
}

fn plot_height(panel: &Panel) -> u32 {
    let rows = u32::try_from(panel.rows.len().max(1)).unwrap_or(u32::MAX);
    rows.saturating_mul(row_height(&panel.rows)).min(1 << 20)
}

fn name_width(rows: &[Row]) -> u32 {
    let longest = rows.iter().map(|row| shown_name(&row.name).chars().count()).max().unwrap_or(0);
    u32::try_from(longest).unwrap_or(0) * CHARACTER + 14
}

/// A place on the page that moves down as lines are written.
#[derive(Clone, Copy, Debug)]
struct Pen {
    left: u32,
    top: u32,
    width: u32,
}

impl Pen {
    /// Writes a text in as many lines as it needs.
    fn write(&mut self, text: &str, line_height: u32, character: u32) -> Vec<TextLine> {
        if text.is_empty() {
            return Vec::new();
        }
        let text: String = text.chars().map(printable).collect();
        let lines = textwrap::wrap(&text, (self.width / character).max(1) as usize);
        let lines = lines.into_iter().map(|text| {
            let line = TextLine { text: text.into_owned(), left: self.left, top: self.top };
            self.top += line_height;
            line
        });
        lines.collect()
    }

    /// The entries of the legend one after another, in as many lines as they need.
    fn legend(&mut self, chart: &Chart) -> Vec<LegendEntry> {
        let (start, end) = (self.left, self.left + self.width);
        let mut at = *self;
        let mut entries = Vec::new();
        for (series, Series { label, .. }) in chart.series.iter().enumerate() {
            let length = u32::try_from(label.chars().count()).unwrap_or(u32::MAX);
            let width = SWATCH + length.saturating_mul(CHARACTER);
            if at.left > start && at.left.saturating_add(width) > end {
                (at.left, at.top) = (start, at.top + LEGEND_LINE);
            }
            let mut text = Self { left: at.left + SWATCH, top: at.top, width: end - at.left - SWATCH };
            let lines = text.write(label, LINE, CHARACTER);
            entries.push(LegendEntry { series, left: at.left, top: at.top, lines });
            at.top = at.top.max(text.top.saturating_sub(LINE));
            at.left = at.left.saturating_add(width + GAP).min(end);
        }
        if !entries.is_empty() {
            self.top = at.top + LEGEND_LINE;
        }
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::super::data::{Axis, MarkShape};
    use super::super::palette::Colour;
    use super::*;

    fn chart(labels: &[&str]) -> Chart {
        let series =
            |label: &&str| Series { label: (*label).to_owned(), colour: Colour::Blue, shape: MarkShape::Bar };
        let row = Row { name: "a name that is too long".into(), marks: Vec::new() };
        let panel = Panel {
            heading: "A heading".into(),
            notes: vec!["A note of some length.".into()],
            rows: vec![row; 30],
        };
        Chart {
            id: "x".into(),
            title: "A title that does not fit into one line of a narrow picture".into(),
            description: String::new(),
            series: labels.iter().map(series).collect(),
            x: Axis { label: "time (s)".into(), end: 10, positions_per_unit: 1 },
            y_label: "rows".into(),
            panels: vec![panel.clone(), panel],
        }
    }

    /// Every line of text ends within the width, and no two entries of the legend overlap.
    #[track_caller]
    fn check(labels: &[&str], width: u32, expected_columns: usize) {
        let chart = chart(labels);
        let layout = Layout::new(&chart, width);
        assert_eq!(layout.legend.len(), labels.len(), "the legend is complete");
        let fits = |line: &TextLine, character: u32| {
            let end = line.left + u32::try_from(line.text.chars().count()).expect("short") * character;
            assert!(end <= layout.width, "{line:?} ends at {end} of {}", layout.width);
        };
        layout.title.iter().for_each(|line| fits(line, TITLE_CHARACTER));
        for entry in &layout.legend {
            let written: Vec<_> = entry.lines.iter().map(|line| line.text.as_str()).collect();
            assert_eq!(written.join(" "), labels[entry.series]);
            entry.lines.iter().for_each(|line| fits(line, CHARACTER));
        }
        for (index, one) in layout.legend.iter().enumerate() {
            for other in &layout.legend[..index] {
                assert!(one.top > other.top || one.left > other.left, "{other:?} and {one:?}");
            }
        }
        for panel in &layout.panels {
            panel.heading.iter().for_each(|line| fits(line, TITLE_CHARACTER));
            panel.notes.iter().chain(&panel.x_label).for_each(|line| fits(line, CHARACTER));
            assert!(panel.left + panel.width <= layout.width && panel.top + panel.height <= layout.height);
        }
        let first_row = layout.panels.iter().filter(|panel| panel.top == layout.panels[0].top);
        assert_eq!(first_row.count(), expected_columns, "{width}");
    }

    #[test]
    fn everything_fits_at_every_width() {
        let labels = [
            "a second at the stream's rate",
            "short",
            "a label that is longer than a narrow picture is wide, and goes on in a second line",
            "refused",
        ];
        for (width, columns) in [(280, 1), (340, 1), (500, 1), (720, 2), (828, 2), (1400, 2), (4000, 2)] {
            check(&labels, width, columns);
            check(&labels[..1], width, columns);
            check(&[], width, columns);
        }
        check(&labels, 0, 1);
        check(&labels, u32::MAX, 2);
    }
}
