//! Sockets that clients pass: checked, marked, and given back at once; and the end of the reservations whose sockets end.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::holdings::Holdings;
use super::saved::HeldSocket;
use crate::control::{Attached, ControlError};
use crate::engine::Admitted;
use crate::failure::KernelFailure;
use crate::linux::socket::SocketMark;
use crate::linux::{EndedSockets, NotASocket, PassedSocket, SocketEnds, live_sockets};

/// Ties a reservation to a socket, and sends the socket's packets to the flow's class. The descriptor is closed when this
/// returns.
///
/// - **Errors**: it is not a TCP or UDP socket of this network namespace, or another reservation has it; the kernel's.
pub(super) fn attach(
    holdings: &Holdings,
    (id, admitted): (&str, &Admitted),
    descriptor: OwnedFd,
) -> Result<Attached, ControlError> {
    let socket = match PassedSocket::inspect(&descriptor) {
        Ok(socket) => socket,
        Err(problem) => {
            close_elsewhere(Some(descriptor));
            return Err(match problem {
                NotASocket::Kernel(failure) => ControlError::Kernel { failure },
                problem => ControlError::Descriptor { problem: problem.to_string() },
            });
        }
    };
    // Known before the descriptor is closed, so that its end cannot be missed.
    let held = HeldSocket { cookie: socket.cookie, is_listed: socket.is_bound };
    if !holdings.attach(id, held) {
        let problem = "another reservation has this socket".to_owned();
        return Err(ControlError::Descriptor { problem });
    }
    let mark = SocketMark { class: admitted.class, dscp: admitted.dscp };
    // A flow without a class leaves the socket as it is: without privileges nothing could be set.
    let marked = if admitted.class.is_some() || admitted.dscp.is_some() {
        socket.mark(&descriptor, mark)
    } else {
        Ok(())
    };
    if let Err(failure) = marked {
        holdings.detach(id);
        return Err(ControlError::Kernel { failure });
    }
    Ok(Attached { cookie: socket.cookie, class: admitted.class, dscp: admitted.dscp })
}

/// Closes descriptors that may be anything: the file system of a file decides how long its close takes.
pub(super) fn close_elsewhere(descriptors: impl IntoIterator<Item = OwnedFd>) {
    for descriptor in descriptors {
        drop(tokio::task::spawn_blocking(move || drop(descriptor)));
    }
}

/// Releases the reservations whose sockets end, until the kernel reports no more ends.
///
/// - **Errors**: the kernel's.
pub(super) async fn follow_ends(ends: SocketEnds, holdings: Arc<Holdings>) -> Result<(), KernelFailure> {
    loop {
        match ends.next().await? {
            EndedSockets::Cookies(cookies) => drop(holdings.sockets_ended(&cookies)),
            EndedSockets::Overrun => resync(&holdings).await?,
        }
    }
}

/// Releases the reservations whose sockets have ended without a report.
async fn resync(holdings: &Arc<Holdings>) -> Result<(), KernelFailure> {
    // Before the kernel is asked: a socket that comes meanwhile is not looked for.
    let known: HashSet<u64> = holdings.cookies();
    let Ok(live) = tokio::task::spawn_blocking(live_sockets).await else { return Ok(()) };
    holdings.keep_live(&known, &live?);
    Ok(())
}
