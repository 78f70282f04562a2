//! The manager: one reducer from inputs to effects.
//!
//! Takes operations, closed flows, the kernel's answers and what is seen of interfaces; gives
//! changes for the kernel, answers for callers, and notices for those whose promise has changed. Tests
//! and traces run it as well, in virtual time and without a kernel. A flow is *provisional* until the kernel has
//! said yes and the peer has answered; if either fails, everything it held is given back, here and
//! nowhere else. Knows no sockets, no clock and no tokio: it is told the time.

mod flows;
mod interface;
mod links;
mod message;
mod reducer;

pub use message::{Admitted, Answer, ChangeId, Effect, Input, Loss, Lost, Notice, RequestId, Root, Seen};
pub use reducer::{Manager, Phase, Status, prove};
