//! `gqos clean`: removes the trees of processes that were killed.

use std::fmt::Write;
use std::process::ExitCode;

use gqos::failure::KernelFailure;
use gqos::linux::{Claim, Ingress, KeptRoot, Netlink};
use gqos::tc::{Change, HtbRoot, Op};
use serde::Serialize;

use super::failure::{CommandFailure, Exit};
use super::kernel::{refused, with_netlink};
use super::output::{counted, print};

/// Remove the trees that gqos left in the kernel when it was killed.
///
/// A tree is removed if its root has gqos's handle, 6771:, and gqos's settings, if it has no foreign class, and if no
/// process manages the interface. The ifb for the receiving direction and its redirect are removed too, and a qdisc that the
/// process had taken over is restored. A qdisc of another program is never changed. The exit code is 1 if something with
/// gqos's handle was left alone.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Clean this interface alone, instead of all.
    #[arg(long, short, value_name = "INTERFACE")]
    interface: Option<String>,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct CleanedInterface {
    interface: String,
    index: u32,
    /// Whether the ifb for what it receives, and the redirect there, were removed.
    receiving: bool,
    /// The qdisc that the killed process had taken over, which is restored: `htb 1:`.
    restored: Option<String>,
    /// Why it could not be restored.
    not_restored: Option<String>,
    #[serde(flatten)]
    outcome: CleanOutcome,
}

#[derive(Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum CleanOutcome {
    /// There was nothing of gqos.
    Clean,
    /// The tree was deleted.
    Removed { classes: usize },
    /// A tree with gqos's handle was left alone.
    LeftAlone { why: String },
    /// The kernel refused.
    Failed { failure: KernelFailure },
}

const NEED: &str = "deleting a tree needs CAP_NET_ADMIN (root, or setcap cap_net_admin+ep); `gqos plan --diff` and `gqos doctor` show what is left without it";

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, CommandFailure> {
    let cleaned = with_netlink(async |netlink| {
        let reading = |failure| refused(failure, "the state of interfaces");
        let links = match &arguments.interface {
            Some(name) => {
                let link = netlink.link_by_name(name).await.map_err(reading)?;
                vec![(link.index, link.name)]
            }
            None => {
                let links = netlink.link_details().await.map_err(reading)?;
                links.into_iter().map(|link| (link.index, link.name)).collect()
            }
        };
        let mut cleaned = Vec::new();
        for (index, interface) in links {
            let failed = |failure| (CleanOutcome::Failed { failure }, KeptRoot::Absent);
            let (mut outcome, kept) = clean(&netlink, index).await.unwrap_or_else(failed);
            let mut receiving = false;
            if !matches!(outcome, CleanOutcome::Failed { .. }) {
                match clean_receiving(&netlink, index).await {
                    Ok(found) => receiving = found,
                    Err(failure) => outcome = CleanOutcome::Failed { failure },
                }
            }
            let (restored, not_restored) = match kept {
                KeptRoot::Absent => (None, None),
                KeptRoot::Restored(root) => (Some(root.to_string()), None),
                KeptRoot::NotRestored { root, failure } => (None, Some(format!("{root}: {failure}"))),
                KeptRoot::Unusable(failure) => (None, Some(failure.to_string())),
            };
            cleaned.push(CleanedInterface { interface, index, receiving, restored, not_restored, outcome });
        }
        Ok(cleaned)
    })?;
    let document = match arguments.json {
        true => format!("{:#}\n", serde_json::json!({ "interfaces": cleaned })),
        false => text(&cleaned),
    };
    print(&document)?;
    for CleanedInterface { outcome, .. } in &cleaned {
        if let CleanOutcome::Failed { failure } = outcome {
            return Err(refused(failure.clone(), NEED));
        }
    }
    let is_left = cleaned.iter().any(|cleaned| {
        matches!(cleaned.outcome, CleanOutcome::LeftAlone { .. }) || cleaned.not_restored.is_some()
    });
    Ok(if is_left { Exit::Difference.into() } else { ExitCode::SUCCESS })
}

/// Removes the ifb for what an interface receives, unless a process manages the interface. Says whether there was one.
async fn clean_receiving(netlink: &Netlink, index: u32) -> Result<bool, KernelFailure> {
    let is_absent =
        netlink.ingress(index).await? != Ingress::Own && !netlink.receivers().await?.contains_key(&index);
    if is_absent {
        return Ok(false);
    }
    match Claim::interface(index)? {
        Ok(_claim) => netlink.tear_down_receiving(index).await,
        Err(_) => Ok(false),
    }
}

/// Removes the tree of an interface, and restores what had been taken over for it.
async fn clean(netlink: &Netlink, index: u32) -> Result<(CleanOutcome, KeptRoot), KernelFailure> {
    let clean = (CleanOutcome::Clean, KeptRoot::Absent);
    // An ifb goes with its interface.
    if netlink.receivers().await?.values().any(|ifb| *ifb == index) {
        return Ok(clean);
    }
    // A foreign root is of no concern.
    let Ok(observed) = netlink.observe(index).await? else { return Ok(clean) };
    let root = observed.root();
    if root.is_none() && !netlink.has_kept(index) {
        return Ok(clean);
    }
    // Held until the tree is gone, so that no manager begins to use it.
    let Ok(_claim) = Claim::interface(index)? else {
        let holder =
            Claim::holder(index).map_or_else(|| "another process".to_owned(), |holder| holder.to_string());
        let why = format!("it is managed by {holder}");
        let outcome = if root.is_some() { CleanOutcome::LeftAlone { why } } else { CleanOutcome::Clean };
        return Ok((outcome, KeptRoot::Absent));
    };
    if let Err(why) = observed.check_layout() {
        let why = format!("it is not gqos's, whatever its handle: {why}");
        return Ok((CleanOutcome::LeftAlone { why }, KeptRoot::Absent));
    }
    let classes = observed.classes().count();
    let outcome = match root {
        None => CleanOutcome::Clean,
        Some(root) => match netlink.apply(index, &Change { ops: vec![Op::DeleteRoot(root)] }).await {
            Ok(_) => CleanOutcome::Removed { classes },
            // Another program was faster.
            Err(failure) if failure.is_absent() => CleanOutcome::Clean,
            Err(failure) => return Err(failure),
        },
    };
    Ok((outcome, netlink.restore_kept(index).await))
}

fn text(cleaned: &[CleanedInterface]) -> String {
    let mut text = String::new();
    for CleanedInterface { interface, receiving, restored, not_restored, outcome, .. } in cleaned {
        let has_more = *receiving || restored.is_some() || not_restored.is_some();
        if *receiving {
            let _ =
                writeln!(text, "{interface}: removed the ifb of what it receives, and the redirect there");
        }
        // Writing to a String cannot fail.
        let _ = match outcome {
            CleanOutcome::Clean if cleaned.len() > 1 || has_more => Ok(()),
            CleanOutcome::Clean => writeln!(text, "{interface}: nothing of gqos is left"),
            CleanOutcome::Removed { classes } => {
                let classes = if *classes == 1 { "1 class".to_owned() } else { format!("{classes} classes") };
                writeln!(text, "{interface}: removed {} 6771: with {classes}", HtbRoot::KIND)
            }
            CleanOutcome::LeftAlone { why } => {
                writeln!(text, "{interface}: {} 6771: is left alone: {why}", HtbRoot::KIND)
            }
            CleanOutcome::Failed { failure } => writeln!(text, "{interface}: {failure}"),
        };
        if let Some(root) = restored {
            let _ = writeln!(text, "{interface}: restored {root}, which had been taken over");
        }
        if let Some(why) = not_restored {
            let _ = writeln!(text, "{interface}: what had been taken over could not be restored: {why}");
        }
    }
    if text.is_empty() {
        text = format!("Nothing of gqos is left on {}.\n", counted(cleaned.len(), "interface"));
    }
    text
}
