//! `[class.*]`: the share, limits and marks of a kind of flow.

use flowspec::{Rate, Share};
use toml::Spanned;
use toml::de::DeValue;

use super::owner::owner_match;
use super::section::Section;
use super::timeouts::timeouts;
use crate::policy::class::{Admission, Allocate, Class};
use crate::policy::code::Code;
use crate::policy::model::Policy;

/// The default overbooking factor of a class with measured admission: its declared rates may come to twice the rate
/// that it is charged.
const MEASURED_OVERBOOKING_THOUSANDTHS: u64 = 2000;

pub(super) fn class(section: Section<'_>) -> Class {
    let share = section.quantity::<Share>("share");
    let max_flows = section.integer("max_flows", 0..=u64::MAX);
    let max_rate = section.quantity::<Rate>("max_rate");
    let overbooking = section.thousandths("overbooking");
    let setup = section.integer("setup_priority", 0..=7);
    let holding = section.integer("holding_priority", 0..=7);
    let class_type = section.integer("class_type", 0..=7);
    let allocate = section.choice("allocate", &Allocate::WORDS);
    let admission = section.choice("admission", &Admission::WORDS);
    let admission = admission.map_or(Admission::Declared, |admission| admission.value);
    let matches = section.section("match").map(owner_match);
    let timeouts = timeouts(&section);
    let dscp = section.raw("dscp").and_then(|value| dscp(&section, value));
    let priority = |value: u64| u8::try_from(value).unwrap_or(Policy::DEFAULT_PRIORITY);
    let setup_priority = setup.as_ref().map_or(Policy::DEFAULT_PRIORITY, |setup| priority(setup.value));
    // The default holding priority is the setup priority.
    let holding_priority = holding.as_ref().map_or(setup_priority, |holding| priority(holding.value));
    if let Some(place) = holding.or(setup).map(|priority| priority.place)
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
    Class {
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
        timeouts,
        place,
    }
}

fn dscp(section: &Section<'_>, value: &Spanned<DeValue<'_>>) -> Option<u8> {
    if value.get_ref().is_integer() {
        let number = section.integer("dscp", 0..=63)?;
        return u8::try_from(number.value).ok();
    }
    section.choice("dscp", &Class::CODE_POINTS).map(|choice| choice.value)
}
