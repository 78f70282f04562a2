//! The boundary between clients and an engine.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use flowspec::{Both, Flowspec, Rate};

use super::error::EngineError;
use super::events::Events;
use super::pending::PendingReservation;
use super::report::InterfaceReport;
use super::request::{ReceivedPackets, Rendition, ReservationRequest};
use super::reservation::{Granted, ReservationBackend};
use crate::admission::{NotProgrammed, Operation};
use crate::kernel::KernelClass;
use crate::linux::RouteQuery;
use crate::manager::Answer;

/// Boxed, since [`Engine`](super::Engine) is used as a trait object.
pub type EngineFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Called with an interface, and whether more is reserved on it than it carries. Must not block.
pub type OnOvercommitment = Arc<dyn Fn(&str, bool) + Send + Sync>;

/// The interface by which packets to a peer leave.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Egress {
    /// The interface's name.
    pub interface: String,
    /// What the interface carries, as far as that is known.
    pub line_rate: Option<Rate>,
}

/// What a client can ask of an engine, wherever that runs.
///
/// A client reserves before its flow starts, says when the peer has [answered](ReservationBackend::connected), and
/// [releases](ReservationBackend::release) at the flow's end; [`Granted`] does the last by itself. Every other call is
/// independent of these.
pub trait Engine: ReservationBackend {
    /// Reserves on the caller's thread where that needs neither the kernel nor another thread. `None` where it does:
    /// then nothing has happened, and [`reserve`](Self::reserve) does the same.
    fn try_reserve(&self, request: &ReservationRequest) -> Option<PendingReservation>;

    /// Reserves. Dropped, the future releases what was or will be granted.
    ///
    /// - **Errors**: the refusal; no route to the peer; the engine has stopped.
    fn reserve(&self, request: ReservationRequest) -> EngineFuture<'_, Result<Granted, EngineError>>;

    /// The flowspecs that a request asks for by the engine's policy, best first; one at least.
    ///
    /// - **Errors**: a template that the policy does not have; no route to the peer.
    fn renditions(
        &self,
        request: ReservationRequest,
    ) -> EngineFuture<'_, Result<Vec<Rendition>, EngineError>>;

    /// Performs an operation on the ledger. Flows are better reserved by [`reserve`](Self::reserve), which releases
    /// them.
    ///
    /// - **Errors**: the engine has stopped. A refusal is an answer.
    fn submit(&self, operation: Operation) -> EngineFuture<'_, Result<Answer, EngineError>>;

    /// Gives a flow a class for what it receives, with its present rate, once its addresses are known: the class, with its
    /// device. What it has of the kind goes with its reservation, or here, where nothing is reserved for receiving any more.
    ///
    /// - **Errors**: why the kernel has none: reading is enforced in user space alone.
    fn receive(
        &self,
        id: String,
        packets: ReceivedPackets,
    ) -> EngineFuture<'_, Result<KernelClass, NotProgrammed>> {
        let _ = (id, packets);
        Box::pin(std::future::ready(Err(NotProgrammed::NotSeen)))
    }

    /// The packets of a flow are these, now that its socket is connected. Where they leave by another interface than the one
    /// that is reserved, the flow is requested there: the answer says how it is set up then.
    ///
    /// - **Errors**: the refusal, with which the reservation is lost; no route to the peer; the engine has stopped.
    fn follow_route(
        &self,
        id: String,
        route: RouteQuery,
    ) -> EngineFuture<'_, Result<Option<Answer>, EngineError>> {
        let _ = (id, route);
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Asks for other flowspecs for a flow that has a reservation; those of an absent direction stay.
    ///
    /// - **Errors**: the engine has stopped. A refusal is an answer.
    fn renegotiate(
        &self,
        id: String,
        flowspecs: Both<Option<Flowspec>>,
    ) -> EngineFuture<'_, Result<Answer, EngineError>> {
        self.submit(Operation::Renegotiate { id, flowspecs: Box::new(flowspecs) })
    }

    /// Ends a group once its last member has left. Returns at once and is never lost.
    fn end_group(&self, id: String);

    /// Waits until capacity is free for a flow that was refused and [waits](super::Ask::wait).
    ///
    /// - **Errors**: no flow of this id waits.
    fn wait_for_capacity(&self, id: &str) -> EngineFuture<'_, Result<(), EngineError>>;

    /// Takes a flow out of the waiting queue.
    fn stop_waiting(&self, id: &str);

    /// Calls back whenever an interface becomes overcommitted or stops to be.
    fn subscribe(&self, notify: OnOvercommitment);

    /// The manager's events from now on. None is recorded while there is no subscription.
    fn events(&self) -> Events;

    /// The interface by which packets leave.
    ///
    /// - **Errors**: no route, or the kernel's.
    fn egress(&self, query: RouteQuery) -> EngineFuture<'_, Result<Egress, EngineError>>;

    /// The state of every interface that has been seen, with what the kernel counts.
    ///
    /// - **Errors**: the kernel's; the engine has stopped.
    fn report(&self) -> EngineFuture<'_, Result<Vec<InterfaceReport>, EngineError>>;

    /// Stops the engine: what it has programmed is taken back.
    fn stop(&self) -> EngineFuture<'_, ()>;
}
