//! What is wrong with a flowspec: the field, its value, and why.

use crate::{Bytes, Rate, ServiceType, Wsa};

/// Why a flowspec is not valid. Names the field; [`wsa`](Self::wsa) gives the WSA_QOS_* status.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FlowspecError {
    /// The service type has no meaning, or none in a request.
    #[error("service_type {value:#x} is not a service type that can be asked for")]
    ServiceType {
        /// The value of the field.
        value: u32,
    },
    /// A field that may not be zero is.
    #[error("{field} is zero")]
    Zero {
        /// The field, in snake case.
        field: &'static str,
    },
    /// A rate is needed where the service reserves one.
    #[error("token_rate is not specified, and {service} traffic that is sent needs one")]
    TokenRateAbsent {
        /// The service type that reserves.
        service: ServiceType,
    },
    /// p < r.
    #[error("peak_bandwidth {peak} is below token_rate {rate}")]
    PeakBelowRate {
        /// p.
        peak: Rate,
        /// r.
        rate: Rate,
    },
    /// m > M.
    #[error("minimum_policed_size {minimum} is above max_sdu_size {maximum}")]
    MinimumAboveMaximum {
        /// m.
        minimum: Bytes,
        /// M.
        maximum: Bytes,
    },
    /// b < M, both given: no packet above b would ever conform.
    #[error("token_bucket_size {bucket} is below max_sdu_size {maximum}: a full packet would never conform")]
    BucketBelowPacket {
        /// b.
        bucket: Bytes,
        /// M.
        maximum: Bytes,
    },
    /// M is larger than what the link carries.
    #[error("max_sdu_size {maximum} is above the interface's MTU of {mtu}")]
    PacketAboveMtu {
        /// M.
        maximum: Bytes,
        /// The interface's MTU.
        mtu: Bytes,
    },
    /// A value does not fit the 32 bits that FLOWSPEC has for it.
    #[error("{field} {value} does not fit a FLOWSPEC, which ends at {limit}")]
    TooLargeForRaw {
        /// The field, in snake case.
        field: &'static str,
        /// Its value.
        value: u64,
        /// The largest value that is not a sentinel.
        limit: u64,
    },
}

impl FlowspecError {
    /// The status that Winsock gives for it. Source: `winsock2.h`, WSA_QOS_*.
    pub const fn wsa(&self) -> Wsa {
        match self {
            Self::ServiceType { .. } => Wsa::QosEservicetype,
            Self::Zero { .. }
            | Self::TokenRateAbsent { .. }
            | Self::PeakBelowRate { .. }
            | Self::MinimumAboveMaximum { .. }
            | Self::BucketBelowPacket { .. }
            | Self::PacketAboveMtu { .. }
            | Self::TooLargeForRaw { .. } => Wsa::QosEflowspec,
        }
    }
}
