//! Descriptors that are passed over a Unix socket.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

/// Sends bytes on a connected Unix socket without waiting, and a copy of a descriptor with the first of them. Says how many
/// bytes were sent; the descriptor is sent with any number of them.
///
/// - **Errors**: `sendmsg`; EPIPE, without a signal, where the peer is gone.
/// - **Source**: unix(7), SCM_RIGHTS.
pub fn send_with_descriptor(
    socket: &impl AsFd,
    bytes: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<usize> {
    let descriptors: Vec<_> = descriptor.iter().map(AsRawFd::as_raw_fd).collect();
    let control = [ControlMessage::ScmRights(&descriptors)];
    let control = if descriptors.is_empty() { &[] } else { &control[..] };
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    let sent = sendmsg::<()>(socket.as_fd().as_raw_fd(), &[IoSlice::new(bytes)], control, flags, None)?;
    Ok(sent)
}
