//! The objects that RSVP carries for IntServ, in the form they have on the wire.
//!
//! Big endian words. Each object begins with RSVP's header (RFC 2205: length, class, type), then IntServ's
//! (RFC 2210: version, length, and for each service its number and parameters). Rates and bucket depths
//! are IEEE singles there and integers here: [`single`] says how. A number that went over the wire may
//! differ from the one that was meant by one part in 2²³, upwards where something is asked for.
//!
//! Source: RFC 2205 section 3.1.2 and appendix A, RFC 2210 section 3.

mod adspec;
mod codes;
mod object;
pub mod single;
mod tspec;
mod words;

pub use adspec::{GuaranteedPath, Overrides, PathAdspec, PathParams, ServicePath};
pub use object::RsvpObject;
pub use tspec::{RSpec, RawTspec};
