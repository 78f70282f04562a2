//! A process gives up what it does not need, one thing after the other.

use std::fmt;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::libc;
use nix::unistd::{AccessFlags, faccessat};

use super::super::process_option::set_process_option;
use super::capabilities::{Capabilities, Capability, drop_bounding};
use super::paths::{AllowedPaths, Ruleset};
use super::system_calls::SystemCallFilter;
use super::taker::DescriptorTaker;
use crate::failure::{KernelCall, KernelFailure};

/// What is in force, and what is not.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Confinement {
    /// The names of the capabilities that are left.
    pub capabilities: Vec<&'static str>,
    /// Programs that are executed would gain no privileges.
    pub no_new_privileges: bool,
    /// How many system calls are allowed; `None` where every one is.
    pub system_calls: Option<usize>,
    /// The version of landlock that restricts files; `None` where none does.
    pub landlock: Option<u32>,
    /// What is not in force, and why.
    pub missing: Vec<KernelFailure>,
}

impl Confinement {
    fn note<T>(&mut self, result: Result<T, KernelFailure>) -> Option<T> {
        result.map_err(|failure| self.missing.push(failure)).ok()
    }

    fn note_capabilities(&mut self) {
        let left = self.note(Capabilities::of_thread());
        self.capabilities = left.map(Capabilities::names).unwrap_or_default();
    }
}

/// Gives up what this process does not need any more. What the kernel lacks is left out, and named.
///
/// Nothing is given up in a process that has a second thread already, since that would keep all of it.
pub fn confine(allowed: &AllowedPaths) -> (Confinement, Option<DescriptorTaker>) {
    match has_one_thread() {
        Ok(()) => confine_thread(allowed),
        Err(failure) => {
            let mut confinement = Confinement { missing: vec![failure], ..Confinement::default() };
            confinement.note_capabilities();
            (confinement, None)
        }
    }
}

/// Confines the calling thread, and those that it starts.
pub(super) fn confine_thread(allowed: &AllowedPaths) -> (Confinement, Option<DescriptorTaker>) {
    let mut confinement = Confinement::default();
    // Where it fails, the others that need it fail as well.
    let set = set_process_option(libc::PR_SET_NO_NEW_PRIVS, 1, "PR_SET_NO_NEW_PRIVS");
    confinement.no_new_privileges = confinement.note(set).is_some();
    // With the capabilities that the process still has.
    let ruleset = Ruleset::of(allowed);
    let dropped = drop_bounding(&Capability::ALL);
    confinement.note(dropped);
    let taker = DescriptorTaker::start();
    let taker = confinement.note(taker);
    keep_capabilities(&mut confinement, allowed);
    // No other process of the user reads its memory, and it leaves none in a file.
    confinement.note(set_process_option(libc::PR_SET_DUMPABLE, 0, "PR_SET_DUMPABLE"));
    confinement.note(refuse_gained_execution());
    match ruleset.and_then(Ruleset::restrict) {
        Ok((version, skipped)) => {
            confinement.landlock = Some(version);
            confinement.missing.extend(skipped);
        }
        Err(failure) => confinement.missing.push(failure),
    }
    confinement.system_calls = confinement.note(SystemCallFilter::of_daemon().install());
    (confinement, taker)
}

fn has_one_thread() -> Result<(), KernelFailure> {
    let threads = std::fs::read_dir("/proc/self/task").map(Iterator::count);
    let threads = threads.map_err(|error| KernelCall("open").failed("/proc/self/task", error))?;
    if threads != 1 {
        let problem = "threads keep what they have: it is to be confined before the second one starts";
        return Err(KernelFailure::not_expressible(format!("process with {threads} threads"), problem));
    }
    Ok(())
}

/// Keeps CAP_NET_ADMIN, and CAP_DAC_OVERRIDE where the directories are another user's.
fn keep_capabilities(confinement: &mut Confinement, allowed: &AllowedPaths) {
    let mut keep = vec![Capability::NetAdmin];
    let tried = Capabilities::of_thread().and_then(|held| held.effective(&keep));
    if confinement.note(tried).is_some() && needs_override(allowed) {
        keep.push(Capability::DacOverride);
    }
    let kept = Capabilities::of_thread().and_then(|held| held.keep(&keep));
    confinement.note(kept);
    confinement.note_capabilities();
}

/// Whether a path is not open to this user, which as root has used it by privilege so far.
fn needs_override(allowed: &AllowedPaths) -> bool {
    let modes: [(&Vec<PathBuf>, AccessFlags); 3] = [
        (&allowed.read, AccessFlags::X_OK),
        (&allowed.reread, AccessFlags::R_OK),
        (&allowed.write, AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK),
    ];
    modes.into_iter().any(|(paths, mode)| {
        paths.iter().any(|path| faccessat(AT_FDCWD, path, mode, AtFlags::AT_EACCESS) == Err(Errno::EACCES))
    })
}

/// Memory that was written is never executed.
fn refuse_gained_execution() -> Result<(), KernelFailure> {
    /// `linux/prctl.h`, Linux 6.3.
    const PR_SET_MDWE: libc::c_int = 65;
    const PR_MDWE_REFUSE_EXEC_GAIN: libc::c_ulong = 1;
    set_process_option(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, "PR_SET_MDWE")
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.capabilities[..] {
            [] => f.write_str("no capabilities")?,
            left => f.write_str(&left.join(", "))?,
        }
        if self.no_new_privileges {
            f.write_str("; no new privileges")?;
        }
        if let Some(calls) = self.system_calls {
            write!(f, "; {calls} system calls")?;
        }
        if let Some(version) = self.landlock {
            write!(f, "; files by landlock {version}")?;
        }
        for failure in &self.missing {
            write!(f, "; not in force: {failure}")?;
        }
        Ok(())
    }
}
