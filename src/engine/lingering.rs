//! Data that a connection has accepted and its peer has not acknowledged.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use super::clock;
use crate::linux::socket;

/// What has to leave a socket before its flow's reservation is released.
#[non_exhaustive]
pub enum Lingering {
    /// Nothing: the reservation is released at once.
    Nothing,
    /// Bytes that are in the send queue of this stream.
    Tcp(Arc<TcpStream>),
    /// The data of this TCP socket.
    Descriptor(Arc<OwnedFd>),
}

/// How long data may take to be acknowledged after the connection was dropped.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often the socket is checked.
const STEP: Duration = Duration::from_millis(5);

impl Lingering {
    /// The same, or nothing where the peer has acknowledged everything already.
    pub(super) fn left(self) -> Self {
        let over = match &self {
            Self::Nothing => true,
            Self::Tcp(stream) => is_over(&**stream),
            Self::Descriptor(descriptor) => is_over(&**descriptor),
        };
        if over { Self::Nothing } else { self }
    }

    /// Waits until the peer has acknowledged everything, two seconds at most.
    pub async fn finish(self) {
        match self {
            Self::Nothing => {}
            Self::Tcp(stream) => drained(&*stream).await,
            Self::Descriptor(descriptor) => drained(&*descriptor).await,
        }
    }
}

/// Whether everything is acknowledged. Then only the FIN is left, which is sent here.
fn is_over(stream: &impl AsFd) -> bool {
    socket::unacknowledged(stream).is_ok_and(|bytes| bytes == 0) && {
        // A socket that is not connected any more has no end to send.
        let _ = socket::shutdown_write(stream);
        true
    }
}

async fn drained(stream: &impl AsFd) {
    // A socket that is not connected any more has nothing left to send.
    if socket::shutdown_write(stream).is_err() {
        return;
    }
    let deadline = clock::now() + PATIENCE;
    while socket::unacknowledged(stream).is_ok_and(|bytes| bytes > 0) && clock::now() < deadline {
        tokio::time::sleep(STEP).await;
    }
}
