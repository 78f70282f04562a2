//! The connect-data handshake: how data and flow specifications of a connect call reach the acceptor.
//!
//! The caller sends an [`Offer`] over the new TCP connection and waits for the [`Answer`]; the program's own data
//! follows. Both ends need sockets of a catalogue entry with XP1_CONNECT_DATA. `message` is the pure part, `queue` the
//! connections whose offers have arrived; this file moves messages over sockets, each within a time limit.

mod message;
mod queue;

use std::net::TcpStream as StdStream;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use flowspec::{Errno, Wsa};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

pub use message::{Answer, MAX_CONNECT_DATA, MessageError, Offer};
use message::{HEAD, MessageKind, body_length};
pub(crate) use queue::{OfferQueue, OfferedConnection};

use super::Result;
use crate::sys;

/// How long a caller waits for the answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a listener waits for the offer of a new connection.
const OFFER_TIMEOUT: Duration = Duration::from_secs(5);

/// The most connections whose offers are awaited at once; others wait in the kernel's queue.
const MAX_UNREAD: usize = 128;

/// Accepts connections and reads their offers, concurrently, so that a caller that stalls delays no other. Ends when
/// the listener is shut down or no longer open. `on_offer` is called after each offer.
pub(crate) async fn receive_offers(
    listener: AsyncFd<OwnedFd>,
    offers: Arc<OfferQueue>,
    is_open: impl Fn() -> bool,
    on_offer: impl Fn() + Clone + Send + 'static,
) {
    let slots = Arc::new(Semaphore::new(MAX_UNREAD));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let Ok(mut guard) = listener.readable().await else { return };
        if !is_open() {
            return;
        }
        match sys::accept(listener.get_ref()) {
            Ok((fd, peer)) => {
                let (offers, on_offer) = (Arc::clone(&offers), on_offer.clone());
                tokio::spawn(async move {
                    let offer = tokio::time::timeout(OFFER_TIMEOUT, read_offer(&fd)).await;
                    drop(slot);
                    if let Ok(Some(offer)) = offer {
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
pub(crate) async fn exchange(fd: &OwnedFd, offer: &Offer) -> Result<Answer> {
    let bytes = offer.write().map_err(|_| Wsa::Eopnotsupp)?;
    let exchange = async {
        let mut stream = stream(fd).ok()?;
        stream.write_all(&bytes).await.ok()?;
        let body = read_body(&mut stream, MessageKind::Answer).await?;
        Answer::read(&body).ok()
    };
    match tokio::time::timeout(ANSWER_TIMEOUT, exchange).await {
        Err(_) => Err(Wsa::Etimedout),
        Ok(None) => Err(Wsa::Econnrefused),
        Ok(Some(answer)) => Ok(answer),
    }
}

/// Sends an answer, which the send queue of a new connection holds. Where the caller is gone nothing is sent.
pub(crate) fn send_answer(fd: &OwnedFd, answer: &Answer) {
    let bytes = answer.write();
    let _ = sys::send(fd, bytes[..].into(), sys::MessageFlags::default());
}

async fn read_offer(fd: &OwnedFd) -> Option<Offer> {
    let mut stream = stream(fd).ok()?;
    let body = read_body(&mut stream, MessageKind::Offer).await?;
    Offer::read(&body).ok()
}

/// Reads a message, and no byte of what follows it.
async fn read_body(stream: &mut TcpStream, expected: MessageKind) -> Option<Vec<u8>> {
    let mut head = [0; HEAD];
    stream.read_exact(&mut head).await.ok()?;
    let mut body = vec![0; body_length(&head, expected).ok()?];
    stream.read_exact(&mut body).await.ok()?;
    Some(body)
}

/// The socket as the reactor reads and writes it, on a duplicate of the descriptor.
fn stream(fd: &OwnedFd) -> std::io::Result<TcpStream> {
    let duplicate = StdStream::from(fd.try_clone()?);
    duplicate.set_nonblocking(true)?;
    TcpStream::from_std(duplicate)
}
