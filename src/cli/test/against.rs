//! `gqos test --against`: compares the decisions of two policies.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

use gqos::scenario::{Difference, differences};

use super::file::{LoadedPolicy, Selected};
use crate::cli::failure::{CommandFailure, Exit};
use crate::cli::output::print;

/// Runs the selected tests under another policy as well. Prints how many decisions differ, by rule and template and by
/// what becomes of them, and then each of them.
pub(super) fn against(selected: &[Selected<'_>], other: &Path) -> Result<ExitCode, CommandFailure> {
    let other = LoadedPolicy::load(other)?;
    let (mut summary, mut list) = (BTreeMap::<String, BTreeMap<String, u64>>::new(), String::new());
    let mut count = 0_u64;
    for test in selected {
        // Without expectations, so that a difference does not end the test.
        let bare = test.test.without_expectations();
        let own = test.run_under(&test.policy().policy, &bare, None);
        let others = test.run_under(&other.policy, &bare, None);
        for difference in differences(&own, &others) {
            let [before, after] = difference.verdicts();
            let (file, line, name) = (&test.file.name, test.line(), &test.test.name);
            let (id, at) = (difference.own.id().unwrap_or_default(), difference.own.at.as_micros());
            let (own, other) = (&test.policy().path, &other.path);
            // Writing to a String cannot fail, here and below.
            let _ = writeln!(
                list,
                "{file}:{line} {name}: {id} at {at} us: {before} under {own}, {after} under {other}"
            );
            let changes = summary.entry(requested(*test, &difference)).or_default();
            *changes.entry(format!("{before} → {after}")).or_default() += 1;
            count += 1;
        }
    }
    let mut text = String::new();
    for (requested, changes) in &summary {
        for (change, count) in changes {
            let _ = writeln!(text, "{requested}: {count} × {change}");
        }
    }
    if count > 0 {
        print(&format!("{text}\n{list}"))?;
    }
    let noun = if count == 1 { "decision differs" } else { "decisions differ" };
    eprintln!("gqos: {count} {noun} under {}", other.path);
    Ok(if count > 0 { Exit::Difference.into() } else { ExitCode::SUCCESS })
}

/// What was requested: `p.toml:12, rule 1, template hd`.
fn requested(test: Selected<'_>, difference: &Difference) -> String {
    let requested = &difference.requested;
    let policy = test.policy();
    let rule = requested.rule.map(|number| {
        let line = policy.policy.rules.get(number - 1).map_or(0, |rule| rule.place.line);
        format!("{}:{line} rule {number}", policy.path)
    });
    let templates = match &requested.templates[..] {
        [] => None,
        [one] => Some(format!("template {one}")),
        several => Some(format!("templates {}", several.join(", "))),
    };
    let parts: Vec<_> = rule.into_iter().chain(templates).collect();
    if parts.is_empty() { difference.own.operation().name().to_owned() } else { parts.join(", ") }
}
