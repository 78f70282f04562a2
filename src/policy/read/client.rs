//! `[client.*]`: limits for each identity that a pattern matches.

use flowspec::{Micros, Rate};

use super::section::Section;
use super::timeouts::timeouts;
use crate::policy::client::Client;

pub(super) fn client(section: Section<'_>, pattern: String) -> Client {
    let max_flows = section.integer("max_flows", 0..=u64::MAX);
    let max_rate = section.quantity::<Rate>("max_rate");
    let requests_per_second = section.integer("requests_per_second", 1..=1_000_000);
    let horizon = section.quantity::<Micros>("horizon");
    let best_setup_priority = section.integer("best_setup_priority", 0..=7);
    let timeouts = timeouts(&section);
    let place = section.place.clone();
    section.finish();
    Client {
        pattern,
        max_flows: max_flows.map(|flows| flows.value),
        max_rate: max_rate.map(|rate| rate.value),
        requests_per_second: requests_per_second.map(|rate| rate.value),
        horizon: horizon.map(|horizon| horizon.value),
        best_setup_priority: best_setup_priority.and_then(|best| u8::try_from(best.value).ok()),
        timeouts,
        place,
    }
}
