//! `gqos check`: reports every problem of a policy, what it can hold and what it changes.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::ValueEnum;
use flowspec::Direction;
use gqos::linux::ReportedSpeed;
use gqos::policy::{Capacity, Code, Policy, PolicyChanges, Problem, Severity, Source};
use gqos::scenario::{HoldingChange, Holdings, infeasible};
use serde::Serialize;

use super::diagnostics::{ProblemRecord, sarif};
use super::failure::{CommandFailure, Exit};
use super::holdings;
use super::input::{load_policy, read};
use super::output::{counted, print, print_problems};

/// Check a policy: report all problems at once, each with its place, and what the policy can hold.
///
/// Several files merge into one policy, in the order given. For a valid policy the numbers of flows are printed that each
/// interface admits of each template, by class and group, with what limits them. Warns of what is valid and cannot work:
/// templates and rules that every interface refuses even if nothing is reserved, and, for interfaces of this machine,
/// capacities that a virtual link makes up.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The policy files.
    #[arg(value_name = "POLICY", required = true)]
    policies: Vec<PathBuf>,
    /// How problems are printed; json and sarif print nothing else.
    #[arg(long, value_enum, default_value_t = CheckFormat::Text)]
    message_format: CheckFormat,
    /// Print one JSON document: the problems, what the policy can hold, and what it changes.
    #[arg(long, conflicts_with_all = ["message_format", "effective"])]
    json: bool,
    /// Print the merged policy with every default; a comment on each table names its file and line.
    #[arg(long)]
    effective: bool,
    /// Print what the policy changes compared with this one, key by key, and then how many flows more or fewer it can hold;
    /// several files merge.
    #[arg(long, value_name = "POLICY")]
    changes_from: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum CheckFormat {
    /// For people, on standard error.
    Text,
    /// One JSON record per problem and line, on standard output.
    Json,
    /// One SARIF 2.1.0 document, on standard output.
    Sarif,
}

/// The document of `--json`. The order of the fields is part of the output.
#[derive(Serialize)]
struct CheckDocument<'a> {
    is_valid: bool,
    problems: Vec<ProblemRecord<'a>>,
    /// Absent if the policy is invalid.
    #[serde(skip_serializing_if = "Option::is_none")]
    holds: Option<Holdings>,
    /// Absent without `--changes-from`.
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<Comparison>,
}

/// What a policy changes compared with another one.
#[derive(Serialize)]
struct Comparison {
    definitions: PolicyChanges,
    holds: Vec<HoldingChange>,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, CommandFailure> {
    if !arguments.changes_from.is_empty() && arguments.message_format != CheckFormat::Text {
        let error =
            anyhow!("--changes-from is printed as text, or by --json; --message-format has only problems");
        return Err(CommandFailure::new(Exit::Usage, error));
    }
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
    let exit = if policy.is_some() { ExitCode::SUCCESS } else { Exit::InvalidFile.into() };
    if arguments.json {
        print(&document(arguments, policy.as_ref(), &problems, &sources)?)?;
        return Ok(exit);
    }
    match arguments.message_format {
        CheckFormat::Text => summarize(&problems, &sources),
        CheckFormat::Json => {
            for problem in &problems {
                print(&json(&ProblemRecord::new(problem, &sources))?)?;
            }
        }
        CheckFormat::Sarif => print(&sarif(&problems, &sources))?,
    }
    if let Some(policy) = policy {
        show(arguments, &policy, &names)?;
    }
    Ok(exit)
}

/// Prints what the arguments ask for of a valid policy.
fn show(arguments: &Arguments, policy: &Policy, names: &[String]) -> Result<(), CommandFailure> {
    if arguments.effective {
        print(&policy.effective())?;
    }
    if !arguments.changes_from.is_empty() {
        print_comparison(&compare(arguments, policy, &Holdings::of(policy))?)
    } else if !arguments.effective && arguments.message_format == CheckFormat::Text {
        let is = if names.len() == 1 { "is" } else { "are" };
        let held = holdings::summary(&Holdings::of(policy));
        print(&format!(
            "{} {is} valid. Flows that fit, of one class and template alone:\n{held}",
            names.join(", ")
        ))
    } else {
        Ok(())
    }
}

fn print_comparison(comparison: &Comparison) -> Result<(), CommandFailure> {
    let Comparison { definitions, holds } = comparison;
    if definitions.is_empty() {
        return print("The policies mean the same.\n");
    }
    print(&definitions.to_string())?;
    match holds.is_empty() {
        true => print("\nThe interfaces can hold as many flows as before.\n"),
        false => print(&format!(
            "\nFlows that fit, of one class and template alone:\n{}",
            holdings::changes(holds)
        )),
    }
}

/// What the policy changes compared with the other one.
fn compare(arguments: &Arguments, policy: &Policy, holds: &Holdings) -> Result<Comparison, CommandFailure> {
    let before = load_policy(&arguments.changes_from)?;
    let definitions = PolicyChanges::between(&before, policy);
    Ok(Comparison { definitions, holds: Holdings::of(&before).changes(holds) })
}

/// The document of `--json`.
fn document(
    arguments: &Arguments,
    policy: Option<&Policy>,
    problems: &[Problem],
    sources: &[Source<'_>],
) -> Result<String, CommandFailure> {
    let records = problems.iter().map(|problem| ProblemRecord::new(problem, sources));
    let holds = policy.map(Holdings::of);
    let changes = match policy.zip(holds.as_ref()) {
        Some((policy, holds)) if !arguments.changes_from.is_empty() => {
            Some(compare(arguments, policy, holds)?)
        }
        _ => None,
    };
    json(&CheckDocument { is_valid: policy.is_some(), problems: records.collect(), holds, changes })
}

/// A line of JSON.
fn json(value: &impl Serialize) -> Result<String, CommandFailure> {
    let text = serde_json::to_string(value).map_err(|error| CommandFailure::new(Exit::InvalidFile, error))?;
    Ok(text + "\n")
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
