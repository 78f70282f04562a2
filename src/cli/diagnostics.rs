//! Problems of a policy, as a person or a program reads them.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::Serialize;

use gqos::policy::{Place, Problem, Severity, Source};

/// Draws a problem as rustc would: file, line, column, the line itself and a caret.
pub(super) fn render(problem: &Problem, sources: &[Source<'_>], colour: bool) -> String {
    let level = match problem.code.severity() {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(problem.message.as_str()).id(problem.code.id());
    let mut group = Group::with_title(title);
    let places = std::iter::once((&problem.place, None))
        .chain(problem.labels.iter().map(|label| (&label.place, Some(label.text.as_str()))));
    for (place, text) in places {
        let Some(source) = sources.get(place.source) else { continue };
        let kind = if text.is_some() { AnnotationKind::Context } else { AnnotationKind::Primary };
        let mut annotation = kind.span(visible(place, source.text));
        if let Some(text) = text {
            annotation = annotation.label(text);
        }
        group = group.element(Snippet::source(source.text).path(source.name).annotation(annotation));
    }
    if let Some(help) = &problem.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    renderer.decor_style(DecorStyle::Ascii).render(&[group])
}

/// A problem as a line of JSON.
#[derive(Serialize)]
pub(super) struct Record<'a> {
    code: &'static str,
    severity: &'static str,
    message: &'a str,
    file: &'a str,
    line: usize,
    column: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'a str>,
}

impl<'a> Record<'a> {
    pub(super) fn new(problem: &'a Problem, sources: &[Source<'a>]) -> Self {
        let source = sources.get(problem.place.source);
        let (line, column) =
            source.map_or((1, 1), |source| line_column(source.text, problem.place.span.start));
        Self {
            code: problem.code.id(),
            severity: match problem.code.severity() {
                Severity::Error => "error",
                Severity::Warning => "warning",
            },
            message: &problem.message,
            file: source.map_or("", |source| source.name),
            line,
            column,
            help: problem.help.as_deref(),
        }
    }
}

/// Line and column of a byte, both from 1, the column in characters.
pub(super) fn line_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (line, before[start..].chars().count() + 1)
}

/// A span inside the text, with something to point at.
fn visible(place: &Place, text: &str) -> std::ops::Range<usize> {
    let start = place.span.start.min(text.len());
    let end = place.span.end.clamp(start, text.len());
    start..end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let text = "a = 1\nü = \"é\" x\n";
        assert_eq!(line_column(text, 0), (1, 1));
        assert_eq!(line_column(text, 6), (2, 1));
        assert_eq!(line_column(text, text.find('x').expect("x")), (2, 9));
        assert_eq!(line_column(text, text.len()), (3, 1));
        assert_eq!(line_column(text, 999), (3, 1));
    }
}
