//! The one file of this package that makes system calls: socket options that help a shaper, and a
//! timer finer than a millisecond.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use flowspec::{Rate, Ratio};
use nix::libc;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::unix::AsyncFd;

use crate::limiter::Moment;
use crate::plan::{Framing, Plan};

/// Least `TCP_NOTSENT_LOWAT`: below this the kernel would ask for data too often.
const LEAST_LOWAT: u64 = 16 << 10;

/// Sets the kernel's own help for a shaped TCP socket.
///
/// `TCP_NOTSENT_LOWAT`, so that data waits in the application, where it can still be dropped or
/// changed, and not in the socket; `SO_MAX_PACING_RATE` an eighth above the peak, where the peak is
/// finite: the kernel spreads each release, and the bucket, not the pacing, stays what limits (at p
/// itself, a flow with p = r lost a tenth of its rate). Without a finite peak pacing is left alone,
/// since it costs throughput where it does not bind.
///
/// - **Units**: the kernel's pacing rate counts payload, so p loses its headers here, rounded up.
/// - **Errors**: what `setsockopt` answered, naming the option.
/// - **Source**: socket(7), tcp(7), kernel `net/ipv4/tcp_output.c`.
pub fn assist_tcp(socket: &impl AsFd, plan: &Plan) -> io::Result<()> {
    let lowat = plan.quantum.get().max(LEAST_LOWAT);
    let lowat = i32::try_from(lowat).unwrap_or(i32::MAX);
    set(socket, "TCP_NOTSENT_LOWAT", libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, &lowat.to_ne_bytes())?;
    match (plan.peak, plan.framing) {
        (Some(peak), Framing::Stream { header, segment }) => {
            let payload =
                peak.rate.scale_up(Ratio { numerator: segment, denominator: segment.saturating_add(header) });
            let rate = payload.scale_up(Ratio { numerator: 9, denominator: 8 });
            pace(socket, Some(rate))
        }
        _ => pace(socket, None),
    }
}

/// Takes the kernel's help back: a socket that is no longer shaped.
///
/// - **Errors**: what `setsockopt` answered, naming the option.
pub fn release_tcp(socket: &impl AsFd) -> io::Result<()> {
    pace(socket, None)
}

fn pace(socket: &impl AsFd, rate: Option<Rate>) -> io::Result<()> {
    let rate = rate.map_or(u64::MAX, Rate::get);
    set(socket, "SO_MAX_PACING_RATE", libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE, &rate.to_ne_bytes())
}

#[expect(unsafe_code, reason = "neither nix nor std has these two options")]
fn set(socket: &impl AsFd, name: &str, level: i32, option: i32, value: &[u8]) -> io::Result<()> {
    let length = libc::socklen_t::try_from(value.len()).map_err(io::Error::other)?;
    // SAFETY: `value` is valid for `length` bytes for the whole call, which only reads it.
    let result =
        unsafe { libc::setsockopt(socket.as_fd().as_raw_fd(), level, option, value.as_ptr().cast(), length) };
    if result == 0 {
        return Ok(());
    }
    let cause = io::Error::last_os_error();
    Err(io::Error::new(cause.kind(), format!("setsockopt({name}): {cause}")))
}

/// A timer of the kernel's high-resolution kind, for waits where a millisecond matters.
pub(crate) struct PreciseTimer {
    fd: AsyncFd<Fd>,
    armed: Option<Moment>,
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

    /// Ready once `until` has come, never before.
    pub(crate) fn poll_until(
        &mut self,
        cx: &mut std::task::Context<'_>,
        now: Moment,
        until: Moment,
    ) -> std::task::Poll<io::Result<()>> {
        use std::task::{Poll, ready};
        if until <= now {
            self.armed = None;
            return Poll::Ready(Ok(()));
        }
        if self.armed != Some(until) {
            // A wait of zero would disarm the timer: it is at least a nanosecond, as `until > now`.
            let wait = TimeSpec::from_duration(std::time::Duration::from_nanos(until.since(now)));
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
