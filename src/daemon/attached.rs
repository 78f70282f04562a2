//! Sockets that clients have passed: tied to their reservations and marked; and what their ends release.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::holdings::Reservations;
use super::marks::Marks;
use super::saved::HeldSocket;
use super::sockets::{HostSockets, close_elsewhere};
use super::state::DaemonServer;
use crate::control::{Attached, ControlError};
use crate::engine::Admitted;
use crate::failure::KernelFailure;
use crate::linux::socket::SocketMark;
use crate::linux::{EndedSockets, NotASocket, PassedSocket};

/// Ties a reservation to a socket, and sends the socket's packets to the flow's class. The descriptor is closed when this
/// returns.
///
/// - **Errors**: it is not a TCP or UDP socket of this network namespace, or another reservation has it; the kernel's.
pub(super) fn attach(
    (server, sockets): (&DaemonServer, &dyn HostSockets),
    (id, admitted): (&str, &Admitted),
    descriptor: OwnedFd,
) -> Result<Attached, ControlError> {
    let socket = match sockets.inspect(&descriptor) {
        Ok(socket) => socket,
        Err(problem) => {
            close_elsewhere(Some(descriptor));
            return Err(match problem {
                NotASocket::Kernel(failure) => ControlError::Kernel { failure },
                problem => ControlError::Descriptor { problem: problem.to_string() },
            });
        }
    };
    let class = admitted.class;
    let tie =
        SocketTie { holdings: &server.holdings, sockets, id, admitted, socket, descriptor: &descriptor };
    let tied = || tie.make();
    match class {
        Some(class) => server.marks.mark((socket.cookie, class), (id, socket.is_bound), tied)?,
        None => tied()?,
    }
    Ok(Attached { cookie: socket.cookie, class, dscp: admitted.dscp })
}

/// A reservation, and the socket that it is to live with.
struct SocketTie<'a> {
    holdings: &'a Reservations,
    sockets: &'a dyn HostSockets,
    id: &'a str,
    admitted: &'a Admitted,
    socket: PassedSocket,
    descriptor: &'a OwnedFd,
}

impl SocketTie<'_> {
    /// Ties them before the descriptor is closed, so that the end of the socket cannot be missed.
    fn make(&self) -> Result<(), ControlError> {
        let Self { holdings, sockets, id, admitted, socket, descriptor } = *self;
        let held = HeldSocket { cookie: socket.cookie, is_listed: socket.is_bound };
        if !holdings.attach(id, held) {
            let problem = "another reservation has this socket".to_owned();
            return Err(ControlError::Descriptor { problem });
        }
        // A flow without a class leaves the socket as it is: without privileges nothing could be set.
        if admitted.class.is_none() && admitted.dscp.is_none() {
            return Ok(());
        }
        let mark = SocketMark { class: admitted.class, dscp: admitted.dscp };
        sockets.mark((socket, descriptor), mark).map_err(|failure| {
            holdings.detach(id);
            ControlError::Kernel { failure }
        })
    }
}

/// Releases the reservations whose sockets end, until the kernel reports no more ends.
///
/// - **Errors**: the kernel's.
pub(super) async fn follow_ends(server: Arc<DaemonServer>) -> Result<(), KernelFailure> {
    let (sockets, holdings, marks) = (&*server.sockets, &*server.holdings, &server.marks);
    tokio::select! {
        biased;
        failed = follow_reports(sockets, holdings, marks) => failed,
        () = marks.follow(sockets, holdings) => Ok(()),
    }
}

async fn follow_reports(
    sockets: &dyn HostSockets,
    holdings: &Reservations,
    marks: &Marks,
) -> Result<(), KernelFailure> {
    let mut ended = sockets.ended();
    loop {
        let reported = tokio::select! {
            biased;
            reported = &mut ended => reported?,
            () = holdings.doubted() => {
                resync(sockets, holdings, marks).await?;
                continue;
            }
        };
        // What has come meanwhile waits in the kernel's queue.
        ended = sockets.ended();
        match reported {
            EndedSockets::Cookies(cookies) => {
                drop(holdings.sockets_ended(&cookies));
                marks.ended(&cookies);
            }
            EndedSockets::Overrun => resync(sockets, holdings, marks).await?,
        }
    }
}

/// Releases the reservations whose sockets have ended without a report.
async fn resync(
    sockets: &dyn HostSockets,
    holdings: &Reservations,
    marks: &Marks,
) -> Result<(), KernelFailure> {
    // Before the kernel is asked: a socket that comes meanwhile is not looked for.
    let (known, marked) = (holdings.cookies(), marks.cookies());
    let live = sockets.live().await?;
    holdings.keep_live(&known, &live);
    marks.keep_live(&marked, &live);
    Ok(())
}
