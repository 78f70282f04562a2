//! What a flowspec is charged: from the request to what is taken from the budgets.

use flowspec::{
    Both, Bytes, Direction, ErrorTerms, Flowspec, FlowspecError, Micros, Peak, Qos, Rate, Ratio, ServiceType,
    TSpec,
};

use super::measured::peak_of;
use crate::admission::refusal::Refusal;
use crate::policy::{Admission, Allocate, Class, InterfacePolicy};

/// What a valid request takes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Charge {
    pub(crate) rate: Both<Rate>,
    pub(crate) buffer: Both<Bytes>,
    pub(crate) tspec: Both<Option<TSpec>>,
    /// The most that the flow sends where its class is measured; zero where it is charged as declared.
    pub(crate) peak: Both<Rate>,
    /// r where the flow is charged less than that, as its class is overbooked; otherwise zero.
    pub(crate) declared: Both<Rate>,
}

impl Charge {
    /// A charge that covers both, field by field.
    pub(crate) fn larger(&self, other: &Self) -> Self {
        let mut larger = *self;
        for direction in Direction::BOTH {
            let rate = larger.rate.get_mut(direction);
            *rate = (*rate).max(*other.rate.get(direction));
            let buffer = larger.buffer.get_mut(direction);
            *buffer = (*buffer).max(*other.buffer.get(direction));
            let peak = larger.peak.get_mut(direction);
            *peak = (*peak).max(*other.peak.get(direction));
            let declared = larger.declared.get_mut(direction);
            *declared = (*declared).max(*other.declared.get(direction));
            let tspec: &mut Option<TSpec> = larger.tspec.get_mut(direction);
            *tspec = match (*tspec, other.tspec.get(direction)) {
                (Some(a), Some(b)) => Some(a.least_upper_bound(b)),
                (a, b) => a.or(*b),
            };
        }
        larger
    }

    /// Whether it takes more of a budget than another one in any field.
    pub(crate) fn exceeds(&self, other: &Self) -> bool {
        Direction::BOTH.iter().any(|&direction| {
            self.rate.get(direction) > other.rate.get(direction)
                || self.buffer.get(direction) > other.buffer.get(direction)
                || self.peak.get(direction) > other.peak.get(direction)
        })
    }
}

/// The parameters of an interface that a charge depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkParameters<'a> {
    pub(crate) name: &'a str,
    pub(crate) policy: &'a InterfacePolicy,
    pub(crate) mtu: Bytes,
    /// C and D; `None` where none are proven.
    pub(crate) terms: Both<Option<ErrorTerms>>,
}

impl LinkParameters<'_> {
    /// Both directions of a request.
    ///
    /// Guaranteed: the largest of r, R if it is given, and the least rate that meets the delay target;
    /// controlled load: r divided by the overbooking, rounded up; p in place of r where the class
    /// allocates by peak; anything else is free. Where the class is measured, controlled load is charged what
    /// it declares.
    pub(crate) fn charge(&self, qos: &Qos, class: Option<&Class>) -> Result<Charge, Refusal> {
        let mut charge = Charge::default();
        for direction in Direction::BOTH {
            let spec = qos.get(direction);
            let Some(tspec) = self.tspec(direction, spec)? else { continue };
            let rate = self.rate(direction, spec, &tspec, class)?;
            *charge.rate.get_mut(direction) = rate;
            *charge.buffer.get_mut(direction) = self.buffer(direction, spec, &tspec, rate);
            *charge.tspec.get_mut(direction) = Some(tspec);
            if class.is_none_or(|class| class.allocate == Allocate::Rate) && tspec.token_rate() > rate {
                *charge.declared.get_mut(direction) = tspec.token_rate();
            }
            if spec.service_type == ServiceType::ControlledLoad && measured(class) {
                *charge.peak.get_mut(direction) = peak_of(&tspec);
            }
        }
        Ok(charge)
    }

    fn tspec(&self, direction: Direction, spec: &Flowspec) -> Result<Option<TSpec>, Refusal> {
        match spec.service_type {
            ServiceType::NoTraffic | ServiceType::BestEffort | ServiceType::Qualitative => return Ok(None),
            ServiceType::Guaranteed | ServiceType::ControlledLoad => {}
            ServiceType::NoChange => {
                let error = FlowspecError::ServiceType { value: spec.service_type.value() };
                return Err(Refusal::InvalidFlowspec { direction, error });
            }
            service @ (ServiceType::NetworkUnavailable
            | ServiceType::GeneralInformation
            | ServiceType::Nonconforming
            | ServiceType::NetworkControl) => return Err(Refusal::ServiceNotOffered { direction, service }),
        }
        TSpec::new(spec, direction, self.mtu).map_err(|error| match error {
            FlowspecError::PacketAboveMtu { maximum, mtu } => {
                Refusal::Mtu { interface: self.name.to_owned(), direction, max_sdu_size: maximum, mtu }
            }
            FlowspecError::NoDelay { .. } => self.delay(direction, Micros::new(0)),
            error => Refusal::InvalidFlowspec { direction, error },
        })
    }

    fn rate(
        &self,
        direction: Direction,
        spec: &Flowspec,
        tspec: &TSpec,
        class: Option<&Class>,
    ) -> Result<Rate, Refusal> {
        let declared = match (class.map(|class| class.allocate), tspec.peak_bandwidth()) {
            (None | Some(Allocate::Rate), _) => tspec.token_rate(),
            (Some(Allocate::Peak), Peak::Finite(peak)) => peak,
            (Some(Allocate::Peak), Peak::Infinite) => return Err(Refusal::InfinitePeak { direction }),
        };
        if spec.service_type == ServiceType::ControlledLoad {
            let divided = class.filter(|class| class.admission == Admission::Declared);
            let overbooking = divided.map_or(1000, |class| class.overbooking_thousandths);
            return Ok(declared.scale_up(Ratio { numerator: 1000, denominator: overbooking }));
        }
        let reserved = spec.reserved_rate.unwrap_or_default();
        let for_delay = self.rate_for_delay(direction, spec, tspec)?.unwrap_or_default();
        Ok(declared.max(reserved).max(for_delay))
    }

    /// The least rate that meets the delay target, if there is one: the smaller of the latency less the path's own,
    /// and the delay variation.
    fn rate_for_delay(
        &self,
        direction: Direction,
        spec: &Flowspec,
        tspec: &TSpec,
    ) -> Result<Option<Rate>, Refusal> {
        if !self.policy.delay {
            return Ok(None);
        }
        let path = self.policy.path_latency.get();
        let latency = spec.latency.map(|latency| Micros::new(latency.get().saturating_sub(path)));
        let Some(target) = latency.into_iter().chain(spec.delay_variation).min() else { return Ok(None) };
        let rate = self.terms.get(direction).and_then(|terms| tspec.least_rate(target, terms));
        rate.map(Some).ok_or_else(|| self.delay(direction, target))
    }

    /// What it needs of the interface's buffer: RFC 2212's bound for guaranteed service, b otherwise.
    fn buffer(&self, direction: Direction, spec: &Flowspec, tspec: &TSpec, rate: Rate) -> Bytes {
        match (spec.service_type, *self.terms.get(direction)) {
            (ServiceType::Guaranteed, Some(terms)) => tspec.buffer(rate, terms).unwrap_or(Bytes::MAX),
            _ => tspec.token_bucket_size(),
        }
    }

    fn delay(&self, direction: Direction, target: Micros) -> Refusal {
        Refusal::Delay {
            interface: self.name.to_owned(),
            direction,
            target,
            terms: *self.terms.get(direction),
        }
    }
}

fn measured(class: Option<&Class>) -> bool {
    class.is_some_and(|class| class.admission == Admission::Measured)
}

/// Whether a flowspec reserves nothing.
pub(crate) const fn reserves_nothing(spec: &Flowspec) -> bool {
    matches!(spec.service_type, ServiceType::NoTraffic | ServiceType::BestEffort | ServiceType::Qualitative)
}
