//! The socket of a flow, as far as its peer can be seen by it.

use std::os::fd::BorrowedFd;
use std::sync::{Arc, Weak};

use flowspec::Micros;
use tokio::net::TcpStream;

use crate::linux::peer::{
    PeerCounters, PeerOptions, peer_counters, restore_peer_options, set_user_timeout, watch_peer,
};

/// The socket by which a flow's peer is seen. It does not keep a connection open.
#[derive(Clone)]
#[non_exhaustive]
pub enum PeerSocket {
    /// A TCP stream.
    Tcp(Weak<TcpStream>),
    /// A TCP socket of another owner.
    Descriptor(Arc<WithDescriptor>),
    /// Datagrams: how much has passed so far in the direction that is reserved.
    Datagrams(Arc<dyn Fn() -> u64 + Send + Sync>),
}

/// Calls a function with the socket's descriptor, unless the socket is gone.
pub type WithDescriptor = dyn Fn(&mut dyn FnMut(BorrowedFd<'_>)) + Send + Sync;

/// A time after which the kernel ends a connection at its next probe.
const AT_ONCE: Micros = Micros::new(1000);

/// Calls a function with the TCP socket, where it is still there.
macro_rules! with {
    ($socket:expr, $call:expr) => {
        match $socket {
            PeerSocket::Tcp(stream) => stream.upgrade().and_then(|stream| $call(&*stream).ok()),
            PeerSocket::Descriptor(with) => {
                let mut result = None;
                with(&mut |fd| result = $call(&fd).ok());
                result
            }
            PeerSocket::Datagrams(_) => None,
        }
    };
}

impl PeerSocket {
    /// What is seen of the peer now; `None` where the socket is gone.
    pub(super) fn counters(&self) -> Option<PeerCounters> {
        match self {
            // Sending is the only sign of life that a datagram flow gives.
            Self::Datagrams(passed) => {
                Some(PeerCounters { received: passed(), unanswered: true, ..PeerCounters::default() })
            }
            tcp => with!(tcp, peer_counters),
        }
    }

    /// Has the kernel end the connection once its peer is dead; `None` for datagrams and where that has failed.
    pub(super) fn watch(&self, dead_after: Micros) -> Option<PeerOptions> {
        with!(self, |socket| watch_peer(socket, dead_after))
    }

    /// Restores what [`watch`](Self::watch) has changed. A socket that is gone has nothing to restore.
    pub(super) fn restore(&self, before: PeerOptions) {
        let _ = with!(self, |socket| restore_peer_options(socket, before));
    }

    /// Limits how long the peer may be silent or its window be closed.
    pub(super) fn limit(&self, timeout: Option<Micros>) {
        // A socket that is gone needs no limit.
        let _ = with!(self, |socket| set_user_timeout(socket, timeout));
    }

    /// Ends the connection at its next probe.
    pub(super) fn give_up(&self) {
        self.limit(Some(AT_ONCE));
    }
}
