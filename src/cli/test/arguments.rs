//! The arguments of `gqos test`.

use std::path::PathBuf;

use clap::ValueEnum;
use gqos::scenario;
use regex_lite::Regex;

/// Run admission regression tests (*.qostest.toml) in virtual time.
///
/// A test states the decisions that a policy must lead to, and the reserved and available rates afterwards. The exit
/// code is 0 if all tests passed, 1 if a test failed or no test was run, and 78 if a test file or a policy is
/// invalid; the other files are run nevertheless. Undefined names are reported before a test is run.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Test files, or directories that contain test files.
    #[arg(value_name = "PATH", required = true)]
    pub(super) paths: Vec<PathBuf>,
    /// Run only tests whose name matches.
    #[arg(long, value_name = "REGEX")]
    pub(super) run: Option<Regex>,
    /// Run only tests with one of these tags.
    #[arg(long, value_name = "TAG")]
    pub(super) tag: Vec<String>,
    /// Stop at the first test that fails.
    #[arg(long)]
    pub(super) fail_fast: bool,
    /// Run the tests in random order; the seed is printed.
    #[arg(long)]
    pub(super) shuffle: bool,
    /// The seed of the random order.
    #[arg(long, value_name = "N", requires = "shuffle")]
    pub(super) seed: Option<u64>,
    /// The report on standard output.
    #[arg(long, value_enum, default_value_t = TestFormat::Text)]
    pub(super) format: TestFormat,
    /// Also write a report to a file: junit=report.xml. May be given several times.
    #[arg(long, value_name = "FORMAT=FILE", value_parser = report_file)]
    pub(super) out: Vec<(TestFormat, PathBuf)>,
    /// List the interfaces, classes, groups, templates, rules and reasons that no test covers, in every report.
    #[arg(long)]
    pub(super) coverage: bool,
    /// Fail if the tests cover less than this percentage of the policies.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u64).range(0..=100))]
    pub(super) min_coverage: Option<u64>,
    /// Compare with another policy: print how many decisions differ, by rule and template, and each of them; expectations are
    /// ignored.
    #[arg(long, value_name = "POLICY", conflicts_with_all = ["coverage", "min_coverage", "fail_fast", "lab"])]
    pub(super) against: Option<PathBuf>,
    /// Replace expectations that do not hold by the actual values, for review. The exit code is 0 if the tests then
    /// pass. Steps that no expectation can describe are named, and the exit code is then 1.
    #[arg(long, conflicts_with_all = ["against", "record", "coverage", "min_coverage", "format", "out", "fail_fast", "lab"])]
    pub(super) bless: bool,
    /// Print a trace as a test, with the decisions of the policy that is given as PATH.
    #[arg(long, value_name = "TRACE", conflicts_with_all = ["against", "coverage", "min_coverage", "run", "tag", "shuffle", "format", "out", "fail_fast", "lab"])]
    pub(super) record: Option<PathBuf>,
    /// Measure `transfer` steps on a private network of this machine, in network namespaces.
    #[arg(long)]
    pub(super) lab: bool,
    /// Run the tests again when a test file or a policy that it names changes, until Ctrl-C; the exit code is that of the
    /// last run.
    #[arg(long, conflicts_with_all = ["bless", "record", "lab"])]
    pub(super) watch: bool,
    /// Do not fail if no test is run.
    #[arg(long)]
    pub(super) allow_empty: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum TestFormat {
    /// For people.
    Text,
    /// One JSON document.
    Json,
    /// JUnit's XML.
    Junit,
    /// The Test Anything Protocol.
    Tap,
    /// Annotations of a GitHub workflow.
    Github,
}

impl Arguments {
    /// Whether a test is to be run.
    pub(super) fn select(&self, test: &scenario::Test) -> bool {
        self.run.as_ref().is_none_or(|run| run.is_match(&test.name))
            && (self.tag.is_empty() || self.tag.iter().any(|tag| test.tags.contains(tag)))
    }
}

impl From<TestFormat> for scenario::ReportFormat {
    fn from(format: TestFormat) -> Self {
        match format {
            TestFormat::Text => Self::Text,
            TestFormat::Json => Self::Json,
            TestFormat::Junit => Self::Junit,
            TestFormat::Tap => Self::Tap,
            TestFormat::Github => Self::Github,
        }
    }
}

/// A value of `--out` that cannot be used.
#[derive(Debug, thiserror::Error)]
enum ReportFileError {
    #[error("write FORMAT=FILE, such as junit=report.xml")]
    NoFile,
    #[error("there is no format {0:?}: write text, json, junit, tap or github")]
    UnknownFormat(String),
}

fn report_file(text: &str) -> Result<(TestFormat, PathBuf), ReportFileError> {
    let (format, path) = text.split_once('=').ok_or(ReportFileError::NoFile)?;
    let unknown = |_| ReportFileError::UnknownFormat(format.to_owned());
    let format = TestFormat::from_str(format, false).map_err(unknown)?;
    if path.is_empty() {
        return Err(ReportFileError::NoFile);
    }
    Ok((format, path.into()))
}
