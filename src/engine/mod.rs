//! The engine: runs one manager, and carries out in the kernel what that decides.
//!
//! Takes requests for reservations; gives a [`Granted`] reservation, which releases itself exactly once, or the
//! refusal with its numbers. Has no admission rule of its own: `manager` decides.

mod ask;
mod clock;
mod command;
mod core;
mod drain;
mod driver;
mod error;
mod handle;
mod kernel;
mod lanes;
mod lingering;
mod local;
mod meter;
mod owner;
mod pending;
mod report;
mod request;
mod reservation;
mod routes;
mod waiters;

pub use crate::manager::{Admitted, Answer, Loss, Lost};
pub use ask::{Ask, What};
pub use command::MOST_QUEUED_REQUESTS;
pub use error::EngineError;
pub use handle::{Egress, Engine, EngineFuture, OnOvercommitment};
pub use kernel::{ClaimedRoot, Kernel, KernelFuture};
pub use lingering::Lingering;
pub use local::LocalEngine;
pub use pending::PendingReservation;
pub use report::{ClassReport, InterfaceReport};
pub use request::ReservationRequest;
pub use reservation::{Granted, Reservation, ReservationBackend, ReservationState};
