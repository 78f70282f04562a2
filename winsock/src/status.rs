//! The status of a socket's quality of service.

use flowspec::Wsa;
use gqos::admission::{Decision, Reason};

/// The latest status of a socket's reservation.
///
/// - **Source**: RSVP_STATUS_INFO.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct QosStatus {
    /// StatusCode: a WSA_QOS_* code.
    pub code: Wsa,
    /// ExtendedStatus1: the resource that was insufficient, as a GQOS code; 0 where there is none.
    pub extended_status1: u32,
    /// ExtendedStatus2: the largest rate that would have been admitted, in bytes per second; 0 where it is not known.
    pub extended_status2: u32,
}

/// Source: `qossp.h`, GQOS_ERRORCODE_UNKNOWN and the codes of admission control below it.
const DELAY: u32 = 56_102;
const BANDWIDTH: u32 = 56_103;
const MTU: u32 = 56_104;
const FLOW_RATE: u32 = 56_105;

impl From<Wsa> for QosStatus {
    fn from(code: Wsa) -> Self {
        Self { code, extended_status1: 0, extended_status2: 0 }
    }
}

impl QosStatus {
    pub(crate) fn refused(decision: &Decision) -> Self {
        let resource = match decision.reason() {
            Some(Reason::Delay) => DELAY,
            Some(Reason::InterfaceBudget | Reason::ClassShare | Reason::GroupBudget) => BANDWIDTH,
            Some(Reason::Mtu) => MTU,
            Some(Reason::FlowRate) => FLOW_RATE,
            _ => 0,
        };
        let would_fit = decision.would_fit().map_or(0, |rate| u32::try_from(rate.get()).unwrap_or(u32::MAX));
        Self {
            code: decision.status().unwrap_or(Wsa::QosGenericError),
            extended_status1: resource,
            extended_status2: would_fit,
        }
    }
}
