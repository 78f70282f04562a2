//! What enforces a flow's reservation, and why the kernel does not take part where it doesn't.

use serde::{Deserialize, Serialize};

use super::not_programmed::NotProgrammed;
use crate::kernel::KernelClass;

/// What enforces a flow's reservation, and where.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Enforced {
    /// The kernel class that carries what is sent.
    pub class: Option<KernelClass>,
    /// Whether other flows share that class.
    pub shared: bool,
    /// Whether a token bucket in user space delays what the socket sends.
    pub sending: bool,
    /// Whether reads are delayed in user space, so that the peer slows down.
    pub receiving: bool,
    /// The kernel class that carries what is received: on the ifb of the interface.
    pub receiving_class: Option<KernelClass>,
    /// What is reserved and not enforced.
    pub lacking: Vec<Lack>,
    /// The slice of its client within which the flow was admitted: the id of the group.
    #[serde(default)]
    pub slice: Option<String>,
}

/// A part of a reservation that is not enforced.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Lack {
    /// No kernel class carries what is sent.
    #[error("no class in the kernel: {0}")]
    KernelClass(NotProgrammed),
    /// No kernel class carries what is received: other traffic that arrives may take its place.
    #[error("no class in the kernel for what is received: {0}")]
    ReceivingClass(NotProgrammed),
    /// Datagrams that are received are not policed: UDP has no back-pressure.
    #[error("what is received over UDP is reserved and not shaped")]
    ReceivedDatagrams,
    /// Nothing is reserved: the daemon is not there, and the policy's `degrade` lets the flow go on without it.
    #[error("nothing is reserved: the daemon cannot be reached")]
    Reservation,
    /// Its client has admitted it within a slice, and the daemon has not answered yet.
    #[error("the daemon has not confirmed it yet")]
    Confirmation,
}

impl Enforced {
    /// What is reserved and not enforced, in words; `None` where everything is enforced.
    pub fn lacking_text(&self) -> Option<String> {
        let lacking: Vec<_> = self.lacking.iter().map(Lack::to_string).collect();
        (!lacking.is_empty()).then(|| lacking.join("; "))
    }
}
