//! The fields of a flowspec, by name.

use serde::{Deserialize, Serialize};

/// A field of FLOWSPEC, or the reserved rate that [`Flowspec`](crate::Flowspec) adds to them.
///
/// JSON and messages: Winsock's name in snake case.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// r.
    TokenRate,
    /// b.
    TokenBucketSize,
    /// p.
    PeakBandwidth,
    /// The delay target.
    Latency,
    /// The target for the difference between delays.
    DelayVariation,
    /// SERVICETYPE, with its flags.
    ServiceType,
    /// M.
    MaxSduSize,
    /// m.
    MinimumPolicedSize,
    /// R, which FLOWSPEC does not have.
    ReservedRate,
}

impl Field {
    /// The fields of FLOWSPEC in their order, four bytes each. Source: `qos.h`.
    pub const IN_FLOWSPEC: [Self; 8] = [
        Self::TokenRate,
        Self::TokenBucketSize,
        Self::PeakBandwidth,
        Self::Latency,
        Self::DelayVariation,
        Self::ServiceType,
        Self::MaxSduSize,
        Self::MinimumPolicedSize,
    ];

    /// Where the field begins in FLOWSPEC, in bytes; zero for the reserved rate, which is not in it.
    pub(crate) fn offset(self) -> usize {
        Self::IN_FLOWSPEC.iter().position(|&field| field == self).unwrap_or(0) * 4
    }

    /// The name in messages, JSON and policy files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TokenRate => "token_rate",
            Self::TokenBucketSize => "token_bucket_size",
            Self::PeakBandwidth => "peak_bandwidth",
            Self::Latency => "latency",
            Self::DelayVariation => "delay_variation",
            Self::ServiceType => "service_type",
            Self::MaxSduSize => "max_sdu_size",
            Self::MinimumPolicedSize => "minimum_policed_size",
            Self::ReservedRate => "reserved_rate",
        }
    }
}

impl std::fmt::Display for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}
