//! Renders problems of policies and test files as text, JSON or SARIF.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::Serialize;
use serde_json::json;

use super::plain::{plain_json, plain_lines};
use gqos::control::ReportedProblem;
use gqos::policy::{Code, Place, Problem, Severity, Source};

/// Renders a problem in the style of rustc: file, line, column, the line itself and a caret.
pub(super) fn render(problem: &Problem, sources: &[Source<'_>], colour: bool) -> String {
    let level = match problem.code.severity() {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(problem.message.as_str()).id(problem.code.id());
    let mut group = Group::with_title(title);
    let places = std::iter::once((&problem.place, None))
        .chain(problem.labels.iter().map(|label| (&label.place, Some(label.text.as_str()))));
    // A file that cannot be read has no lines; the message names it.
    let shown = problem.code != Code::Unreadable;
    for (place, text) in places.filter(|_| shown) {
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
    // The styles are control sequences too, so that a text with others has none.
    let source = sources.get(problem.place.source);
    let texts = [Some(&*problem.message), problem.help.as_deref(), source.map(|source| source.text)];
    let is_harmless = |text: &str| plain_lines(text).chars().eq(text.chars());
    let named = sources.iter().all(|source| is_harmless(source.name));
    let labels = problem.labels.iter().all(|label| {
        let other = sources.get(label.place.source);
        is_harmless(&label.text) && other.is_none_or(|other| is_harmless(other.text))
    });
    if colour && named && labels && texts.into_iter().flatten().all(is_harmless) {
        return Renderer::styled().decor_style(DecorStyle::Ascii).render(&[group]);
    }
    plain_lines(&Renderer::plain().decor_style(DecorStyle::Ascii).render(&[group])).into_owned()
}

/// The line of a place and a caret below it, without a title.
pub(super) fn snippet(place: &Place, source: &Source<'_>) -> String {
    let annotation = AnnotationKind::Primary.span(visible(place, source.text));
    let snippet = Snippet::source(source.text).path(source.name).annotation(annotation);
    let group = Group::with_title(Level::ERROR.primary_title("")).element(snippet);
    let text = Renderer::plain().decor_style(DecorStyle::Ascii).render(&[group]);
    // The title, and the place, which the message has.
    plain_lines(&text.lines().skip(2).collect::<Vec<_>>().join("\n")).into_owned()
}

#[derive(Serialize)]
pub(super) struct ProblemRecord<'a> {
    code: &'a str,
    severity: &'static str,
    message: &'a str,
    file: &'a str,
    line: usize,
    column: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'a str>,
}

impl<'a> ProblemRecord<'a> {
    pub(super) fn new(problem: &'a Problem, sources: &[Source<'a>]) -> Self {
        let source = sources.get(problem.place.source);
        let (line, column) = source.map_or((1, 1), |source| source.position(problem.place.span.start));
        Self {
            code: problem.code.id(),
            severity: severity(problem.code),
            message: &problem.message,
            file: source.map_or("", |source| source.name),
            line,
            column,
            help: problem.help.as_deref(),
        }
    }

    /// The same of a problem that a daemon reports.
    pub(super) fn reported(problem: &'a ReportedProblem) -> Self {
        let ReportedProblem { code, message, file, line, column, help } = problem;
        let known = Code::ALL.iter().find(|known| known.id() == code);
        let severity = known.map_or("error", |known| severity(*known));
        Self { code, severity, message, file, line: *line, column: *column, help: help.as_deref() }
    }
}

/// The word for the severity of a code, in all formats.
pub(super) const fn severity(code: Code) -> &'static str {
    match code.severity() {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// The problems as a SARIF 2.1.0 document. Source: OASIS, Static Analysis Results Interchange Format.
pub(super) fn sarif(problems: &[Problem], sources: &[Source<'_>]) -> String {
    let location = |place: &Place, message: Option<&str>| {
        let source = sources.get(place.source);
        let text = source.map_or("", |source| source.text);
        let (start, end) = (place.span.start.min(text.len()), place.span.end.min(text.len()));
        let ((line, column), (end_line, end_column)) = (line_column(text, start), line_column(text, end));
        let mut location = json!({ "physicalLocation": {
            "artifactLocation": { "uri": uri(source.map_or("", |source| source.name)) },
            "region": { "startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column },
        }});
        if let Some(message) = message {
            location["message"] = json!({ "text": message });
        }
        location
    };
    let results = problems.iter().map(|problem| {
        let message = match &problem.help {
            Some(help) => format!("{} ({help})", problem.message),
            None => problem.message.clone(),
        };
        let labels = problem.labels.iter().map(|label| location(&label.place, Some(&label.text)));
        json!({
            "ruleId": problem.code.id(),
            "ruleIndex": Code::ALL.iter().position(|&code| code == problem.code),
            "level": severity(problem.code),
            "message": { "text": message },
            "locations": [location(&problem.place, None)],
            "relatedLocations": labels.collect::<Vec<_>>(),
        })
    });
    let rules = Code::ALL.iter().map(|&code| {
        json!({
            "id": code.id(),
            "shortDescription": { "text": code.title() },
            "fullDescription": { "text": code.explanation() },
            "defaultConfiguration": { "level": severity(code) },
        })
    });
    let document = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "gqos", "version": env!("CARGO_PKG_VERSION"), "rules": rules.collect::<Vec<_>>() } },
            "columnKind": "unicodeCodePoints",
            "results": results.collect::<Vec<_>>(),
        }],
    });
    plain_json(&document.to_string()).into_owned() + "\n"
}

/// The line and column of a byte offset, both from 1; columns count characters.
pub(super) fn line_column(text: &str, offset: usize) -> (usize, usize) {
    Source { name: "", text }.position(offset)
}

/// The part of a span that lies within the text.
fn visible(place: &Place, text: &str) -> std::ops::Range<usize> {
    let start = place.span.start.min(text.len());
    let end = place.span.end.clamp(start, text.len());
    start..end
}

/// A path as a URI reference. An absolute path becomes a `file` URI; characters that RFC 3986 does not allow are
/// percent-encoded.
fn uri(path: &str) -> String {
    let mut uri = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(char::from(byte))
            }
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use gqos::policy::Policy;

    use super::*;

    /// The library shows the problems of these texts as the command does.
    #[track_caller]
    fn check(name: &str, texts: &[&str], codes: &[&str]) {
        let sources: Vec<_> = texts.iter().map(|text| Source { name: "p.toml", text }).collect();
        let problems = Policy::parse(&sources).expect_err(name);
        assert_eq!(problems.iter().map(|problem| problem.code.id()).collect::<Vec<_>>(), codes, "{name}");
        for problem in &problems {
            assert_eq!(problem.render(&sources), render(problem, &sources, false), "{name}");
        }
    }

    #[test]
    fn nothing_in_a_policy_moves_the_cursor() {
        let text = "version = 1\n# \u{1b}[2J\n[class.\"a\u{202e}\\u001b[31m\"]\nshar\u{e9} = 1 # \u{202e}\n[clas]\nx = 1 # \u{ad}\n";
        let sources = [Source { name: "p\u{1b}.toml", text }];
        for problem in Policy::parse(&sources).unwrap_err() {
            for colour in [false, true] {
                let shown = render(&problem, &sources, colour);
                assert_eq!(plain_lines(&shown), shown);
            }
        }
    }

    #[test]
    fn the_library_renders_problems_as_the_command_does() {
        check("a place", &["version = 1\n[interface.eth0]\negress = 1\n"], &["GQ0003"]);
        check("help", &["version = 1\n[clas.viewer]\n"], &["GQ0002"]);
        check("tabs", &["version = 1\n[class.a]\n\tshare\t= \"1\" # after\n"], &["GQ0005"]);
        check("beside letters of two bytes", &["version = 1\n[class.a]\nshare = \"é\"\n"], &["GQ0005"]);
        let first = format!("version = 1\n{}[class.viewer]\n", "\n".repeat(12));
        check("two places", &[&first, "version = 1\n[class.viewer]\n"], &["GQ0009"]);
        check("an empty text", &[""], &["GQ0004"]);
    }
}
