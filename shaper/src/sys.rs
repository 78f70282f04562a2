//! The system calls of this package: socket options that help a shaper, a timer finer than a millisecond, pipes that
//! move data from one socket to another, and what a thread that sends to many sockets needs.
//!
//! The only file with `unsafe` code.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use flowspec::{Errno, Micros, Rate, Ratio, Timestamp};
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::libc;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UdpSocket;

use crate::plan::{Framing, Plan};

/// The least `TCP_NOTSENT_LOWAT`: below it the kernel reports a socket as writable too often.
const LEAST_LOWAT: u64 = 16 << 10;

/// A socket option that the kernel refused to set, and why.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{call}: {errno}")]
pub struct SystemCallError {
    /// The option is part of its name.
    pub call: SystemCall,
    /// The kernel's answer.
    pub errno: Errno,
}

/// The calls that set socket options for a shaper.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SystemCall {
    /// `setsockopt(TCP_NOTSENT_LOWAT)`, tcp(7).
    SetNotSentLowWater,
    /// `setsockopt(SO_MAX_PACING_RATE)`, socket(7).
    SetMaxPacingRate,
    /// `setsockopt(SO_RCVBUF)`, socket(7).
    SetReceiveBuffer,
    /// `getsockopt(SO_RCVBUF)`, socket(7).
    GetReceiveBuffer,
    /// `setsockopt(SO_BUF_LOCK)`, kernel `include/uapi/asm-generic/socket.h`.
    SetBufferLock,
}

impl SystemCall {
    /// The call as its manual page has it, with the option that it sets.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SetNotSentLowWater => "setsockopt(TCP_NOTSENT_LOWAT)",
            Self::SetMaxPacingRate => "setsockopt(SO_MAX_PACING_RATE)",
            Self::SetReceiveBuffer => "setsockopt(SO_RCVBUF)",
            Self::GetReceiveBuffer => "getsockopt(SO_RCVBUF)",
            Self::SetBufferLock => "setsockopt(SO_BUF_LOCK)",
        }
    }

    const fn level_and_option(self) -> (libc::c_int, libc::c_int) {
        match self {
            Self::SetNotSentLowWater => (libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT),
            Self::SetMaxPacingRate => (libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE),
            Self::SetReceiveBuffer | Self::GetReceiveBuffer => (libc::SOL_SOCKET, libc::SO_RCVBUF),
            Self::SetBufferLock => (libc::SOL_SOCKET, SO_BUF_LOCK),
        }
    }
}

impl std::fmt::Display for SystemCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl From<SystemCallError> for io::Error {
    fn from(error: SystemCallError) -> Self {
        let kind = Self::from_raw_os_error(error.errno.get()).kind();
        Self::new(kind, error)
    }
}

/// Sets the socket options that help to shape a TCP socket.
///
/// `TCP_NOTSENT_LOWAT`, so that data waits in the application, where it can still be dropped or changed, and not in
/// the socket. `SO_MAX_PACING_RATE` at nine eighths of the peak, where the peak is finite: the kernel spreads each
/// release, and the bucket stays the limit (with pacing at p itself, a flow with p = r lost a tenth of its rate).
/// Without a finite peak there is no pacing rate, since pacing costs throughput even where it does not limit.
///
/// - **Units**: the kernel's pacing rate counts payload; p counts headers as well, and is converted, rounded up.
/// - **Errors**: those of `setsockopt`.
/// - **Source**: socket(7), tcp(7), kernel `net/ipv4/tcp_output.c`.
pub fn assist_tcp(socket: &impl AsFd, plan: &Plan) -> Result<(), SystemCallError> {
    let lowat = plan.quantum.get().max(LEAST_LOWAT);
    let lowat = i32::try_from(lowat).unwrap_or(i32::MAX);
    set(socket, SystemCall::SetNotSentLowWater, &lowat.to_ne_bytes())?;
    match (plan.peak, plan.framing) {
        (Some(peak), Framing::Stream { header, segment }) => {
            let part = Ratio { numerator: segment, denominator: segment.saturating_add(header) };
            let payload = peak.rate.scale_up(part);
            pace(socket, Some(payload.scale_up(Ratio { numerator: 9, denominator: 8 })))
        }
        _ => pace(socket, None),
    }
}

/// Removes the pacing rate from a socket that is no longer shaped.
///
/// - **Errors**: those of `setsockopt`.
pub fn release_tcp(socket: &impl AsFd) -> Result<(), SystemCallError> {
    pace(socket, None)
}

/// How long a peer may take for a round trip without a small receive buffer lowering the rate.
const ROUND_TRIP: Micros = Micros::new(200_000);

/// A stream's receive buffer holds this many full segments: below about four, TCP announces no window at all while one of them
/// waits to be read, and its peer sends a segment with each probe.
const LEAST_SEGMENTS: u64 = 8;

/// How much more space than their data small datagrams take in the kernel's buffers. A larger buffer lets none through
/// sooner: reading decides that.
const SMALL_DATAGRAMS: u64 = 4;

/// Linux 5.15; without it a socket whose buffer was set keeps that buffer.
const SO_BUF_LOCK: libc::c_int = 72;

/// Lets a socket take in no more than its flowspec allows before the reader has read it: the larger of b and what arrives at
/// r in a fifth of a second, and of a stream eight segments. TCP's window then holds a fast peer back; of a datagram socket the kernel drops the excess.
///
/// A buffer that `net.core.rmem_max` does not allow is left to the kernel, since a smaller one could lower the rate.
///
/// - **Errors**: those of `setsockopt` and `getsockopt`.
/// - **Source**: socket(7), tcp(7): the kernel doubles SO_RCVBUF for its own structures, so that about the value itself is
///   left for data.
pub fn assist_receiving(socket: &impl AsFd, plan: &Plan) -> Result<(), SystemCallError> {
    let wanted = plan.sustained.depth.max(plan.sustained.rate.bytes_in(ROUND_TRIP)).get();
    let wanted = match plan.framing {
        Framing::Stream { segment, .. } => wanted.max(segment.saturating_mul(LEAST_SEGMENTS)),
        Framing::Datagram { .. } => wanted.saturating_mul(SMALL_DATAGRAMS),
    };
    let Ok(wanted) = i32::try_from(wanted) else { return Ok(()) };
    set(socket, SystemCall::SetReceiveBuffer, &wanted.to_ne_bytes())?;
    let failed =
        |errno| SystemCallError { call: SystemCall::GetReceiveBuffer, errno: Errno::new(errno as i32) };
    let given = nix::sys::socket::getsockopt(socket, nix::sys::socket::sockopt::RcvBuf).map_err(failed)?;
    let doubled = usize::try_from(wanted).unwrap_or(usize::MAX).saturating_mul(2);
    if given < doubled { release_receiving(socket) } else { Ok(()) }
}

/// Leaves the receive buffer of a socket to the kernel again.
///
/// - **Errors**: those of `setsockopt`, but that the kernel lacks SO_BUF_LOCK.
pub fn release_receiving(socket: &impl AsFd) -> Result<(), SystemCallError> {
    match set(socket, SystemCall::SetBufferLock, &0_i32.to_ne_bytes()) {
        Err(failure) if failure.errno == Errno::ENOPROTOOPT => Ok(()),
        result => result,
    }
}

fn pace(socket: &impl AsFd, rate: Option<Rate>) -> Result<(), SystemCallError> {
    let rate = rate.map_or(u64::MAX, Rate::get);
    set(socket, SystemCall::SetMaxPacingRate, &rate.to_ne_bytes())
}

#[expect(unsafe_code, reason = "neither nix nor std has all these options")]
fn set<const N: usize>(socket: &impl AsFd, call: SystemCall, value: &[u8; N]) -> Result<(), SystemCallError> {
    let (level, option) = call.level_and_option();
    let length = const {
        assert!(N <= 8, "an option is an integer");
        #[expect(clippy::cast_possible_truncation, reason = "at most 8")]
        let length = N as libc::socklen_t;
        length
    };
    // SAFETY: `value` is valid for `length` bytes for the whole call, which only reads it.
    let result =
        unsafe { libc::setsockopt(socket.as_fd().as_raw_fd(), level, option, value.as_ptr().cast(), length) };
    if result == 0 {
        Ok(())
    } else {
        Err(SystemCallError { call, errno: Errno::new(nix::errno::Errno::last_raw()) })
    }
}

/// A high-resolution timer of the kernel, for waits where a millisecond matters. Source: timerfd_create(2).
pub(crate) struct PreciseTimer {
    fd: AsyncFd<Fd>,
    armed: Option<Timestamp>,
}

struct Fd(TimerFd);

impl AsRawFd for Fd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl PreciseTimer {
    #[expect(unsafe_code, reason = "the registration relies on the descriptor staying open")]
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        // SAFETY: `Fd` owns its descriptor, always returns it, and keeps it open as long as it lives.
        let fd = unsafe { AsyncFd::register(Fd(timer)) }?;
        Ok(Self { fd, armed: None })
    }

    /// Ready at `until`, never earlier.
    pub(crate) fn poll_until(
        &mut self,
        cx: &mut std::task::Context<'_>,
        now: Timestamp,
        until: Timestamp,
    ) -> std::task::Poll<io::Result<()>> {
        use std::task::{Poll, ready};
        if until <= now {
            self.armed = None;
            return Poll::Ready(Ok(()));
        }
        if self.armed != Some(until) {
            // A wait of zero would disarm the timer; this one is at least a nanosecond, since `until > now`.
            let wait = TimeSpec::from_duration(until.saturating_since(now));
            self.fd.get_ref().0.set(Expiration::OneShot(wait), TimerSetTimeFlags::empty())?;
            self.armed = Some(until);
        }
        loop {
            let mut guard = ready!(self.fd.poll_read_ready(cx))?;
            match self.fd.get_ref().0.wait() {
                Ok(()) => {
                    self.armed = None;
                    guard.clear_ready();
                    return Poll::Ready(Ok(()));
                }
                Err(nix::errno::Errno::EAGAIN) => guard.clear_ready(),
                Err(errno) => return Poll::Ready(Err(errno.into())),
            }
        }
    }
}

/// A pipe that holds data of one socket for another one, which never is in this process's memory. Source: splice(2).
#[derive(Debug)]
pub(crate) struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    held: usize,
}

impl Pipe {
    /// The size that is asked for: 64 buffers, since data of small segments takes one each. Without the privilege to have
    /// that many the pipe has what the kernel gives.
    const SIZE: libc::c_int = 256 << 10;

    /// - **Errors**: `pipe2`: no descriptors are left.
    pub(crate) fn new() -> io::Result<Self> {
        let (reader, writer) = nix::unistd::pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)?;
        let _ = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(Self::SIZE));
        Ok(Self { reader, writer, held: 0 })
    }

    /// The bytes in the pipe.
    pub(crate) const fn held(&self) -> usize {
        self.held
    }

    /// Moves at most `most` bytes that a socket has received into the pipe, and gives how many.
    ///
    /// Nothing may have come although there is data: a pipe is full before its size is reached, and urgent data stops it.
    ///
    /// - **Errors**: `WouldBlock`; those of the socket; `InvalidInput` where its kind of socket cannot be spliced.
    pub(crate) fn fill(&mut self, from: &impl AsFd, most: usize) -> io::Result<usize> {
        let moved = splice(from.as_fd(), None, self.writer.as_fd(), None, most, FLAGS)?;
        self.held += moved;
        Ok(moved)
    }

    /// Moves as much of the pipe into a socket as it takes of at most `most` bytes, and gives how many.
    ///
    /// - **Errors**: `WouldBlock`; those of the socket; `InvalidInput` as above.
    pub(crate) fn drain(&mut self, to: &impl AsFd, most: usize) -> io::Result<usize> {
        let moved = splice(self.reader.as_fd(), None, to.as_fd(), None, most.min(self.held), FLAGS)?;
        self.held -= moved;
        Ok(moved)
    }

    /// Copies what is in the pipe.
    ///
    /// - **Errors**: `read`.
    pub(crate) fn read_all(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.held];
        let mut filled = 0;
        while filled < bytes.len() {
            match nix::unistd::read(&self.reader, &mut bytes[filled..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => filled += read,
            }
        }
        self.held = 0;
        Ok(bytes)
    }
}

/// Never waits, and moves pages instead of copying them.
const FLAGS: SpliceFFlags = SpliceFFlags::SPLICE_F_NONBLOCK.union(SpliceFFlags::SPLICE_F_MOVE);

/// The bytes that a TCP socket has received and that were not read.
///
/// - **Errors**: `ioctl`.
/// - **Source**: tcp(7), SIOCINQ.
#[expect(unsafe_code, reason = "neither nix nor std has this request")]
pub(crate) fn unread(socket: &impl AsFd) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the kernel writes one integer, which lives for the whole call.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
    if result == 0 { Ok(usize::try_from(bytes).unwrap_or(0)) } else { Err(io::Error::last_os_error()) }
}

/// Copies what a socket has received, without waiting; zero at its end.
///
/// - **Errors**: `WouldBlock`; those of the socket.
pub(crate) fn receive(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    use nix::sys::socket::{MsgFlags, recv};
    Ok(recv(socket.as_fd().as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?)
}

/// Sends bytes without waiting, and gives how many the socket took.
///
/// - **Errors**: `WouldBlock`; those of the socket.
pub(crate) fn send(socket: &impl AsFd, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    use nix::sys::socket::{MsgFlags, sendmsg};
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    Ok(sendmsg::<()>(socket.as_fd().as_raw_fd(), parts, &[], flags, None)?)
}

/// Sends a part of a file, and gives how many bytes the socket took: zero at the end of the file. Waits for the disk, and not
/// for a socket that is non-blocking.
///
/// - **Errors**: `WouldBlock`; those of the socket and of the file.
/// - **Source**: sendfile(2).
pub(crate) fn send_file(socket: &impl AsFd, file: &impl AsFd, from: u64, most: usize) -> io::Result<usize> {
    let mut from = i64::try_from(from).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    Ok(nix::sys::sendfile::sendfile64(socket, file, Some(&mut from), most)?)
}

/// What a [`Poller`] waits for beside time: a call of [`ring`](Self::ring) by another thread.
#[derive(Debug)]
pub(crate) struct Doorbell {
    fd: EventFd,
    is_rung: AtomicBool,
}

impl Doorbell {
    /// - **Errors**: `eventfd`: no descriptors are left.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        Ok(Self { fd: EventFd::from_flags(flags)?, is_rung: AtomicBool::new(false) })
    }

    /// Ends the wait of the poller, the present one or the next.
    pub(crate) fn ring(&self) {
        if !self.is_rung.swap(true, Ordering::AcqRel) {
            // It fails only for a counter that is at its end, and then it is rung already.
            let _ = self.fd.write(1);
        }
    }

    /// Whether it was rung since the last call. What was written before it was rung can be read after this call.
    fn answer(&self) -> bool {
        if !self.is_rung.load(Ordering::Acquire) {
            return false;
        }
        // In this order, so that a ring in between is not lost.
        let _ = self.fd.read();
        self.is_rung.swap(false, Ordering::AcqRel)
    }
}

/// Waits for many sockets, for a [`Doorbell`] and for a time, with one system call. Source: epoll(7).
#[derive(Debug)]
pub(crate) struct Poller {
    epoll: Epoll,
    events: Box<[EpollEvent]>,
    /// Whether epoll_pwait2(2) is missing: Linux before 5.11, or a filter of system calls.
    is_coarse: bool,
}

/// What has changed for a socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Readiness {
    /// The key with which the socket was added.
    pub(crate) key: u32,
    /// It takes data again.
    pub(crate) is_writable: bool,
    /// It has an error.
    pub(crate) has_error: bool,
    /// Both of its directions have ended.
    pub(crate) is_closed: bool,
}

impl Poller {
    /// The events that one call returns.
    const EVENTS: usize = 256;

    /// The data of the doorbell's event; keys are smaller.
    const DOORBELL: u64 = u64::MAX;

    /// - **Errors**: `epoll_create1`, `epoll_ctl`: no descriptors are left.
    pub(crate) fn new(doorbell: &Doorbell) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll
            .add(&doorbell.fd, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, Self::DOORBELL))?;
        let events = vec![EpollEvent::empty(); Self::EVENTS].into_boxed_slice();
        Ok(Self { epoll, events, is_coarse: false })
    }

    /// Waits for a socket from now on, whenever it takes data again or fails.
    ///
    /// - **Errors**: `epoll_ctl`.
    pub(crate) fn add(&self, socket: &impl AsFd, key: u32) -> io::Result<()> {
        let flags = EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
        Ok(self.epoll.add(socket, EpollEvent::new(flags, u64::from(key)))?)
    }

    /// Waits for a socket no more.
    pub(crate) fn remove(&self, socket: &impl AsFd) {
        // It fails only for a socket that was not added.
        let _ = self.epoll.delete(socket);
    }

    /// Waits for at most this long, `None` being for ever, and gives what has changed. Never returns early without a change.
    ///
    /// - **Errors**: `epoll_pwait2`.
    pub(crate) fn wait(
        &mut self,
        doorbell: &Doorbell,
        most: Option<Duration>,
    ) -> io::Result<impl Iterator<Item = Readiness>> {
        let count = match self.wait_once(most) {
            Ok(count) => count,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(errno) => return Err(errno.into()),
        };
        doorbell.answer();
        let of_sockets = self.events[..count].iter().filter(|event| event.data() != Self::DOORBELL);
        Ok(of_sockets.map(|event| {
            let has = |flag| event.events().contains(flag);
            Readiness {
                key: u32::try_from(event.data()).unwrap_or(u32::MAX),
                is_writable: has(EpollFlags::EPOLLOUT),
                has_error: has(EpollFlags::EPOLLERR),
                is_closed: has(EpollFlags::EPOLLHUP),
            }
        }))
    }

    fn wait_once(&mut self, most: Option<Duration>) -> nix::Result<usize> {
        use nix::errno::Errno;
        if !self.is_coarse {
            match self.wait_precisely(most) {
                Err(Errno::ENOSYS | Errno::EPERM) => self.is_coarse = true,
                result => return result,
            }
        }
        // Rounded up: not early.
        let millis = most.map(|most| most.as_nanos().div_ceil(1_000_000));
        let timeout = millis.map_or(EpollTimeout::NONE, |millis| {
            EpollTimeout::from(u16::try_from(millis).unwrap_or(u16::MAX))
        });
        self.epoll.wait(&mut self.events, timeout)
    }

    /// epoll_pwait2(2), whose timeout has nanoseconds.
    #[expect(unsafe_code, reason = "nix does not have this call")]
    fn wait_precisely(&mut self, most: Option<Duration>) -> nix::Result<usize> {
        let timeout = most.map(|most| *TimeSpec::from_duration(most).as_ref());
        let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let (events, room) = (self.events.as_mut_ptr(), self.events.len());
        // SAFETY: `EpollEvent` is a transparent `epoll_event`, of which the kernel writes at most `room`; the time lives for
        // the whole call; without a signal mask its size is not read.
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.epoll.0.as_raw_fd(),
                events,
                room,
                timeout,
                std::ptr::null::<libc::sigset_t>(),
                0_usize,
            )
        };
        nix::errno::Errno::result(count).map(|count| usize::try_from(count).unwrap_or(0))
    }
}

/// Prepares a thread that only sends: signals, SIGPIPE of sendfile(2) among them, are left to other threads, and waits end
/// when they should, not up to 50 us later.
///
/// - **Source**: pthread_sigmask(3), PR_SET_TIMERSLACK(2const).
#[expect(unsafe_code, reason = "nix's features for this bring more than two calls")]
pub(crate) fn prepare_sending_thread() {
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset writes the whole set, which pthread_sigmask only reads; prctl takes no pointer for this option.
    // None of them fails for these arguments.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), std::ptr::null_mut());
        libc::prctl(libc::PR_SET_TIMERSLACK, 1_u64, 0_u64, 0_u64, 0_u64);
    }
}

/// Datagrams of one size that leave with one system call; the last one may be shorter.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Of all datagrams, one after another.
    pub payload: &'a [u8],
    /// Of one datagram, in bytes.
    pub segment: usize,
}

/// The most datagrams of a batch. Source: kernel `include/linux/udp.h`, UDP_MAX_SEGMENTS, before it was raised.
const MOST_SEGMENTS: usize = 64;

/// The most payload of a batch: that of the largest UDP datagram over IPv4.
const MOST_BATCH: usize = 65_507;

/// How many datagrams of this size one call can send, at least one.
pub(crate) fn most_segments(segment: usize) -> u64 {
    (MOST_BATCH / segment.max(1)).clamp(1, MOST_SEGMENTS) as u64
}

/// Sends a batch of datagrams, all or none, without waiting: to `to`, or else to the socket's peer.
///
/// - **Errors**: `WouldBlock`; those of `sendmsg`.
/// - **Source**: udp(7), UDP_SEGMENT.
pub fn try_send_segments(socket: &UdpSocket, batch: Batch<'_>, to: Option<SocketAddr>) -> io::Result<usize> {
    use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg};
    let Batch { payload, segment } = batch;
    if payload.len() <= segment {
        return match to {
            Some(to) => socket.try_send_to(payload, to),
            None => socket.try_send(payload),
        };
    }
    let segment = u16::try_from(segment).map_err(|_| io::Error::from(nix::errno::Errno::EMSGSIZE))?;
    let to = to.map(SockaddrStorage::from);
    socket.try_io(Interest::WRITABLE, || {
        let (parts, options) = ([IoSlice::new(payload)], [ControlMessage::UdpGsoSegments(&segment)]);
        Ok(sendmsg(socket.as_raw_fd(), &parts, &options, MsgFlags::MSG_DONTWAIT, to.as_ref())?)
    })
}

/// Whether the kernel refused to cut a payload into datagrams: the route's packets are smaller, or it has transformations.
/// Source: kernel `net/ipv4/udp.c`, `udp_send_skb`.
pub(crate) fn refuses_segments(error: &io::Error) -> bool {
    let refusals = [libc::EINVAL, libc::EIO, libc::EMSGSIZE, libc::EOPNOTSUPP];
    error.raw_os_error().is_some_and(|errno| refusals.contains(&errno))
}

/// Sends urgent data, for a test.
#[cfg(test)]
pub(crate) fn send_urgent(socket: RawFd, bytes: &[u8]) {
    use nix::sys::socket::{MsgFlags, send};
    assert_eq!(send(socket, bytes, MsgFlags::MSG_OOB), Ok(bytes.len()));
}
