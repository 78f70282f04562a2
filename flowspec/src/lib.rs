//! The vocabulary of guaranteed bandwidth: Winsock's flowspecs, and their meaning by the IntServ RFCs.
//!
//! Takes numbers, bytes and text; gives checked values, or an error that names the field. Integers only. Knows no
//! clock, no input or output, and no async.
//!
//! - Quantities ([`units`]): [`Rate`], [`Bytes`], [`Micros`], [`Share`], [`Ratio`]; times: [`Moment`] in microseconds,
//!   [`Timestamp`] in nanoseconds.
//! - Requests: [`Flowspec`] for one [`Direction`], [`Qos`] for both, [`ServiceType`], [`Peak`];
//!   their text form is in [`text`].
//! - Bytes, every bit pattern allowed: [`RawFlowspec`] and [`RawQos`] in the layout of an [`Abi`], [`QosBytes`] with
//!   its provider-specific buffer, the [`rsvp`] objects.
//! - Bytes, checked: [`QosRequest`] and its [`Object`]s; [`Invalid`], the field that is wrong and why.
//! - Mathematics: [`TSpec`], a flowspec with every default decided, its order and sums ([`mod@tspec`]), guaranteed
//!   service ([`guaranteed`]), conformance ([`conformance`]), the debt of released buckets ([`TokenDebt`]).
//! - Codes: [`Wsa`], Winsock's; [`Errno`], Linux's, with the only table from one to the other.
//!
//! Order of calls, from bytes: [`QosBytes::read`], [`QosBytes::check`], [`TSpec::new`] once the interface is known.
//!
//! Winsock's sentinels (`QOS_NOT_SPECIFIED`, `POSITIVE_INFINITY_RATE`) exist in [`raw`] alone; past
//! [`Flowspec::from_raw`] they are an absent value or [`Peak::Infinite`].
//!
//! Names are Winsock's in snake case. The letters r, b, p, m and M in the comments are RFC 2215's.

#![deny(missing_docs)]
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
mod token_debt;
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
pub use invalid::{FieldProblem, Invalid};
pub use moment::Moment;
pub use objects::Object;
pub use peak::Peak;
pub use qos::Qos;
pub use raw::{POSITIVE_INFINITY_RATE, QOS_NOT_SPECIFIED, RawFlowspec};
pub use service::{Mark, Service, ServiceType, ServiceUse};
pub use timestamp::Timestamp;
pub use token_debt::TokenDebt;
pub use tspec::TSpec;
pub use unit_error::{Quantity, UnitError};
pub use units::{Bytes, Micros, Rate, Ratio, Share};
pub use wsa::Wsa;
