//! The stream of notices about the flows of this process.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::connection::Connection;
use super::error::DaemonError;
use crate::control::{Call, Notice, Reply, Request, Wait};

/// Answered by the first notice: from then on none is missed.
pub(super) type Listening = oneshot::Receiver<Result<(), DaemonError>>;

/// Asks for the notices about everything that this process has reserved.
///
/// - **Errors**: `socket` or `connect`.
pub(super) async fn listen(
    path: &Path,
    on_notice: impl Fn(Notice) + Send + Sync + 'static,
) -> Result<(Arc<Connection>, Listening), DaemonError> {
    let (begin, listening) = oneshot::channel();
    let begin = Mutex::new(Some(begin));
    let on_reply = move |reply: Reply| {
        let notice = reply.parameters::<Notice>();
        let begun = match notice {
            Ok(Notice::Listening {}) => Ok(()),
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
    let connection = Connection::open(path, Some(Box::new(on_reply))).await?;
    connection.send(&Call::new(&Request::Wait(Wait::default())), None, None);
    Ok((connection, listening))
}
