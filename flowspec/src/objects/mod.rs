//! The provider-specific objects: what a QOS says beyond its two flowspecs.
//!
//! The buffer is a list. Each object begins with its type and its length, header included; the list
//! ends with QOS_OBJECT_END_OF_LIST or with the buffer. [`RawObjects`] walks it and keeps every bit;
//! [`Object`] is what an object means. A few objects hold pointers. They mean something in one process
//! only, but where one leads into the buffer itself, behind the list, it is followed: that is how
//! SIO_GET_QOS returns them, and how a QOS is kept as one run of bytes (`buf` null, pointers counted
//! from the start of the buffer). Any other pointer is kept as a number and never followed.
//!
//! Lengths are not believed: nothing is read beyond the buffer, no byte is read as two things, and
//! nothing is allocated that the buffer's own bytes do not fill.
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
pub use reserve::{FilterSpec, FlowDescriptor, ReserveInfo, Style};
pub use walk::{HEADER_SIZE, RawObject, RawObjects};
