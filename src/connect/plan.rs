//! From what was admitted to what the shaper needs: for callers that set their sockets up themselves.

use flowspec::{Both, Bytes, Direction};
use shaper::headers::IpVersion;
use shaper::{Control, Framing, Plan};

use super::error::ConnectError;
use crate::engine::{Admitted, Usage};

/// Reads what a flow takes from the buckets of its shaper, from now on: for
/// [`Reservation::metered`](crate::engine::Reservation::metered), once the flow is shaped.
pub fn meter(control: Control) -> impl Fn() -> Usage + Send + Sync + 'static {
    let charged = |control: &Control| control.stats(Direction::Sending).charged;
    let before = charged(&control);
    let shaped = |control: &Control, direction| control.plan(direction).map(|_| direction);
    let both = Both { sending: Direction::Sending, receiving: Direction::Receiving };
    let at_first = both.map(|direction| shaped(&control, direction));
    move || {
        // A direction that is not shaped any more still owes; one may have been added since.
        let missing = both.map(|direction| {
            let direction = (*at_first.get(direction)).or_else(|| shaped(&control, direction))?;
            Some(control.owed(direction))
        });
        Usage { missing, sent: Bytes::new(charged(&control).saturating_sub(before)) }
    }
}

/// The plan for one direction of what was admitted.
///
/// - **Errors**: packets without space for payload.
pub fn plan(
    admitted: &Admitted,
    direction: Direction,
    framing: Framing,
) -> Result<Option<Plan>, ConnectError> {
    let tspec = admitted.tspec.get(direction);
    Ok(tspec.as_ref().map(|tspec| Plan::new(tspec, framing)).transpose()?)
}

/// The payload of the largest segment that a flow with this maximum packet size may send. `None` where TCP_MAXSEG cannot
/// express it: the kernel takes no more than 32,767, which only packets of the loopback interface exceed.
pub fn segment_limit(max_sdu_size: Bytes, version: IpVersion) -> Option<u32> {
    const LARGEST: u32 = 32_767;
    // The kernel subtracts the timestamps from what is set here.
    let headers = match version {
        IpVersion::V4 => 40,
        IpVersion::V6 => 60,
    };
    u32::try_from(max_sdu_size.get().saturating_sub(headers))
        .ok()
        .filter(|payload| (1..=LARGEST).contains(payload))
}
