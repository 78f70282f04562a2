//! What is wrong with a flowspec: the field, its value, and why.

use serde::{Deserialize, Serialize};

use crate::direction::Direction;
use crate::field::Field;
use crate::raw::POSITIVE_INFINITY_RATE;
use crate::service::ServiceType;
use crate::units::{Bytes, Rate};
use crate::wsa::Wsa;

/// Why a flowspec is not valid. Names the field; [`wsa`](Self::wsa) gives the WSA_QOS_* status.
///
/// JSON: `{"peak_below_rate": {"peak": 1, "rate": 2}}`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FlowspecError {
    /// The service type has no meaning, or none in a request.
    #[error("service_type {value:#x} is not a service type that can be asked for")]
    ServiceType {
        /// The value of the field.
        value: u32,
    },
    /// The service type may not be said in this flowspec.
    #[error("service_type {service} has no meaning in a {direction} flowspec")]
    ServiceMisplaced {
        /// The service type.
        service: ServiceType,
        /// The flowspec it stands in.
        direction: Direction,
    },
    /// POSITIVE_INFINITY_RATE, which is for PeakBandwidth alone.
    #[error("token_rate is POSITIVE_INFINITY_RATE: only peak_bandwidth may be infinite")]
    InfiniteTokenRate,
    /// Guaranteed service without any delay: no rate is enough.
    #[error("{field} is zero: no rate can serve a guaranteed flow without delay")]
    NoDelay {
        /// `latency` or `delay_variation`.
        field: Field,
    },
    /// A field that may not be zero is.
    #[error("{field} is zero")]
    Zero {
        /// The field.
        field: Field,
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
        /// The field.
        field: Field,
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
            Self::ServiceType { .. } | Self::ServiceMisplaced { .. } => Wsa::QosEservicetype,
            Self::NoDelay { .. } => Wsa::QosAdmissionFailure,
            Self::InfiniteTokenRate
            | Self::Zero { .. }
            | Self::TokenRateAbsent { .. }
            | Self::PeakBelowRate { .. }
            | Self::MinimumAboveMaximum { .. }
            | Self::BucketBelowPacket { .. }
            | Self::PacketAboveMtu { .. }
            | Self::TooLargeForRaw { .. } => Wsa::QosEflowspec,
        }
    }

    /// The field that is wrong, in snake case. Of two that contradict each other, the one named first
    /// in the message.
    pub const fn field(&self) -> Field {
        match self {
            Self::ServiceType { .. } | Self::ServiceMisplaced { .. } => Field::ServiceType,
            Self::TokenRateAbsent { .. } | Self::InfiniteTokenRate => Field::TokenRate,
            Self::PeakBelowRate { .. } => Field::PeakBandwidth,
            Self::MinimumAboveMaximum { .. } => Field::MinimumPolicedSize,
            Self::BucketBelowPacket { .. } => Field::TokenBucketSize,
            Self::PacketAboveMtu { .. } => Field::MaxSduSize,
            Self::Zero { field } | Self::NoDelay { field } | Self::TooLargeForRaw { field, .. } => *field,
        }
    }

    /// The field's value as an integer in Winsock's units; zero where that is what is wrong with it, or
    /// where it is absent.
    pub(crate) const fn value(&self) -> u64 {
        match self {
            Self::ServiceType { value } => *value as u64,
            Self::ServiceMisplaced { service, .. } => service.value() as u64,
            Self::TokenRateAbsent { .. } | Self::Zero { .. } | Self::NoDelay { .. } => 0,
            Self::InfiniteTokenRate => POSITIVE_INFINITY_RATE as u64,
            Self::PeakBelowRate { peak, .. } => peak.get(),
            Self::MinimumAboveMaximum { minimum, .. } => minimum.get(),
            Self::BucketBelowPacket { bucket, .. } => bucket.get(),
            Self::PacketAboveMtu { maximum, .. } => maximum.get(),
            Self::TooLargeForRaw { value, .. } => *value,
        }
    }
}
