//! A problem as text for people, without colour: the code and the message, the place, its line and how to correct it.

use std::fmt::Write;

use super::code::{Code, Severity};
use super::place::{Place, Source};
use super::problem::Problem;

/// What a tab takes in a line that is shown.
const TAB: &str = "    ";

/// A place with the line in which it begins.
struct Excerpt<'a> {
    name: &'a str,
    line: usize,
    column: usize,
    /// The line with its tabs replaced.
    text: String,
    /// How many characters of it come before the mark, and how many are marked.
    mark: (usize, usize),
    symbol: char,
    label: &'a str,
}

impl Problem {
    /// The problem as `gqos check` prints it: code, message, `file:line:column`, the line with the place marked, further
    /// places, and how to correct it. Ends without a line break.
    ///
    /// A place of several lines is marked in its first line.
    pub fn render(&self, sources: &[Source<'_>]) -> String {
        let severity = match self.code.severity() {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let mut text = format!("{severity}[{}]: {}", self.code.id(), self.message);
        let first = excerpt((&self.place, '^', ""), sources);
        let others = self.labels.iter().map(|label| excerpt((&label.place, '-', &label.text), sources));
        // A file that cannot be read has no lines; the message names it.
        let shown = self.code != Code::Unreadable;
        let excerpts: Vec<_> = std::iter::once(first).chain(others).flatten().filter(|_| shown).collect();
        let width = excerpts.iter().map(|excerpt| excerpt.line.to_string().len()).max().unwrap_or(0);
        for (number, excerpt) in excerpts.iter().enumerate() {
            let arrow = if number == 0 { "-->" } else { ":::" };
            if number > 0 {
                let _ = write!(text, "\n{:width$} |", "");
            }
            excerpt.write(&mut text, arrow, width);
        }
        if let Some(help) = &self.help {
            if !excerpts.is_empty() {
                let _ = write!(text, "\n{:width$} |", "");
            }
            let _ = write!(text, "\n{:width$} = help: {help}", "");
        }
        text
    }
}

impl Excerpt<'_> {
    fn write(&self, to: &mut String, arrow: &str, width: usize) {
        let Self { name, line, column, text, mark: (before, marked), symbol, label } = self;
        let _ = write!(to, "\n{:width$}{arrow} {name}:{line}:{column}\n{:width$} |", "", "");
        let space = if text.is_empty() { "" } else { " " };
        let _ = write!(to, "\n{line:>width$} |{space}{text}");
        let mark = symbol.to_string().repeat(*marked);
        let _ = write!(to, "\n{:width$} | {:before$}{mark} {label}", "", "");
        to.truncate(to.trim_end().len());
    }
}

/// The line of a place; `None` where it is in none of the sources.
fn excerpt<'a>(
    (place, symbol, label): (&Place, char, &'a str),
    sources: &[Source<'a>],
) -> Option<Excerpt<'a>> {
    let source = sources.get(place.source)?;
    let (line, column) = source.position(place.span.start);
    let text = source.text.lines().nth(line - 1).unwrap_or_default();
    let shown = |characters: &mut dyn Iterator<Item = char>| {
        characters.map(|character| if character == '\t' { TAB.len() } else { 1 }).sum::<usize>()
    };
    let spanned = source.text.get(place.span.start..place.span.end).unwrap_or_default();
    let spanned = spanned.lines().next().unwrap_or_default();
    let before = shown(&mut text.chars().take(column - 1));
    let mark = (before, shown(&mut spanned.chars()).max(1));
    Some(Excerpt { name: source.name, line, column, text: text.replace('\t', TAB), mark, symbol, label })
}
