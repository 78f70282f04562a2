//! `gqos test --bless`: rewrites expectations that do not hold.

use std::process::ExitCode;

use anyhow::anyhow;
use gqos::scenario::Correction;

use super::file::{File, Selected};
use crate::cli::diagnostics::line_column;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::counted;

/// Rewrites the expectations of the selected tests that do not hold to what was found.
pub(super) fn bless(files: &[File], selected: &[Selected<'_>]) -> Result<ExitCode, Failure> {
    for file in files {
        let tests = selected.iter().filter(|selected| std::ptr::eq(selected.file, file));
        let mut corrections: Vec<_> = tests.flat_map(|selected| selected.run(None).corrections).collect();
        // From the end, so that earlier places stay valid.
        corrections.sort_by_key(|correction| std::cmp::Reverse(correction.place.span.start));
        if corrections.is_empty() {
            continue;
        }
        replace(file, &rewritten(file, &corrections)?)?;
        eprintln!("{}: {} rewritten", file.name, counted(corrections.len(), "expectation"));
    }
    Ok(ExitCode::SUCCESS)
}

fn rewritten(file: &File, corrections: &[Correction]) -> Result<String, Failure> {
    let mut text = file.text.clone();
    for Correction { place, expectations } in corrections {
        if !text.get(place.span.clone()).is_some_and(|old| old.starts_with('{')) {
            let (line, _) = line_column(&file.text, place.span.start);
            let error =
                anyhow!("{}:{line}: only an inline table can be rewritten: expect = {{ … }}", file.name);
            return Err(Failure::new(Exit::InvalidFile, error));
        }
        text.replace_range(place.span.clone(), expectations);
    }
    Ok(text)
}

/// Replaces the whole file at once: one that is half written would not be a test any more.
fn replace(file: &File, text: &str) -> Result<(), Failure> {
    let fresh = format!("{}.new", file.name);
    let written = std::fs::write(&fresh, text).and_then(|()| std::fs::rename(&fresh, &file.name));
    written.map_err(|error| Failure::os("write", &file.name, error))
}
