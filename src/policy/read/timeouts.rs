//! `dead_after` and `stalled_after`, which the top of a policy, a class and a client may state.

use flowspec::Micros;

use super::section::Section;
use crate::policy::code::Code;
use crate::policy::timeouts::{OwnTimeouts, PeerTimeouts, Timeout};

/// Below this, `dead_after` ends flows whose network only changes: a handover or a route that converges.
const HASTY_DEAD_AFTER: Micros = Micros::new(5_000_000);

/// Below this, `stalled_after` ends flows whose player reads in blocks: it waits until half of its buffer is played.
const HASTY_STALLED_AFTER: Micros = Micros::new(10_000_000);

pub(super) fn timeouts(section: &Section<'_>) -> OwnTimeouts {
    let dead = "networks that a viewer changes between may be silent for as long";
    let stalled = "a player with a full buffer may read nothing for as long";
    OwnTimeouts {
        dead_after: timeout(section, "dead_after", HASTY_DEAD_AFTER, dead),
        stalled_after: timeout(section, "stalled_after", HASTY_STALLED_AFTER, stalled),
    }
}

/// A time from one second to a day, or `"off"`. Warns of one below `hasty`.
fn timeout(section: &Section<'_>, key: &'static str, hasty: Micros, why: &str) -> Option<Timeout> {
    if section.raw(key).is_some_and(|value| value.get_ref().as_str() == Some(Timeout::OFF)) {
        return Some(Timeout::Off);
    }
    let time = section.quantity::<Micros>(key)?;
    let path = section.path_of(key);
    if !(PeerTimeouts::SHORTEST..=PeerTimeouts::LONGEST).contains(&time.value) {
        let message = format!("{path}: {} is neither between 1 s and a day nor \"off\"", time.value);
        section.problem(Code::BadValue, &time.place, message);
        return None;
    }
    if time.value < hasty {
        let message = format!("{path}: {} is short: {why}", time.value);
        section.problem(Code::HastyTimeout, &time.place, message);
    }
    Some(Timeout::After(time.value))
}
