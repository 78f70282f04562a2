//! A flowspec whose sentinels are values: an absent field, an infinite peak.
//!
//! Takes a raw FLOWSPEC, gives a [`Flowspec`], and back. Relations between the fields are checked by
//! [`TSpec::new`](crate::TSpec::new).

use serde::{Deserialize, Serialize};

use crate::error::FlowspecError;
use crate::field::Field;
use crate::raw::{POSITIVE_INFINITY_RATE, QOS_NOT_SPECIFIED, RawFlowspec};
use crate::service::{Service, ServiceType};
use crate::units::{Bytes, Micros, Rate};

pub use crate::peak::Peak;

/// The request for one direction of a flow.
///
/// Every field but the service type may be absent (QOS_NOT_SPECIFIED); [`TSpec::new`](crate::TSpec::new) decides the
/// defaults, once the interface is known.
///
/// JSON: Winsock's field names in snake case, integers in bytes per second, bytes and microseconds. An absent or null
/// field is not specified; `"infinite"` is POSITIVE_INFINITY_RATE. Source: FLOWSPEC, `qos.h`.
///
/// ```
/// use flowspec::{Flowspec, Peak, Qos};
///
/// let mut video = Flowspec::guaranteed("6 Mbit/s".parse()?, "64 KiB".parse()?);
/// video.peak_bandwidth = Some(Peak::Finite("12 Mbit/s".parse()?));
/// video.max_sdu_size = Some("1500 B".parse()?);
/// // Sent and not received.
/// let qos = Qos::sending(video);
/// assert_eq!(qos.receiving, Flowspec::BEST_EFFORT);
/// # Ok::<(), flowspec::UnitError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flowspec {
    /// Decides whether the other fields have a meaning, and which of them are needed.
    pub service_type: ServiceType,
    /// r: the sustained rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_rate: Option<Rate>,
    /// b: the most that may leave at once after a pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_bucket_size: Option<Bytes>,
    /// p: the largest rate inside a burst.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_bandwidth: Option<Peak>,
    /// The largest acceptable end-to-end delay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Micros>,
    /// The largest acceptable difference between the longest and the shortest delay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_variation: Option<Micros>,
    /// M: the largest packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_sdu_size: Option<Bytes>,
    /// m: a smaller packet is charged this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_policed_size: Option<Bytes>,
    /// R: the rate that guaranteed service is to reserve, where it is more than the traffic and the delay need.
    /// Part of RFC 2212's RSpec, not of FLOWSPEC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved_rate: Option<Rate>,
    /// SERVICE_NO_TRAFFIC_CONTROL: the kernel's traffic control does not handle the flow.
    #[serde(default, skip_serializing_if = "is_false")]
    pub no_traffic_control: bool,
    /// SERVICE_NO_QOS_SIGNALING: no signalling to the network.
    #[serde(default, skip_serializing_if = "is_false")]
    pub no_qos_signaling: bool,
}

impl Flowspec {
    /// A flowspec of this service type without other fields.
    pub const fn new(service_type: ServiceType) -> Self {
        Self {
            service_type,
            token_rate: None,
            token_bucket_size: None,
            peak_bandwidth: None,
            latency: None,
            delay_variation: None,
            max_sdu_size: None,
            minimum_policed_size: None,
            reserved_rate: None,
            no_traffic_control: false,
            no_qos_signaling: false,
        }
    }

    /// Best effort: no reservation.
    pub const BEST_EFFORT: Self = Self::new(ServiceType::BestEffort);

    /// Guaranteed service at this rate with this bucket.
    pub const fn guaranteed(token_rate: Rate, token_bucket_size: Bytes) -> Self {
        let mut spec = Self::new(ServiceType::Guaranteed);
        spec.token_rate = Some(token_rate);
        spec.token_bucket_size = Some(token_bucket_size);
        spec
    }

    /// Converts Winsock's form.
    ///
    /// - **Errors**: a service type that is not assigned; an infinite token rate. [`TSpec::new`](crate::TSpec::new)
    ///   checks the relations between the other fields.
    /// - **Source**: FLOWSPEC, `qos.h`. `0xFFFFFFFF` as a rate is the sentinel, not 4.29 GB/s.
    #[inline]
    pub fn from_raw(raw: &RawFlowspec) -> Result<Self, FlowspecError> {
        let Service { service_type, no_traffic_control, no_qos_signaling } =
            Service::from_raw(raw.service_type)
                .ok_or(FlowspecError::ServiceType { value: raw.service_type })?;
        if raw.token_rate == POSITIVE_INFINITY_RATE {
            return Err(FlowspecError::InfiniteTokenRate);
        }
        let given = |value: u32| (value != QOS_NOT_SPECIFIED).then_some(u64::from(value));
        Ok(Self {
            service_type,
            token_rate: given(raw.token_rate).map(Rate::new),
            token_bucket_size: given(raw.token_bucket_size).map(Bytes::new),
            peak_bandwidth: match raw.peak_bandwidth {
                QOS_NOT_SPECIFIED => None,
                POSITIVE_INFINITY_RATE => Some(Peak::Infinite),
                value => Some(Peak::Finite(Rate::new(u64::from(value)))),
            },
            latency: given(raw.latency).map(Micros::new),
            delay_variation: given(raw.delay_variation).map(Micros::new),
            max_sdu_size: given(raw.max_sdu_size).map(Bytes::new),
            minimum_policed_size: given(raw.minimum_policed_size).map(Bytes::new),
            reserved_rate: None,
            no_traffic_control,
            no_qos_signaling,
        })
    }

    /// SERVICETYPE: the service type with its flags.
    pub const fn service(&self) -> Service {
        let Self { service_type, no_traffic_control, no_qos_signaling, .. } = *self;
        Service { service_type, no_traffic_control, no_qos_signaling }
    }

    /// Converts to Winsock's form.
    ///
    /// - **Errors**: a value that does not fit 32 bits or that equals a sentinel; a reserved rate, for which FLOWSPEC has
    ///   no field.
    pub fn to_raw(&self) -> Result<RawFlowspec, FlowspecError> {
        if let Some(rate) = self.reserved_rate {
            return Err(FlowspecError::TooLargeForRaw {
                field: Field::ReservedRate,
                value: rate.get(),
                limit: 0,
            });
        }
        let rate = raw_field(Field::TokenRate, self.token_rate.map(Rate::get), POSITIVE_INFINITY_RATE - 1);
        let peak = match self.peak_bandwidth {
            None => Ok(QOS_NOT_SPECIFIED),
            Some(Peak::Infinite) => Ok(POSITIVE_INFINITY_RATE),
            Some(Peak::Finite(peak)) => {
                raw_field(Field::PeakBandwidth, Some(peak.get()), POSITIVE_INFINITY_RATE - 1)
            }
        };
        let plain = |field, value| raw_field(field, value, QOS_NOT_SPECIFIED - 1);
        Ok(RawFlowspec {
            token_rate: rate?,
            token_bucket_size: plain(Field::TokenBucketSize, self.token_bucket_size.map(Bytes::get))?,
            peak_bandwidth: peak?,
            latency: plain(Field::Latency, self.latency.map(Micros::get))?,
            delay_variation: plain(Field::DelayVariation, self.delay_variation.map(Micros::get))?,
            service_type: self.service().to_raw(),
            max_sdu_size: plain(Field::MaxSduSize, self.max_sdu_size.map(Bytes::get))?,
            minimum_policed_size: plain(
                Field::MinimumPolicedSize,
                self.minimum_policed_size.map(Bytes::get),
            )?,
        })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde requires this signature")]
fn is_false(flag: &bool) -> bool {
    !flag
}

fn raw_field(field: Field, value: Option<u64>, limit: u32) -> Result<u32, FlowspecError> {
    let Some(value) = value else { return Ok(QOS_NOT_SPECIFIED) };
    match u32::try_from(value) {
        Ok(small) if small <= limit => Ok(small),
        _ => Err(FlowspecError::TooLargeForRaw { field, value, limit: u64::from(limit) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentinels_become_absent_fields_and_an_infinite_peak() {
        let raw = RawFlowspec {
            token_rate: 750_000,
            peak_bandwidth: POSITIVE_INFINITY_RATE,
            ..RawFlowspec::unspecified(3)
        };
        let spec = Flowspec::from_raw(&raw).expect("a guaranteed flowspec");
        assert_eq!(spec.token_rate, Some(Rate::new(750_000)));
        assert_eq!(spec.peak_bandwidth, Some(Peak::Infinite));
        assert_eq!(spec.latency, None);
        assert_eq!(spec.to_raw(), Ok(raw));
    }

    #[test]
    fn service_flags_round_trip() {
        let raw = RawFlowspec::unspecified(0xC100_0003);
        let spec = Flowspec::from_raw(&raw).expect("a guaranteed flowspec with both flags");
        assert!(spec.no_traffic_control && spec.no_qos_signaling);
        assert_eq!(spec.to_raw(), Ok(raw));
        let error = Flowspec::from_raw(&RawFlowspec::unspecified(7));
        assert_eq!(error, Err(FlowspecError::ServiceType { value: 7 }));
    }

    #[test]
    fn an_infinite_token_rate_is_refused() {
        let raw = RawFlowspec { token_rate: POSITIVE_INFINITY_RATE, ..RawFlowspec::unspecified(2) };
        assert_eq!(Flowspec::from_raw(&raw), Err(FlowspecError::InfiniteTokenRate));
    }

    #[test]
    fn a_rate_that_equals_a_sentinel_is_not_written() {
        let write = |rate| Flowspec::guaranteed(Rate::new(rate), Bytes::new(1500)).to_raw();
        assert_eq!(write(0xFFFF_FFFD).map(|raw| raw.token_rate), Ok(0xFFFF_FFFD));
        for rate in [0xFFFF_FFFE, 0xFFFF_FFFF, 0x1_0000_0000] {
            assert!(matches!(write(rate), Err(FlowspecError::TooLargeForRaw { .. })), "{rate}");
        }
    }

    #[test]
    fn json_has_winsocks_names_and_units() {
        let text = r#"{"service_type":"guaranteed","token_rate":750000,"token_bucket_size":65536,"peak_bandwidth":"infinite"}"#;
        let spec: Flowspec = serde_json::from_str(text).expect("a flowspec");
        assert_eq!(spec.peak_bandwidth, Some(Peak::Infinite));
        assert_eq!(serde_json::to_string(&spec).expect("JSON"), text);
        assert!(serde_json::from_str::<Flowspec>(r#"{"service_type":"guaranteed","rate":1}"#).is_err());
        let null = r#"{"service_type":"best_effort","token_rate":null}"#;
        assert_eq!(serde_json::from_str(null).ok(), Some(Flowspec::BEST_EFFORT));
    }

    proptest::proptest! {
        #[test]
        fn a_raw_flowspec_round_trips(fields: [u32; 7], service in 0u32..16) {
            let [token_rate, token_bucket_size, peak_bandwidth, latency, delay_variation, max_sdu_size, minimum_policed_size] = fields;
            let raw = RawFlowspec { token_rate, token_bucket_size, peak_bandwidth, latency, delay_variation, service_type: service, max_sdu_size, minimum_policed_size };
            if let Ok(spec) = Flowspec::from_raw(&raw) {
                proptest::prop_assert_eq!(spec.to_raw(), Ok(raw));
            }
        }
    }
}
