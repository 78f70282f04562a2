//! The end of a connection that still has something to send.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use super::clock;
use crate::linux::socket;

/// What is left of a flow after its connection: perhaps a socket with data on its way.
pub enum Lingering {
    /// Nothing is to be waited for.
    Nothing,
    /// All data leaves before the class goes.
    Tcp(Arc<TcpStream>),
    /// The same of a descriptor.
    Descriptor(Arc<OwnedFd>),
}

/// How long data may take to be acknowledged after the connection was dropped.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often that is looked at.
const STEP: Duration = Duration::from_millis(5);

impl Lingering {
    /// What there is to wait for: nothing where the peer has everything already.
    pub(super) fn left(self) -> Self {
        let over = match &self {
            Self::Nothing => true,
            Self::Tcp(stream) => is_over(&**stream),
            Self::Descriptor(descriptor) => is_over(&**descriptor),
        };
        if over { Self::Nothing } else { self }
    }

    /// Waits until the peer has everything, or long enough.
    pub async fn finish(self) {
        match self {
            Self::Nothing => {}
            Self::Tcp(stream) => drained(&*stream).await,
            Self::Descriptor(descriptor) => drained(&*descriptor).await,
        }
    }
}

/// Whether everything has been acknowledged, so that the end alone is sent, here.
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
