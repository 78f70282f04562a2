//! What a chart shows.

use super::palette::Colour;

/// A chart of rows: every row is one thing, drawn by marks on an axis that all rows share.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Chart {
    /// Unique on its page: the ids of the alternative text begin with it. Letters, digits and hyphens.
    pub id: String,
    /// The title, which is also the first part of the alternative text.
    pub title: String,
    /// What the chart shows, in words and numbers: the second part of the alternative text.
    pub description: String,
    /// The kinds of marks, in the order of the legend.
    pub series: Vec<Series>,
    /// The axis that all panels share.
    pub x: Axis,
    /// What a row stands for, as a word beside the axis.
    pub y_label: String,
    /// Side by side where the width allows, else one below the other.
    pub panels: Vec<Panel>,
}

/// A kind of mark.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Series {
    /// Its text in the legend.
    pub label: String,
    /// The colour of all its marks.
    pub colour: Colour,
    /// The form of all its marks.
    pub shape: MarkShape,
}

/// Tells series apart without colour.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MarkShape {
    /// A filled bar from one position to another.
    Bar,
    /// A filled bar with one diagonal line.
    StripedBar,
    /// A filled bar with two diagonal lines.
    CrossedBar,
    /// A bar from one position to another, without a fill.
    OutlinedBar,
    /// A circle whose centre is at the position.
    Circle,
    /// A triangle whose centre is at the position.
    Triangle,
    /// A vertical line at a position.
    Tick,
}

/// The horizontal axis: its range and its labels.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Axis {
    /// What it measures, with the unit.
    pub label: String,
    /// The position at its end; it begins at zero.
    pub end: u32,
    /// How many positions make one unit of the label: 1000 for positions in kbit/s and a label in Mbit/s.
    pub positions_per_unit: u32,
}

/// Some of the rows, with a heading.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Panel {
    /// The line above the rows.
    pub heading: String,
    /// Sentences below the heading.
    pub notes: Vec<String>,
    /// The rows, from top to bottom.
    pub rows: Vec<Row>,
}

/// A name and the marks beside it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Row {
    /// Its name on the vertical axis. Where there are many rows, every fifth is named.
    pub name: String,
    /// Its marks; later ones are drawn above earlier ones.
    pub marks: Vec<ChartMark>,
}

/// One value, in the appearance of its series.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ChartMark {
    /// The index of its series in [`Chart::series`]. A mark of a series that does not exist is not drawn.
    pub series: usize,
    /// Its position on the axis.
    pub from: u32,
    /// Where a bar ends; the other shapes have no length.
    pub to: u32,
}

impl MarkShape {
    /// Whether it has a length.
    pub const fn is_bar(self) -> bool {
        matches!(self, Self::Bar | Self::StripedBar | Self::CrossedBar | Self::OutlinedBar)
    }
}

impl Axis {
    /// The number at a position, in units of the label.
    pub(super) fn number(&self, position: u32) -> String {
        let unit = self.positions_per_unit.max(1);
        let (whole, rest) = (position / unit, position % unit);
        if rest == 0 {
            return whole.to_string();
        }
        let decimals = (u64::from(rest) * 1000 / u64::from(unit)).min(999);
        format!("{whole}.{decimals:03}").trim_end_matches('0').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_in_units_of_the_label() {
        let number = |positions_per_unit, position| {
            Axis { label: String::new(), end: 0, positions_per_unit }.number(position)
        };
        assert_eq!(number(1, 15), "15");
        assert_eq!(number(1000, 4000), "4");
        assert_eq!(number(1000, 500), "0.5");
        assert_eq!(number(1000, 1250), "1.25");
        assert_eq!(number(0, 7), "7");
    }
}
