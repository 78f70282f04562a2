//! `[class.*]`: a kind of flow, with its share, limits and marks.

use flowspec::{Rate, Share};
use toml::Spanned;
use toml::de::DeValue;

use super::owner::owner_match;
use super::section::Section;
use crate::policy::class::{Admission, Allocate, Class};
use crate::policy::model::Policy;
use crate::policy::problem::Code;

/// How far measurements may take a class whose policy does not say: its flows' rates may come to twice what
/// it takes.
const MEASURED_OVERBOOKING_THOUSANDTHS: u64 = 2000;

pub(super) fn class(section: Section<'_>) -> Option<Class> {
    let share = section.quantity::<Share>("share");
    let max_flows = section.integer("max_flows", 0..=u64::MAX);
    let max_rate = section.quantity::<Rate>("max_rate");
    let overbooking = section.thousandths("overbooking");
    let setup = section.integer("setup_priority", 0..=7);
    let holding = section.integer("holding_priority", 0..=7);
    let class_type = section.integer("class_type", 0..=7);
    let allocate = section.choice("allocate", &[("rate", Allocate::Rate), ("peak", Allocate::Peak)]);
    let kinds = [("declared", Admission::Declared), ("measured", Admission::Measured)];
    let admission = section.choice("admission", &kinds);
    let admission = admission.map_or(Admission::Declared, |admission| admission.value);
    let matches = section.section("match").map(owner_match);
    let dscp = section.raw("dscp").and_then(|value| dscp(&section, value));
    let priority = |value: u64| u8::try_from(value).unwrap_or(Policy::DEFAULT_PRIORITY);
    let setup_priority = setup.as_ref().map_or(Policy::DEFAULT_PRIORITY, |setup| priority(setup.value));
    // A flow holds as well as it was set up unless the policy says better.
    let holding_priority = holding.as_ref().map_or(setup_priority, |holding| priority(holding.value));
    if let Some(place) = holding.or(setup).map(|given| given.place)
        && setup_priority < holding_priority
    {
        let message = format!(
            "{}: setup_priority {setup_priority} is better than holding_priority {holding_priority}: two flows could displace each other for ever",
            section.path
        );
        section.problem(Code::Conflict, &place, message);
    }
    let place = section.place.clone();
    section.finish();
    Some(Class {
        share: share.map(|share| share.value),
        max_flows: max_flows.map(|flows| flows.value),
        max_rate: max_rate.map(|rate| rate.value),
        overbooking_thousandths: overbooking.map_or(
            match admission {
                Admission::Declared => 1000,
                Admission::Measured => MEASURED_OVERBOOKING_THOUSANDTHS,
            },
            |overbooking| overbooking.value,
        ),
        setup_priority,
        holding_priority,
        class_type: class_type.map_or(0, |class_type| priority(class_type.value)),
        allocate: allocate.map_or(Allocate::Rate, |allocate| allocate.value),
        admission,
        matches,
        dscp,
        place,
    })
}

/// The code points that have names. Source: RFC 2474, 2597, 3246, 5865, 8622.
const CODE_POINTS: [(&str, u8); 23] = [
    ("CS0", 0),
    ("LE", 1),
    ("CS1", 8),
    ("AF11", 10),
    ("AF12", 12),
    ("AF13", 14),
    ("CS2", 16),
    ("AF21", 18),
    ("AF22", 20),
    ("AF23", 22),
    ("CS3", 24),
    ("AF31", 26),
    ("AF32", 28),
    ("AF33", 30),
    ("CS4", 32),
    ("AF41", 34),
    ("AF42", 36),
    ("AF43", 38),
    ("CS5", 40),
    ("VA", 44),
    ("EF", 46),
    ("CS6", 48),
    ("CS7", 56),
];

fn dscp(section: &Section<'_>, value: &Spanned<DeValue<'_>>) -> Option<u8> {
    if value.get_ref().is_integer() {
        let number = section.integer("dscp", 0..=63)?;
        return u8::try_from(number.value).ok();
    }
    section.choice("dscp", &CODE_POINTS).map(|choice| choice.value)
}
