//! FLOWSPEC in Winsock's form: eight 32-bit numbers, with two sentinels.

use serde::{Deserialize, Serialize};

/// The field is not specified: the default applies. Source: `qos.h`.
pub const QOS_NOT_SPECIFIED: u32 = 0xFFFF_FFFF;

/// No limit, for `PeakBandwidth`. Source: `qos.h`.
pub const POSITIVE_INFINITY_RATE: u32 = 0xFFFF_FFFE;

/// Do not invoke local traffic control. The flag is both bits together. Source: `qos.h`.
pub const SERVICE_NO_TRAFFIC_CONTROL: u32 = 0x8100_0000;

/// No signalling to the network in this direction. Source: `qos.h`.
pub const SERVICE_NO_QOS_SIGNALING: u32 = 0x4000_0000;

/// FLOWSPEC, field for field; every bit pattern is allowed. The checked form is [`Flowspec`](crate::Flowspec).
///
/// Units: rates in bytes per second, sizes in bytes, times in microseconds. JSON: the numbers, sentinels included.
/// Source: `qos.h`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[repr(C)]
pub struct RawFlowspec {
    /// r, bytes per second.
    pub token_rate: u32,
    /// b, bytes.
    pub token_bucket_size: u32,
    /// p, bytes per second.
    pub peak_bandwidth: u32,
    /// The largest acceptable delay, microseconds.
    pub latency: u32,
    /// The largest acceptable difference between delays, microseconds.
    pub delay_variation: u32,
    /// SERVICETYPE with its flags.
    pub service_type: u32,
    /// M, bytes.
    pub max_sdu_size: u32,
    /// m, bytes.
    pub minimum_policed_size: u32,
}

impl RawFlowspec {
    /// A flowspec from its words, in the order of FLOWSPEC.
    pub const fn from_words(words: [u32; 8]) -> Self {
        let [
            token_rate,
            token_bucket_size,
            peak_bandwidth,
            latency,
            delay_variation,
            service_type,
            max_sdu_size,
            minimum_policed_size,
        ] = words;
        Self {
            token_rate,
            token_bucket_size,
            peak_bandwidth,
            latency,
            delay_variation,
            service_type,
            max_sdu_size,
            minimum_policed_size,
        }
    }

    /// The words, in the order of FLOWSPEC.
    pub const fn words(&self) -> [u32; 8] {
        [
            self.token_rate,
            self.token_bucket_size,
            self.peak_bandwidth,
            self.latency,
            self.delay_variation,
            self.service_type,
            self.max_sdu_size,
            self.minimum_policed_size,
        ]
    }

    /// A flowspec of this service type whose other fields are not specified.
    pub const fn unspecified(service_type: u32) -> Self {
        Self {
            token_rate: QOS_NOT_SPECIFIED,
            token_bucket_size: QOS_NOT_SPECIFIED,
            peak_bandwidth: QOS_NOT_SPECIFIED,
            latency: QOS_NOT_SPECIFIED,
            delay_variation: QOS_NOT_SPECIFIED,
            service_type,
            max_sdu_size: QOS_NOT_SPECIFIED,
            minimum_policed_size: QOS_NOT_SPECIFIED,
        }
    }
}
