//! Blocking calls: how they wait, and how they are cancelled.

use std::cell::Cell;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use flowspec::Wsa;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Result;
use super::socket::Endpoint;
use crate::sys::raw::{self, Ready};

thread_local! {
    /// A blocking call waits on this thread.
    static WAITING: Cell<bool> = const { Cell::new(false) };
    /// It is to end.
    static CANCELLED: Cell<bool> = const { Cell::new(false) };
    /// Whether calls of this thread wait, whatever their sockets say.
    static FORCED: Cell<Option<bool>> = const { Cell::new(None) };
    /// How long the last call that did not wait would have waited for credit.
    static CREDIT: Cell<Option<Duration>> = const { Cell::new(None) };
    /// What this thread receives on, waiting in the kernel.
    static RECEIVING: Cell<i32> = const { Cell::new(-1) };
    /// A callback runs on this thread.
    static CALLED_BACK: Cell<bool> = const { Cell::new(false) };
}

/// Cancels the blocking call that the calling thread is in: it ends with WSAEINTR. To be called from where
/// that thread can run meanwhile, a signal handler.
///
/// - **Errors**: WSAEINVAL where the thread is in no blocking call.
/// - **Source**: WSPCancelBlockingCall.
pub fn cancel_blocking_call() -> Result<()> {
    if !WAITING.get() {
        return Err(Wsa::Einval);
    }
    CANCELLED.set(true);
    let receiving = RECEIVING.get();
    if receiving >= 0 {
        // SAFETY: whoever receives on this thread keeps the descriptor open until he has returned.
        let receiving = unsafe { BorrowedFd::borrow_raw(receiving) };
        // A call that the kernel begins again after the handler ends at once then.
        let _ = raw::set_receive_time(&receiving, Some(Duration::from_micros(1)));
    }
    Ok(())
}

/// Runs a callback of the program's: blocking calls from inside it end with WSAEINPROGRESS.
pub(super) fn calling_back<T>(callback: impl FnOnce() -> T) -> T {
    let before = CALLED_BACK.replace(true);
    let result = callback();
    CALLED_BACK.set(before);
    result
}

/// Runs something whose calls wait, whatever its sockets say.
pub(super) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    forced(true, work)
}

/// Runs something whose calls do not wait, whatever its sockets say; and for how long the flow had no credit, where
/// that was what it would have waited for.
pub(super) fn without_waiting<T>(work: impl FnOnce() -> T) -> (T, Option<Duration>) {
    CREDIT.set(None);
    let result = forced(false, work);
    (result, CREDIT.take())
}

/// A call that does not wait would have waited this long for credit.
pub(super) fn no_credit(time: Duration) {
    CREDIT.set(Some(time));
}

fn forced<T>(waits: bool, work: impl FnOnce() -> T) -> T {
    let before = FORCED.replace(Some(waits));
    let result = work();
    FORCED.set(before);
    result
}

/// Whether a call on this thread waits, on a socket that does so or does not by itself.
pub(super) fn waits(nonblocking: bool) -> bool {
    FORCED.get().unwrap_or(!nonblocking)
}

/// Whether a blocking call may be made: not while another one of the same thread waits or is called back from.
///
/// - **Errors**: WSAEINPROGRESS.
pub(super) fn may_block() -> Result<()> {
    if WAITING.get() || CALLED_BACK.get() { Err(Wsa::Einprogress) } else { Ok(()) }
}

/// Waits until a socket is ready. A program's own signal handler does not end it, unless it cancels.
///
/// - **Errors**: WSAEINTR where it was cancelled or the socket closed meanwhile; WSAETIMEDOUT;
///   WSAEINPROGRESS.
pub(super) fn wait(socket: &Endpoint, wanted: Ready, timeout: Option<Duration>) -> Result<Ready> {
    wait_for(socket, socket.fd.as_raw_fd(), wanted, timeout)
}

/// The same for another descriptor that the socket's call waits for.
///
/// - **Errors**: those of [`wait`].
pub(super) fn wait_for(
    socket: &Endpoint,
    number: i32,
    wanted: Ready,
    timeout: Option<Duration>,
) -> Result<Ready> {
    may_block()?;
    // What is there already needs nobody to wake it.
    let mut there = [(number, wanted)];
    if raw::poll(&mut there, Some(Duration::ZERO)).is_ok_and(|found| found > 0) && !socket.is_closed() {
        return Ok(there[0].1);
    }
    let closed = socket.closed_signal()?;
    let deadline = timeout.map(deadline);
    let _waiting = Waiting::begin();
    loop {
        if CANCELLED.get() || socket.is_closed() {
            return Err(Wsa::Eintr);
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(now()));
        let mut watched =
            [(number, wanted), (closed.as_raw_fd(), Ready { readable: true, ..Ready::default() })];
        match raw::poll(&mut watched, left) {
            Ok(0) => return Err(Wsa::Etimedout),
            Ok(_) if watched[1].1.readable => return Err(Wsa::Eintr),
            Ok(_) => return Ok(watched[0].1),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(raw::code(&error)),
        }
    }
}

/// Receives, waiting in the kernel: one system call where the other way needs three. Ends as [`wait`] does.
///
/// - **Errors**: those of [`wait`], and what `receive` answered.
pub(super) fn receive_waiting<T>(
    socket: &Endpoint,
    mut receive: impl FnMut() -> std::io::Result<T>,
    is_end: impl Fn(&T) -> bool,
) -> Result<std::io::Result<T>> {
    may_block()?;
    let _waiting = Waiting::begin();
    let _receiver = socket.receiver();
    RECEIVING.set(socket.fd.as_raw_fd());
    let result = loop {
        if CANCELLED.get() || socket.is_closed() {
            break Err(Wsa::Eintr);
        }
        match receive() {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            // A descriptor that does not wait after all is waited for in the other way.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock && CANCELLED.get() => {}
            // Who closes wakes who waits with an end that is none.
            Ok(received) if is_end(&received) && socket.is_closed() => break Err(Wsa::Eintr),
            result => break Ok(result),
        }
    };
    RECEIVING.set(-1);
    if CANCELLED.get() {
        let _ = raw::set_receive_time(&*socket.fd, None);
    }
    result
}

/// Waits for a time, or until the socket is closed or the call cancelled.
///
/// - **Errors**: WSAEINTR, WSAEINPROGRESS.
pub(super) fn pause(socket: &Endpoint, time: Duration) -> Result<()> {
    match wait_nothing(socket, time) {
        Err(Wsa::Etimedout) | Ok(_) => Ok(()),
        Err(wsa) => Err(wsa),
    }
}

fn wait_nothing(socket: &Endpoint, time: Duration) -> Result<Ready> {
    may_block()?;
    let closed = socket.closed_signal()?;
    let until = deadline(time);
    let _waiting = Waiting::begin();
    loop {
        if CANCELLED.get() || socket.is_closed() {
            return Err(Wsa::Eintr);
        }
        let left = until.saturating_duration_since(now());
        let mut watched = [(closed.as_raw_fd(), Ready { readable: true, ..Ready::default() })];
        match raw::poll(&mut watched, Some(left)) {
            Ok(0) => return Err(Wsa::Etimedout),
            Ok(_) => return Err(Wsa::Eintr),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(raw::code(&error)),
        }
    }
}

/// Waits for several descriptors at once: how many are ready.
///
/// - **Errors**: WSAEINTR, WSAEINPROGRESS, what `poll` answered.
pub(super) fn wait_for_all(watched: &mut [(i32, Ready)], timeout: Option<Duration>) -> Result<usize> {
    if timeout != Some(Duration::ZERO) {
        may_block()?;
    }
    let deadline = timeout.map(deadline);
    let _waiting = Waiting::begin();
    let wanted: Vec<_> = watched.to_vec();
    loop {
        if CANCELLED.get() {
            return Err(Wsa::Eintr);
        }
        watched.copy_from_slice(&wanted);
        let left = deadline.map(|deadline| deadline.saturating_duration_since(now()));
        match raw::poll(watched, left) {
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(raw::code(&error)),
        }
    }
}

/// A descriptor as a reactor watches it: one of its own, since others may watch the same file.
///
/// - **Errors**: WSAENOBUFS.
pub(super) fn watch(own: OwnedFd, interest: Interest) -> Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd keeps its descriptor open and is always the same.
    let watched = unsafe { AsyncFd::register_with_interest(own, interest) };
    watched.map_err(|_| Wsa::Enobufs)
}

/// The moment after which a wait is over.
pub(super) fn deadline(timeout: Duration) -> Instant {
    // A wait that ends after the clock does is one of a year.
    now().checked_add(timeout).unwrap_or_else(|| now() + Duration::from_secs(31_536_000))
}

/// The one place in this room where the clock is read.
pub(super) fn now() -> Instant {
    Instant::now()
}

/// A blocking call that waits, from its beginning to its end.
struct Waiting;

impl Waiting {
    fn begin() -> Self {
        CANCELLED.set(false);
        WAITING.set(true);
        Self
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITING.set(false);
        CANCELLED.set(false);
    }
}
