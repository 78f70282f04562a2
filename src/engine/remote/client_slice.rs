//! A slice, as its client asks for it and holds it.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use flowspec::Both;

use super::calls::{self, DecidedCall};
use super::error::DaemonError;
use super::remote_engine::RemoteEngine;
use super::slices::{HeldSlice, together, unusable};
use crate::control::limits::MOST_FLOWS_OF_A_USER;
use crate::control::{GroupCall, MethodCall};
use crate::engine::ask::Ask;
use crate::engine::error::EngineError;
use crate::engine::handle::Engine;
use crate::engine::request::ReservationRequest;
use crate::linux::{RouteQuery, random_name};
use crate::policy::{GroupMode, Protocol, Subject};

/// What a slice is to have room for.
#[derive(Clone, Debug)]
pub struct SliceRequest {
    /// What each of its flows asks for: one template or flowspecs, and perhaps a class and priorities.
    pub ask: Ask,
    /// How many such flows are to fit: 1 to [`MOST_FLOWS`](Self::MOST_FLOWS).
    pub flows: u32,
    /// Where the flows go: their packets leave by the same interface.
    pub to: RouteQuery,
    /// How long the slice lasts without a flow; [`IDLE`](Self::IDLE) unless it is changed.
    pub idle: Duration,
}

impl SliceRequest {
    /// How long a slice lasts without a flow.
    pub const IDLE: Duration = Duration::from_secs(60);

    /// How many flows a slice has at most: as many as the daemon lets a user have by default.
    #[expect(clippy::cast_possible_truncation, reason = "4096 fits")]
    pub const MOST_FLOWS: u32 = MOST_FLOWS_OF_A_USER as u32;

    /// Room for so many flows that ask for the same, on the way to a peer.
    pub fn new(ask: &Ask, flows: u32, to: impl Into<RouteQuery>) -> Self {
        Self { ask: ask.clone(), flows, to: to.into(), idle: Self::IDLE }
    }
}

/// Room for flows that are alike, which the daemon has granted to this process: each of them is admitted at once, and the daemon
/// is told without waiting for its answer.
///
/// A slice is a group of the policy's kind `envelope` that the process owns: the daemon has reserved all of it, whether there are
/// flows or not. Dropped, it admits nothing more, and its group ends with its last flow. It also ends after
/// [some time without a flow](SliceRequest::idle), when the daemon refuses one of its flows, and with its engine.
///
/// ```no_run
/// use gqos::connect::{Ask, ConnectError, Host, SliceRequest};
///
/// async fn serve(host: &Host, peers: Vec<std::net::SocketAddr>) -> Result<(), ConnectError> {
///     let ask = Ask::template("1080p").class("viewer");
///     let Some(first) = peers.first() else { return Ok(()) };
///     let slice = host.slice(SliceRequest::new(&ask, 50, first.ip())).await?;
///     println!("{} flows fit on {}", slice.most(), slice.interface());
///     for peer in peers {
///         // Those that leave by that interface wait for no answer of the daemon; others are asked for as without a slice.
///         let connection = host.connector().connect(peer, &ask).await?;
///         drop(connection);
///     }
///     Ok(())
/// }
/// ```
pub struct Slice {
    engine: Weak<RemoteEngine>,
    held: Arc<HeldSlice>,
}

impl fmt::Debug for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Slice");
        shown.field("id", &self.id()).field("interface", &self.interface()).field("most", &self.most());
        shown.field("flows", &self.flows()).field("has_ended", &self.has_ended()).finish()
    }
}

impl Slice {
    /// Asks the daemon for a slice. One flow is admitted in it and released at once, by which the daemon has said what a flow
    /// costs and that its client may have such flows.
    ///
    /// - **Errors**: the refusal, of the group or of a flow in it; a request that is for no slice; the daemon is not there.
    pub async fn request(engine: &Arc<RemoteEngine>, request: SliceRequest) -> Result<Self, EngineError> {
        let SliceRequest { ask, flows, to, idle } = request;
        if let Some(problem) = unusable(&ask) {
            return Err(DaemonError::NoSlice { problem }.into());
        }
        if flows == 0 || flows > SliceRequest::MOST_FLOWS {
            return Err(DaemonError::NoSlice { problem: "1 to 4096 flows" }.into());
        }
        let ask = Ask { id: None, ..ask };
        let link = engine.local_link(to).await?;
        let interface = engine.egress(to).await?.interface;
        let subject = Subject { protocol: Protocol::Tcp, local_port: 0, peer: to.peer };
        let one =
            ReservationRequest { selectors: to.selectors, ..ReservationRequest::new(ask.clone(), subject) };
        let renditions = engine.renditions(one.clone()).await?;
        let qos = renditions.first().and_then(|rendition| together(&rendition.qos, flows));
        let Some(Both { sending, receiving }) = qos else {
            return Err(DaemonError::NoSlice { problem: "the sum of the flowspecs is too large" }.into());
        };
        let group = GroupCall {
            id: random_name()?,
            interface,
            class: ask.class.clone(),
            mode: Some(GroupMode::Envelope),
            template: None,
            sending: Some(sending),
            receiving: Some(receiving),
            details: Some(true),
        };
        let made = engine.call(MethodCall::Group(Box::new(group.clone()))).await?;
        let DecidedCall { decision: made, .. } = calls::decided(Ok(made))?;
        if !made.is_ok() {
            return Err(EngineError::Refused(Box::new(made)));
        }
        // Ended when it is dropped, if anything fails from here on.
        let group = UnusedGroup { engine: Arc::downgrade(engine), group: Some(group) };
        group.filled((engine, one, made.charged()), (link, ask, flows, idle)).await
    }

    /// The id of its group, in the daemon's events and reports.
    pub fn id(&self) -> &str {
        self.held.id()
    }

    /// The interface by which the packets of its flows leave.
    pub fn interface(&self) -> &str {
        &self.held.group.interface
    }

    /// How many flows fit. Fewer than were asked for, if the policy charges many flows more than one of their size.
    pub fn most(&self) -> usize {
        self.held.most
    }

    /// How many flows it has, with those whose release the daemon has not answered yet.
    pub fn flows(&self) -> usize {
        self.held.flows()
    }

    /// Whether it admits nothing more: requests go to the daemon as without a slice.
    pub fn has_ended(&self) -> bool {
        self.held.has_ended()
    }
}

impl Drop for Slice {
    fn drop(&mut self) {
        if let Some(engine) = self.engine.upgrade() {
            engine.end_slice(&self.held);
        }
    }
}

/// How often it is looked whether the first flow of a slice is released.
const FIRST_RELEASED: Duration = Duration::from_millis(5);

/// A group that is to become a slice.
struct UnusedGroup {
    engine: Weak<RemoteEngine>,
    group: Option<GroupCall>,
}

impl UnusedGroup {
    /// The slice: one flow in the group shows how its flows are set up.
    async fn filled(
        mut self,
        (engine, one, charged): (&Arc<RemoteEngine>, ReservationRequest, Both<flowspec::Rate>),
        (link, ask, flows, idle): (u32, Ask, u32, Duration),
    ) -> Result<Slice, EngineError> {
        let Some(group) = self.group.clone() else { return Err(EngineError::Stopped) };
        let member = Ask { group: Some(group.id.clone()), ..ask.clone() };
        let granted = engine.reserve(ReservationRequest { ask: member, ..one }).await?;
        if !granted.admitted.reserves() {
            return Err(DaemonError::NoSlice { problem: "its flows reserve nothing" }.into());
        }
        let pattern = (charged, granted.admitted.clone(), granted.decision.clone());
        let held = Arc::new(HeldSlice::new((group, link, ask), pattern, (flows, engine.now())));
        if !engine.hold_slice(&held, granted.reservation.id()) {
            return Err(DaemonError::NoSlice { problem: "this process has too many slices" }.into());
        }
        self.group = None;
        engine.end_when_idle(&held, idle);
        // The group is the slice's from now on.
        let slice = Slice { engine: Arc::downgrade(engine), held };
        drop(granted);
        while slice.flows() > 0 && engine.is_connected() {
            tokio::time::sleep(FIRST_RELEASED).await;
        }
        Ok(slice)
    }
}

impl Drop for UnusedGroup {
    fn drop(&mut self) {
        if let (Some(engine), Some(group)) = (self.engine.upgrade(), self.group.take()) {
            engine.end_group(group.id);
        }
    }
}
