//! What the daemon is confined to, once its sockets are bound.

use std::path::{Path, PathBuf};

use super::options::DaemonOptions;
use crate::control::ConfinementRecord;
use crate::linux::{AllowedPaths, Confinement, DescriptorTaker, RUNTIME_DIRECTORY, confine};
use crate::policy::{HttpAddress, Policy};

/// What the daemon has given up, and the thread that still copies sockets of other processes.
#[derive(Debug, Default)]
pub(super) struct Confined {
    /// `None` where it was not asked for.
    pub(super) record: Option<ConfinementRecord>,
    pub(super) taker: Option<DescriptorTaker>,
}

/// What is read beside the policy: the system's groups with the libraries that look them up, processes, and links.
const READ: [&str; 8] =
    ["/etc", "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/proc", "/sys", "/run/systemd/userdb"];

impl Confined {
    /// Confines this process for good, where the options say so: to the directories of the policy, of the control socket and
    /// of the audit log.
    pub(super) fn of(options: &DaemonOptions, policy: &Policy, socket: &Path) -> Self {
        if !options.confine {
            return Self::default();
        }
        let (confinement, taker) = confine(&allowed(options, policy, socket));
        tracing::info!(
            event = "confined",
            capabilities = confinement.capabilities.join(", "),
            no_new_privileges = confinement.no_new_privileges,
            system_calls = confinement.system_calls,
            landlock = confinement.landlock,
            "confined"
        );
        for failure in &confinement.missing {
            tracing::warn!(event = "not_confined", %failure, "not confined in this respect");
        }
        Self { record: Some(record(confinement)), taker }
    }
}

fn record(confinement: Confinement) -> ConfinementRecord {
    let Confinement { capabilities, no_new_privileges, system_calls, landlock, missing } = confinement;
    ConfinementRecord {
        capabilities: capabilities.into_iter().map(str::to_owned).collect(),
        no_new_privileges,
        system_calls,
        landlock,
        missing: missing.iter().map(ToString::to_string).collect(),
    }
}

/// A file that is replaced is another one by the same name: what is allowed is its directory.
fn allowed(options: &DaemonOptions, policy: &Policy, socket: &Path) -> AllowedPaths {
    let mut read: Vec<PathBuf> = READ.iter().map(PathBuf::from).collect();
    for file in &options.policy {
        read.push(directory(file));
        // Where the file is a link, the directory of what it names.
        read.extend(file.canonicalize().ok().map(|target| directory(&target)));
    }
    let daemon = policy.daemon.as_ref();
    let audit = daemon.and_then(|daemon| daemon.audit.as_ref()).map(|audit| Path::new(&audit.path));
    let http = options.http.as_ref().or_else(|| daemon?.http.as_ref());
    let http = http.and_then(|address| match address {
        HttpAddress::Socket(path) => Some(Path::new(path)),
        HttpAddress::Port(_) => None,
    });
    let mut write: Vec<_> = [Some(socket), audit, http].into_iter().flatten().map(directory).collect();
    let runtime = PathBuf::from(RUNTIME_DIRECTORY);
    if takes_over(policy) {
        // Where it cannot be made, an event says so once something is taken over.
        let _ = std::fs::create_dir_all(&runtime);
    }
    // Under any policy: a daemon before, which was killed, may have left what it had taken over.
    if runtime.is_dir() {
        write.push(runtime);
    }
    AllowedPaths { read, write, reread: options.policy.clone() }
}

/// Whether qdiscs of other programs are saved, in files of the runtime directory.
fn takes_over(policy: &Policy) -> bool {
    policy.interfaces.values().chain(policy.any_interface.as_ref()).any(|interface| interface.takeover)
}

fn directory(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
