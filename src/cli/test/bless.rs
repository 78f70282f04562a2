//! `gqos test --bless`: rewrites expectations that do not hold.

use std::process::ExitCode;

use gqos::policy::{Place, Source};
use gqos::scenario::{Correction, TestOutcome, Verdict};

use super::file::{File, Selected};
use crate::cli::diagnostics::{line_column, snippet};
use crate::cli::failure::{CommandFailure, Exit};
use crate::cli::output::counted;

/// Rewrites the expectations of the selected tests that do not hold to what was found. Steps for which no expectations
/// hold are named, and are a difference.
pub(super) fn bless(files: &[File], selected: &[Selected<'_>]) -> Result<ExitCode, CommandFailure> {
    let mut settled = true;
    for file in files {
        let tests = selected.iter().filter(|selected| std::ptr::eq(selected.file, file));
        let outcomes: Vec<_> = tests.clone().map(|selected| selected.run(None)).collect();
        settled &= bless_file(file, &outcomes, &tests.copied().collect::<Vec<_>>())?;
    }
    Ok(if settled { ExitCode::SUCCESS } else { Exit::Difference.into() })
}

/// Whether all selected tests of a file pass now.
fn bless_file(file: &File, outcomes: &[TestOutcome], tests: &[Selected<'_>]) -> Result<bool, CommandFailure> {
    let mut corrections: Vec<_> = outcomes.iter().flat_map(|outcome| &outcome.corrections).collect();
    let mut settled = true;
    for step in outcomes.iter().flat_map(|outcome| &outcome.uncorrectable) {
        unsettled(file, &step.place, &step.reason.to_string());
        settled = false;
    }
    corrections.retain(|correction| {
        let is_inline = file.text.get(correction.place.span.clone()).is_some_and(|old| old.starts_with('{'));
        if !is_inline {
            unsettled(file, &correction.place, "only an inline table can be rewritten: expect = { … }");
            settled = false;
        }
        is_inline
    });
    if corrections.is_empty() {
        return Ok(settled);
    }
    let text = rewritten(file, &mut corrections);
    if settled && !passes(file, &text, tests) {
        crate::cli::output::say(&format!(
            "gqos: {}: the tests fail with what was found, and the file is left as it is",
            file.name
        ));
        return Ok(false);
    }
    replace(file, &text)?;
    crate::cli::output::say(&format!(
        "{}: {} rewritten",
        file.name,
        counted(corrections.len(), "expectation")
    ));
    Ok(settled)
}

/// Says which step cannot be rewritten, and why.
fn unsettled(file: &File, place: &Place, reason: &str) {
    let (line, column) = line_column(&file.text, place.span.start);
    let snippet = snippet(place, &Source { name: &file.name, text: &file.text });
    crate::cli::output::say(&format!("{}:{line}:{column}: not rewritten: {reason}\n{snippet}", file.name));
}

/// The text of a file with these corrections.
fn rewritten(file: &File, corrections: &mut [&Correction]) -> String {
    // From the end, so that earlier places stay valid.
    corrections.sort_by_key(|correction| std::cmp::Reverse(correction.place.span.start));
    let mut text = file.text.clone();
    for Correction { place, expectations } in corrections.iter() {
        text.replace_range(place.span.clone(), expectations);
    }
    text
}

/// Whether no test fails that was selected, by its name, with this text of its file.
fn passes(file: &File, text: &str, tests: &[Selected<'_>]) -> bool {
    let Ok(file) = file.with_text(text.to_owned()) else { return false };
    let names = |name: &str| tests.iter().any(|selected| selected.test.name == name);
    let tests = file.suite.tests.iter().filter(|test| names(&test.name));
    let mut verdicts = tests.map(|test| Selected { file: &file, test }.run(None).verdict);
    verdicts.all(|verdict| !matches!(verdict, Verdict::Failed(_)))
}

/// Replaces the whole file at once: a crash in between leaves either the old file or the new one.
fn replace(file: &File, text: &str) -> Result<(), CommandFailure> {
    let fresh = format!("{}.new", file.name);
    let written = std::fs::write(&fresh, text).and_then(|()| std::fs::rename(&fresh, &file.name));
    written.map_err(|error| CommandFailure::os("write", &file.name, error))
}
