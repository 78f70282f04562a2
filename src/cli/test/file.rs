//! Test files with the policies that they name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::anyhow;
use gqos::policy::{Policy, Source};
use gqos::scenario::{Laboratory, Outcome, Report, Suite, Test, Verdict, run_test};

use crate::cli::diagnostics::line_column;
use crate::cli::failure::{Exit, Failure};
use crate::cli::input::{invalid, parse_policy, read};

/// A test file.
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

/// Reads all test files below the paths, and the policies that they name. The problems of all files are printed before
/// the failure.
pub(super) fn open_all(paths: &[PathBuf]) -> Result<Vec<File>, Failure> {
    let mut found = Vec::new();
    for path in paths {
        find(path, true, &mut found)?;
    }
    let mut seen = BTreeSet::new();
    found.retain(|path| seen.insert(path.clone()));
    let mut policies = BTreeMap::new();
    let mut files = Vec::new();
    let mut invalid_files = 0;
    for path in &found {
        match open(path, &mut policies) {
            Ok(file) => files.push(file),
            Err(Failure { exit: Exit::InvalidFile, error }) => {
                eprintln!("gqos: {error:#}");
                invalid_files += 1;
            }
            Err(failure) => return Err(failure),
        }
    }
    if invalid_files > 0 {
        let error = anyhow!("{invalid_files} of {} test files cannot be run", found.len());
        return Err(Failure::new(Exit::InvalidFile, error));
    }
    Ok(files)
}

/// Test files below a path, ordered by name. A file that is `named` on the command line is a test file whatever its name.
fn find(path: &Path, named: bool, found: &mut Vec<PathBuf>) -> Result<(), Failure> {
    if path.is_dir() {
        let failure = |error| Failure::os("readdir", path.display(), error);
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

fn open(path: &Path, policies: &mut BTreeMap<PathBuf, LoadedPolicy>) -> Result<File, Failure> {
    let (name, text) = (path.display().to_string(), read(path)?);
    let source = Source { name: &name, text: &text };
    let suite = Suite::parse(&source).map_err(|problems| invalid(&problems, &[source], "test file"))?;
    let directory = path.parent().unwrap_or(Path::new(""));
    let mut named = BTreeMap::new();
    for policy in suite.policies() {
        let path = directory.join(policy);
        let loaded = match policies.get(&path) {
            Some(loaded) => loaded.clone(),
            None => policies.entry(path.clone()).or_insert(LoadedPolicy::load(&path)?).clone(),
        };
        named.insert(policy.to_owned(), loaded);
    }
    Ok(File { name, text, suite, policies: named })
}

impl File {
    /// The policies that the file names.
    pub(super) fn policies(&self) -> impl Iterator<Item = &LoadedPolicy> {
        self.policies.values()
    }
}

impl LoadedPolicy {
    pub(super) fn load(path: &Path) -> Result<Self, Failure> {
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

    /// The line of the test.
    pub(super) fn line(self) -> usize {
        line_column(&self.file.text, self.test.place.span.start).0
    }

    /// Runs the test under its own policy.
    pub(super) fn run(self, lab: Option<&mut dyn Laboratory>) -> Outcome {
        self.run_under(&self.policy().policy, self.test, lab)
    }

    /// Runs a variant of the test under a policy.
    pub(super) fn run_under(
        self,
        policy: &Arc<Policy>,
        test: &Test,
        lab: Option<&mut dyn Laboratory>,
    ) -> Outcome {
        let policies = self.file.policies.iter();
        let policies = policies.map(|(name, loaded)| (name.clone(), Arc::clone(&loaded.policy))).collect();
        match lab {
            // A trait object keeps its lifetime: it cannot be passed on inside the option.
            Some(lab) => run_test(test, policy, &policies, Some(lab)),
            None => run_test(test, policy, &policies, None),
        }
    }

    /// The outcome with its places as files and lines.
    pub(super) fn report(self, outcome: Outcome) -> Report {
        let loaded = self.policy();
        let (step_line, rule) = match &outcome.verdict {
            Verdict::Failed(failure) => {
                let line = line_column(&self.file.text, failure.place.span.start).0;
                let rule = failure
                    .rule()
                    .map(|rule| format!("{}:{}", loaded.path, line_column(&loaded.text, rule.span.start).0));
                (line, rule)
            }
            Verdict::Ok | Verdict::Skipped(_) => (0, None),
        };
        let (file, name) = (self.file.name.clone(), self.test.name.clone());
        Report { file, name, line: self.line(), step_line, rule, outcome }
    }
}
