//! `gqos check`: reports every problem of a policy, what it can hold and what it changes.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::ValueEnum;
use flowspec::Direction;
use gqos::files::{InvalidPolicy, PolicyFiles};
use gqos::linux::{ReportedSpeed, bridge_of, lower_interfaces, vrfs};
use gqos::policy::{Capacity, Code, Policy, PolicyChanges, Problem, Severity, Source, WireNames};
use gqos::scenario::{HoldingChange, Holdings, infeasible};
use serde::Serialize;

use super::diagnostics::{ProblemRecord, sarif};
use super::failure::{CommandFailure, Exit};
use super::holdings;
use super::input::unusable;
use super::output::{counted, print, print_problems};
use super::plain::{plain_json, plain_lines};

/// Check a policy: report all problems at once, each with its place, and what the policy can hold.
///
/// Several files are merged into one policy, in the order given. For a valid policy, prints how many flows of each
/// template each interface admits, by class and group, and which limit stops them. Warns of definitions that are
/// valid but cannot work: templates and rules that every interface refuses even if nothing is reserved, and, for
/// interfaces of this machine, capacities that are taken from a virtual link.
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
    /// Print the differences from this policy, key by key, and then the differences in the numbers of flows; several
    /// files are merged.
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
    changes: Option<PolicyComparison>,
}

/// What a policy changes compared with another one.
#[derive(Serialize)]
struct PolicyComparison {
    definitions: PolicyChanges,
    holds: Vec<HoldingChange>,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, CommandFailure> {
    if !arguments.changes_from.is_empty() && arguments.message_format != CheckFormat::Text {
        let error =
            anyhow!("--changes-from is printed as text, or by --json; --message-format has only problems");
        return Err(CommandFailure::new(Exit::Usage, error));
    }
    let files = PolicyFiles::read_all(&arguments.policies);
    let sources = files.sources();
    let names: Vec<_> = sources.iter().map(|source| source.name.to_owned()).collect();
    let (policy, problems, exit) = match files.check() {
        Ok((policy, mut problems)) => {
            problems.extend(infeasible(&policy));
            problems.extend(virtual_speeds(&policy));
            // Where links cannot be listed, none is known to be a VRF.
            let vrfs = vrfs().unwrap_or_default();
            problems.extend(shared_wires(&policy, &vrfs));
            problems.extend(named_vrfs(&policy, &vrfs));
            problems.extend(ports(&policy));
            problems.sort_by_key(|problem| (problem.place.source, problem.place.span.start));
            (Some(policy), problems, ExitCode::SUCCESS)
        }
        Err(invalid) => (None, invalid.problems().to_vec(), unusable(&invalid).into()),
    };
    let before = Compared::read(&arguments.changes_from);
    let exit = before.exit().map_or(exit, |refused| if policy.is_some() { refused.into() } else { exit });
    if arguments.json {
        let records = problems.iter().map(|problem| ProblemRecord::new(problem, &sources));
        print(&document(policy.as_ref(), &before, records.collect())?)?;
        return Ok(exit);
    }
    match arguments.message_format {
        CheckFormat::Text => {
            summarize(&[(&problems, &sources), (before.problems(), &before.files.sources())])
        }
        CheckFormat::Json => {
            for problem in &problems {
                print(&json(&ProblemRecord::new(problem, &sources))?)?;
            }
        }
        CheckFormat::Sarif => print(&sarif(&problems, &sources))?,
    }
    if let Some(policy) = policy {
        show(arguments, &policy, (&before, &names))?;
    }
    Ok(exit)
}

/// The policy of `--changes-from`.
struct Compared {
    files: PolicyFiles,
    /// `None` without the argument.
    policy: Option<Result<Policy, InvalidPolicy>>,
}

impl Compared {
    fn read(paths: &[PathBuf]) -> Self {
        let files = PolicyFiles::read_all(paths);
        let policy = (!paths.is_empty()).then(|| files.check().map(|(policy, _)| policy));
        Self { files, policy }
    }

    fn policy(&self) -> Option<&Policy> {
        self.policy.as_ref()?.as_ref().ok()
    }

    fn problems(&self) -> &[Problem] {
        match &self.policy {
            Some(Err(invalid)) => invalid.problems(),
            Some(Ok(_)) | None => &[],
        }
    }

    /// The exit code if the policy cannot be used.
    fn exit(&self) -> Option<Exit> {
        Some(unusable(self.policy.as_ref()?.as_ref().err()?))
    }

    /// What the policy changes compared with this one; `None` where there is none that can be used.
    fn compare(&self, policy: &Policy, holds: &Holdings) -> Option<PolicyComparison> {
        let before = self.policy()?;
        let definitions = PolicyChanges::between(before, policy);
        Some(PolicyComparison { definitions, holds: Holdings::of(before).changes(holds) })
    }
}

/// Prints what the arguments ask for of a valid policy.
fn show(
    arguments: &Arguments,
    policy: &Policy,
    (before, names): (&Compared, &[String]),
) -> Result<(), CommandFailure> {
    if arguments.effective {
        print(&policy.effective())?;
    }
    if before.policy.is_some() {
        let comparison = before.compare(policy, &Holdings::of(policy));
        comparison.as_ref().map_or(Ok(()), print_comparison)
    } else if !arguments.effective && arguments.message_format == CheckFormat::Text {
        let is = if names.len() == 1 { "is" } else { "are" };
        let held = holdings::summary(&Holdings::of(policy));
        let fits = match held.is_empty() {
            true => "\n".to_owned(),
            false => format!(" Flows that fit, of one class and template alone:\n{held}"),
        };
        print(&plain_lines(&format!("{} {is} valid.{fits}", names.join(", "))))
    } else {
        Ok(())
    }
}

fn print_comparison(comparison: &PolicyComparison) -> Result<(), CommandFailure> {
    let PolicyComparison { definitions, holds } = comparison;
    if definitions.is_empty() {
        return print("The policies mean the same.\n");
    }
    print(&plain_lines(&definitions.to_string()))?;
    match holds.is_empty() {
        true => print("\nThe interfaces can hold as many flows as before.\n"),
        false => print(&plain_lines(&format!(
            "\nFlows that fit, of one class and template alone:\n{}",
            holdings::changes(holds)
        ))),
    }
}

fn document(
    policy: Option<&Policy>,
    before: &Compared,
    problems: Vec<ProblemRecord<'_>>,
) -> Result<String, CommandFailure> {
    let sources = before.files.sources();
    let others = before.problems().iter().map(|problem| ProblemRecord::new(problem, &sources));
    let problems = problems.into_iter().chain(others).collect();
    let holds = policy.map(Holdings::of);
    let compared = policy.zip(holds.as_ref());
    let changes = compared.and_then(|(policy, holds)| before.compare(policy, holds));
    json(&CheckDocument { is_valid: policy.is_some(), problems, holds, changes })
}

fn json(value: &impl Serialize) -> Result<String, CommandFailure> {
    let text = serde_json::to_string(value).map_err(|error| CommandFailure::new(Exit::InvalidFile, error))?;
    Ok(plain_json(&text).into_owned() + "\n")
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

/// Warnings about interfaces of this machine of which one sends the packets of the other, and that are not related by a
/// `parent`.
fn shared_wires(policy: &Policy, vrfs: &BTreeSet<String>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, interface) in policy.interfaces.iter().filter(|(name, _)| !vrfs.contains(*name)) {
        for lower in lower_interfaces(name) {
            if !policy.interfaces.contains_key(&lower) {
                continue;
            }
            let related = [
                WireNames { interface: name, parent: &lower },
                WireNames { interface: &lower, parent: name },
            ];
            if related.into_iter().any(|wire| policy.is_on_wire_of(wire)) {
                continue;
            }
            let message = format!(
                "interface.{name} sends by {lower}, and their budgets together may exceed what {lower} carries"
            );
            let help = Some(format!("add parent = {lower:?} to [interface.{name:?}]"));
            problems
                .push(Problem { help, ..Problem::new(Code::SharedWire, interface.place.clone(), message) });
        }
    }
    problems
}

/// Warnings about VRFs of this machine: flows in them leave by other interfaces.
fn named_vrfs(policy: &Policy, vrfs: &BTreeSet<String>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, interface) in policy.interfaces.iter().filter(|(name, _)| vrfs.contains(*name)) {
        let message = format!(
            "interface.{name} is a VRF: a flow in it is reserved on the interface by which its packets leave, and never on {name}, except to addresses of this host"
        );
        let within: Vec<_> =
            lower_interfaces(name).iter().map(|lower| format!("[interface.{lower:?}]")).collect();
        let help = (!within.is_empty()).then(|| format!("define {}", within.join(" and ")));
        problems.push(Problem { help, ..Problem::new(Code::VrfInterface, interface.place.clone(), message) });
    }
    problems
}

/// Warnings about ports of bridges and members of bonds of this machine: flows leave by the bridge or the bond.
fn ports(policy: &Policy) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, interface) in &policy.interfaces {
        let Some(bridge) = bridge_of(name).filter(|bridge| policy.interface(bridge).is_none()) else {
            continue;
        };
        let message = format!(
            "interface.{name} is a port of {bridge}, for which the policy has no table: flows that leave by {bridge} are refused"
        );
        let help = Some(format!("define [interface.{bridge:?}] with parent = {name:?}"));
        problems
            .push(Problem { help, ..Problem::new(Code::PortOfAnother, interface.place.clone(), message) });
    }
    problems
}

/// Prints the problems of each policy and their number on standard error.
fn summarize(policies: &[(&[Problem], &[Source<'_>])]) {
    for (problems, sources) in policies {
        print_problems(problems, sources);
    }
    let problems = || policies.iter().flat_map(|(problems, _)| *problems);
    let count = |severity| problems().filter(|problem| problem.code.severity() == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    if errors + warnings > 0 {
        eprintln!("gqos: {}, {}", counted(errors, "error"), counted(warnings, "warning"));
    }
}
