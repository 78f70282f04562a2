//! `gqos check`: reports every problem of a policy.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use gqos::policy::{Changes, Policy, Problem, Severity, Source};

use super::diagnostics::{Record, sarif};
use super::failure::{Exit, Failure};
use super::input::{load_policy, read};
use super::output::{counted, print, print_problems};

/// Check a policy and report all problems at once, each with its place.
///
/// Several files merge into one policy, in the order given. Prints nothing for a policy without problems.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The policy files.
    #[arg(value_name = "POLICY", required = true)]
    policies: Vec<PathBuf>,
    /// How problems are printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    message_format: Format,
    /// Print the merged policy with every default; a comment on each table names its file and line.
    #[arg(long)]
    effective: bool,
    /// Print what the policy adds, removes and changes compared with this one; several files merge.
    #[arg(long, value_name = "POLICY")]
    changes_from: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For people, on standard error.
    Text,
    /// One JSON record per problem and line, on standard output.
    Json,
    /// One SARIF 2.1.0 document, on standard output.
    Sarif,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let names: Vec<_> = arguments.policies.iter().map(|path| path.display().to_string()).collect();
    let texts = arguments.policies.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    let sources: Vec<_> = names.iter().zip(&texts).map(|(name, text)| Source { name, text }).collect();
    let (policy, problems) = match Policy::parse(&sources) {
        Ok((policy, warnings)) => (Some(policy), warnings),
        Err(problems) => (None, problems),
    };
    match arguments.message_format {
        Format::Text => summarize(&problems, &sources),
        Format::Json => {
            for problem in &problems {
                let record = serde_json::to_string(&Record::new(problem, &sources));
                let record = record.map_err(|error| Failure::new(Exit::InvalidFile, error))?;
                print(&(record + "\n"))?;
            }
        }
        Format::Sarif => print(&sarif(&problems, &sources))?,
    }
    let Some(policy) = policy else { return Ok(Exit::InvalidFile.into()) };
    if arguments.effective {
        print(&policy.effective())?;
    }
    if !arguments.changes_from.is_empty() {
        let before = load_policy(&arguments.changes_from)?;
        print(&Changes::between(&before, &policy).to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the problems and their number on standard error.
fn summarize(problems: &[Problem], sources: &[Source<'_>]) {
    print_problems(problems, sources);
    let count = |severity| problems.iter().filter(|problem| problem.code.severity() == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    if errors + warnings > 0 {
        eprintln!("gqos: {}, {}", counted(errors, "error"), counted(warnings, "warning"));
    }
}
