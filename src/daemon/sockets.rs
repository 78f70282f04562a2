//! Sockets that clients pass: checked, marked, and given back at once; and the end of the reservations whose sockets end.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::holdings::Reservations;
use super::saved::HeldSocket;
use crate::control::{Attached, ControlError};
use crate::engine::Admitted;
use crate::engine::KernelFuture;
use crate::failure::KernelFailure;
use crate::linux::socket::SocketMark;
use crate::linux::{EndedSockets, NotASocket, PassedSocket, SocketEnds, live_sockets};

/// The sockets of a network namespace, as the daemon asks the kernel about them. `SystemSockets` are the real ones; tests
/// have their own.
pub trait HostSockets: Send + Sync {
    /// What a descriptor is that a client has passed. Does not block.
    ///
    /// - **Errors**: it is not a TCP or UDP socket of this namespace, or listens.
    fn inspect(&self, descriptor: &OwnedFd) -> Result<PassedSocket, NotASocket>;

    /// Sends the packets of a socket with this mark from now on.
    ///
    /// - **Errors**: the kernel's.
    fn mark(&self, socket: (PassedSocket, &OwnedFd), mark: SocketMark) -> Result<(), KernelFailure>;

    /// The cookies of all sockets that have a peer or a local port.
    fn live(&self) -> KernelFuture<HashSet<u64>>;

    /// The next sockets that end.
    fn ended(&self) -> KernelFuture<EndedSockets>;
}

/// The sockets of the network namespace in which it was opened.
pub(super) struct SystemSockets(Arc<SocketEnds>);

impl SystemSockets {
    /// Reports what ends from now on.
    ///
    /// - **Errors**: the kernel's.
    pub(super) fn open() -> Result<Self, KernelFailure> {
        Ok(Self(Arc::new(SocketEnds::open()?)))
    }
}

impl HostSockets for SystemSockets {
    fn inspect(&self, descriptor: &OwnedFd) -> Result<PassedSocket, NotASocket> {
        PassedSocket::inspect(descriptor)
    }

    fn mark(
        &self,
        (socket, descriptor): (PassedSocket, &OwnedFd),
        mark: SocketMark,
    ) -> Result<(), KernelFailure> {
        socket.mark(descriptor, mark)
    }

    fn live(&self) -> KernelFuture<HashSet<u64>> {
        Box::pin(async {
            match tokio::task::spawn_blocking(live_sockets).await {
                Ok(live) => live,
                // The runtime is shutting down.
                Err(_) => std::future::pending().await,
            }
        })
    }

    fn ended(&self) -> KernelFuture<EndedSockets> {
        let ends = Arc::clone(&self.0);
        Box::pin(async move { ends.next().await })
    }
}

/// Ties a reservation to a socket, and sends the socket's packets to the flow's class. The descriptor is closed when this
/// returns.
///
/// - **Errors**: it is not a TCP or UDP socket of this network namespace, or another reservation has it; the kernel's.
pub(super) fn attach(
    (holdings, sockets): (&Reservations, &dyn HostSockets),
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
    // Known before the descriptor is closed, so that its end cannot be missed.
    let held = HeldSocket { cookie: socket.cookie, is_listed: socket.is_bound };
    if !holdings.attach(id, held) {
        let problem = "another reservation has this socket".to_owned();
        return Err(ControlError::Descriptor { problem });
    }
    let mark = SocketMark { class: admitted.class, dscp: admitted.dscp };
    // A flow without a class leaves the socket as it is: without privileges nothing could be set.
    let marked = if admitted.class.is_some() || admitted.dscp.is_some() {
        sockets.mark((socket, &descriptor), mark)
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
pub(super) async fn follow_ends(
    sockets: Arc<dyn HostSockets>,
    holdings: Arc<Reservations>,
) -> Result<(), KernelFailure> {
    let mut ended = sockets.ended();
    loop {
        let reported = tokio::select! {
            biased;
            reported = &mut ended => reported?,
            () = holdings.doubted() => {
                resync(&*sockets, &holdings).await?;
                continue;
            }
        };
        // What has come meanwhile waits in the kernel's queue.
        ended = sockets.ended();
        match reported {
            EndedSockets::Cookies(cookies) => drop(holdings.sockets_ended(&cookies)),
            EndedSockets::Overrun => resync(&*sockets, &holdings).await?,
        }
    }
}

/// Releases the reservations whose sockets have ended without a report.
async fn resync(sockets: &dyn HostSockets, holdings: &Reservations) -> Result<(), KernelFailure> {
    // Before the kernel is asked: a socket that comes meanwhile is not looked for.
    let known: HashSet<u64> = holdings.cookies();
    holdings.keep_live(&known, &sockets.live().await?);
    Ok(())
}
