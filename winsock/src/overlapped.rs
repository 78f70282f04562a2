//! Overlapped operations: performed by the reactor in the order of their calls, each direction by itself.

use std::future::pending;
use std::sync::Arc;

use flowspec::{Direction, Wsa};
use tokio::io::Interest;

use super::Result;
use super::blocking::without_blocking;
use super::descriptor::Watched;
use super::endpoint::Endpoint;
use super::operations::{Attempt, Completion, PendingOperation};
use super::provider::provider;

impl Endpoint {
    /// Starts an operation that transfers data in this direction, behind those that wait. `completion` is called on the
    /// reactor: with WSA_OPERATION_ABORTED where the socket is closed first, with WSAENOBUFS where too many wait.
    ///
    /// - **Errors**: WSANOTINITIALISED.
    pub(crate) fn start_operation(
        self: &Arc<Self>,
        direction: Direction,
        attempt: Attempt<Self>,
        completion: Completion,
    ) -> Result<()> {
        let provider = provider()?;
        if self.operations.push(direction, PendingOperation::new(attempt, completion)) {
            let this = Arc::clone(self);
            provider.host.spawn(async move { this.perform_operations(direction).await });
        }
        Ok(())
    }

    async fn perform_operations(self: Arc<Self>, direction: Direction) {
        // The descriptor is registered with the reactor once an operation has to wait.
        let mut watched = None;
        while let Some(mut operation) = self.operations.next(direction) {
            let result = self.perform(&mut operation.attempt, direction, &mut watched).await;
            operation.complete(result);
            tokio::task::yield_now().await;
        }
    }

    async fn perform(
        self: &Arc<Self>,
        attempt: &mut Attempt<Self>,
        direction: Direction,
        watched: &mut Option<Watched>,
    ) -> Result<u32> {
        let interest = match direction {
            Direction::Sending => Interest::WRITABLE,
            Direction::Receiving => Interest::READABLE,
        };
        loop {
            if self.is_closed() {
                return Err(Wsa::OperationAborted);
            }
            let guard = match &*watched {
                None => None,
                Some(watched) => {
                    let ready = async {
                        match watched.ready(interest).await {
                            Ok(guard) => guard,
                            // The reactor ends, and this task with it.
                            Err(_) => pending().await,
                        }
                    };
                    tokio::select! {
                        guard = ready => Some(guard),
                        () = self.until_closed() => continue,
                    }
                }
            };
            let (result, credit_delay) = without_blocking(|| attempt(self));
            if result != Err(Wsa::Ewouldblock) {
                return result;
            }
            if let Some(delay) = credit_delay {
                tokio::select! {
                    () = tokio::time::sleep(delay) => {}
                    () = self.until_closed() => {}
                }
            } else if let Some(mut guard) = guard {
                guard.clear_ready();
            } else {
                *watched = Some(self.register(interest)?);
            }
        }
    }
}
