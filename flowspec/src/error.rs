//! Why a flowspec is not valid: the field, its value, and the reason.

use serde::{Deserialize, Serialize};

use crate::direction::Direction;
use crate::field::Field;
use crate::raw::POSITIVE_INFINITY_RATE;
use crate::service::ServiceType;
use crate::units::{Bytes, Rate};
use crate::wsa::Wsa;

/// Why a flowspec is not valid. [`wsa`](Self::wsa) gives the WSA_QOS_* status.
///
/// JSON: `{"peak_below_rate": {"peak": 1, "rate": 2}}`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FlowspecError {
    /// The service type is not assigned, or not one for a request.
    #[error("service_type {value:#x} is not a service type that can be asked for")]
    ServiceType {
        /// SERVICETYPE as it was read, with its flags.
        value: u32,
    },
    /// The service type is not allowed in this flowspec.
    #[error("service_type {service} has no meaning in a {direction} flowspec")]
    ServiceMisplaced {
        /// Without its flags.
        service: ServiceType,
        /// The flowspec's direction.
        direction: Direction,
    },
    /// TokenRate is POSITIVE_INFINITY_RATE, which only PeakBandwidth may be.
    #[error("token_rate is POSITIVE_INFINITY_RATE: only peak_bandwidth may be infinite")]
    InfiniteTokenRate,
    /// Guaranteed service with a delay of zero, which no rate meets.
    #[error("{field} is zero: no rate can serve a guaranteed flow without delay")]
    NoDelay {
        /// `latency` or `delay_variation`.
        field: Field,
    },
    /// A field is zero and may not be.
    #[error("{field} is zero")]
    Zero {
        /// The first such field, in the order r, b, M, m.
        field: Field,
    },
    /// No token rate, for a service that reserves one.
    #[error("token_rate is not specified: sending {service} traffic needs one")]
    TokenRateAbsent {
        /// Controlled load or guaranteed.
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
    /// b < M: no packet larger than b would ever conform.
    #[error("token_bucket_size {bucket} is below max_sdu_size {maximum}: a full packet would never conform")]
    BucketBelowPacket {
        /// b.
        bucket: Bytes,
        /// M.
        maximum: Bytes,
    },
    /// M is larger than the link's MTU.
    #[error("max_sdu_size {maximum} is above the interface's MTU of {mtu}")]
    PacketAboveMtu {
        /// M.
        maximum: Bytes,
        /// The interface's MTU.
        mtu: Bytes,
    },
    /// A value does not fit FLOWSPEC's 32 bits.
    #[error("{field} {value} does not fit a FLOWSPEC: the largest value is {limit}")]
    TooLargeForRaw {
        /// It has 32 bits in FLOWSPEC, and 64 here.
        field: Field,
        /// In Winsock's unit: bytes, bytes per second or microseconds.
        value: u64,
        /// The largest value that is not a sentinel.
        limit: u64,
    },
}

impl FlowspecError {
    /// The Winsock status. Source: `winsock2.h`, WSA_QOS_*.
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

    /// The field that is wrong. Of two that contradict each other, the one that the message names first.
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

    /// The field's value as an integer in Winsock's units; zero where the field is absent.
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
