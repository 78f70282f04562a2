//! The objects that RSVP carries for IntServ, in their wire format.
//!
//! Big endian words. Each object begins with RSVP's header (RFC 2205: length, class, type), followed by IntServ's
//! (RFC 2210: version, length) and the services with their parameters. Rates and bucket depths are IEEE singles on the
//! wire and integers here; [`single`] converts. A number that has been sent may differ from the original by one part in
//! 2²³: larger for a request, smaller for an offer.
//!
//! - Types: [`RsvpObject`], an object; [`RSpec`], [`PathAdspec`], its parts; [`RawTspec`], every bit pattern.
//! - Order of calls: [`RsvpObject::read`], or [`RsvpObject::write`] for the other direction.
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
