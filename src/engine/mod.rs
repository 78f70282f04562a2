//! The engine: runs one manager, and carries out in the kernel what that decides.
//!
//! Takes requests for reservations; gives a [`Granted`] reservation, which releases itself exactly once, or the
//! refusal with its numbers. Has no admission rule of its own: `manager` decides.

pub(crate) mod ask;
pub(crate) mod command;
pub(crate) mod core;
pub(crate) mod driver;
mod lingering;
mod meter;
mod report;
mod reservation;
pub(crate) mod routes;

pub use ask::{Ask, What};
pub use command::Reply;
pub use lingering::Lingering;
pub use report::{ClassReport, InterfaceReport};
pub use reservation::{Granted, Reservation, Standing};
