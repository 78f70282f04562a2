//! Sending and receiving.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use nix::libc;
use nix::sys::socket::{SockaddrLike, SockaddrStorage, setsockopt, sockopt};

use super::buffer::{ReceiveBuffer, SendBuffer};
use super::errno::{Result, check_length, from_nix, size_of_value};
use super::socket::socket_address;

/// How a message is sent or received: the flags of Winsock's send and recv that Linux has as well.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MessageFlags {
    /// MSG_OOB: urgent data.
    pub out_of_band: bool,
    /// MSG_PEEK: received data stays in the queue.
    pub peek: bool,
    /// MSG_DONTROUTE: the message goes to a host on the interface's own network, past the routing table.
    pub dont_route: bool,
}

/// Whether a call may wait in the kernel, on a descriptor that blocks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum KernelWait {
    Never,
    InKernel,
}

impl MessageFlags {
    /// The flags of a call that does not wait.
    pub(super) fn nonblocking_bits(self) -> libc::c_int {
        self.bits(KernelWait::Never)
    }

    fn bits(self, wait: KernelWait) -> libc::c_int {
        let mut bits = libc::MSG_NOSIGNAL;
        for (set, bit) in [
            (wait == KernelWait::Never, libc::MSG_DONTWAIT),
            (self.out_of_band, libc::MSG_OOB),
            (self.peek, libc::MSG_PEEK),
            (self.dont_route, libc::MSG_DONTROUTE),
        ] {
            bits |= if set { bit } else { 0 };
        }
        bits
    }
}

/// Sends as much as fits into the socket's send queue now, and returns how much that is.
///
/// - **Errors**: `send`; EAGAIN where nothing fits.
pub(crate) fn send(socket: &impl AsRawFd, data: SendBuffer<'_>, flags: MessageFlags) -> Result<usize> {
    // SAFETY: the kernel only reads the buffer. Memory of ours is borrowed for the call; memory that a program named
    // may be absent, and the kernel then answers EFAULT.
    let sent = unsafe {
        libc::send(socket.as_raw_fd(), data.start().cast(), data.len(), flags.bits(KernelWait::Never))
    };
    check_length(sent)
}

/// Sends a datagram.
///
/// - **Errors**: `sendto`.
pub(crate) fn send_to(
    socket: &impl AsRawFd,
    data: SendBuffer<'_>,
    flags: MessageFlags,
    to: SocketAddr,
) -> Result<usize> {
    let name = SockaddrStorage::from(to);
    // SAFETY: as for `send`; `name` is valid for reads of its own length.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            data.start().cast(),
            data.len(),
            flags.bits(KernelWait::Never),
            name.as_ptr(),
            name.len(),
        )
    };
    check_length(sent)
}

/// Receives from a stream without waiting, and returns how much; 0 at its end.
///
/// - **Errors**: `recv`; EAGAIN where there is nothing to receive.
pub(crate) fn receive_stream(
    socket: &impl AsRawFd,
    buffer: ReceiveBuffer<'_>,
    flags: MessageFlags,
) -> Result<usize> {
    receive_stream_with(socket, buffer, flags.bits(KernelWait::Never))
}

/// Receives from a stream, and waits in the kernel where the descriptor blocks.
///
/// - **Errors**: `recv`, EINTR among them.
pub(crate) fn receive_stream_waiting(
    socket: &impl AsRawFd,
    buffer: ReceiveBuffer<'_>,
    flags: MessageFlags,
) -> Result<usize> {
    receive_stream_with(socket, buffer, flags.bits(KernelWait::InKernel))
}

fn receive_stream_with(socket: &impl AsRawFd, buffer: ReceiveBuffer<'_>, bits: libc::c_int) -> Result<usize> {
    // SAFETY: memory of ours is borrowed exclusively for the call. Of memory that a program named, it promised that
    // nothing else uses it meanwhile; where it is absent the kernel answers EFAULT.
    let received = unsafe { libc::recv(socket.as_raw_fd(), buffer.start().cast(), buffer.len(), bits) };
    check_length(received)
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Received {
    /// Bytes in the buffer.
    pub(crate) length: usize,
    /// The datagram was longer than the buffer; its end is lost.
    pub(crate) truncated: bool,
    /// The sender, of a datagram.
    pub(crate) from: Option<SocketAddr>,
}

impl Received {
    /// A stream has neither a sender nor a limit to cut a message at.
    pub(crate) const fn stream(length: usize) -> Self {
        Self { length, truncated: false, from: None }
    }
}

/// Receives a datagram, without waiting.
///
/// - **Errors**: `recvmsg`; EAGAIN where there is nothing to receive.
pub(crate) fn receive(
    socket: &impl AsRawFd,
    buffer: ReceiveBuffer<'_>,
    flags: MessageFlags,
) -> Result<Received> {
    receive_with_control(socket, buffer, flags, &mut []).map(|(received, _)| received)
}

/// Receives a datagram, without waiting, and its control data into `control`; returns how many bytes of it there are.
///
/// - **Errors**: `recvmsg`; EAGAIN where there is nothing to receive.
pub(super) fn receive_with_control(
    socket: &impl AsRawFd,
    buffer: ReceiveBuffer<'_>,
    flags: MessageFlags,
    control: &mut [u64],
) -> Result<(Received, usize)> {
    // SAFETY: sockaddr_storage is made of integers, for which all zeroes is a value.
    let mut name: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut part = libc::iovec { iov_base: buffer.start().cast(), iov_len: buffer.len() };
    // SAFETY: msghdr is made of integers and pointers, for which all zeroes is a value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_name = (&raw mut name).cast();
    header.msg_namelen = size_of_value(&name);
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(control);
    // SAFETY: `header` names `name`, `part` and `control`, which live for the whole call; the buffer as for
    // `receive_stream`.
    let received =
        unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags.bits(KernelWait::Never)) };
    let received = Received {
        length: check_length(received)?,
        truncated: header.msg_flags & libc::MSG_TRUNC != 0,
        from: socket_address(&name, header.msg_namelen),
    };
    Ok((received, header.msg_controllen))
}

/// Limits how long a receive waits in the kernel; `None` is no limit. Only a system call, so that a signal handler
/// may make it.
///
/// - **Errors**: `setsockopt`.
pub(crate) fn set_receive_timeout(socket: &impl AsFd, timeout: Option<Duration>) -> Result<()> {
    let micros = timeout.map_or(0, |time| i64::try_from(time.as_micros()).unwrap_or(i64::MAX));
    let time = nix::sys::time::TimeVal::new(micros / 1_000_000, micros % 1_000_000);
    setsockopt(socket, sockopt::ReceiveTimeout, &time).map_err(from_nix)
}
