//! Blocking calls: how they wait, time out and are cancelled.

use std::cell::Cell;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use flowspec::{Errno, Wsa};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Result;
use super::close_state::{CloseState, WaitKind};
use crate::sys::{self, Readiness};

thread_local! {
    /// A blocking call of this thread is waiting.
    static WAITING: Cell<bool> = const { Cell::new(false) };
    /// The waiting call is to end.
    static CANCELLED: Cell<bool> = const { Cell::new(false) };
    /// Replaces the blocking mode of every socket that this thread calls.
    static FORCED_BLOCKING: Cell<Option<bool>> = const { Cell::new(None) };
    /// How long until a shaped flow has credit, where the latest non-blocking call returned for want of it.
    static CREDIT_DELAY: Cell<Option<Duration>> = const { Cell::new(None) };
    /// The descriptor on which this thread waits in the kernel to receive; -1 where it does not.
    static RECEIVING: Cell<RawFd> = const { Cell::new(-1) };
    /// A callback of the program's runs on this thread.
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
    static IS_REACTOR: Cell<bool> = const { Cell::new(false) };
}

/// Cancels the blocking call of the calling thread, which ends with WSAEINTR. The caller is a signal handler, since
/// nothing else runs on that thread meanwhile.
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
        // SAFETY: the receiving call on this thread keeps the descriptor open until it returns, and this handler runs
        // inside of it.
        let receiving = unsafe { BorrowedFd::borrow_raw(receiving) };
        // The kernel may restart the receive after the handler; with this timeout it then ends at once.
        let _ = sys::set_receive_timeout(&receiving, Some(Duration::from_micros(1)));
    }
    Ok(())
}

/// Runs a callback of the program's. Blocking calls inside of it fail with WSAEINPROGRESS.
pub(crate) fn in_callback<T>(callback: impl FnOnce() -> T) -> T {
    let before = IN_CALLBACK.replace(true);
    let result = callback();
    IN_CALLBACK.set(before);
    result
}

/// Runs calls that block, whatever the mode of their sockets is.
pub(crate) fn with_blocking<T>(calls: impl FnOnce() -> T) -> T {
    with_forced_mode(true, calls)
}

/// Runs calls that do not block, whatever the mode of their sockets is. Also returns how long until the flow has
/// credit, where a call returned for want of it.
pub(crate) fn without_blocking<T>(calls: impl FnOnce() -> T) -> (T, Option<Duration>) {
    CREDIT_DELAY.set(None);
    let result = with_forced_mode(false, calls);
    (result, CREDIT_DELAY.take())
}

/// Records for [`without_blocking`] that a call returned since the flow has no credit for this long.
pub(crate) fn set_credit_delay(delay: Duration) {
    CREDIT_DELAY.set(Some(delay));
}

fn with_forced_mode<T>(blocking: bool, calls: impl FnOnce() -> T) -> T {
    let before = FORCED_BLOCKING.replace(Some(blocking));
    let result = calls();
    FORCED_BLOCKING.set(before);
    result
}

/// Whether a call on this thread blocks, on a socket of this mode.
pub(crate) fn blocks(nonblocking: bool) -> bool {
    FORCED_BLOCKING.get().unwrap_or(!nonblocking)
}

/// Checks that this thread is neither in a blocking call already nor in a callback.
///
/// - **Errors**: WSAEINPROGRESS.
pub(crate) fn check_may_block() -> Result<()> {
    if WAITING.get() || IN_CALLBACK.get() { Err(Wsa::Einprogress) } else { Ok(()) }
}

/// Marks the calling thread as the reactor.
pub(crate) fn become_reactor() {
    IS_REACTOR.set(true);
}

/// Whether this thread may wait for the reactor and for other threads: it is neither the reactor, nor in a signal handler
/// that has interrupted a waiting call.
pub(crate) fn may_await_others() -> bool {
    !IS_REACTOR.get() && !WAITING.get()
}

/// Waits until a descriptor is ready, and returns the states found. Signal handlers of the program do not end the wait,
/// unless they cancel it.
///
/// - **Errors**: WSAEINTR where the call was cancelled or the socket closed; WSAETIMEDOUT; WSAEINPROGRESS.
pub(crate) fn wait(
    closing: &CloseState,
    descriptor: RawFd,
    wanted: Readiness,
    timeout: Option<Duration>,
) -> Result<Readiness> {
    check_may_block()?;
    // Where it is ready already, no signal has to be made.
    let mut now_ready = [(descriptor, wanted)];
    if sys::poll(&mut now_ready, Some(Duration::ZERO)).is_ok_and(|count| count > 0) && !closing.is_closed() {
        return Ok(now_ready[0].1);
    }
    let mut watched = [(descriptor, wanted), (closing.signal()?.as_raw_fd(), Readiness::READABLE)];
    let _waiter = closing.wait_as(WaitKind::Signalled);
    match poll_until(&mut watched, timeout.map(deadline_after), || closing.is_closed())? {
        0 => Err(Wsa::Etimedout),
        _ if watched[1].1.readable => Err(Wsa::Eintr),
        _ => Ok(watched[0].1),
    }
}

/// Waits for a time.
///
/// - **Errors**: WSAEINTR where the call was cancelled or the socket closed; WSAEINPROGRESS.
pub(crate) fn pause(closing: &CloseState, time: Duration) -> Result<()> {
    check_may_block()?;
    let mut watched = [(closing.signal()?.as_raw_fd(), Readiness::READABLE)];
    match poll_until(&mut watched, Some(deadline_after(time)), || closing.is_closed())? {
        0 => Ok(()),
        _ => Err(Wsa::Eintr),
    }
}

/// Waits until at least one of several descriptors is ready, and returns how many are; 0 after the timeout.
///
/// - **Errors**: WSAEINTR where the call was cancelled; WSAEINPROGRESS; those of `poll`.
pub(crate) fn wait_for_any(watched: &mut [(RawFd, Readiness)], timeout: Option<Duration>) -> Result<usize> {
    if timeout != Some(Duration::ZERO) {
        check_may_block()?;
    }
    poll_until(watched, timeout.map(deadline_after), || false)
}

/// Polls until something is ready or the deadline has passed, and goes on after a signal handler.
fn poll_until(
    watched: &mut [(RawFd, Readiness)],
    deadline: Option<Instant>,
    is_closed: impl Fn() -> bool,
) -> Result<usize> {
    let _waiting = BlockingCall::begin();
    loop {
        if CANCELLED.get() || is_closed() {
            return Err(Wsa::Eintr);
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(now()));
        match sys::poll(watched, left) {
            Err(Errno::EINTR) => {}
            result => return result.map_err(Errno::wsa),
        }
    }
}

/// Receives and waits in the kernel, which takes one system call where [`wait`] and a receive take three. Ends as
/// [`wait`] does. `is_end` says whether a result is the end of the stream.
///
/// - **Errors**: those of [`wait`]; inside, those of `receive`.
pub(crate) fn receive_in_kernel<T>(
    closing: &CloseState,
    descriptor: &(impl AsFd + AsRawFd),
    mut receive: impl FnMut() -> core::result::Result<T, Errno>,
    is_end: impl Fn(&T) -> bool,
) -> Result<core::result::Result<T, Errno>> {
    check_may_block()?;
    let _waiting = BlockingCall::begin();
    let _waiter = closing.wait_as(WaitKind::InReceive);
    RECEIVING.set(descriptor.as_raw_fd());
    let result = loop {
        if CANCELLED.get() || closing.is_closed() {
            break Err(Wsa::Eintr);
        }
        match receive() {
            Err(Errno::EINTR) => {}
            // The timeout that `cancel_blocking_call` has set.
            Err(Errno::EAGAIN) if CANCELLED.get() => {}
            // Closing the socket shuts the descriptor down, which the kernel reports as the end of the stream.
            Ok(received) if is_end(&received) && closing.is_closed() => break Err(Wsa::Eintr),
            result => break Ok(result),
        }
    };
    RECEIVING.set(-1);
    if CANCELLED.get() {
        let _ = sys::set_receive_timeout(descriptor, None);
    }
    result
}

/// Registers a descriptor with the reactor. It is a duplicate, since other registrations may watch the same socket.
///
/// - **Errors**: WSAENOBUFS.
pub(crate) fn watch(duplicate: OwnedFd, interest: Interest) -> Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd always returns the same descriptor and keeps it open.
    let watched = unsafe { AsyncFd::register_with_interest(duplicate, interest) };
    watched.map_err(|_| Wsa::Enobufs)
}

/// When a wait of this length is over.
pub(crate) fn deadline_after(timeout: Duration) -> Instant {
    // Beyond the clock's range: a year.
    now().checked_add(timeout).unwrap_or_else(|| now() + Duration::from_secs(31_536_000))
}

/// Reads the clock; the only place of this package that does.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Marks this thread as waiting in a blocking call, until it is dropped.
struct BlockingCall;

impl BlockingCall {
    fn begin() -> Self {
        CANCELLED.set(false);
        WAITING.set(true);
        Self
    }
}

impl Drop for BlockingCall {
    fn drop(&mut self) {
        WAITING.set(false);
        CANCELLED.set(false);
    }
}
