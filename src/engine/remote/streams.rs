//! The stream of notices about the flows of this process.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::connection::DaemonConnection;
use super::error::DaemonError;
use crate::control::{Call, ClientNotice, MethodCall, Reply, WaitCall};

/// Answered by the first notice: from then on none is missed.
pub(super) type FirstNotice = oneshot::Receiver<Result<(), DaemonError>>;

/// Asks for the notices about everything that this process has reserved.
///
/// - **Errors**: `socket` or `connect`.
pub(super) async fn listen(
    path: &Path,
    on_notice: impl Fn(ClientNotice) + Send + Sync + 'static,
) -> Result<(Arc<DaemonConnection>, FirstNotice), DaemonError> {
    let (begin, listening) = oneshot::channel();
    let begin = Mutex::new(Some(begin));
    let on_reply = move |reply: Reply| {
        let notice = reply.parameters::<ClientNotice>();
        let begun = match notice {
            Ok(ClientNotice::Listening {}) => Ok(()),
            Ok(notice) => {
                on_notice(notice);
                return;
            }
            Err(error) => Err(DaemonError::Answered(error)),
        };
        if let Some(begin) = begin.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // The engine may have given up.
            let _ = begin.send(begun);
        }
    };
    let connection = DaemonConnection::open(path, Some(Box::new(on_reply))).await?;
    connection.send(&Call::new(&MethodCall::Wait(WaitCall::default())), None, None);
    Ok((connection, listening))
}
