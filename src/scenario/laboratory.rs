//! The laboratory: a network on which `transfer` steps are measured.

use std::sync::Arc;

use flowspec::{Bytes, Micros, Qos, Rate};

use crate::policy::Policy;

/// Measures transfers on a real network.
pub trait Laboratory {
    /// The rate at which the flow's IP datagrams leave, IP headers included.
    ///
    /// - **Errors**: the transfer could not be measured.
    fn transfer(&mut self, request: &TransferRequest) -> Result<Rate, TransferFailure>;
}

/// A step of a test that is sent over a real link.
#[derive(Clone, Debug)]
pub struct TransferRequest {
    /// The policy that the test has in force at this step.
    pub policy: Arc<Policy>,
    /// The flow's interface, by its name in the policy.
    pub interface: String,
    /// The interface's capacity at this step.
    pub capacity: Rate,
    /// The flow's class.
    pub class: Option<String>,
    /// The flowspecs that the flow was granted.
    pub qos: Qos,
    /// How long the rate is measured.
    pub duration: Micros,
    /// The measurement ends earlier once so much has been sent.
    pub bytes: Option<Bytes>,
}

/// Why a transfer was not measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferFailure {
    /// No flow with this id is admitted.
    #[error("no flow {id:?} is admitted")]
    UnknownFlow {
        /// The id of the step.
        id: String,
    },
    /// The interface's capacity is not known.
    #[error("{interface}: the capacity is not known")]
    UnknownCapacity {
        /// The name of the link that the test states.
        interface: String,
    },
    /// The policy does not have the interface.
    #[error("the policy has no interface {interface}")]
    UnknownInterface {
        /// The name of the link that the test states.
        interface: String,
    },
    /// The network could not be set up, or the flow could not be sent on it.
    #[error(transparent)]
    Network(Box<dyn std::error::Error + Send + Sync>),
}
