//! `gqos check`: every problem of a policy at once.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use gqos::policy::{Changes, Policy, Severity, Source};

use super::diagnostics::{Record, render, sarif};
use super::{Failure, INVALID_FILE, colour, counted, load_policy, read, say};

/// Check a policy: all problems at once, each with its place.
///
/// Several files merge into one policy, in the order given. Silent where nothing is wrong.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The policy files.
    #[arg(value_name = "POLICY", required = true)]
    policies: Vec<PathBuf>,
    /// How problems are printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    message_format: Format,
    /// Print the merged policy, every default written out, each table with its origin.
    #[arg(long)]
    effective: bool,
    /// Print what the policy adds, removes and changes against this one; several may be given, and merge.
    #[arg(long, value_name = "POLICY")]
    changes_from: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For people, on standard error.
    Text,
    /// One line a problem, on standard output.
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
    if let Format::Sarif = arguments.message_format {
        say(&sarif(&problems, &sources))?;
    }
    for problem in &problems {
        match arguments.message_format {
            Format::Sarif => {}
            Format::Text => eprintln!("{}\n", render(problem, &sources, colour())),
            Format::Json => {
                let line = serde_json::to_string(&Record::new(problem, &sources));
                say(&(line.map_err(|error| Failure::new(INVALID_FILE, error))? + "\n"))?;
            }
        }
    }
    let count = |severity| problems.iter().filter(|problem| problem.code.severity() == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    if let Format::Text = arguments.message_format
        && errors + warnings > 0
    {
        eprintln!("gqos: {}, {}", counted(errors, "error"), counted(warnings, "warning"));
    }
    if let Some(policy) = policy {
        if arguments.effective {
            say(&policy.effective())?;
        }
        if !arguments.changes_from.is_empty() {
            let before = load_policy(&arguments.changes_from)?;
            say(&Changes::between(&before, &policy).to_string())?;
        }
    }
    Ok(if errors > 0 { ExitCode::from(INVALID_FILE) } else { ExitCode::SUCCESS })
}
