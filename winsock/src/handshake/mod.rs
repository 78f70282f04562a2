//! The connect-data handshake: how data and flow specifications of a connect call reach the acceptor.
//!
//! The caller sends an [`Offer`] over the new TCP connection and waits for the [`CalleeAnswer`]; the program's own data
//! follows. Both ends need sockets of a catalogue entry with XP1_CONNECT_DATA. `message` is the pure part; this file
//! moves messages over sockets, each within a time limit.
//!
//! # Types
//!
//! - **Messages**: [`Offer`] and [`CalleeAnswer`]; a [`MessageError`] where bytes are neither.
//! - **At the listener**: an [`OfferQueue`] of [`OfferedConnection`]s, the connections whose offers have arrived.
//!
//! # Order of calls
//!
//! - The caller: [`send_offer`], and [`directions_of_answer`] for what the acceptor has reserved.
//! - The listener: [`receive_offers`] as long as it listens; for each connection [`OfferQueue::take_first`], then
//!   [`send_answer`] with [`status_of_acceptor`], or [`OfferQueue::put_back`] where the acceptor defers.

mod message;
mod queue;

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use flowspec::{Both, Errno, Wsa};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub use message::{CalleeAnswer, MAX_CONNECT_DATA, MessageError, Offer};
use message::{HEAD, MessageKind, body_length};
pub(crate) use queue::{OfferQueue, OfferedConnection};

use super::Result;
use super::blocking::watch;
use super::descriptor::Watched;
use crate::sys;

/// How long a caller waits for the answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a listener waits for the offer of a new connection.
const OFFER_TIMEOUT: Duration = Duration::from_secs(5);

/// The most connections whose offers are awaited at once; others wait in the kernel's queue.
const MAX_UNREAD: usize = 128;

/// Accepts connections and reads their offers, concurrently, so that a caller that stalls delays no other. Ends when
/// the listener is shut down. `on_offer` is called after each offer.
pub(crate) async fn receive_offers(
    listener: Watched,
    offers: Arc<OfferQueue>,
    on_offer: impl Fn() + Clone + Send + 'static,
) {
    let slots = Arc::new(Semaphore::new(MAX_UNREAD));
    // Dropped with this future, which ends the tasks.
    let mut readers = JoinSet::new();
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let Ok(mut guard) = listener.readable().await else { return };
        while readers.try_join_next().is_some() {}
        match sys::accept(listener.get_ref()) {
            Ok((fd, peer)) => {
                let (offers, on_offer) = (Arc::clone(&offers), on_offer.clone());
                readers.spawn(async move {
                    let read = tokio::time::timeout(OFFER_TIMEOUT, read_offer(fd)).await;
                    drop(slot);
                    if let Ok(Some((fd, offer))) = read {
                        offers.add(OfferedConnection { fd, peer, offer });
                        on_offer();
                    }
                });
            }
            Err(Errno::EAGAIN) => guard.clear_ready(),
            // The listener was shut down.
            Err(Errno::EINVAL) => return,
            Err(_) => {}
        }
    }
}

/// Sends an offer and waits for the answer.
///
/// - **Errors**: WSAETIMEDOUT; WSAECONNREFUSED where the peer answers with something else; WSAEOPNOTSUPP for a rate
///   that FLOWSPEC does not hold.
pub(crate) async fn send_offer(connection: &AsyncFd<OwnedFd>, offer: &Offer) -> Result<CalleeAnswer> {
    let bytes = offer.write().map_err(|_| Wsa::Eopnotsupp)?;
    let exchange = async {
        send_all(connection, &bytes).await?;
        let body = read_body(connection, MessageKind::Answer).await?;
        CalleeAnswer::read(&body).ok()
    };
    match tokio::time::timeout(ANSWER_TIMEOUT, exchange).await {
        Err(_) => Err(Wsa::Etimedout),
        Ok(None) => Err(Wsa::Econnrefused),
        Ok(Some(answer)) => Ok(answer),
    }
}

/// The status of an answer without a refusal, which tells the caller of the acceptor's reservation. `held` is from the
/// acceptor's side.
pub(crate) fn status_of_acceptor(held: Both<bool>) -> Option<Wsa> {
    match (held.receiving, held.sending) {
        (true, true) => Some(Wsa::QosRequestConfirmed),
        (true, false) => Some(Wsa::QosReceivers),
        (false, true) => Some(Wsa::QosSenders),
        (false, false) => None,
    }
}

/// The directions, from the caller's side, for which an acceptor with this status has reserved.
pub(crate) fn directions_of_answer(status: Wsa) -> Both<bool> {
    Both {
        sending: matches!(status, Wsa::QosRequestConfirmed | Wsa::QosReceivers),
        receiving: matches!(status, Wsa::QosRequestConfirmed | Wsa::QosSenders),
    }
}

/// Sends an answer, which the send queue of a new connection holds. Where the caller is gone nothing is sent.
pub(crate) fn send_answer(fd: &impl AsRawFd, answer: &CalleeAnswer) {
    let bytes = answer.write();
    let _ = sys::send(fd, bytes[..].into(), sys::MessageFlags::default());
}

/// Reads the offer of a new connection, and returns the connection with it.
async fn read_offer(connection: OwnedFd) -> Option<(OwnedFd, Offer)> {
    let watched = watch(connection, Interest::READABLE).ok()?;
    let body = read_body(&watched, MessageKind::Offer).await?;
    Some((watched.into_inner(), Offer::read(&body).ok()?))
}

/// Reads a message, and no byte of what follows it.
async fn read_body(connection: &AsyncFd<OwnedFd>, expected: MessageKind) -> Option<Vec<u8>> {
    let mut head = [0; HEAD];
    receive_all(connection, &mut head).await?;
    let mut body = vec![0; body_length(&head, expected).ok()?];
    receive_all(connection, &mut body).await?;
    Some(body)
}

/// Fills a buffer; `None` where the connection ends before.
async fn receive_all(connection: &AsyncFd<OwnedFd>, into: &mut [u8]) -> Option<()> {
    let mut filled = 0;
    while filled < into.len() {
        let mut guard = connection.readable().await.ok()?;
        let rest = &mut into[filled..];
        match sys::receive_stream(connection.get_ref(), rest.into(), sys::MessageFlags::default()) {
            Ok(0) => return None,
            Ok(received) => filled += received,
            Err(Errno::EAGAIN) => guard.clear_ready(),
            Err(Errno::EINTR) => {}
            Err(_) => return None,
        }
    }
    Some(())
}

/// Sends everything; `None` where the connection ends before.
async fn send_all(connection: &AsyncFd<OwnedFd>, bytes: &[u8]) -> Option<()> {
    let mut sent = 0;
    while sent < bytes.len() {
        let mut guard = connection.writable().await.ok()?;
        match sys::send(connection.get_ref(), bytes[sent..].into(), sys::MessageFlags::default()) {
            Ok(passed) => sent += passed,
            Err(Errno::EAGAIN) => guard.clear_ready(),
            Err(Errno::EINTR) => {}
            Err(_) => return None,
        }
    }
    Some(())
}
