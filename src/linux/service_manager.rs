//! The protocol of a service manager such as systemd: variables of the environment in, messages of sd_notify out.
//!
//! Source: sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3).

use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use flowspec::Micros;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{SockType, UnixAddr, getsockname, getsockopt, sockopt};

use crate::failure::{KernelCall, KernelFailure};

/// The first descriptor that is passed.
const FIRST: RawFd = 3;

/// More descriptors than any unit passes.
const MOST: RawFd = 64;

/// Sends a state such as `READY=1` to the service manager. `false` where there is none.
///
/// - **Errors**: the datagram cannot be sent.
pub fn notify(state: &str) -> io::Result<bool> {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
        return Ok(false);
    };
    let bytes = name.as_encoded_bytes();
    let address = match bytes.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None if bytes.starts_with(b"/") => SocketAddr::from_pathname(&name)?,
        None => {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                "NOTIFY_SOCKET is neither a path nor abstract",
            ));
        }
    };
    let socket = UnixDatagram::unbound()?;
    // A service manager that does not read must not delay the service.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.as_bytes(), &address)?;
    Ok(true)
}

/// What CLOCK_MONOTONIC shows, for `MONOTONIC_USEC`.
pub fn monotonic() -> Micros {
    super::clock::monotonic()
}

/// How long the service manager waits for `WATCHDOG=1`, where it does.
pub fn watchdog() -> Option<Duration> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let is_other = std::env::var_os("WATCHDOG_PID").is_some()
        && number("WATCHDOG_PID") != Some(u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|micros| *micros > 0 && !is_other).map(Duration::from_micros)
}

/// The listening socket that the service manager passes under one of these names, or under another one than `except`. It is
/// passed once: `None` from then on, and where none is passed.
///
/// - **Errors**: a descriptor of that name is no AF_UNIX stream socket that listens.
pub fn passed_listener(except: &[&str]) -> Result<Option<UnixListener>, KernelFailure> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    for (descriptor, name) in passed() {
        if except.contains(&name.as_str()) {
            continue;
        }
        if TAKEN.swap(true, Ordering::Relaxed) {
            return Ok(None);
        }
        return listener(descriptor).map(Some);
    }
    Ok(None)
}

/// The first descriptor that the service manager passes under a name.
pub fn passed_as(name: &str) -> Option<RawFd> {
    passed().into_iter().find(|(_, known)| known == name).map(|(descriptor, _)| descriptor)
}

/// The descriptors that the service manager passes to this process, each with its name.
fn passed() -> Vec<(RawFd, String)> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    if number("LISTEN_PID") != Some(std::process::id()) {
        return Vec::new();
    }
    let count = number("LISTEN_FDS").and_then(|count| RawFd::try_from(count).ok()).unwrap_or(0).min(MOST);
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let names = names.split(':').chain(std::iter::repeat("")).map(str::to_owned);
    (FIRST..FIRST + count).zip(names).collect()
}

fn listener(descriptor: RawFd) -> Result<UnixListener, KernelFailure> {
    let object = || format!("the passed descriptor {descriptor}");
    // SAFETY: it is used for the calls below alone, which fail for a descriptor that is not open.
    let passed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    fcntl(passed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(|errno| failed("fcntl", object(), errno))?;
    let is_stream = getsockopt(&passed, sockopt::SockType) == Ok(SockType::Stream);
    let is_unix = getsockname::<UnixAddr>(passed.as_raw_fd()).is_ok();
    let listens = getsockopt(&passed, sockopt::AcceptConn).unwrap_or(false);
    if !(is_stream && is_unix && listens) {
        let problem = "it is no AF_UNIX stream socket that listens; look at the socket unit";
        return Err(KernelFailure::not_expressible(object(), problem));
    }
    // SAFETY: the descriptor is open, as fcntl has answered, and LISTEN_PID says that it is this process's own. It is taken
    // once.
    let owned = unsafe { OwnedFd::from_raw_fd(descriptor) };
    Ok(UnixListener::from(owned))
}

fn failed(call: &str, object: String, errno: nix::Error) -> KernelFailure {
    KernelCall(call).failed(object, io::Error::from(errno))
}
