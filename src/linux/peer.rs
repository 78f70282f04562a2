//! The peer of a TCP socket: what the kernel knows of it, and the options by which it finds out that the peer is gone.

use std::os::fd::AsFd;

use flowspec::Micros;
use nix::sys::socket::{GetSockOpt, SetSockOpt, getsockopt, setsockopt, sockopt};

use super::socket::tcp_info;
use crate::failure::{KernelCall, KernelFailure};

/// What the kernel knows of a TCP peer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PeerCounters {
    /// The connection has failed or ended.
    pub closed: bool,
    /// How many bytes the peer has acknowledged.
    pub acknowledged: u64,
    /// How many segments have come from the peer.
    pub received: u64,
    /// Whether data waits that the peer has not acknowledged.
    pub waiting: bool,
    /// Whether data waits since the peer's window is too small: the kernel probes the window in place of sending.
    pub window_closed: bool,
    /// Whether the kernel has sent something again, or probed, without an answer.
    pub unanswered: bool,
}

/// The options that [`watch_peer`] changes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PeerOptions {
    keepalive: bool,
    /// In seconds.
    idle: u32,
    /// In seconds.
    interval: u32,
    /// In milliseconds; 0 is the system's.
    user_timeout: u32,
}

/// The state of a closed connection. Source: `net/tcp_states.h`.
const TCP_CLOSE: u8 = 7;

/// What the kernel knows of the socket's peer.
///
/// - **Errors**: `getsockopt`.
/// - **Source**: tcp(7), TCP_INFO.
pub fn peer_counters(socket: &impl AsFd) -> Result<PeerCounters, KernelFailure> {
    let info =
        tcp_info(socket).map_err(|cause| KernelCall("getsockopt(TCP_INFO)").failed("socket", cause))?;
    let (unacknowledged, unsent) = (info.tcpi_unacked > 0, info.tcpi_notsent_bytes > 0);
    let waiting = unacknowledged || unsent;
    Ok(PeerCounters {
        closed: info.tcpi_state == TCP_CLOSE,
        acknowledged: info.tcpi_bytes_acked,
        received: u64::from(info.tcpi_segs_in),
        waiting,
        window_closed: (unsent && !unacknowledged) || (waiting && info.tcpi_snd_wnd == 0),
        unanswered: info.tcpi_retransmits > 0 || info.tcpi_probes > 0,
    })
}

/// From now on the kernel ends the connection with ETIMEDOUT once nothing was heard of the peer for so long, though
/// data, or a probe of an idle connection, waits for an answer. Gives the options as they were.
///
/// TCP_USER_TIMEOUT counts a closed window as well: [`set_user_timeout`] lifts it meanwhile.
///
/// - **Errors**: `getsockopt` and `setsockopt`.
/// - **Source**: tcp(7), TCP_USER_TIMEOUT, TCP_KEEPIDLE, TCP_KEEPINTVL; kernel `net/ipv4/tcp_timer.c`.
pub fn watch_peer(socket: &impl AsFd, dead_after: Micros) -> Result<PeerOptions, KernelFailure> {
    let before = peer_options(socket)?;
    // The third unanswered probe of an idle connection is due when the timeout is over.
    let step = u32::try_from(dead_after.get() / 3_000_000).unwrap_or(u32::MAX).max(1);
    let user_timeout = milliseconds(dead_after);
    set_options(socket, PeerOptions { keepalive: true, idle: step, interval: step, user_timeout })?;
    Ok(before)
}

/// The options by which the kernel finds out that the socket's peer is gone.
///
/// - **Errors**: `getsockopt`.
pub fn peer_options(socket: &impl AsFd) -> Result<PeerOptions, KernelFailure> {
    Ok(PeerOptions {
        keepalive: get(socket, sockopt::KeepAlive, "SO_KEEPALIVE")?,
        idle: get(socket, sockopt::TcpKeepIdle, "TCP_KEEPIDLE")?,
        interval: get(socket, sockopt::TcpKeepInterval, "TCP_KEEPINTVL")?,
        user_timeout: get(socket, sockopt::TcpUserTimeout, "TCP_USER_TIMEOUT")?,
    })
}

/// Sets the options that [`watch_peer`] has given.
///
/// - **Errors**: `setsockopt`.
pub fn restore_peer_options(socket: &impl AsFd, before: PeerOptions) -> Result<(), KernelFailure> {
    set_options(socket, before)
}

/// Limits how long sent data may be unacknowledged, and a window closed; `None` is the system's limit.
///
/// - **Errors**: `setsockopt`.
pub fn set_user_timeout(socket: &impl AsFd, timeout: Option<Micros>) -> Result<(), KernelFailure> {
    set(socket, sockopt::TcpUserTimeout, timeout.map_or(0, milliseconds), "TCP_USER_TIMEOUT")
}

/// Rounded up: a timeout is not shorter than was asked for.
fn milliseconds(time: Micros) -> u32 {
    u32::try_from(time.get().div_ceil(1000)).unwrap_or(u32::MAX)
}

fn set_options(socket: &impl AsFd, options: PeerOptions) -> Result<(), KernelFailure> {
    set(socket, sockopt::TcpUserTimeout, options.user_timeout, "TCP_USER_TIMEOUT")?;
    set(socket, sockopt::TcpKeepIdle, options.idle, "TCP_KEEPIDLE")?;
    set(socket, sockopt::TcpKeepInterval, options.interval, "TCP_KEEPINTVL")?;
    set(socket, sockopt::KeepAlive, options.keepalive, "SO_KEEPALIVE")
}

fn get<O: GetSockOpt>(socket: &impl AsFd, option: O, name: &str) -> Result<O::Val, KernelFailure> {
    getsockopt(socket, option)
        .map_err(|errno| KernelCall(&format!("getsockopt({name})")).failed("socket", errno))
}

fn set<O>(socket: &impl AsFd, option: O, value: O::Val, name: &str) -> Result<(), KernelFailure>
where
    O: SetSockOpt<Val: Sized>,
{
    setsockopt(socket, option, &value)
        .map_err(|errno| KernelCall(&format!("setsockopt({name})")).failed("socket", errno))
}
