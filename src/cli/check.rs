//! `gqos check`: reports every problem of a policy.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use flowspec::Direction;
use gqos::linux::ReportedSpeed;
use gqos::policy::{Capacity, Changes, Code, Policy, Problem, Severity, Source};
use gqos::scenario::infeasible;

use super::diagnostics::{Record, sarif};
use super::failure::{Exit, Failure};
use super::input::{load_policy, read};
use super::output::{counted, print, print_problems};

/// Check a policy and report all problems at once, each with its place.
///
/// Several files merge into one policy, in the order given. Prints nothing for a policy without problems. Warns of what is
/// valid and cannot work: templates and rules that every interface refuses even if nothing is reserved, and, for interfaces
/// of this machine, capacities that a virtual link makes up.
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
        Ok((policy, mut problems)) => {
            problems.extend(infeasible(&policy));
            problems.extend(virtual_speeds(&policy));
            problems.sort_by_key(|problem| (problem.place.source, problem.place.span.start));
            (Some(policy), problems)
        }
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

/// Warnings about interfaces of this machine that have their capacity from a virtual link.
fn virtual_speeds(policy: &Policy) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, interface) in &policy.interfaces {
        let is_auto = Direction::BOTH.iter().any(|&side| interface.budget(side).capacity == Capacity::Auto);
        let Some(reported) = ReportedSpeed::of(name).filter(|reported| is_auto && reported.is_virtual) else {
            continue;
        };
        let message = match reported.speed {
            Some(speed) => format!(
                "interface.{name}: \"auto\" is {speed}, from /sys/class/net/{name}/speed; {name} is a virtual link, and its driver makes the number up"
            ),
            None => format!(
                "interface.{name}: \"auto\" has no value, since the virtual link {name} reports no speed; every reservation is refused as unknown_capacity"
            ),
        };
        let help = Some("state what the link can carry: capacity = \"1 Gbit/s\"".to_owned());
        problems.push(Problem { help, ..Problem::new(Code::VirtualSpeed, interface.place.clone(), message) });
    }
    problems
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
