//! Flowspecs: the keys of one direction.

use flowspec::{Bytes, Direction, Flowspec, Micros, Peak, Qos, Rate, Ratio, ServiceType, TSpec};
use shaper::headers::token_rate_for_goodput;

use super::section::Section;
use crate::policy::problem::Code;

/// The largest IP datagram. A template is checked before its interface, and so the interface's MTU, is known.
const LARGEST_MTU: Bytes = Bytes::new(65_535);

const SERVICES: [(&str, ServiceType); 7] = [
    ("guaranteed", ServiceType::Guaranteed),
    ("controlled_load", ServiceType::ControlledLoad),
    ("best_effort", ServiceType::BestEffort),
    ("qualitative", ServiceType::Qualitative),
    ("no_traffic", ServiceType::NoTraffic),
    ("network_control", ServiceType::NetworkControl),
    ("no_change", ServiceType::NoChange),
];

/// The keys `sending` and `receiving`; an absent direction is best effort.
pub(super) fn qos(section: &Section<'_>) -> Option<Qos> {
    let direction = |key, direction| match section.section(key) {
        Some(section) => flowspec(section, direction),
        None if section.has(key) => None,
        None => Some(Flowspec::BEST_EFFORT),
    };
    let sending = direction("sending", Direction::Sending);
    let receiving = direction("receiving", Direction::Receiving);
    Some(Qos { sending: sending?, receiving: receiving? })
}

pub(crate) fn flowspec(section: Section<'_>, direction: Direction) -> Option<Flowspec> {
    let service = section.choice("service_type", &SERVICES);
    if !section.has("service_type") {
        section.missing("service_type");
    }
    let mut spec = Flowspec::new(service.as_ref()?.value);
    spec.max_sdu_size = section.quantity::<Bytes>("max_sdu_size").map(|size| size.value);
    spec.minimum_policed_size = section.quantity::<Bytes>("minimum_policed_size").map(|size| size.value);
    spec.latency = section.quantity::<Micros>("latency").map(|time| time.value);
    spec.delay_variation = section.quantity::<Micros>("delay_variation").map(|time| time.value);
    spec.reserved_rate = section.quantity::<Rate>("reserved_rate").map(|rate| rate.value);
    spec.token_rate = token_rate(&section, &spec)?;
    spec.peak_bandwidth = peak(&section);
    spec.token_bucket_size = bucket(&section, spec.token_rate);
    let place = section.place.clone();
    // A field that is present and could not be read has a problem of its own already.
    let complete = section.has("peak_bandwidth") == spec.peak_bandwidth.is_some()
        && (section.has("token_rate") || section.has("goodput")) == spec.token_rate.is_some()
        && section.has("token_bucket_size") == spec.token_bucket_size.is_some()
        && section.has("max_sdu_size") == spec.max_sdu_size.is_some()
        && section.has("minimum_policed_size") == spec.minimum_policed_size.is_some();
    if complete && let Err(error) = TSpec::new(&spec, direction, LARGEST_MTU) {
        section.problem(Code::BadFlowspec, &place, format!("{}: {error}", section.path));
    }
    section.finish();
    Some(spec)
}

/// `token_rate`, or the token rate that carries `goodput`. `None` if the flowspec cannot be read any further.
fn token_rate(section: &Section<'_>, spec: &Flowspec) -> Option<Option<Rate>> {
    let token_rate = section.quantity::<Rate>("token_rate");
    let goodput = section.quantity::<Rate>("goodput");
    match (token_rate, goodput) {
        (Some(_), Some(goodput)) => {
            let message = format!("{}: token_rate and goodput exclude each other", section.path);
            section.problem(Code::Conflict, &goodput.place, message);
            None
        }
        (None, Some(goodput)) => match token_rate_for_goodput(goodput.value, spec) {
            Ok(rate) => Some(Some(rate)),
            Err(error) => {
                section.problem(Code::BadFlowspec, &goodput.place, format!("{}: {error}", section.path));
                None
            }
        },
        (rate, None) => Some(rate.map(|rate| rate.value)),
    }
}

fn peak(section: &Section<'_>) -> Option<Peak> {
    let value = section.raw("peak_bandwidth")?;
    if value.get_ref().as_str() == Some("infinite") {
        return Some(Peak::Infinite);
    }
    section.quantity::<Rate>("peak_bandwidth").map(|rate| Peak::Finite(rate.value))
}

/// A size, or a time at the flow's own rate, rounded up to whole bytes.
fn bucket(section: &Section<'_>, token_rate: Option<Rate>) -> Option<Bytes> {
    let value = section.raw("token_bucket_size")?;
    let time = value.get_ref().as_str().and_then(|text| text.parse::<Micros>().ok());
    match (time, token_rate) {
        (Some(time), Some(rate)) => {
            Some(Bytes::new(rate.scale_up(Ratio { numerator: time.get(), denominator: 1_000_000 }).get()))
        }
        (Some(_), None) => {
            let message = format!("{}.token_bucket_size: a time needs a token_rate", section.path);
            section.problem(Code::MissingKey, &section.at(value.span()), message);
            None
        }
        (None, _) => section.quantity::<Bytes>("token_bucket_size").map(|size| size.value),
    }
}
