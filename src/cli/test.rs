//! `gqos test`: admission regression tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::anyhow;
use clap::ValueEnum;
use gqos::failure::KernelFailure;
use gqos::lab::{self, transfer::Transfer};
use gqos::linux::namespace;
use gqos::policy::{Place, Policy, Source};
use gqos::scenario::{
    self, Coverage, Laboratory, Recording, Report, Suite, TransferFailure, TransferRequest, Verdict, run_test,
};
use regex_lite::Regex;

use super::diagnostics::line_column;
use super::{Failure, INVALID_FILE, NO_PRIVILEGE, OS_ERROR, counted, read, say, tell};

/// Run admission regression tests (*.qostest.toml) in virtual time.
///
/// A test says what a policy is to decide, and what is then reserved and free. The exit code is 0 where all
/// tests passed, 1 where one failed or none was run, 78 where a test or a policy is not valid.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Test files, or directories that have some.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Only tests whose name matches.
    #[arg(long, value_name = "REGEX")]
    run: Option<Regex>,
    /// Only tests with one of these tags.
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Stop at the first test that fails.
    #[arg(long)]
    fail_fast: bool,
    /// Run them in another order, which the seed tells.
    #[arg(long)]
    shuffle: bool,
    /// The order.
    #[arg(long, value_name = "N", requires = "shuffle")]
    seed: Option<u64>,
    /// What is written to standard output.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Write a report to a file as well: junit=report.xml. May be given several times.
    #[arg(long, value_name = "FORMAT=FILE", value_parser = output)]
    out: Vec<(Format, PathBuf)>,
    /// Name the interfaces, classes, groups, templates, rules and reasons that no test touched.
    #[arg(long)]
    coverage: bool,
    /// Fail where the tests touch less of the policies, in per cent.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u64).range(0..=100))]
    min_coverage: Option<u64>,
    /// Compare with another policy: tell which decisions differ, instead of what is expected.
    #[arg(long, value_name = "POLICY")]
    against: Option<PathBuf>,
    /// Rewrite what the tests expect into what they got: for review, and then to be kept.
    #[arg(long, conflicts_with_all = ["against", "record"])]
    bless: bool,
    /// Write a trace as a test to standard output, with what the policy that is given as PATH decides.
    #[arg(long, value_name = "TRACE", conflicts_with_all = ["against", "coverage", "min_coverage", "run", "tag", "shuffle", "out"])]
    record: Option<PathBuf>,
    /// Measure `transfer` steps on a private network of this machine, in namespaces of its own.
    #[arg(long)]
    lab: bool,
    /// Running no test is no failure.
    #[arg(long)]
    allow_empty: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON document.
    Json,
    /// JUnit's XML.
    Junit,
    /// The Test Anything Protocol.
    Tap,
    /// Annotations of a hosted workflow.
    Github,
}

/// A test file with the policies that it names.
struct File {
    name: String,
    text: String,
    suite: Suite,
    /// By the names that the file gives them.
    policies: BTreeMap<String, Loaded>,
}

/// A policy, with what its places are counted in.
#[derive(Clone)]
struct Loaded {
    path: String,
    text: Arc<str>,
    policy: Arc<Policy>,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    if let Some(trace) = &arguments.record {
        return record(arguments, trace);
    }
    let files = arguments.files()?;
    let mut chosen: Vec<(&File, usize)> = Vec::new();
    for file in &files {
        let tests = file.suite.tests.iter().enumerate();
        chosen.extend(
            tests.filter(|(_, test)| arguments.wants(&test.name, &test.tags)).map(|(n, _)| (file, n)),
        );
    }
    if chosen.is_empty() && !arguments.allow_empty {
        eprintln!("gqos: no test was run; --allow-empty makes that a success");
        return Ok(ExitCode::from(1));
    }
    if arguments.lab {
        prepare_lab()?;
    }
    if arguments.shuffle {
        let seed = arguments.seed.unwrap_or_else(|| u64::from(std::process::id()));
        eprintln!("gqos: shuffled by --seed {seed}");
        shuffle(&mut chosen, seed);
    }
    if let Some(other) = &arguments.against {
        return against(&chosen, other);
    }
    let mut coverage: BTreeMap<&str, Coverage> = BTreeMap::new();
    for loaded in files.iter().flat_map(|file| file.policies.values()) {
        coverage.entry(&loaded.path).or_insert_with(|| Coverage::of(&loaded.policy));
    }
    if arguments.bless {
        return bless(&files, &chosen);
    }
    let mut reports = Vec::new();
    for (file, number) in chosen {
        let report = file.run(number, &mut coverage, arguments.lab);
        let failed = matches!(report.outcome.verdict, Verdict::Failed(_));
        reports.push(report);
        if failed && arguments.fail_fast {
            break;
        }
    }
    say(&scenario::render(&reports, arguments.format.into()))?;
    for (format, path) in &arguments.out {
        let text = scenario::render(&reports, (*format).into());
        std::fs::write(path, text)
            .map_err(|error| Failure::new(OS_ERROR, anyhow!("write {}: {error}", path.display())))?;
    }
    let covered = tell_coverage(arguments, &coverage);
    let failed = reports.iter().any(|report| matches!(report.outcome.verdict, Verdict::Failed(_)));
    Ok(ExitCode::from(u8::from(failed || !covered)))
}

/// Rewrites the expectations of the chosen tests that do not hold.
fn bless(files: &[File], chosen: &[(&File, usize)]) -> Result<ExitCode, Failure> {
    for file in files {
        let tests = chosen.iter().filter(|(of, _)| std::ptr::eq(*of, file));
        let outcomes = tests.map(|(_, number)| {
            let test = &file.suite.tests[*number];
            run_test(test, &file.policy_of(*number).policy, &file.plain_policies(), None)
        });
        let mut corrections: Vec<_> = outcomes.flat_map(|outcome| outcome.corrections).collect();
        corrections.sort_by_key(|correction| std::cmp::Reverse(correction.place.span.start));
        let mut text = file.text.clone();
        for scenario::Correction { place, expectations } in &corrections {
            let (line, _) = line_column(&file.text, place.span.start);
            if !text.get(place.span.clone()).is_some_and(|old| old.starts_with('{')) {
                let error =
                    anyhow!("{}:{line}: only an inline table is rewritten: expect = {{ … }}", file.name);
                return Err(Failure::new(INVALID_FILE, error));
            }
            text.replace_range(place.span.clone(), expectations);
        }
        if corrections.is_empty() {
            continue;
        }
        // All or nothing: a file that is half written would be no test any more.
        let fresh = format!("{}.new", file.name);
        let written = std::fs::write(&fresh, &text).and_then(|()| std::fs::rename(&fresh, &file.name));
        written.map_err(|error| Failure::new(OS_ERROR, anyhow!("write {}: {error}", file.name)))?;
        eprintln!("{}: {} rewritten", file.name, counted(corrections.len(), "expectation"));
    }
    Ok(ExitCode::SUCCESS)
}

/// A trace as a test.
fn record(arguments: &Arguments, trace: &Path) -> Result<ExitCode, Failure> {
    let [policy] = &arguments.paths[..] else {
        let error = anyhow!("--record takes one policy as PATH");
        return Err(Failure::new(super::USAGE, error));
    };
    let loaded = load(policy)?;
    let text = read(trace)?;
    let test =
        scenario::record(&Recording { trace: &text, policy: &loaded.policy, policy_name: &loaded.path })
            .map_err(|error| Failure::new(INVALID_FILE, anyhow!("{}:{error}", trace.display())))?;
    say(&test)?;
    Ok(ExitCode::SUCCESS)
}

/// Says what no test touched; whether enough was.
fn tell_coverage(arguments: &Arguments, coverage: &BTreeMap<&str, Coverage>) -> bool {
    if !arguments.coverage && arguments.min_coverage.is_none() {
        return true;
    }
    let (mut all, mut touched) = (0, 0);
    for (path, coverage) in coverage {
        eprintln!("{path}: {}% of {} covered", coverage.percent(), coverage.all.len());
        for uncovered in coverage.uncovered() {
            eprintln!("  not covered: {uncovered}");
        }
        all += coverage.all.len() as u64;
        touched += coverage.covered.len() as u64;
    }
    let percent = (touched * 100).checked_div(all).unwrap_or(100);
    match arguments.min_coverage {
        Some(least) if percent < least => {
            eprintln!("gqos: {percent}% is less than --min-coverage {least}");
            false
        }
        _ => true,
    }
}

/// The same tests under another policy: which decisions differ.
fn against(chosen: &[(&File, usize)], other: &Path) -> Result<ExitCode, Failure> {
    let other = load(other)?;
    let mut differences = 0;
    for (file, number) in chosen {
        let test = &file.suite.tests[*number];
        // Whatever is expected: a difference must not hide those after it.
        let bare = test.without_expectations();
        let own = run_test(&bare, &file.policy_of(*number).policy, &file.plain_policies(), None);
        let theirs = run_test(&bare, &other.policy, &file.plain_policies(), None);
        for (ours, theirs) in own.decisions.iter().zip(&theirs.decisions) {
            let (ours, other_decision) = (&ours.decision, &theirs.decision);
            if (ours.is_ok(), ours.reason()) != (other_decision.is_ok(), other_decision.reason()) {
                differences += 1;
                let (line, _) = line_column(&file.text, test.place.span.start);
                let word = |decision: &gqos::admission::Decision| match decision.reason() {
                    None => "admitted".to_owned(),
                    Some(reason) => format!("refused ({reason})"),
                };
                let line = format!(
                    "{}:{line} {}: {} at {} us: {} under {}, {} under {}\n",
                    file.name,
                    test.name,
                    ours.id().unwrap_or_default(),
                    ours.at.as_micros(),
                    word(ours),
                    file.policy_of(*number).path,
                    word(other_decision),
                    other.path
                );
                say(&line)?;
            }
        }
    }
    eprintln!("gqos: {} otherwise", counted(differences, "decision"));
    Ok(ExitCode::from(u8::from(differences > 0)))
}

impl Arguments {
    fn wants(&self, name: &str, tags: &[String]) -> bool {
        self.run.as_ref().is_none_or(|run| run.is_match(name))
            && (self.tag.is_empty() || self.tag.iter().any(|tag| tags.contains(tag)))
    }

    fn files(&self) -> Result<Vec<File>, Failure> {
        let mut paths = Vec::new();
        for path in &self.paths {
            find(path, true, &mut paths)?;
        }
        let mut seen = BTreeSet::new();
        paths.retain(|path| seen.insert(path.clone()));
        let mut policies = BTreeMap::new();
        let mut files = Vec::new();
        let mut problems = 0;
        for path in &paths {
            match open(path, &mut policies) {
                Ok(file) => files.push(file),
                // Every file's problems are told before the end.
                Err(Failure { code: INVALID_FILE, error }) => {
                    eprintln!("gqos: {error:#}");
                    problems += 1;
                }
                Err(failure) => return Err(failure),
            }
        }
        match problems {
            0 => Ok(files),
            _ => Err(Failure::new(
                INVALID_FILE,
                anyhow!("{problems} of {} test files cannot be run", paths.len()),
            )),
        }
    }
}

/// Test files below a path, in the order of their names; a file that is named is one whatever its name.
fn find(path: &Path, named: bool, found: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let shown = path.display();
    let failure = |call, error| Failure::new(OS_ERROR, anyhow!("{call} {shown}: {error}"));
    if path.is_dir() {
        let entries = std::fs::read_dir(path).map_err(|error| failure("readdir", error))?;
        let entries = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>();
        let mut entries = entries.map_err(|error| failure("readdir", error))?;
        entries.sort_unstable();
        // A link to a directory could lead around in a circle.
        entries.retain(|entry| !(entry.is_symlink() && entry.is_dir()));
        return entries.iter().try_for_each(|entry| find(entry, false, found));
    }
    if named || path.to_string_lossy().ends_with(".qostest.toml") {
        found.push(path.to_owned());
    }
    Ok(())
}

fn open(path: &Path, policies: &mut BTreeMap<PathBuf, Loaded>) -> Result<File, Failure> {
    let (name, text) = (path.display().to_string(), read(path)?);
    let source = Source { name: &name, text: &text };
    let suite = Suite::parse(&source).map_err(|problems| {
        tell(&problems, &[source]);
        Failure::new(
            INVALID_FILE,
            anyhow!("{name} is not a valid test file: {}", counted(problems.len(), "problem")),
        )
    })?;
    let directory = path.parent().unwrap_or(Path::new(""));
    let mut named = BTreeMap::new();
    for policy in suite.policies() {
        let path = directory.join(policy);
        let loaded = match policies.get(&path) {
            Some(loaded) => loaded.clone(),
            None => policies.entry(path.clone()).or_insert(load(&path)?).clone(),
        };
        named.insert(policy.to_owned(), loaded);
    }
    Ok(File { name, text, suite, policies: named })
}

fn load(path: &Path) -> Result<Loaded, Failure> {
    let (name, text) = (path.display().to_string(), read(path)?);
    let sources = [Source { name: &name, text: &text }];
    match Policy::parse(&sources) {
        Ok((policy, _)) => Ok(Loaded { path: name, text: text.into(), policy: Arc::new(policy) }),
        Err(problems) => {
            tell(&problems, &sources);
            let error = anyhow!("{name} is not a valid policy: {}", counted(problems.len(), "problem"));
            Err(Failure::new(INVALID_FILE, error))
        }
    }
}

impl File {
    fn policy_of(&self, number: usize) -> &Loaded {
        let named = self.suite.tests[number].policy.as_ref().or(self.suite.policy.as_ref());
        // The suite has been checked: each test has a policy, and each has been loaded.
        &self.policies[named.map_or("", String::as_str)]
    }

    fn plain_policies(&self) -> BTreeMap<String, Arc<Policy>> {
        self.policies.iter().map(|(name, loaded)| (name.clone(), Arc::clone(&loaded.policy))).collect()
    }

    fn run(&self, number: usize, coverage: &mut BTreeMap<&str, Coverage>, lab: bool) -> Report {
        let test = &self.suite.tests[number];
        let loaded = self.policy_of(number);
        let mut network = PrivateNetwork;
        let lab: Option<&mut dyn Laboratory> = if lab { Some(&mut network) } else { None };
        let outcome = run_test(test, &loaded.policy, &self.plain_policies(), lab);
        if let Some(coverage) = coverage.get_mut(loaded.path.as_str()) {
            coverage.count(&outcome.covered);
        }
        let line = |place: &Place| line_column(&self.text, place.span.start).0;
        let (step_line, rule) = match &outcome.verdict {
            Verdict::Failed(failure) => {
                let rule = failure.rule();
                let rule = rule
                    .map(|rule| format!("{}:{}", loaded.path, line_column(&loaded.text, rule.span.start).0));
                (line(&failure.place), rule)
            }
            Verdict::Ok | Verdict::Skipped(_) => (0, None),
        };
        let (file, name, line) = (self.name.clone(), test.name.clone(), line(&test.place));
        Report { file, name, line, step_line, rule, outcome }
    }
}

/// Makes sure that a private network can be made, before anything is run.
fn prepare_lab() -> Result<(), Failure> {
    let failure = |error: KernelFailure| {
        let code = if error.is_permission() { NO_PRIVILEGE } else { OS_ERROR };
        let error = anyhow!("{error}").context(
            "--lab needs CAP_SYS_ADMIN and CAP_NET_ADMIN (root, or an unprivileged user namespace); without it everything but transfers is tested",
        );
        Failure::new(code, error)
    };
    // Before there is a second thread: a user namespace is for single-threaded processes.
    if !namespace::may_unshare() {
        namespace::become_root().map_err(failure)?;
    }
    lab::Site::new("probe").map(drop).map_err(failure)
}

/// Two hosts and a wire, made anew for each transfer.
struct PrivateNetwork;

impl Laboratory for PrivateNetwork {
    fn transfer(&mut self, request: &TransferRequest) -> Result<flowspec::Rate, TransferFailure> {
        let TransferRequest { policy, interface, capacity, class, qos, duration, bytes } = request.clone();
        let known = policy.interface(&interface).cloned();
        let mut interface = known.ok_or(TransferFailure::UnknownInterface { interface })?;
        // The link is the private network's: as fast as the test has it by now, and nobody else's.
        for direction in flowspec::Direction::BOTH {
            let capacity = gqos::policy::Capacity::Rate(capacity);
            let budget = interface.budgets.get_mut(direction);
            *budget = gqos::policy::Budget { capacity, ..*budget };
        }
        (interface.takeover, interface.mtu) = (false, None);
        let transfer = Transfer { interface, capacity, policy, class, qos, duration, bytes };
        lab::transfer::measure(&transfer).map_err(|error| TransferFailure::Network(Box::new(error)))
    }
}

impl From<Format> for scenario::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Text => Self::Text,
            Format::Json => Self::Json,
            Format::Junit => Self::Junit,
            Format::Tap => Self::Tap,
            Format::Github => Self::Github,
        }
    }
}

fn output(text: &str) -> Result<(Format, PathBuf), String> {
    let (format, path) = text.split_once('=').ok_or("write FORMAT=FILE, such as junit=report.xml")?;
    Ok((Format::from_str(format, false)?, path.into()))
}

/// Fisher and Yates, by SplitMix64: the same seed gives the same order everywhere.
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
