//! The end of a flow in the kernel: its class stays until the packets in it have left.

use std::sync::{Arc, Weak};
use std::time::Duration;

use flowspec::{Bytes, Micros};

use super::clock;
use super::kernel::Kernel;
use super::lingering::Lingering;
use super::patience::in_time;
use super::reservation::{ReservationState, Usage};
use crate::linux::ClassState;
use crate::tc::{Handle, LINK_HEADER};

/// How long a class may hold packets of a flow that has ended. Longer than any bucket a policy allows takes to empty
/// at its rate in practice; packets that are left fall to the default class.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often the class is looked at meanwhile.
const STEP: Duration = Duration::from_millis(5);

/// What a flow's class has sent when the flow's data has left.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Drained {
    /// The bytes that it has sent in all, link headers included, where that is known.
    pub(super) sent: Option<u64>,
    /// The tokens that are missing from the flow's bucket, where packets have left that took none in user space.
    pub(super) missing: Option<Bytes>,
    /// How long the class takes until its buckets are full, where no packets are in it.
    pub(super) full_in: Option<Micros>,
}

/// A reservation that has ended. By the time its data has left, it may have been lost, and another flow may have its id.
#[derive(Clone, Debug)]
pub(super) struct EndedReservation {
    pub(super) id: String,
    state: Option<Weak<ReservationState>>,
}

impl EndedReservation {
    /// The one that has the id now.
    pub(super) fn new(id: &str, state: Option<&Weak<ReservationState>>) -> Self {
        Self { id: id.to_owned(), state: state.cloned() }
    }

    /// Whether the id is not another reservation's, now that `state` has it.
    pub(super) fn has_its_id(&self, state: Option<&Weak<ReservationState>>) -> bool {
        state.is_none_or(|state| self.state.as_ref().is_some_and(|own| own.ptr_eq(state)))
    }
}

/// A flow that has ended, and the class that is its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct DrainingFlow {
    /// The number of the interface, and the class.
    pub(super) class: Option<(u32, Handle)>,
    /// Whether no other flow has the class.
    pub(super) is_own: bool,
    /// What the flow has taken from its bucket in user space.
    pub(super) usage: Usage,
    /// What the class had counted when it became the flow's.
    pub(super) before: KernelClassCounters,
}

/// What a class has counted since it was added.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KernelClassCounters {
    pub(super) sent_bytes: u64,
    pub(super) sent_packets: u32,
    pub(super) dropped: u32,
    pub(super) delayed: u32,
}

impl KernelClassCounters {
    pub(super) const fn of(state: &ClassState) -> Self {
        let ClassState { sent_bytes, sent_packets, dropped, delayed, .. } = *state;
        Self { sent_bytes, sent_packets, dropped, delayed }
    }

    /// What was counted since another time.
    pub(super) const fn since(self, before: Self) -> Self {
        Self {
            sent_bytes: self.sent_bytes.saturating_sub(before.sent_bytes),
            // The kernel's counters of packets wrap.
            sent_packets: self.sent_packets.wrapping_sub(before.sent_packets),
            dropped: self.dropped.wrapping_sub(before.dropped),
            delayed: self.delayed.wrapping_sub(before.delayed),
        }
    }
}

/// Waits until the data that lingers has left the socket and the class, or long enough.
pub(super) async fn drain(kernel: Arc<dyn Kernel>, ended: DrainingFlow, lingering: Lingering) -> Drained {
    lingering.finish().await;
    let mut drained = Drained::default();
    let Some((index, class)) = ended.class else { return drained };
    let deadline = clock::now() + PATIENCE;
    loop {
        // A class that cannot be read is not waited for.
        let Some(state) = in_time(index, PATIENCE, kernel.class(index, class)).await.ok().flatten() else {
            return drained;
        };
        drained.sent = Some(state.sent_bytes);
        drained.missing = ended.missing(&state);
        drained.full_in = (state.queued == 0).then_some(state.full_in);
        if state.queued == 0 || clock::now() >= deadline {
            return drained;
        }
        tokio::time::sleep(STEP).await;
    }
}

impl DrainingFlow {
    /// The tokens that are missing from the flow's bucket by its class, where that is more than in user space.
    ///
    /// What left without tokens of user space, by write(2) for one, is what the class has sent beyond them. When it left
    /// is not known, and the kernel's count is that of the last packet: the flow owes the lesser of both.
    pub(super) fn missing(&self, state: &ClassState) -> Option<Bytes> {
        let KernelClassCounters { sent_bytes, sent_packets, .. } =
            KernelClassCounters::of(state).since(self.before);
        let headers = LINK_HEADER.get().saturating_mul(u64::from(sent_packets));
        let sent = Bytes::new(sent_bytes.saturating_sub(headers));
        let beside = sent.saturating_sub(self.usage.sent);
        let known = self.usage.missing.sending.unwrap_or(Bytes::ZERO);
        let missing = known.saturating_add(beside).min(state.missing);
        (self.is_own && missing > known).then_some(missing)
    }
}
