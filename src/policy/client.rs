//! Clients: limits for each identity that sends requests.

use flowspec::{Micros, Rate};

use super::place::Place;
use super::proxy::matches;
use super::timeouts::OwnTimeouts;

/// The limits of each client whose name matches a pattern. Every matching client is counted on its own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Client {
    /// The pattern; `*` stands for any text, the empty text included.
    pub pattern: String,
    /// The most flows that the client may have.
    pub max_flows: Option<u64>,
    /// The most that its flows may be charged together, per direction.
    pub max_rate: Option<Rate>,
    /// The most requests per second. After a pause of a second as many may come at once.
    pub requests_per_second: Option<u64>,
    /// How far ahead of its start a flow may be booked.
    pub horizon: Option<Micros>,
    /// The best setup priority that a request may name.
    pub best_setup_priority: Option<u8>,
    /// How long its flows keep their reservations without their peers. Precedes what their classes state.
    pub timeouts: OwnTimeouts,
    /// Where the limits are defined.
    pub place: Place,
}

impl Client {
    /// Whether the pattern matches the whole name.
    pub fn matches(&self, client: &str) -> bool {
        matches(&self.pattern, client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, name: &str, expected: bool) {
        let client = Client {
            pattern: pattern.into(),
            max_flows: None,
            max_rate: None,
            requests_per_second: None,
            horizon: None,
            best_setup_priority: None,
            timeouts: OwnTimeouts::default(),
            place: Place::default(),
        };
        assert_eq!(client.matches(name), expected, "{pattern} and {name}");
    }

    #[test]
    fn patterns_match_whole_names() {
        check("origin-*", "origin-1", true);
        check("origin-*", "origin-", true);
        check("origin-*", "my-origin-1", false);
        check("*", "", true);
        check("*", "anyone", true);
        check("a*b*c", "a-b-b-c", true);
        check("a*a", "aa", true);
        check("a*a", "a", false);
        check("one", "one", true);
        check("one", "one-more", false);
    }
}
