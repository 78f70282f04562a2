//! Signals that end a command in order.

use std::sync::mpsc;

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

/// Takes SIGHUP, SIGINT and SIGTERM from now on, for a command without a runtime. Gives the exit code of the first one that has
/// arrived.
///
/// - **Errors**: no thread or no runtime for it.
pub(super) fn taken() -> std::io::Result<mpsc::Receiver<Exit>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (hangup, caught) = {
        let _entered = runtime.enter();
        (signal(SignalKind::hangup())?, caught())
    };
    let (sender, receiver) = mpsc::channel();
    let wait = async move {
        let mut hangup = hangup;
        tokio::select! {
            exit = caught => exit,
            _ = hangup.recv() => Exit::HungUp,
        }
    };
    // The receiver may have gone.
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || sender.send(runtime.block_on(wait)))?;
    Ok(receiver)
}

/// Waits for SIGINT or SIGTERM, and gives the exit code of the one that arrives.
pub(super) async fn signalled() -> Exit {
    caught().await
}
