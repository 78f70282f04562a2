//! One manager per interface: a lock that ends with its process, however the process ends.

use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::failure::KernelFailure;

/// The right to program the root qdisc of an interface, until dropped.
///
/// An abstract socket name: its scope is the network namespace, as that of an interface's number is, and the kernel
/// frees it with the process.
#[derive(Debug)]
pub struct Claim(#[expect(dead_code, reason = "held, not used")] UnixDatagram);

impl Claim {
    /// Claims the interface with this number. `None` where another process has claimed it.
    ///
    /// - **Errors**: `bind`.
    pub fn interface(index: u32) -> Result<Option<Self>, KernelFailure> {
        let name = Self::name(index);
        let address = SocketAddr::from_abstract_name(&name);
        let bound = address.and_then(|address| UnixDatagram::bind_addr(&address));
        match bound {
            Ok(socket) => Ok(Some(Self(socket))),
            Err(error) if error.kind() == ErrorKind::AddrInUse => Ok(None),
            Err(error) => Err(KernelFailure::new("bind", format!("@{name}"), error)),
        }
    }

    /// The process that has claimed the interface with this number, if one has. Claims nothing.
    ///
    /// - **Source**: `/proc/net/unix` of the calling thread's namespace, and the open files of the processes that
    ///   `/proc` shows.
    pub fn holder(index: u32) -> Option<Holder> {
        let name = format!("@{}", Self::name(index));
        let sockets = std::fs::read_to_string("/proc/thread-self/net/unix").ok()?;
        let line = sockets.lines().find(|line| line.split_whitespace().nth(7) == Some(name.as_str()))?;
        let inode = line.split_whitespace().nth(6)?;
        let pid = process_with_socket(inode);
        Some(Holder { pid, command: pid.map(command).unwrap_or_default() })
    }

    /// The abstract name that stands for the interface.
    pub fn name(index: u32) -> String {
        format!("gqos/interface/{index}")
    }
}

/// The process that has claimed an interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Holder {
    /// Its number; `None` where it cannot be seen: it is another user's, or in another PID namespace.
    pub pid: Option<i32>,
    /// Its command line; empty where `/proc` does not show it.
    pub command: String,
}

/// How much of a command line is shown.
const MOST_SHOWN: usize = 80;

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.pid, self.command.as_str()) {
            (None, _) => f.write_str("a process that cannot be seen from here"),
            (Some(pid), "") => write!(f, "process {pid}"),
            (Some(pid), command) => write!(f, "process {pid}, {command}"),
        }
    }
}

/// The first process that has this socket open.
fn process_with_socket(inode: &str) -> Option<i32> {
    let target = format!("socket:[{inode}]");
    let numbers = std::fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    let mut numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.find(|pid| {
        let files = std::fs::read_dir(format!("/proc/{pid}/fd"));
        let mut files = files.into_iter().flatten().filter_map(Result::ok);
        files
            .any(|file| std::fs::read_link(file.path()).is_ok_and(|link| link.as_os_str() == target.as_str()))
    })
}

fn command(pid: i32) -> String {
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = command.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    let command = words.map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ");
    command.chars().take(MOST_SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_claimed_once_until_the_claim_is_dropped() {
        // Far above the number of any interface.
        let index = u32::MAX - std::process::id();
        let claim = Claim::interface(index).unwrap();
        assert!(claim.is_some());
        assert!(Claim::interface(index).unwrap().is_none());
        assert!(Claim::interface(index - 1).unwrap().is_some(), "another interface");
        let holder = Claim::holder(index).unwrap();
        assert_eq!(holder.pid, i32::try_from(std::process::id()).ok(), "{holder}");
        drop(claim);
        assert_eq!(Claim::holder(index), None);
        assert!(Claim::interface(index).unwrap().is_some());
    }
}
