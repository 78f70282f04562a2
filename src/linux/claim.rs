//! One manager per interface: a lock that ends with its process, however the process ends.
//!
//! A claim is a listening socket with an abstract name, whose scope is the network namespace, as that of an interface's
//! number is; the kernel frees it with the process. The name ends in a number of the claim's own. A socket counts as a
//! claim where the process that listens can hold one: a process without CAP_NET_ADMIN cannot program the interface, and
//! its sockets keep no other process from it.

use std::hash::{BuildHasher, RandomState};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use nix::errno::Errno;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{
    AddressFamily, Shutdown, SockFlag, SockType, UnixAddr, UnixCredentials, connect, getsockopt, shutdown,
    socket,
};
use tokio::runtime::Handle as Runtime;
use tokio::task::AbortHandle;

use crate::failure::{KernelCall, KernelFailure};
use crate::kernel::ClaimHolder;

/// The right to program the root qdisc of an interface, until dropped.
#[derive(Debug)]
pub struct Claim {
    listener: UnixListener,
    /// Accepts connections, so that the queue of those that wait is never full.
    service: Option<AbortHandle>,
}

/// CAP_NET_ADMIN, `linux/capability.h`.
const CAP_NET_ADMIN: u32 = 12;

/// How much of a command line is shown.
const MOST_SHOWN: usize = 80;

/// How often a claim is tried while other processes claim at the same moment.
const ATTEMPTS: usize = 5;

impl Claim {
    /// Claims the interface with this number. The process that has claimed it, where one has.
    ///
    /// - **Errors**: `bind`.
    pub fn interface(index: u32) -> Result<Result<Self, ClaimHolder>, KernelFailure> {
        let mut holder = None;
        for _ in 0..ATTEMPTS {
            if let Some(holder) = holders(index, "").into_iter().next() {
                return Ok(Err(holder));
            }
            let name = format!("{}{:016x}", prefix(index), RandomState::new().hash_one(index));
            let bound = SocketAddr::from_abstract_name(&name)
                .and_then(|address| UnixListener::bind_addr(&address))
                .map_err(|error| KernelCall("bind").failed(format!("@{name}"), error))?;
            // Of two processes that claim at the same moment, each sees the other, and none gets it.
            match holders(index, &name).into_iter().next() {
                None => return Ok(Ok(Self::served(bound))),
                other => holder = other,
            }
        }
        Ok(Err(holder.unwrap_or(ClaimHolder::ELSEWHERE)))
    }

    /// The process that has claimed the interface with this number, if one has. Claims nothing.
    pub fn holder(index: u32) -> Option<ClaimHolder> {
        holders(index, "").into_iter().next()
    }

    fn served(listener: UnixListener) -> Self {
        let service = Runtime::try_current().ok().and_then(|runtime| {
            let listener = listener.try_clone().ok()?;
            listener.set_nonblocking(true).ok()?;
            let listener = tokio::net::UnixListener::from_std(listener).ok()?;
            let service = runtime.spawn(async move {
                // A connection shows the credentials of this process; nothing is transferred.
                loop {
                    if listener.accept().await.is_err() {
                        tokio::task::yield_now().await;
                    }
                }
            });
            Some(service.abort_handle())
        });
        Self { listener, service }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // The task that serves it may hold the socket for a moment longer: it does not count from now on.
        let _ = shutdown(self.listener.as_raw_fd(), Shutdown::Both);
        if let Some(service) = &self.service {
            service.abort();
        }
    }
}

/// How the names of all claims on an interface begin.
fn prefix(index: u32) -> String {
    format!("gqos/interface/{index}/")
}

/// The processes that have claimed an interface, but for the claim of one name.
///
/// - **Source**: proc(5), `/proc/net/unix`: the name is the last field, and an abstract one begins with `@`.
fn holders(index: u32, but: &str) -> Vec<ClaimHolder> {
    let sockets = std::fs::read("/proc/thread-self/net/unix").unwrap_or_default();
    let (sockets, prefix) = (String::from_utf8_lossy(&sockets), prefix(index));
    let names = sockets.lines().filter_map(|line| line.rsplit(' ').next()?.strip_prefix('@'));
    let claims = names.filter(|name| name.starts_with(&prefix) && *name != but);
    claims.filter_map(listening).filter(is_able).map(|process| holder(&process)).collect()
}

/// The process that listens with this abstract name.
fn listening(name: &str) -> Option<UnixCredentials> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None).ok()?;
    let address = UnixAddr::new_abstract(name.as_bytes()).ok()?;
    // A queue that is full is no claim's: those are served.
    match connect(socket.as_raw_fd(), &address) {
        Ok(()) | Err(Errno::EISCONN) => getsockopt(&socket, PeerCredentials).ok(),
        Err(_) => None,
    }
}

/// Whether a process can program interfaces, or could when it began to listen.
fn is_able(process: &UnixCredentials) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid()));
    let Some(status) = status.ok().filter(|_| process.pid() > 0) else { return process.uid() == 0 };
    let has = |set: &str| {
        let hex = status.lines().find_map(|line| line.strip_prefix(set));
        let set = hex.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
        set.is_some_and(|set| set >> CAP_NET_ADMIN & 1 == 1)
    };
    let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/user")).ok();
    let is_near = || {
        let there = namespace(&process.pid().to_string());
        there.is_some() && there == namespace("self")
    };
    // Root may have dropped its capabilities since. Those of another user count in its own user namespace alone.
    (process.uid() == 0 && has("CapBnd:")) || (has("CapEff:") && is_near())
}

fn holder(process: &UnixCredentials) -> ClaimHolder {
    let pid = Some(process.pid()).filter(|pid| *pid > 0);
    let command = std::fs::read(format!("/proc/{}/cmdline", process.pid())).unwrap_or_default();
    let words = command.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    let command = words.map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ");
    ClaimHolder { pid, command: shown(&command) }
}

/// A command line as it is shown: its first letters, and a sign where there are more.
fn shown(command: &str) -> String {
    match command.char_indices().nth(MOST_SHOWN) {
        None => command.to_owned(),
        Some(_) => command.chars().take(MOST_SHOWN - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_that_is_cut_off_says_so() {
        let exact = "é".repeat(MOST_SHOWN);
        assert_eq!(shown(&exact), exact);
        let cut = shown(&format!("{exact}x"));
        assert_eq!((cut.chars().count(), cut.chars().last()), (MOST_SHOWN, Some('…')));
        assert_eq!(shown(""), "");
    }

    #[test]
    fn an_interface_is_claimed_once_until_the_claim_is_dropped() {
        // Far above the number of any interface.
        let index = u32::MAX - std::process::id();
        let claim = Claim::interface(index).unwrap();
        assert!(claim.is_ok());
        let second = Claim::interface(index).unwrap();
        if nix::unistd::geteuid().is_root() {
            let holder = second.unwrap_err();
            assert_eq!(holder.pid, i32::try_from(std::process::id()).ok());
            assert!(holder.to_string().starts_with(&format!("process {}, ", std::process::id())), "{holder}");
        }
        assert!(Claim::interface(index - 1).unwrap().is_ok(), "another interface");
        drop(claim);
        assert_eq!(Claim::holder(index), None);
        assert!(Claim::interface(index).unwrap().is_ok());
    }

    #[test]
    fn a_socket_with_the_name_that_nothing_listens_to_is_no_claim() {
        let index = u32::MAX / 2 - std::process::id();
        let address = SocketAddr::from_abstract_name(format!("{}squat", prefix(index))).unwrap();
        let _datagrams = std::os::unix::net::UnixDatagram::bind_addr(&address).unwrap();
        assert_eq!(holders(index, ""), []);
        assert!(Claim::interface(index).unwrap().is_ok());
    }
}
