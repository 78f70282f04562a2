//! Flowspecs: the keys of one direction.

use flowspec::{
    Bytes, Direction, Flowspec, FlowspecError, Micros, Peak, Qos, Rate, Ratio, ServiceType, UnitError,
};
use shaper::headers::token_rate_for_goodput;

use super::section::Section;
use crate::policy::code::Code;
use crate::policy::place::Place;

/// The largest IP datagram. A template is checked before its interface, and so the interface's MTU, is known.
const LARGEST_MTU: Bytes = Bytes::new(65_535);

/// The service types by their words.
pub(crate) const SERVICES: [(&str, ServiceType); 7] = [
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
        Some(section) => Some(flowspec(section, direction)),
        None if section.has(key) => None,
        None => Some(Flowspec::BEST_EFFORT),
    };
    let sending = direction("sending", Direction::Sending);
    let receiving = direction("receiving", Direction::Receiving);
    Some(Qos { sending: sending?, receiving: receiving? })
}

/// The flowspec of a direction. What cannot be read is noted and left out; the rest is read and checked all the same.
pub(crate) fn flowspec(section: Section<'_>, direction: Direction) -> Flowspec {
    let read = fields(&section, &SERVICES);
    for (error, place) in contradictions(&section, &read, direction) {
        section.problem(Code::BadFlowspec, &place, section.about(error));
    }
    section.finish();
    read.spec
}

/// The fields of a flowspec that could be read.
pub(in crate::policy) struct ReadFields {
    pub(in crate::policy) spec: Flowspec,
    has_service: bool,
}

/// Reads the fields of a flowspec, whose service type is one of these.
pub(in crate::policy) fn fields(section: &Section<'_>, services: &[(&str, ServiceType)]) -> ReadFields {
    let service = section.choice("service_type", services);
    if !section.has("service_type") {
        section.missing("service_type");
    }
    let mut spec = Flowspec::new(service.as_ref().map_or(ServiceType::BestEffort, |service| service.value));
    spec.max_sdu_size = section.quantity::<Bytes>("max_sdu_size").map(|size| size.value);
    spec.minimum_policed_size = section.quantity::<Bytes>("minimum_policed_size").map(|size| size.value);
    spec.latency = section.quantity::<Micros>("latency").map(|time| time.value);
    spec.delay_variation = section.quantity::<Micros>("delay_variation").map(|time| time.value);
    spec.reserved_rate = section.quantity::<Rate>("reserved_rate").map(|rate| rate.value);
    spec.token_rate = token_rate(section, &spec);
    spec.peak_bandwidth = peak(section);
    spec.token_bucket_size = bucket(section, spec.token_rate);
    ReadFields { spec, has_service: service.is_some() }
}

/// In what the fields that were read contradict each other, each with its place.
pub(in crate::policy) fn contradictions(
    section: &Section<'_>,
    read: &ReadFields,
    direction: Direction,
) -> Vec<(FlowspecError, Place)> {
    let mut checked = read.spec;
    // A field that is present and could not be read has a problem of its own already.
    if !read.has_service {
        checked.service_type = ServiceType::ControlledLoad;
    }
    let has_rate = section.has("token_rate") || section.has("goodput");
    if checked.token_rate.is_none() && (has_rate || !read.has_service) {
        (checked.token_rate, checked.peak_bandwidth) = (Some(SOME_RATE), None);
    }
    let place = |error: &FlowspecError| {
        // A token rate may be stated as goodput; one that is missing has no place of its own.
        let place = section.place_of(error.field().name()).or_else(|| section.place_of("goodput"));
        place.unwrap_or_else(|| section.place.clone())
    };
    let errors = checked.problems(direction, LARGEST_MTU).into_iter();
    errors
        .map(|error| {
            let place = place(&error);
            (error, place)
        })
        .collect()
}

/// Stands for a token rate that is not known; no other field contradicts it.
const SOME_RATE: Rate = Rate::new(1);

/// `token_rate`, or the token rate that carries `goodput`.
fn token_rate(section: &Section<'_>, spec: &Flowspec) -> Option<Rate> {
    let token_rate = section.quantity::<Rate>("token_rate");
    let goodput = section.quantity::<Rate>("goodput");
    if section.has("token_rate")
        && let Some(value) = section.raw("goodput")
    {
        let message = section.about("token_rate and goodput exclude each other");
        section.problem(Code::Conflict, &section.at(value.span()), message);
        return None;
    }
    let Some(goodput) = goodput else { return token_rate.map(|rate| rate.value) };
    match token_rate_for_goodput(goodput.value, spec) {
        Ok(rate) => Some(rate),
        Err(error) => {
            section.problem(Code::BadFlowspec, &goodput.place, section.about(error));
            None
        }
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
    let text = value.get_ref().as_str().unwrap_or_default();
    let time = text.parse::<Micros>();
    let problem = match &time {
        // Only a time has such a unit.
        Err(error @ (UnitError::TooLarge { .. } | UnitError::Inexact { .. })) => Some(error.to_string()),
        Err(UnitError::UnknownUnit { .. }) => match text.parse::<Bytes>() {
            Err(error @ UnitError::UnknownUnit { .. }) => {
                Some(format!("{error}, or as a time at token_rate, with us, ms, s, min or h"))
            }
            _ => None,
        },
        _ => None,
    };
    if let Some(problem) = problem {
        let message = format!("{}: {problem}", section.path_of("token_bucket_size"));
        section.problem(Code::BadUnit, &section.at(value.span()), message);
        return None;
    }
    match (time.ok(), token_rate) {
        (Some(time), Some(rate)) => {
            Some(Bytes::new(rate.scale_up(Ratio { numerator: time.get(), denominator: 1_000_000 }).get()))
        }
        (Some(_), None) if section.has("token_rate") || section.has("goodput") => None,
        (Some(_), None) => {
            let message = format!("{}: a time needs a token_rate", section.path_of("token_bucket_size"));
            section.problem(Code::MissingKey, &section.at(value.span()), message);
            None
        }
        (None, _) => section.quantity::<Bytes>("token_bucket_size").map(|size| size.value),
    }
}
