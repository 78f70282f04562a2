//! The manager: one reducer from inputs to effects.
//!
//! Takes requests, closed flows, the kernel's answers and what is seen of interfaces; gives
//! operations for the kernel and answers for callers. A flow is *provisional* until the kernel has
//! said yes and the peer has answered; if either fails, everything it held is given back, here and
//! nowhere else. Knows no sockets, no clock and no tokio: it is told the time.

mod interface;
mod message;
mod reducer;

pub use message::{Admitted, Answer, Effect, Input, Root, Seen, Ticket};
pub use reducer::{Manager, Phase, Status, prove};
