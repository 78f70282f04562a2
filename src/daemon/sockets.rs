//! The sockets of a network namespace, as the daemon asks the kernel about them.

use std::collections::{BTreeMap, HashSet};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::engine::KernelFuture;
use crate::failure::KernelFailure;
use crate::linux::socket::SocketMark;
use crate::linux::{EndedSockets, NotASocket, PassedSocket, SocketEnds, live_sockets, socket_priorities};

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

    /// The same cookies, each with the SO_PRIORITY of its socket, by which its packets find their class.
    fn priorities(&self) -> KernelFuture<BTreeMap<u64, u32>>;

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
        Box::pin(elsewhere(live_sockets))
    }

    fn priorities(&self) -> KernelFuture<BTreeMap<u64, u32>> {
        Box::pin(elsewhere(socket_priorities))
    }

    fn ended(&self) -> KernelFuture<EndedSockets> {
        let ends = Arc::clone(&self.0);
        Box::pin(async move { ends.next().await })
    }
}

/// Calls on a thread that may block.
async fn elsewhere<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, KernelFailure> + Send + 'static,
) -> Result<T, KernelFailure> {
    match tokio::task::spawn_blocking(call).await {
        Ok(result) => result,
        // The runtime is shutting down.
        Err(_) => std::future::pending().await,
    }
}

/// Closes descriptors that may be anything: the file system of a file decides how long its close takes.
pub(super) fn close_elsewhere(descriptors: impl IntoIterator<Item = OwnedFd>) {
    for descriptor in descriptors {
        drop(tokio::task::spawn_blocking(move || drop(descriptor)));
    }
}
