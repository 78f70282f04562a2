//! The engine: runs one manager, and applies its decisions in the kernel.
//!
//! Takes requests for reservations; returns a [`Granted`] reservation, which is released exactly once, or the refusal
//! with its numbers. Has no admission rules: `manager` decides.
//!
//! # Types
//!
//! - **The boundary**: [`Engine`] has the calls of a client, [`ReservationBackend`] the calls of a reservation to its
//!   engine. Neither names a thread or a queue, so that an engine may run in another process.
//! - **The engine of this process**: [`LocalEngine`], on a [`Kernel`].
//! - **The engine of the daemon**: [`RemoteEngine`], by its control socket; [`DaemonError`].
//! - **Requests**: [`ReservationRequest`] with an [`Ask`]; [`PendingReservation`] is a request that waits for its
//!   answer.
//! - **Answers**: [`Granted`] with [`Admitted`] and a [`Reservation`]; [`EngineError`].
//! - **During a flow**: [`ReservationState`] notifies of a loss ([`Lost`], [`Loss`]); [`Lingering`] is the data that
//!   must be sent before a release.
//! - **Another policy**: [`LocalEngine::reload`]; [`LocalEngine::compare`] lists what a reload would change.
//! - **The audit trail**: [`LocalEngine::start_audited`] passes the requests and decisions of the ledger to an
//!   [`AuditSink`].
//! - **Reports**: [`FlowReport`], [`InterfaceReport`], [`ClassReport`], [`Egress`]; [`Events`] is the stream of
//!   events.
//!
//! # Order of calls
//!
//! 1. [`LocalEngine::start`].
//! 2. [`Engine::try_reserve`]: answers on the caller's thread where no kernel change is needed; otherwise
//!    [`Engine::reserve`].
//! 3. [`Reservation::connected`] when the peer has answered, [`ReservationState::on_loss`] to be notified of a loss.
//! 4. [`Reservation::watch`] with the flow's [`PeerSocket`], so that the reservation does not outlive its peer.
//! 5. [`Reservation::end`], or a drop.
//! 6. [`Engine::stop`].
//!
//! # Order and bounds
//!
//! Commands reach the engine's task in the order in which they were sent. Kernel changes of one interface are applied
//! one at a time in the manager's order, and later commands about that interface wait for them; commands about other
//! interfaces do not. [`MOST_QUEUED_REQUESTS`] limits the queued requests. Releases are always accepted; their number
//! is bounded, because each reservation is released once.
//!
//! # A kernel that does not answer
//!
//! The engine gives a call about an interface up after three seconds, or later if it has many operations. Until the
//! kernel answers again, requests for that interface are decided at once: they are enforced in user space, or refused
//! under `enforcement = "kernel"`, and the engine asks the kernel only for the interface's tree. When the kernel
//! answers, the tree is compared with the desired one and repaired.
//!
//! # Faults
//!
//! A panic in the manager is caught: the request gets [`Refusal::ManagerFault`](crate::admission::Refusal::ManagerFault)
//! or [`EngineError::Faulted`], and an event reports the panic. If the state may be inconsistent, admission stops;
//! admitted flows keep their classes in the kernel and their buckets in user space.

mod absence;
mod adoption;
mod ask;
mod audit;
mod clock;
mod core;
mod drain;
mod driver;
mod ending;
mod error;
mod events;
mod flow_routes;
#[cfg(feature = "cli")]
mod foresee;
mod guard;
mod handle;
mod kept;
mod kernel;
mod left_interface;
mod lingering;
mod local;
mod local_links;
mod looking;
mod meter;
mod netlink_kernel;
mod owed;
mod owner;
mod patience;
mod peer;
mod pending;
mod queues;
mod readings;
mod receiver;
mod receiving;
mod receiving_upkeep;
mod reload;
mod remote;
mod report;
mod request;
mod rerouting;
mod reservation;
mod resolve;
mod routes;
mod schedule;
mod snapshot;
mod takeover;
mod transaction;
mod unanswered;
mod upkeep;
mod uprooting;
mod waiters;
mod watches;

pub use crate::manager::{Admitted, Answer, Loss, Lost};
pub use ask::{Ask, What};
pub use audit::{AuditSink, MakeAuditSink};
pub use error::EngineError;
pub use events::{Events, MOST_WAITING_EVENTS};
#[cfg(feature = "cli")]
pub(crate) use foresee::Foreseen;
pub use handle::{Egress, Engine, EngineFuture, OnOvercommitment};
pub use kept::{Adoptions, KeptReservation, KeptReservations, NotAdopted};
pub use kernel::{ClaimedRoot, Kernel, KernelFuture};
pub use lingering::Lingering;
pub use local::LocalEngine;
pub use owed::OwedTokens;
pub use peer::{PeerSocket, WithDescriptor};
pub use pending::PendingReservation;
pub use queues::MOST_QUEUED_REQUESTS;
pub use reload::FlowReport;
pub use remote::{DaemonError, DaemonSocket, RemoteEngine, Slice, SliceRequest};
pub use report::{ClassReport, InterfaceReport, SentOfReserved};
pub use request::{ReceivedPackets, Rendition, ReservationRequest};
pub use reservation::{AttachedSocket, Granted, Reservation, ReservationBackend, ReservationState, Usage};
pub use snapshot::{EngineSnapshot, FlowSnapshot, GroupSnapshot};
