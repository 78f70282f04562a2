//! Signals that end a command in order.

use tokio::signal::unix::{SignalKind, signal};

use super::failure::Exit;

/// Catches SIGINT and SIGTERM from the call on, not from the first poll: one that comes while a command starts ends it once it
/// has started. Gives the exit code of the one that arrives.
pub(super) fn caught() -> impl Future<Output = Exit> {
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    async move {
        let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
            // Without handlers the signals end the process.
            return std::future::pending().await;
        };
        tokio::select! {
            _ = interrupt.recv() => Exit::Interrupted,
            _ = terminate.recv() => Exit::Terminated,
        }
    }
}

/// Waits for SIGINT or SIGTERM, and gives the exit code of the one that arrives.
pub(super) async fn signalled() -> Exit {
    caught().await
}
