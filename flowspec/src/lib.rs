//! The vocabulary of guaranteed bandwidth: what Winsock's flowspecs say and what the IntServ RFCs
//! say it means.
//!
//! Takes numbers and text, gives checked values or an error that names the field. Integers only: no
//! floats, no clock, no input or output, no async. What Winsock writes as a magic number
//! (`QOS_NOT_SPECIFIED`, `POSITIVE_INFINITY_RATE`) exists in [`raw`] alone; past
//! [`Flowspec::from_raw`] it is an absent value or [`Peak::Infinite`].
//!
//! Names are Winsock's in snake case; the letters r, b, p, m, M in the comments are RFC 2215's.

#![forbid(unsafe_code)]

pub mod abi;
mod algebra;
pub mod buffer;
pub mod conformance;
mod direction;
mod errno;
pub mod error;
mod field;
pub mod flowspec;
mod grammar;
pub mod guaranteed;
pub mod invalid;
mod moment;
pub mod objects;
mod peak;
mod problem;
pub mod qos;
pub mod raw;
pub mod rsvp;
pub mod service;
pub mod text;
mod timestamp;
pub mod tspec;
mod unit_error;
pub mod units;
pub mod wsa;

pub use abi::{Abi, RawQos, RawWsabuf};
pub use buffer::{QosBytes, QosRequest};
pub use conformance::{Excess, Policer, TokenBucket};
pub use direction::{Both, Direction};
pub use errno::Errno;
pub use error::FlowspecError;
pub use field::Field;
pub use flowspec::Flowspec;
pub use guaranteed::ErrorTerms;
pub use invalid::{Invalid, Problem};
pub use moment::Moment;
pub use objects::Object;
pub use peak::Peak;
pub use qos::Qos;
pub use raw::{POSITIVE_INFINITY_RATE, QOS_NOT_SPECIFIED, RawFlowspec};
pub use service::{Mark, Place, Service, ServiceType};
pub use timestamp::Timestamp;
pub use tspec::TSpec;
pub use unit_error::{Quantity, UnitError};
pub use units::{Bytes, Micros, Rate, Ratio, Share};
pub use wsa::Wsa;
