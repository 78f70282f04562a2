//! The command line of `gqos plan`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::anyhow;
use gqos::failure::KernelFailure;
use gqos::linux::features::{Feature, Untried};
use gqos::linux::{Claim, Netlink};
use gqos::policy::Policy;
use gqos::tc::{ObservedTree, QueueKind};

use super::found::{Found, FoundReceiving};
use super::planned::Planned;
use super::render::text;
use crate::cli::failure::{CommandFailure, Exit};
use crate::cli::input::load_policy;
use crate::cli::kernel::{refused, with_netlink};
use crate::cli::output::print;

/// Print the qdiscs and classes that a host programs when it starts under a policy, also as tc commands.
///
/// Changes nothing, and needs no privilege. If this machine does not have the interface, the plan uses the policy's
/// capacity and an MTU of 1500 bytes. With --diff, prints instead the ordered changes from the kernel's present tree
/// to this tree; the exit code is 1 if there are any. The comparison ignores the classes of a running manager's
/// flows.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The policy; several files are merged.
    #[arg(long, short, value_name = "POLICY", required = true)]
    policy: Vec<PathBuf>,
    /// Plan this interface alone; needed for interfaces under [interface."*"].
    #[arg(long, short, value_name = "INTERFACE")]
    interface: Option<String>,
    /// Print one JSON document: rates in bytes per second, sizes in bytes.
    #[arg(long)]
    json: bool,
    /// Compare with the kernel's trees; the exit code is 1 if they differ.
    #[arg(long)]
    diff: bool,
}

pub(in crate::cli) fn run(arguments: &Arguments) -> Result<ExitCode, CommandFailure> {
    let policy = Arc::new(load_policy(&arguments.policy)?);
    let names = names(arguments, &policy)?;
    let found = with_netlink(async |netlink| {
        let mut all = Vec::new();
        for name in names {
            let found = look(&netlink, name).await;
            all.push(found.map_err(|failure| refused(failure, "the state of interfaces"))?);
        }
        Ok(all)
    })?;
    let planned: Vec<_> = found.iter().map(|found| Planned::new(&policy, found, arguments.diff)).collect();
    let document = if arguments.json {
        let document = serde_json::json!({ "interfaces": planned });
        format!("{document:#}\n")
    } else {
        planned.iter().map(text).collect::<Vec<_>>().join("\n")
    };
    print(&document)?;
    Ok(match planned.iter().any(Planned::differs) {
        true => Exit::Difference.into(),
        false => ExitCode::SUCCESS,
    })
}

/// The interfaces that are planned.
fn names(arguments: &Arguments, policy: &Policy) -> Result<Vec<String>, CommandFailure> {
    let known: Vec<_> = policy.interfaces.keys().cloned().collect();
    let missing = match &arguments.interface {
        Some(name) if policy.interface(name).is_some() => return Ok(vec![name.clone()]),
        Some(name) if known.is_empty() => {
            anyhow!("the policy has no table for {name}, nor for another interface")
        }
        Some(name) => anyhow!("the policy has no table for {name}: it has {}", known.join(", ")),
        None if !known.is_empty() => return Ok(known),
        None if policy.any_interface.is_some() => {
            anyhow!(
                "the policy names no interface: --interface says which one [interface.\"*\"] is planned for"
            )
        }
        None => anyhow!("the policy has no interface"),
    };
    Err(CommandFailure::new(Exit::Usage, missing))
}

/// Reads what the kernel has. Changes nothing and claims nothing.
async fn look(netlink: &Netlink, name: String) -> Result<Found, KernelFailure> {
    let queue = queue(netlink).await;
    let link = match netlink.link_by_name(&name).await {
        Ok(link) => link,
        Err(failure) if failure.is_absent() => {
            return Ok(Found { name, queue, present: None, receiving: None });
        }
        Err(failure) => return Err(failure),
    };
    let observed = netlink.observe_all(link.index).await?.and_then(ObservedTree::own);
    let holder = Claim::holder(link.index);
    let ingress = netlink.ingress(link.index).await?;
    let tree = match netlink.receivers().await?.get(&link.index) {
        Some(ifb) => netlink.observe(*ifb).await?.ok(),
        None => None,
    };
    let receiving = Some(FoundReceiving { ingress, tree });
    Ok(Found { name, queue, present: Some((link, observed, holder)), receiving })
}

/// Which queue the kernel offers for classes, by the system's list of modules; the kernel is asked where there is none,
/// since that loads no module then.
async fn queue(netlink: &Netlink) -> QueueKind {
    match Feature::FqCodel.untried() {
        Untried::Loaded | Untried::Available => QueueKind::FqCodel,
        Untried::NotFound => QueueKind::Bfifo,
        _ => netlink.queue_kind().await,
    }
}
