//! The provider-specific objects, which a QOS has beside its two flowspecs.
//!
//! The buffer is a list. Each object begins with its type and its length, header included; the list ends with
//! QOS_OBJECT_END_OF_LIST or with the buffer. [`RawObjects`] iterates over it and keeps every bit; [`Object`] is the
//! checked form.
//!
//! A few objects hold pointers, which are addresses in one process. A pointer that leads into the buffer, after the
//! list, is followed: SIO_GET_QOS returns such pointers, and a QOS in a file has them (`buf` null, pointers counted from
//! the start of the buffer). Any other pointer is kept as a number and never followed.
//!
//! Lengths in the input are not trusted: nothing is read beyond the buffer, no byte is read as part of two things, and
//! memory is allocated only for bytes that the buffer has.
//!
//! - Types: [`RawObject`] and [`RawObjects`], raw; [`Object`] with [`ReserveInfo`], [`Adspec`], [`PolicyInfo`],
//!   checked; [`Pointee`], the target of a pointer.
//! - Order of calls: [`QosBytes::objects`](crate::QosBytes::objects) for the raw list,
//!   [`QosBytes::check`](crate::QosBytes::check) for the checked one.
//!
//! Source: `qos.h`, `qossp.h`, layouts compiled for both ABIs.

mod adspec;
mod hex;
mod object;
pub mod object_type;
mod pointer;
mod policy;
mod read;
mod reserve;
mod socket_address;
mod walk;
mod write;

pub use adspec::{Adspec, ControlService, GeneralParams, GuaranteedParams, INDETERMINATE_LATENCY};
pub use hex::{Hex, HexError};
pub use object::{DiffservRule, Object, ShapeDiscardMode};
pub use pointer::{Outside, Pointee};
pub use policy::{PolicyElement, PolicyInfo};
pub use reserve::{FilterSpec, FlowDescriptor, ReservationStyle, ReserveInfo};
pub use walk::{HEADER_SIZE, RawObject, RawObjects};
