//! Tables that fit their terminal: the columns that matter least are left out.

use std::fmt::Write;
use std::os::fd::AsFd;

use anstyle::{AnsiColor, Style};
use flowspec::Rate;
use textwrap::core::display_width;
use textwrap::{Options, wrap};

use super::output::may_colour;

/// The space that a text may take, and whether it may be coloured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Screen {
    pub(super) columns: usize,
    pub(super) colour: bool,
}

/// What a cell says about its viewer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Tone {
    Plain,
    /// A promise that was kept.
    Good,
    /// A request that was refused.
    Refused,
    /// A viewer that stalled.
    Bad,
}

#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

#[derive(Clone, Debug)]
pub(super) struct Column {
    /// The heading above those of neighbouring columns of the same group; empty without.
    pub(super) group: &'static str,
    pub(super) title: &'static str,
    pub(super) alignment: Alignment,
    /// Columns with the highest number are left out first, all together; those of rank 0 stay.
    pub(super) rank: u8,
    pub(super) cells: Vec<Cell>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Alignment {
    Left,
    Right,
}

/// The columns of a text that is not for a terminal.
const PIPED_COLUMNS: usize = 100;

/// A narrower terminal wraps.
const FEWEST_COLUMNS: usize = 40;

/// The space between two columns.
const GAP: &str = "  ";

impl Screen {
    /// The screen of a stream; that of a file or a pipe has 100 columns.
    pub(super) fn of(stream: &(impl AsFd + std::io::IsTerminal)) -> Self {
        let size = terminal_size::terminal_size_of(stream);
        let columns = size.map_or(PIPED_COLUMNS, |(width, _)| usize::from(width.0));
        // A terminal of unknown size has zero columns.
        let columns = if columns == 0 { PIPED_COLUMNS } else { columns.max(FEWEST_COLUMNS) };
        Self { columns, colour: may_colour(stream) }
    }

    pub(super) fn paint(self, text: &str, tone: Tone) -> String {
        let style = match tone {
            _ if !self.colour => return text.to_owned(),
            Tone::Plain => return text.to_owned(),
            Tone::Good => AnsiColor::Green.on_default(),
            Tone::Refused => AnsiColor::Yellow.on_default(),
            Tone::Bad => AnsiColor::Red.on_default().bold(),
        };
        format!("{style}{text}{style:#}")
    }

    pub(super) fn bold(self, text: &str) -> String {
        let style = Style::new().bold();
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// A text in as many lines as it needs, each with its end; all but the first are indented.
    pub(super) fn wrapped(self, text: &str, indent: &str) -> String {
        let text = printable(text);
        let lines = wrap(&text, Options::new(self.columns).subsequent_indent(indent));
        lines.into_iter().map(|line| line.into_owned() + "\n").collect()
    }
}

impl Cell {
    pub(super) fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: printable(&text.into()), tone }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Tone::Plain)
    }
}

impl Column {
    fn width(&self) -> usize {
        let cells = self.cells.iter().map(|cell| display_width(&cell.text)).max().unwrap_or(0);
        cells.max(display_width(self.title))
    }
}

/// A table in at most so many columns as the screen has; each line has its end.
pub(super) fn table(mut columns: Vec<Column>, screen: Screen) -> String {
    while total_width(&columns) > screen.columns {
        let highest = columns.iter().map(|column| column.rank).max().unwrap_or(0);
        if highest == 0 {
            break;
        }
        columns.retain(|column| column.rank < highest);
    }
    let mut text = String::new();
    if columns.iter().any(|column| !column.group.is_empty()) {
        push_line(&mut text, &groups(&columns, screen));
    }
    let titles = columns.iter().map(|column| screen.bold(&padded(column, column.title)));
    push_line(&mut text, &titles.collect::<Vec<_>>().join(GAP));
    let rows = columns.iter().map(|column| column.cells.len()).max().unwrap_or(0);
    for row in 0..rows {
        let cells = columns.iter().map(|column| {
            column.cells.get(row).map_or_else(String::new, |cell| {
                let padded = padded(column, &cell.text);
                if cell.text.is_empty() { padded } else { screen.paint(&padded, cell.tone) }
            })
        });
        push_line(&mut text, &cells.collect::<Vec<_>>().join(GAP));
    }
    text
}

/// The headings of the groups, each with a line over its columns.
fn groups(columns: &[Column], screen: Screen) -> String {
    let mut line = Vec::new();
    for group in columns.chunk_by(|one, next| one.group == next.group) {
        let (width, name) = (total_width(group), group[0].group);
        let rule = if name.is_empty() { ' ' } else { '-' };
        let name = if name.is_empty() { String::new() } else { format!("{name} ") };
        let rest = width.saturating_sub(display_width(&name));
        line.push(screen.bold(&(name + &String::from(rule).repeat(rest))));
    }
    line.join(GAP)
}

fn total_width(columns: &[Column]) -> usize {
    let widths: usize = columns.iter().map(Column::width).sum();
    widths + columns.len().saturating_sub(1) * GAP.len()
}

fn padded(column: &Column, text: &str) -> String {
    let space = " ".repeat(column.width().saturating_sub(display_width(text)));
    match column.alignment {
        Alignment::Left => text.to_owned() + &space,
        Alignment::Right => space + text,
    }
}

fn push_line(text: &mut String, line: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{}", line.trim_end());
}

/// The text without control characters, which a terminal would interpret.
fn printable(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter })
        .collect()
}

/// Megabits per second with two decimals, rounded down, without the unit.
pub(super) fn megabits(rate: Rate) -> String {
    let hundredths = u128::from(rate.get()) * 8 / 10_000;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// Seconds with one decimal, rounded up: a stall is never shown as none.
pub(super) fn seconds(milliseconds: u64) -> String {
    let tenths = milliseconds.div_ceil(100);
    format!("{}.{} s", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: Screen = Screen { columns: 100, colour: false };

    fn column(title: &'static str, rank: u8, cells: &[&str]) -> Column {
        let cells = cells.iter().map(|cell| Cell::from(*cell)).collect();
        Column { group: "", title, alignment: Alignment::Right, rank, cells }
    }

    #[test]
    fn columns_that_do_not_fit_are_left_out_by_rank() {
        let columns = || {
            vec![
                column("name", 0, &["v1", "v12"]),
                column("least", 2, &["1", "2"]),
                column("more", 1, &["3", "4"]),
            ]
        };
        let check = |columns_of_screen, expected: &str| {
            let screen = Screen { columns: columns_of_screen, ..WIDE };
            assert_eq!(table(columns(), screen), expected, "{columns_of_screen}");
        };
        check(17, "name  least  more\n  v1      1     3\n v12      2     4\n");
        check(16, "name  more\n  v1     3\n v12     4\n");
        check(9, "name\n  v1\n v12\n");
        check(1, "name\n  v1\n v12\n");
    }

    #[test]
    fn groups_span_their_columns() {
        let grouped = |group, title| Column { group, ..column(title, 0, &["1.00"]) };
        let columns =
            vec![column("viewer", 0, &["v1"]), grouped("without", "worst"), grouped("without", "median")];
        assert_eq!(
            table(columns, WIDE),
            "        without -----\nviewer  worst  median\n    v1   1.00    1.00\n"
        );
    }

    #[test]
    fn text_of_others_controls_no_terminal() {
        let columns = vec![column("name", 0, &["\u{1b}[31mred\r\n"])];
        assert_eq!(table(columns, WIDE), "      name\n\u{FFFD}[31mred\u{FFFD}\u{FFFD}\n");
        assert_eq!(WIDE.wrapped("a\u{7}b", ""), "a\u{FFFD}b\n");
    }

    #[test]
    fn only_a_screen_with_colour_is_painted() {
        let painted = Screen { colour: true, ..WIDE };
        for tone in [Tone::Good, Tone::Refused, Tone::Bad] {
            assert!(painted.paint("x", tone).contains("\u{1b}["), "{tone:?}");
            assert_eq!(WIDE.paint("x", tone), "x");
        }
        assert_eq!(painted.paint("x", Tone::Plain), "x");
    }

    #[test]
    fn numbers_are_rounded_to_the_safe_side() {
        assert_eq!(megabits(Rate::new(499_999)), "3.99");
        assert_eq!(seconds(0), "0.0 s");
        assert_eq!(seconds(1), "0.1 s");
        assert_eq!(seconds(12_340), "12.4 s");
    }
}
