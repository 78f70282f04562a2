//! Clients: what each identity may have.

use flowspec::{Micros, Rate};

use super::place::Place;

/// What each client whose name matches may have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Client {
    /// The pattern: `*` stands for any characters.
    pub pattern: String,
    /// How many flows.
    pub max_flows: Option<u64>,
    /// What its flows may be charged together, per direction.
    pub max_rate: Option<Rate>,
    /// How many requests a second; as many may come at once after a pause.
    pub requests_per_second: Option<u64>,
    /// How far ahead it may book.
    pub horizon: Option<Micros>,
    /// The best setup priority it may ask for.
    pub best_setup_priority: Option<u8>,
    /// Where it is defined.
    pub place: Place,
}

impl Client {
    /// Whether the pattern is for this client.
    pub fn matches(&self, client: &str) -> bool {
        let mut parts = self.pattern.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = client.strip_prefix(first) else { return false };
        let parts: Vec<_> = parts.collect();
        let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
        for part in middle {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        let matches = |pattern: &str, name: &str| {
            let client = Client {
                pattern: pattern.into(),
                max_flows: None,
                max_rate: None,
                requests_per_second: None,
                horizon: None,
                best_setup_priority: None,
                place: Place::default(),
            };
            client.matches(name)
        };
        assert!(matches("origin-*", "origin-1") && matches("origin-*", "origin-"));
        assert!(!matches("origin-*", "my-origin-1"));
        assert!(matches("*", "") && matches("*", "anyone"));
        assert!(matches("a*b*c", "a-b-b-c") && matches("a*a", "aa") && !matches("a*a", "a"));
        assert!(matches("one", "one") && !matches("one", "one-more"));
    }
}
