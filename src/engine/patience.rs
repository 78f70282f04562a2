//! How long a call to the kernel may take: one that takes too long is given up.

use std::future::Future;
use std::time::Duration;

use tokio::time::timeout;

use crate::failure::{Cause, KernelCall, KernelFailure};

/// How long a call to the kernel may take. Longer than a request whose first answer is lost, so that such a request is
/// tried again.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// How many operations of a call take a second more.
const OPERATIONS: usize = 100;

/// How long a call with this many operations may take: whole seconds, rounded down.
pub(super) fn patience(operations: usize) -> Duration {
    let more = u64::try_from(operations / OPERATIONS).unwrap_or(u64::MAX);
    PATIENCE.saturating_add(Duration::from_secs(more))
}

/// The answer to a call about an interface, which is given up after this time.
///
/// - **Errors**: the call's, or [`Cause::Timeout`].
pub(super) async fn in_time<T>(
    index: u32,
    after: Duration,
    call: impl Future<Output = Result<T, KernelFailure>>,
) -> Result<T, KernelFailure> {
    match timeout(after, call).await {
        Ok(answered) => answered,
        Err(_) => Err(KernelCall("rtnetlink").failed(format!("interface {index}"), Cause::Timeout { after })),
    }
}
