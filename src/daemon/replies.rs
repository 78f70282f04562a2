//! Replies on a connection, and the end of what its client sends.

use std::io;

use serde::Serialize;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::control::limits::WRITE_TIMEOUT;
use crate::control::{ControlError, Reply, encode};

/// Sends replies on a connection.
pub(super) struct Replies<'a> {
    pub(super) stream: &'a UnixStream,
}

/// Tells that the client has closed its end.
#[derive(Clone)]
pub(super) struct Ended(pub(super) watch::Receiver<bool>);

impl Ended {
    /// Waits until the client has closed its end.
    pub(super) async fn wait(&mut self) {
        // A closed channel is the end as well.
        let _ = self.0.wait_for(|ended| *ended).await;
    }
}

impl Replies<'_> {
    /// Sends a reply.
    ///
    /// - **Errors**: the peer does not read, or has closed the connection.
    pub(super) async fn send(&self, reply: &impl Serialize) -> io::Result<()> {
        let bytes = encode(reply)?;
        timeout(WRITE_TIMEOUT, self.write(&bytes)).await?
    }

    async fn write(&self, mut rest: &[u8]) -> io::Result<()> {
        while !rest.is_empty() {
            self.stream.writable().await?;
            match self.stream.try_write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Sends an error. `false` where the connection cannot go on.
pub(super) async fn send_error(replies: &Replies<'_>, error: &ControlError) -> bool {
    match Reply::error(error) {
        Ok(reply) => replies.send(&reply).await.is_ok(),
        Err(_) => false,
    }
}

/// Tells a client why it is not served.
pub(super) fn refuse(stream: &UnixStream, error: &ControlError) {
    // The send buffer of a new connection is empty; a client that is gone needs no reason.
    if let Ok(bytes) = Reply::error(error).and_then(|reply| encode(&reply)) {
        let _ = stream.try_write(&bytes);
    }
}
