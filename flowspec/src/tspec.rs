//! TSpec: the traffic that a source promises to stay within, with every default decided.
//!
//! - Order of calls: [`TSpec::new`] from a [`Flowspec`], once the interface's MTU is known; then the bounds here and in
//!   [`guaranteed`](crate::guaranteed), and the operations on several TSpecs.

use serde::{Deserialize, Serialize};

use crate::direction::Direction;
use crate::error::FlowspecError;
use crate::field::Field;
use crate::flowspec::Flowspec;
use crate::peak::Peak;
use crate::service::{ServiceType, ServiceUse};
use crate::units::{Bytes, Micros, Rate, Ratio};

/// A token bucket with a peak: (r, b, p, m, M). Sizes count IP datagrams.
///
/// Invariants: r, b, m and M are not zero; m ≤ M ≤ b; r ≤ p. The order of TSpecs is partial, so there is no `Ord`.
/// Source: RFC 2215 section 3.6, RFC 2212 section "Policing".
///
/// ```
/// use flowspec::{Bytes, Direction, Flowspec, Micros, Rate, TSpec};
///
/// let video = Flowspec::guaranteed(Rate::from_mbit(8), Bytes::new(64_000));
/// let tspec = TSpec::new(&video, Direction::Sending, Bytes::new(1500))?.expect("a guaranteed flow reserves");
/// // In any second, at most the bucket and a second's worth of tokens.
/// assert_eq!(tspec.arrival_bound(Micros::new(1_000_000)), Bytes::new(64_000 + 1_000_000));
/// # Ok::<(), flowspec::FlowspecError>(())
/// ```
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "Fields")]
pub struct TSpec {
    pub(crate) token_rate: Rate,
    pub(crate) token_bucket_size: Bytes,
    pub(crate) peak_bandwidth: Peak,
    pub(crate) minimum_policed_size: Bytes,
    pub(crate) max_sdu_size: Bytes,
}

/// The fields of a TSpec before their relations are checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    token_rate: Rate,
    token_bucket_size: Bytes,
    peak_bandwidth: Peak,
    minimum_policed_size: Bytes,
    max_sdu_size: Bytes,
}

impl TryFrom<Fields> for TSpec {
    type Error = FlowspecError;

    fn try_from(fields: Fields) -> Result<Self, FlowspecError> {
        let Fields { token_rate, token_bucket_size, peak_bandwidth, minimum_policed_size, max_sdu_size } =
            fields;
        let tspec =
            Self { token_rate, token_bucket_size, peak_bandwidth, minimum_policed_size, max_sdu_size };
        tspec.check()?;
        Ok(tspec)
    }
}

/// The default of `minimum_policed_size`: no smaller than an Ethernet frame, which bounds the overhead of link headers.
const DEFAULT_MINIMUM_POLICED_SIZE: u64 = 64;

impl TSpec {
    /// The traffic description of a flowspec, with the defaults for an interface.
    ///
    /// | absent | default |
    /// | --- | --- |
    /// | `token_rate` | sending: an error; receiving: no TSpec, since nothing is reserved |
    /// | `token_bucket_size` | the larger of the MTU and M |
    /// | `peak_bandwidth` | infinite |
    /// | `max_sdu_size` | the smaller of the MTU and a bucket that is given |
    /// | `minimum_policed_size` | the smaller of 64 and M |
    ///
    /// A flowspec whose service type reserves nothing has no TSpec, and its other fields are not checked.
    ///
    /// - **Units**: `mtu` in bytes of IP datagram.
    /// - **Errors**: a field that is zero, a delay target of guaranteed service included; p < r; m > M; b < M; M above
    ///   the MTU.
    /// - **Source**: RFC 2212 and 2215 for the relations, `qos.h` for the fields that may be absent.
    pub fn new(spec: &Flowspec, direction: Direction, mtu: Bytes) -> Result<Option<Self>, FlowspecError> {
        if !spec.service_type.reserves() {
            return Ok(None);
        }
        let token_rate = nonzero(Field::TokenRate, spec.token_rate, Rate::ZERO)?;
        let bucket = nonzero(Field::TokenBucketSize, spec.token_bucket_size, Bytes::ZERO)?;
        let explicit = nonzero(Field::MaxSduSize, spec.max_sdu_size, Bytes::ZERO)?;
        let minimum = nonzero(Field::MinimumPolicedSize, spec.minimum_policed_size, Bytes::ZERO)?;
        let no_time = Some(Micros::new(0));
        if spec.service_type == ServiceType::Guaranteed {
            for (field, time) in
                [(Field::Latency, spec.latency), (Field::DelayVariation, spec.delay_variation)]
            {
                if time == no_time {
                    return Err(FlowspecError::NoDelay { field });
                }
            }
        }
        let Some(token_rate) = token_rate else {
            return match direction {
                Direction::Sending => Err(FlowspecError::TokenRateAbsent { service: spec.service_type }),
                Direction::Receiving => Ok(None),
            };
        };
        let max_sdu_size = explicit.unwrap_or_else(|| mtu.min(bucket.unwrap_or(mtu)));
        if max_sdu_size > mtu {
            return Err(FlowspecError::PacketAboveMtu { maximum: max_sdu_size, mtu });
        }
        let token_bucket_size = bucket.unwrap_or_else(|| mtu.max(max_sdu_size));
        let default_minimum = Bytes::new(DEFAULT_MINIMUM_POLICED_SIZE).min(max_sdu_size);
        let tspec = Self {
            token_rate,
            token_bucket_size,
            peak_bandwidth: spec.peak_bandwidth.unwrap_or(Peak::Infinite),
            minimum_policed_size: minimum.unwrap_or(default_minimum),
            max_sdu_size,
        };
        tspec.check()?;
        Ok(Some(tspec))
    }

    /// Checks the invariants in the type's documentation, except for a bound by the MTU.
    pub(crate) fn check(&self) -> Result<(), FlowspecError> {
        nonzero(Field::TokenRate, Some(self.token_rate), Rate::ZERO)?;
        nonzero(Field::TokenBucketSize, Some(self.token_bucket_size), Bytes::ZERO)?;
        nonzero(Field::MaxSduSize, Some(self.max_sdu_size), Bytes::ZERO)?;
        nonzero(Field::MinimumPolicedSize, Some(self.minimum_policed_size), Bytes::ZERO)?;
        let Self { token_bucket_size: bucket, minimum_policed_size: minimum, max_sdu_size: maximum, .. } =
            *self;
        if bucket < maximum {
            return Err(FlowspecError::BucketBelowPacket { bucket, maximum });
        }
        if minimum > maximum {
            return Err(FlowspecError::MinimumAboveMaximum { minimum, maximum });
        }
        match self.peak_bandwidth {
            Peak::Finite(peak) if peak < self.token_rate => {
                Err(FlowspecError::PeakBelowRate { peak, rate: self.token_rate })
            }
            Peak::Finite(_) | Peak::Infinite => Ok(()),
        }
    }

    /// r, the sustained rate.
    pub const fn token_rate(&self) -> Rate {
        self.token_rate
    }

    /// b, the bucket's depth.
    pub const fn token_bucket_size(&self) -> Bytes {
        self.token_bucket_size
    }

    /// p, the largest rate inside a burst.
    pub const fn peak_bandwidth(&self) -> Peak {
        self.peak_bandwidth
    }

    /// m, the least that a packet is charged.
    pub const fn minimum_policed_size(&self) -> Bytes {
        self.minimum_policed_size
    }

    /// M, the largest packet.
    pub const fn max_sdu_size(&self) -> Bytes {
        self.max_sdu_size
    }

    /// The most bytes that a conforming source sends in any window of length `span`.
    ///
    /// `min(M + p·span, b + r·span)`, at most [`Bytes::MAX`].
    ///
    /// - **Units**: bytes; a fraction of a byte is dropped.
    /// - **Source**: RFC 2212, section "Policing".
    pub fn arrival_bound(&self, span: Micros) -> Bytes {
        let sustained = self.token_bucket_size.saturating_add(self.token_rate.bytes_in(span));
        match self.peak_bandwidth {
            Peak::Infinite => sustained,
            Peak::Finite(peak) => sustained.min(self.max_sdu_size.saturating_add(peak.bytes_in(span))),
        }
    }

    /// How long a source can send at the peak from a full bucket: `(b − M) ÷ (p − r)`, rounded up.
    ///
    /// `None` where the peak is infinite (the burst takes no time) or equals r (it never ends).
    pub fn burst_time(&self) -> Option<Micros> {
        let Peak::Finite(peak) = self.peak_bandwidth else { return None };
        let faster = u128::from(peak.saturating_sub(self.token_rate).get());
        let burst = u128::from(self.token_bucket_size.saturating_sub(self.max_sdu_size).get());
        (faster > 0)
            .then(|| (burst * 1_000_000).div_ceil(faster))
            .and_then(|t| u64::try_from(t).ok())
            .map(Micros::new)
    }

    /// The rate that carries this source where each packet has `header` more bytes: `r · (m + h) ÷ m`, rounded up. The
    /// overhead is largest for packets of m.
    ///
    /// - **Source**: RFC 2212, "the overhead is bounded by m".
    pub fn rate_with_header(&self, header: Bytes) -> Rate {
        let minimum = self.minimum_policed_size.get();
        self.token_rate
            .scale_up(Ratio { numerator: minimum.saturating_add(header.get()), denominator: minimum })
    }
}

impl Flowspec {
    /// Checks a flowspec as far as possible without an interface: the service type is legal in this direction, and the
    /// fields agree with each other.
    ///
    /// - **Errors**: a service type that is not legal here; those of [`TSpec::new`] that do not depend on the MTU.
    #[inline]
    pub fn check(&self, direction: Direction) -> Result<(), FlowspecError> {
        let place = match direction {
            Direction::Sending => ServiceUse::Sending,
            Direction::Receiving => ServiceUse::Receiving,
        };
        if !self.service_type.is_legal(place) {
            return Err(FlowspecError::ServiceMisplaced { service: self.service_type, direction });
        }
        TSpec::new(self, direction, Bytes::MAX).map(drop)
    }

    /// Everything that is wrong with a flowspec: after each error the field at fault is left out, and the rest is checked
    /// again. The first one is that of [`check`](Self::check), or of [`TSpec::new`] with this MTU.
    ///
    /// - **Units**: `mtu` in bytes of IP datagram; [`Bytes::MAX`] where the interface is not known.
    pub fn problems(&self, direction: Direction, mtu: Bytes) -> Vec<FlowspecError> {
        if let Err(error @ FlowspecError::ServiceMisplaced { .. }) = self.check(direction) {
            return vec![error];
        }
        let mut rest = *self;
        let mut found = Vec::new();
        while let Err(error) = TSpec::new(&rest, direction, mtu) {
            let before = rest;
            rest.leave_out(&error);
            found.push(error);
            if rest == before {
                break;
            }
        }
        found
    }

    /// Leaves out the field that an error of [`TSpec::new`] is about. A token rate, which a sending flow needs, becomes
    /// one that no other field contradicts.
    fn leave_out(&mut self, error: &FlowspecError) {
        match error.field() {
            Field::TokenRate => (self.token_rate, self.peak_bandwidth) = (Some(Rate::new(1)), None),
            Field::TokenBucketSize => self.token_bucket_size = None,
            Field::PeakBandwidth => self.peak_bandwidth = None,
            Field::Latency => self.latency = None,
            Field::DelayVariation => self.delay_variation = None,
            Field::MaxSduSize => self.max_sdu_size = None,
            Field::MinimumPolicedSize => self.minimum_policed_size = None,
            Field::ServiceType | Field::ReservedRate => {}
        }
    }
}

fn nonzero<T: PartialEq + Copy>(field: Field, value: Option<T>, zero: T) -> Result<Option<T>, FlowspecError> {
    match value {
        Some(value) if value == zero => Err(FlowspecError::Zero { field }),
        value => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MTU: Bytes = Bytes::new(1500);

    fn spec(edit: impl FnOnce(&mut Flowspec)) -> Flowspec {
        let mut spec = Flowspec::new(ServiceType::Guaranteed);
        spec.token_rate = Some(Rate::new(1000));
        edit(&mut spec);
        spec
    }

    #[track_caller]
    fn check(name: &str, spec: &Flowspec, expected: Result<(u64, u64, u64), FlowspecError>) {
        let sizes = TSpec::new(spec, Direction::Sending, MTU).map(|tspec| {
            let tspec = tspec.expect("a guaranteed flow has a TSpec");
            assert_eq!(tspec.token_rate(), Rate::new(1000), "{name}");
            (tspec.token_bucket_size().get(), tspec.minimum_policed_size().get(), tspec.max_sdu_size().get())
        });
        assert_eq!(sizes, expected, "{name}");
    }

    #[test]
    fn absent_fields_get_their_defaults() {
        let bytes = |n| Some(Bytes::new(n));
        check("nothing given: (b, m, M)", &spec(|_| ()), Ok((1500, 64, 1500)));
        check("M follows a small bucket", &spec(|s| s.token_bucket_size = bytes(1000)), Ok((1000, 64, 1000)));
        check("M stays at the MTU", &spec(|s| s.token_bucket_size = bytes(9000)), Ok((9000, 64, 1500)));
        check("m is at most M", &spec(|s| s.max_sdu_size = bytes(40)), Ok((1500, 40, 40)));
        check(
            "b = M, m = M",
            &spec(|s| {
                s.token_bucket_size = bytes(1500);
                s.minimum_policed_size = bytes(1500);
            }),
            Ok((1500, 1500, 1500)),
        );
    }

    #[test]
    fn inconsistent_flowspecs_are_refused() {
        let bytes = |n| Some(Bytes::new(n));
        let zero = |field| Err(FlowspecError::Zero { field });
        check("r = 0", &spec(|s| s.token_rate = Some(Rate::ZERO)), zero(Field::TokenRate));
        check("b = 0", &spec(|s| s.token_bucket_size = bytes(0)), zero(Field::TokenBucketSize));
        check("M = 0", &spec(|s| s.max_sdu_size = bytes(0)), zero(Field::MaxSduSize));
        check("m = 0", &spec(|s| s.minimum_policed_size = bytes(0)), zero(Field::MinimumPolicedSize));
        check(
            "m > M",
            &spec(|s| s.minimum_policed_size = bytes(1501)),
            Err(FlowspecError::MinimumAboveMaximum { minimum: Bytes::new(1501), maximum: MTU }),
        );
        check(
            "b < M",
            &spec(|s| {
                s.token_bucket_size = bytes(1499);
                s.max_sdu_size = bytes(1500);
            }),
            Err(FlowspecError::BucketBelowPacket { bucket: Bytes::new(1499), maximum: MTU }),
        );
        check(
            "M > MTU",
            &spec(|s| s.max_sdu_size = bytes(1501)),
            Err(FlowspecError::PacketAboveMtu { maximum: Bytes::new(1501), mtu: MTU }),
        );
        let peak = |p| spec(|s| s.peak_bandwidth = Some(Peak::Finite(Rate::new(p))));
        check("p = r", &peak(1000), Ok((1500, 64, 1500)));
        check(
            "p < r",
            &peak(999),
            Err(FlowspecError::PeakBelowRate { peak: Rate::new(999), rate: Rate::new(1000) }),
        );
    }

    #[test]
    fn guaranteed_service_with_a_delay_of_zero_is_refused() {
        let none = Some(Micros::new(0));
        let error = |field| Err(FlowspecError::NoDelay { field });
        check("latency 0", &spec(|s| s.latency = none), error(Field::Latency));
        check("delay variation 0", &spec(|s| s.delay_variation = none), error(Field::DelayVariation));
        let mut loaded = spec(|s| s.latency = none);
        loaded.service_type = ServiceType::ControlledLoad;
        check("controlled load has no delay target", &loaded, Ok((1500, 64, 1500)));
    }

    #[test]
    fn sending_needs_a_token_rate_and_receiving_does_not() {
        let spec = Flowspec::new(ServiceType::ControlledLoad);
        assert_eq!(TSpec::new(&spec, Direction::Receiving, MTU), Ok(None));
        assert!(matches!(
            TSpec::new(&spec, Direction::Sending, MTU),
            Err(FlowspecError::TokenRateAbsent { .. })
        ));
        assert_eq!(TSpec::new(&Flowspec::BEST_EFFORT, Direction::Sending, MTU), Ok(None));
    }

    #[test]
    fn the_burst_time_is_that_of_a_full_bucket() {
        let time = |peak, b| {
            let spec = spec(|s| {
                s.token_bucket_size = Some(Bytes::new(b));
                s.peak_bandwidth = peak;
            });
            TSpec::new(&spec, Direction::Sending, MTU)
                .ok()
                .flatten()
                .expect("valid")
                .burst_time()
                .map(Micros::get)
        };
        let finite = |rate| Some(Peak::Finite(Rate::new(rate)));
        assert_eq!(time(finite(4000), 7500), Some(2_000_000));
        assert_eq!(time(finite(4000), 7501), Some(2_000_334), "rounded up");
        assert_eq!(time(finite(4000), 1500), Some(0), "b = M");
        assert_eq!(time(finite(1000), 7500), None, "p = r");
        assert_eq!(time(None, 7500), None);
    }

    #[test]
    fn header_overhead_is_that_of_the_smallest_packet() {
        let tspec = |m| {
            let spec = spec(|s| s.minimum_policed_size = Some(Bytes::new(m)));
            TSpec::new(&spec, Direction::Sending, MTU).ok().flatten().expect("valid")
        };
        assert_eq!(tspec(1000).rate_with_header(Bytes::new(14)), Rate::new(1014));
        assert_eq!(tspec(64).rate_with_header(Bytes::new(14)), Rate::new(1219));
    }

    #[test]
    fn a_flowspec_is_checked_without_an_interface() {
        let check = |spec: Flowspec| spec.check(Direction::Receiving).map_err(|error| error.field());
        assert_eq!(check(Flowspec::BEST_EFFORT), Ok(()));
        assert_eq!(check(Flowspec::new(ServiceType::Guaranteed)), Ok(()));
        assert_eq!(check(Flowspec::new(ServiceType::GeneralInformation)), Err(Field::ServiceType));
        let jumbo =
            Flowspec { max_sdu_size: Some(Bytes::new(1 << 20)), ..Flowspec::new(ServiceType::Guaranteed) };
        assert_eq!(check(jumbo), Ok(()), "no MTU is known");
        let mut small = Flowspec::guaranteed(Rate::new(1), Bytes::new(10));
        small.minimum_policed_size = Some(Bytes::new(11));
        assert_eq!(check(small), Err(Field::MinimumPolicedSize));
    }

    proptest::proptest! {
        #[test]
        fn the_arrival_bound_is_the_lower_curve(r in 1u64..1 << 40, extra in 0u64..1 << 40, b in 1500u64..1 << 30, t in 0u64..1 << 30) {
            let spec = spec(|s| {
                s.token_rate = Some(Rate::new(r));
                s.token_bucket_size = Some(Bytes::new(b));
                s.peak_bandwidth = Some(Peak::Finite(Rate::new(r + extra)));
            });
            let tspec = TSpec::new(&spec, Direction::Sending, MTU).ok().flatten().expect("valid");
            let bound = u128::from(tspec.arrival_bound(Micros::new(t)).get());
            let sustained = u128::from(b) + u128::from(r) * u128::from(t) / 1_000_000;
            let peak = 1500 + u128::from(r + extra) * u128::from(t) / 1_000_000;
            proptest::prop_assert_eq!(bound, sustained.min(peak).min(u128::from(u64::MAX)));
        }
    }
}
