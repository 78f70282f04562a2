//! Runs the tests that the arguments select.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::anyhow;
use gqos::scenario::{self, Coverage, Laboratory, PolicyCoverage, Recording, RunReport, TestReport, Verdict};

use super::against::against;
use super::arguments::Arguments;
use super::bless::bless;
use super::file::{Announce, File, LoadedPolicy, Opened, Selected, announced, exit_of, open_all};
use super::laboratory::PrivateNetwork;
use super::watch::watch;
use crate::cli::failure::{CommandFailure, Exit};
use crate::cli::input::read;
use crate::cli::output::{ensure_writable, print, write};
use crate::cli::stopwatch::Stopwatch;

pub(in crate::cli) fn run(arguments: &Arguments) -> Result<ExitCode, CommandFailure> {
    if let Some(trace) = &arguments.record {
        return record(arguments, trace);
    }
    if arguments.watch { watch(arguments, run_once) } else { run_once(arguments) }
}

/// Reads the files and runs the tests, or does with them what the arguments ask for.
fn run_once(arguments: &Arguments) -> Result<ExitCode, CommandFailure> {
    let Opened { files, invalid: refused } = open_all(&arguments.paths, Announce::of(arguments.format))?;
    for (_, path) in &arguments.out {
        ensure_writable(path)?;
    }
    let mut selected = select(arguments, &files);
    let runs_none = selected.is_empty() && refused.is_empty() && !arguments.allow_empty;
    if runs_none {
        crate::cli::output::say(&format!(
            "gqos: no test was run{}; with --allow-empty that is not a failure",
            why_none(&files)
        ));
    }
    let exit = exit_of(&refused).or(runs_none.then_some(Exit::Difference));
    let exit = |code: ExitCode| exit.map_or(code, ExitCode::from);
    let mut lab = if arguments.lab { Some(PrivateNetwork::prepare()?) } else { None };
    if arguments.shuffle {
        let seed = arguments.seed.unwrap_or_else(|| u64::from(std::process::id()));
        crate::cli::output::say(&format!("gqos: shuffled by --seed {seed}"));
        shuffle(&mut selected, seed);
    }
    if let Some(other) = &arguments.against {
        return against(arguments, other, &selected, refused);
    }
    if arguments.bless {
        return bless(&files, &selected).map(exit);
    }
    let invalid: Vec<_> = refused.iter().map(|refused| refused.file.clone()).collect();
    let mut coverage = BTreeMap::new();
    for loaded in files.iter().flat_map(File::policies) {
        coverage.entry(loaded.path.as_str()).or_insert_with(|| Coverage::of(&loaded.policy));
    }
    let reports = run_tests(arguments, &selected, lab.as_mut(), &mut coverage);
    let is_covered = is_covered(arguments, &coverage);
    let shows_coverage = arguments.coverage || arguments.min_coverage.is_some();
    let coverage = coverage.into_iter().filter(|_| shows_coverage);
    let coverage: Vec<_> =
        coverage.map(|(policy, coverage)| PolicyCoverage { policy: policy.to_owned(), coverage }).collect();
    let report = RunReport { tests: &reports, invalid: &invalid, coverage: &coverage };
    let announced = announced(arguments.format, &invalid);
    let printed = RunReport { invalid: &announced, ..report };
    print(&scenario::render(&printed, arguments.format.into()))?;
    for (format, path) in &arguments.out {
        write(path, scenario::render(&report, (*format).into()))?;
    }
    let skipped =
        reports.iter().filter(|report| matches!(report.outcome.verdict, Verdict::Skipped(_))).count();
    let all_skipped = skipped > 0 && skipped == reports.len() && !arguments.allow_empty;
    if all_skipped {
        let tests = match skipped {
            1 => "the only test is skipped".to_owned(),
            count => format!("all {count} tests are skipped"),
        };
        crate::cli::output::say(&format!(
            "gqos: no test was run: {tests}; with --allow-empty that is not a failure"
        ));
    }
    let failed = reports.iter().any(is_failed) || all_skipped || !is_covered;
    Ok(exit(if failed { Exit::Difference.into() } else { ExitCode::SUCCESS }))
}

/// Why none of the tests of these files is run.
fn why_none(files: &[File]) -> String {
    match files.iter().map(|file| file.suite.tests.len()).sum::<usize>() {
        0 if files.is_empty() => ": there is no *.qostest.toml file below the paths".to_owned(),
        0 => ": the files have no test".to_owned(),
        1 => ": --run and --tag leave out the only test".to_owned(),
        count => format!(": --run and --tag leave out all {count} tests"),
    }
}

fn select<'a>(arguments: &Arguments, files: &'a [File]) -> Vec<Selected<'a>> {
    let all = files.iter().flat_map(|file| file.suite.tests.iter().map(move |test| Selected { file, test }));
    all.filter(|selected| arguments.select(selected.test)).collect()
}

fn run_tests(
    arguments: &Arguments,
    selected: &[Selected<'_>],
    mut lab: Option<&mut PrivateNetwork>,
    coverage: &mut BTreeMap<&str, Coverage>,
) -> Vec<TestReport> {
    let mut reports = Vec::new();
    for test in selected {
        let stopwatch = Stopwatch::start();
        let outcome = test.run(lab.as_deref_mut().map(|lab| lab as &mut dyn Laboratory));
        let reloaded = outcome.covered_after_reload.iter();
        let reloaded = reloaded.map(|(name, covered)| (test.policy_after(Some(name)), covered));
        for (policy, covered) in std::iter::once((test.policy(), &outcome.covered)).chain(reloaded) {
            if let Some(coverage) = coverage.get_mut(policy.path.as_str()) {
                coverage.count(covered);
            }
        }
        reports.push(test.report(outcome, stopwatch.time()));
        if arguments.fail_fast && reports.last().is_some_and(is_failed) {
            break;
        }
    }
    reports
}

fn is_failed(report: &TestReport) -> bool {
    matches!(report.outcome.verdict, Verdict::Failed(_))
}

/// Prints a trace as a test.
fn record(arguments: &Arguments, trace: &Path) -> Result<ExitCode, CommandFailure> {
    let [policy] = &arguments.paths[..] else {
        return Err(CommandFailure::new(Exit::Usage, anyhow!("--record takes one policy as PATH")));
    };
    let LoadedPolicy { path, policy, .. } = LoadedPolicy::load(policy)?;
    let text = read(trace)?;
    let test = scenario::record(&Recording { trace: &text, policy: &policy, policy_name: &path })
        .map_err(|error| CommandFailure::new(Exit::InvalidFile, anyhow!("{}:{error}", trace.display())))?;
    print(&test)?;
    Ok(ExitCode::SUCCESS)
}

/// Whether as much is covered as the arguments demand.
fn is_covered(arguments: &Arguments, coverage: &BTreeMap<&str, Coverage>) -> bool {
    let all: u64 = coverage.values().map(|coverage| coverage.all.len() as u64).sum();
    let covered: u64 = coverage.values().map(|coverage| coverage.covered.len() as u64).sum();
    let percent = (covered * 100).checked_div(all).unwrap_or(100);
    match arguments.min_coverage {
        Some(least) if percent < least => {
            crate::cli::output::say(&format!("gqos: {percent}% is less than --min-coverage {least}"));
            false
        }
        _ => true,
    }
}

/// Fisher and Yates, with SplitMix64: a seed gives the same order on every machine.
fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut state = seed;
    for last in (1..items.len()).rev() {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        let other = usize::try_from((mixed ^ mixed >> 31) % (last as u64 + 1)).unwrap_or(0);
        items.swap(last, other);
    }
}
