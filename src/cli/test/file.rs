//! Test files with the policies that they name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gqos::policy::{Code, Place, Policy, Problem, Source};
use gqos::scenario::{
    FailedAt, FileProblem, InvalidFile, Laboratory, Suite, Test, TestOutcome, TestReport, Verdict, run_test,
};

use super::arguments::TestFormat;
use crate::cli::diagnostics::{line_column, snippet};
use crate::cli::failure::{CommandFailure, Exit};
use crate::cli::input::{parse_policy, read};
use crate::cli::output::{counted, print_problems};

/// A test file as it is read, with the policies that it names.
pub(super) struct File {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) suite: Suite,
    /// By the names that the file gives them.
    policies: BTreeMap<String, LoadedPolicy>,
}

/// A policy with its text, in which its places are counted.
#[derive(Clone)]
pub(super) struct LoadedPolicy {
    pub(super) path: String,
    text: Arc<str>,
    pub(super) policy: Arc<Policy>,
}

/// One test of a file.
#[derive(Clone, Copy)]
pub(super) struct Selected<'a> {
    pub(super) file: &'a File,
    pub(super) test: &'a Test,
}

/// Test files, and those that cannot be run.
pub(super) struct Opened {
    pub(super) files: Vec<File>,
    pub(super) invalid: Vec<RefusedFile>,
}

/// A test file that cannot be run, with the exit code that says so.
pub(super) struct RefusedFile {
    pub(super) exit: Exit,
    pub(super) file: InvalidFile,
}

/// Whether the problems of test files are printed on standard error, for people, as they are found.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Announce {
    Problems,
    /// The report on standard output has them.
    Nothing,
}

/// The policies read so far, by their paths.
struct Policies {
    loaded: BTreeMap<PathBuf, Loaded>,
    announce: Announce,
}

/// Reads all test files below the paths, and the policies that they name. Those that cannot be run have their problems;
/// the others are run.
pub(super) fn open_all(paths: &[PathBuf], announce: Announce) -> Result<Opened, CommandFailure> {
    let found = test_files(paths)?;
    let mut policies = Policies { loaded: BTreeMap::new(), announce };
    let mut opened = Opened { files: Vec::new(), invalid: Vec::new() };
    for path in &found {
        match open(path, &mut policies) {
            Ok(file) => opened.files.push(file),
            Err(refused) => opened.invalid.push(refused),
        }
    }
    Ok(opened)
}

/// The test files below the paths, each once.
pub(super) fn test_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, CommandFailure> {
    let mut found = Vec::new();
    for path in paths {
        find(path, true, &mut found)?;
    }
    let mut seen = BTreeSet::new();
    found.retain(|path| seen.insert(path.clone()));
    Ok(found)
}

/// A directory and those below it, in which test files are looked for. What cannot be read is left out.
pub(super) fn directories(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return Vec::new();
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let below = entries.filter(|entry| entry.is_dir() && !entry.is_symlink());
    std::iter::once(path.to_owned()).chain(below.flat_map(|entry| directories(&entry))).collect()
}

/// Test files below a path, ordered by name. A file that is `named` on the command line is a test file whatever its name.
fn find(path: &Path, named: bool, found: &mut Vec<PathBuf>) -> Result<(), CommandFailure> {
    if path.is_dir() {
        let failure = |error| CommandFailure::os("readdir", path.display(), error);
        let entries = std::fs::read_dir(path).map_err(failure)?;
        let entries = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>();
        let mut entries = entries.map_err(failure)?;
        entries.sort_unstable();
        // A symbolic link to a directory could lead back to one of its parents.
        entries.retain(|entry| !(entry.is_symlink() && entry.is_dir()));
        return entries.iter().try_for_each(|entry| find(entry, false, found));
    }
    if named || path.to_string_lossy().ends_with(".qostest.toml") {
        found.push(path.to_owned());
    }
    Ok(())
}

fn open(path: &Path, policies: &mut Policies) -> Result<File, RefusedFile> {
    let name = path.display().to_string();
    let text = read(path).map_err(|CommandFailure { exit, error }| {
        if policies.announce == Announce::Problems {
            crate::cli::output::say(&format!("gqos: {error:#}"));
        }
        let message = beside_place(error.to_string(), &name);
        refused(exit, &name, vec![FileProblem { file: name.clone(), line: 1, column: 1, message }])
    })?;
    let source = Source { name: &name, text: &text };
    let (suite, mut problems) = Suite::read_all(&source);
    let named = load_policies(path, &source, &suite, policies);
    let known = named.as_ref().into_iter().flatten();
    let known = known.map(|(name, loaded)| (name.clone(), Arc::clone(&loaded.policy))).collect();
    problems.extend(suite.check(&known));
    if problems.is_empty() {
        return Ok(File { name: name.clone(), text: text.clone(), suite, policies: named? });
    }
    problems.sort_by_key(|problem| problem.place.span.start);
    policies.announce.problems(&problems, &source);
    let mut refused = refused(Exit::InvalidFile, &name, file_problems(&problems, &source));
    if let Err(of_policies) = named {
        refused.file.problems.extend(of_policies.file.problems);
    }
    Err(refused)
}

/// A policy, or why it cannot be used.
type Loaded = Result<LoadedPolicy, (Exit, Vec<FileProblem>, String)>;

/// The policies that a test file names, each with the place that names it if it cannot be used.
fn load_policies(
    path: &Path,
    source: &Source<'_>,
    suite: &Suite,
    policies: &mut Policies,
) -> Result<BTreeMap<String, LoadedPolicy>, RefusedFile> {
    let directory = path.parent().unwrap_or(Path::new(""));
    let mut named = BTreeMap::new();
    let (mut exit, mut problems) = (Exit::OsError, Vec::new());
    for policy in suite.policies() {
        let path = directory.join(policy);
        let announce = policies.announce;
        match policies.loaded.entry(path.clone()).or_insert_with(|| load(&path, announce)) {
            Ok(loaded) => {
                named.insert(policy.to_owned(), loaded.clone());
            }
            Err((code, inside, reason)) => {
                let place = suite.policy_place(policy).cloned().unwrap_or_default();
                let reason = beside_place(reason.clone(), &path.display().to_string());
                let problem =
                    Problem::new(Code::UnusablePolicy, place, format!("policy {policy:?}: {reason}"));
                announce.problems(std::slice::from_ref(&problem), source);
                problems.extend(file_problems(&[problem], source));
                problems.append(&mut inside.clone());
                if *code == Exit::InvalidFile {
                    exit = Exit::InvalidFile;
                }
            }
        }
    }
    if problems.is_empty() { Ok(named) } else { Err(refused(exit, source.name, problems)) }
}

/// Loads the other policy of a comparison, which no test file names.
pub(super) fn load_other(path: &Path, announce: Announce) -> Result<LoadedPolicy, RefusedFile> {
    load(path, announce).map_err(|(exit, mut problems, reason)| {
        let file = path.display().to_string();
        // A policy that was read has told its problems.
        if problems.is_empty() {
            if announce == Announce::Problems {
                crate::cli::output::say(&format!("gqos: {reason}"));
            }
            let message = beside_place(reason, &file);
            problems.push(FileProblem { file: file.clone(), line: 1, column: 1, message });
        }
        refused(exit, &file, problems)
    })
}

fn load(path: &Path, announce: Announce) -> Loaded {
    let name = path.display().to_string();
    let text = read(path).map_err(|CommandFailure { exit, error }| (exit, Vec::new(), error.to_string()))?;
    let source = Source { name: &name, text: &text };
    match Policy::parse(&[source]) {
        Ok((policy, _)) => Ok(LoadedPolicy { path: name, text: text.into(), policy: Arc::new(policy) }),
        Err(problems) => {
            announce.problems(&problems, &source);
            let reason = format!("{name} is not a valid policy: {}", counted(problems.len(), "problem"));
            Err((Exit::InvalidFile, file_problems(&problems, &source), reason))
        }
    }
}

/// A reason that stands beside the path of its file, without the path in front.
fn beside_place(reason: String, path: &str) -> String {
    let rest = reason.strip_prefix(path).and_then(|rest| rest.strip_prefix(": "));
    rest.map_or(reason.clone(), str::to_owned)
}

fn refused(exit: Exit, file: &str, problems: Vec<FileProblem>) -> RefusedFile {
    RefusedFile { exit, file: InvalidFile { file: file.to_owned(), problems } }
}

fn file_problems(problems: &[Problem], source: &Source<'_>) -> Vec<FileProblem> {
    let problem = |problem: &Problem| {
        let (line, column) = line_column(source.text, problem.place.span.start);
        let help = problem.help.as_ref().map_or(String::new(), |help| format!(" ({help})"));
        FileProblem {
            file: source.name.to_owned(),
            line,
            column,
            message: format!("{}{help}", problem.message),
        }
    };
    problems.iter().map(problem).collect()
}

impl Announce {
    /// For people, the problems have their lines.
    pub(super) const fn of(format: TestFormat) -> Self {
        if matches!(format, TestFormat::Text) { Self::Problems } else { Self::Nothing }
    }

    fn problems(self, problems: &[Problem], source: &Source<'_>) {
        if self == Self::Problems {
            print_problems(problems, std::slice::from_ref(source));
        }
    }
}

/// The exit code that names the files which cannot be run; `None` if there is none.
pub(super) fn exit_of(refused: &[RefusedFile]) -> Option<Exit> {
    let invalid = refused.iter().any(|refused| refused.exit == Exit::InvalidFile);
    let first = refused.first().map(|refused| refused.exit);
    if invalid { Some(Exit::InvalidFile) } else { first }
}

/// The files as the report on standard output shows them: without the problems that standard error has already.
pub(super) fn announced(format: TestFormat, invalid: &[InvalidFile]) -> Vec<InvalidFile> {
    let shown = |file: &InvalidFile| match Announce::of(format) {
        Announce::Problems => InvalidFile { file: file.file.clone(), problems: Vec::new() },
        Announce::Nothing => file.clone(),
    };
    invalid.iter().map(shown).collect()
}

impl File {
    fn failed_at(&self, place: &Place) -> FailedAt {
        let (line, column) = line_column(&self.text, place.span.start);
        let snippet = snippet(place, &Source { name: &self.name, text: &self.text });
        FailedAt { line, column, snippet }
    }

    /// The file with another text.
    ///
    /// - **Errors**: the text is not a valid test file any more.
    pub(super) fn with_text(&self, text: String) -> Result<Self, Vec<Problem>> {
        let suite = Suite::parse(&Source { name: &self.name, text: &text })?;
        Ok(Self { name: self.name.clone(), text, suite, policies: self.policies.clone() })
    }

    /// The policies that the file names.
    pub(super) fn policies(&self) -> impl Iterator<Item = &LoadedPolicy> {
        self.policies.values()
    }
}

impl LoadedPolicy {
    pub(super) fn load(path: &Path) -> Result<Self, CommandFailure> {
        let (name, text) = (path.display().to_string(), read(path)?);
        let policy = parse_policy(&[Source { name: &name, text: &text }])?;
        Ok(Self { path: name, text: text.into(), policy: Arc::new(policy) })
    }
}

impl<'a> Selected<'a> {
    /// The test's policy.
    pub(super) fn policy(self) -> &'a LoadedPolicy {
        let named = self.test.policy.as_ref().or(self.file.suite.policy.as_ref());
        // Reading the suite has made sure that each test has a policy.
        &self.file.policies[named.map_or("", String::as_str)]
    }

    /// The policy in use after the reload of one that the test names; the test's own before any.
    pub(super) fn policy_after(self, reloaded: Option<&str>) -> &'a LoadedPolicy {
        let loaded = reloaded.and_then(|name| self.file.policies.get(name));
        loaded.unwrap_or_else(|| self.policy())
    }

    /// From 1.
    pub(super) fn line(self) -> usize {
        line_column(&self.file.text, self.test.place.span.start).0
    }

    /// Runs the test under its own policy.
    pub(super) fn run(self, lab: Option<&mut dyn Laboratory>) -> TestOutcome {
        self.run_under(&self.policy().policy, self.test, lab)
    }

    /// Runs a variant of the test under a policy.
    pub(super) fn run_under(
        self,
        policy: &Arc<Policy>,
        test: &Test,
        lab: Option<&mut dyn Laboratory>,
    ) -> TestOutcome {
        let policies = self.file.policies.iter();
        let policies = policies.map(|(name, loaded)| (name.clone(), Arc::clone(&loaded.policy))).collect();
        match lab {
            // A trait object keeps its lifetime: it cannot be passed on inside the option.
            Some(lab) => run_test(test, policy, &policies, Some(lab)),
            None => run_test(test, policy, &policies, None),
        }
    }

    /// The outcome with its places as files and lines.
    pub(super) fn report(self, outcome: TestOutcome, duration: Duration) -> TestReport {
        let (failed_at, rule) = match &outcome.verdict {
            Verdict::Failed(failure) => {
                let loaded = self.policy_after(failure.policy.as_deref());
                let rule = failure
                    .rule()
                    .map(|rule| format!("{}:{}", loaded.path, line_column(&loaded.text, rule.span.start).0));
                (Some(self.file.failed_at(&failure.place)), rule)
            }
            Verdict::Ok | Verdict::Skipped(_) => (None, None),
        };
        let (file, name) = (self.file.name.clone(), self.test.name.clone());
        TestReport { file, name, line: self.line(), failed_at, rule, duration, outcome }
    }
}
