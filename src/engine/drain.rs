//! The end of a flow in the kernel: its class stays until the packets in it have left.

use std::sync::Arc;
use std::time::Duration;

use super::clock;
use super::kernel::Kernel;
use super::lingering::Lingering;
use crate::tc::Handle;

/// How long a class may hold packets of a flow that has ended. Longer than any bucket a policy allows takes to empty
/// at its rate in practice; packets that are left fall to the default class.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often the class is looked at meanwhile.
const STEP: Duration = Duration::from_millis(5);

/// Waits until the data that lingers has left the socket and the class, or long enough. Returns the bytes that the
/// class has sent in all, where that is known.
pub(super) async fn drain(
    kernel: Arc<dyn Kernel>,
    class: Option<(u32, Handle)>,
    lingering: Lingering,
) -> Option<u64> {
    lingering.finish().await;
    let (index, class) = class?;
    let deadline = clock::now() + PATIENCE;
    let mut sent = None;
    loop {
        // A class that cannot be read is not waited for.
        let state = kernel.class(index, class).await.ok().flatten();
        sent = state.map(|state| state.sent_bytes).or(sent);
        if state.is_none_or(|state| state.queued == 0) || clock::now() >= deadline {
            return sent;
        }
        tokio::time::sleep(STEP).await;
    }
}
