//! The set-up exchange on sockets: offering, being offered, and answering, each within its time.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flowspec::{Qos, Wsa};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::Result;
use super::group::Grouping;
use super::provider::provider;
use super::setup::{Answer, HEAD, Kind, Offer, rest_of};
use super::socket::Endpoint;
use super::waiting::watch;
use super::wishes::Wishes;
use crate::sys::raw::{self, Signal};

/// How long a caller waits for its answer.
const CALLERS_PATIENCE: Duration = Duration::from_secs(30);

/// How long one who has connected may take to say what he offers.
const CALLEES_PATIENCE: Duration = Duration::from_secs(5);

/// How many may be about to say it at once; others wait in the kernel's queue.
const MOST_AT_ONCE: usize = 128;

/// How many who have said it may wait to be accepted.
const MOST_OFFERED: usize = 128;

/// Those who have connected to a listener and have said what they offer.
#[derive(Debug)]
pub(super) struct Offered {
    queue: Mutex<VecDeque<Pending>>,
    /// Raised while there are some.
    signal: Signal,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) fd: OwnedFd,
    pub(super) peer: SocketAddr,
    pub(super) offer: Offer,
}

/// What an acceptor is told of a caller.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// Who it is.
    pub peer: SocketAddr,
    /// What it has called.
    pub local: SocketAddr,
    /// What it has brought along.
    pub data: &'a [u8],
    /// What the flow is to get, as the acceptor sees it: its own sending is the caller's receiving.
    pub sqos: Option<Qos>,
    /// What the caller's group is to get, likewise.
    pub gqos: Option<Qos>,
}

/// What an acceptor says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// CF_ACCEPT, on these terms.
    Accept(Box<Accepting>),
    /// CF_REJECT: the caller sees WSAECONNREFUSED.
    Reject,
    /// CF_DEFER: it stays the first.
    Defer,
}

impl Verdict {
    /// CF_ACCEPT, and no more.
    pub fn accept() -> Self {
        Self::Accept(Box::default())
    }
}

impl From<Accepting> for Verdict {
    fn from(terms: Accepting) -> Self {
        Self::Accept(Box::new(terms))
    }
}

/// What an acceptor adds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Accepting {
    /// Data for the caller, at most [`MOST_DATA`](super::MOST_DATA) bytes of it.
    pub callee_data: Vec<u8>,
    /// The group that the new socket is in.
    pub group: Grouping,
    /// What the new socket's flow is to get at this end, in place of what the caller has asked for.
    pub sqos: Option<Qos>,
    /// What is asked for besides.
    pub wishes: Wishes,
}

/// The same flow, seen from the other end.
pub(super) fn swapped(qos: Qos) -> Qos {
    Qos { sending: qos.receiving, receiving: qos.sending }
}

impl Offered {
    fn new() -> Result<Self> {
        let signal = Signal::new().map_err(|error| raw::code(&error))?;
        Ok(Self { queue: Mutex::default(), signal })
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Pending>> {
        // Whole between any two statements that can panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first; the signal says whether there are others.
    pub(super) fn take(&self) -> Option<Pending> {
        let mut queue = self.queue();
        let first = queue.pop_front();
        if queue.is_empty() {
            self.signal.clear();
        }
        first
    }

    /// One that was put off is the first again.
    pub(super) fn put_back(&self, pending: Pending) {
        self.queue().push_front(pending);
        self.signal.raise();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue().is_empty()
    }

    fn add(&self, pending: Pending) {
        let mut queue = self.queue();
        // One too many is dropped: the caller sees a connection that was closed.
        if queue.len() < MOST_OFFERED {
            queue.push_back(pending);
            self.signal.raise();
        }
    }

    pub(super) fn number(&self) -> RawFd {
        self.signal.as_raw_fd()
    }
}

impl Endpoint {
    /// Has the reactor take connections and hear what they offer, so that nobody who stalls is in another's way.
    pub(super) fn hear_offers(self: &Arc<Self>) -> Result<Arc<Offered>> {
        let offered = Arc::new(Offered::new()?);
        let (this, heard) = (Arc::downgrade(self), Arc::clone(&offered));
        raw::set_nonblocking(&*self.fd, true).map_err(|error| raw::code(&error))?;
        let fd = Arc::clone(&self.fd);
        let watched = self.fd.try_clone().map_err(|error| raw::code(&error))?;
        provider()?.spawn(async move {
            let Ok(watched) = watch(watched, Interest::READABLE) else { return };
            drop(fd);
            let room = Arc::new(Semaphore::new(MOST_AT_ONCE));
            loop {
                let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
                // A listener that is closed wakes this by being shut down.
                let Ok(mut guard) = watched.readable().await else { return };
                let Some(this) = this.upgrade().filter(|this| !this.is_closed()) else { return };
                match raw::accept(watched.get_ref()) {
                    Ok((fd, peer)) => {
                        let heard = Arc::clone(&heard);
                        tokio::spawn(async move {
                            let offer = tokio::time::timeout(CALLEES_PATIENCE, hear(&fd)).await;
                            drop(permit);
                            if let Ok(Some(offer)) = offer {
                                heard.add(Pending { fd, peer, offer });
                                this.look();
                            }
                        });
                    }
                    Err(error) if raw::code(&error) == Wsa::Ewouldblock => guard.clear_ready(),
                    Err(error) if raw::code(&error) == Wsa::Einval => return,
                    Err(_) => {}
                }
            }
        });
        Ok(offered)
    }

    /// Offers, and waits for the answer.
    ///
    /// - **Errors**: what the peer answers; WSAETIMEDOUT; WSAECONNREFUSED where it does not speak the exchange.
    pub(super) async fn offer(&self, offer: &Offer) -> Result<Answer> {
        let bytes = offer.write().map_err(|_| Wsa::Eopnotsupp)?;
        let exchange = async {
            let mut stream = stream(&self.fd).ok()?;
            stream.write_all(&bytes).await.ok()?;
            let rest = rest(&mut stream, Kind::Answer).await?;
            Answer::read(&rest).ok()
        };
        match tokio::time::timeout(CALLERS_PATIENCE, exchange).await {
            Err(_) => Err(Wsa::Etimedout),
            Ok(None) => Err(Wsa::Econnrefused),
            Ok(Some(answer)) => Ok(answer),
        }
    }
}

/// What one who has connected offers; nothing where he says something else.
async fn hear(fd: &OwnedFd) -> Option<Offer> {
    let mut stream = stream(fd).ok()?;
    let rest = rest(&mut stream, Kind::Offer).await?;
    Offer::read(&rest).ok()
}

/// A message without its head. Not a byte behind it is read.
async fn rest(stream: &mut TcpStream, due: Kind) -> Option<Vec<u8>> {
    let mut head = [0; HEAD];
    stream.read_exact(&mut head).await.ok()?;
    let mut rest = vec![0; rest_of(&head, due).ok()?];
    stream.read_exact(&mut rest).await.ok()?;
    Some(rest)
}

/// The socket as the reactor reads and writes it, on a descriptor of its own.
fn stream(fd: &OwnedFd) -> std::io::Result<TcpStream> {
    let own = StdStream::from(fd.try_clone()?);
    own.set_nonblocking(true)?;
    TcpStream::from_std(own)
}
