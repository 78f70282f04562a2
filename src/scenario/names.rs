//! The ids of one or more flows.

/// An id, or several: in `v{n}`, `{n}` stands for 1, 2 and so on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct IdPattern {
    pub(super) pattern: String,
    pub(super) repeat: u64,
}

/// What stands for the number.
const NUMBER: &str = "{n}";

impl IdPattern {
    /// One id. `{n}` in it stands for 1, as everywhere.
    pub(super) fn one(pattern: impl Into<String>) -> Self {
        Self { pattern: pattern.into(), repeat: 1 }
    }

    /// Whether an id of a test would have a number in place of a part of it.
    pub(super) fn is_pattern(id: &str) -> bool {
        id.contains(NUMBER)
    }

    pub(super) fn each(&self) -> impl Iterator<Item = String> + '_ {
        (1..=self.repeat).map(|number| self.numbered(number))
    }

    /// Whether one of the ids is this one.
    pub(super) fn contains(&self, id: &str) -> bool {
        let Some((before, _)) = self.pattern.split_once(NUMBER) else { return id == self.pattern };
        let Some(rest) = id.strip_prefix(before) else { return false };
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        // The pattern may go on with digits of its own.
        let numbers = (1..=digits).filter_map(|length| rest[..length].parse().ok());
        let mut numbers = numbers.take_while(|number: &u64| *number <= self.repeat);
        numbers.any(|number| number > 0 && self.numbered(number) == id)
    }

    fn numbered(&self, number: u64) -> String {
        self.pattern.replace(NUMBER, &number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_numbered_from_one() {
        let names = IdPattern { pattern: "v{n}".into(), repeat: 3 };
        assert_eq!(names.each().collect::<Vec<_>>(), ["v1", "v2", "v3"]);
    }

    #[track_caller]
    fn check(pattern: &str, repeat: u64, id: &str, expected: bool) {
        let names = IdPattern { pattern: pattern.into(), repeat };
        assert_eq!(names.contains(id), expected, "{id} in {repeat} × {pattern}");
        assert_eq!(names.each().any(|each| each == id), expected, "{id} in {repeat} × {pattern}, one by one");
    }

    #[test]
    fn an_id_is_found_among_numbered_ones() {
        check("v", 1, "v", true);
        check("v", 1, "v1", false);
        check("v{n}", 12, "v1", true);
        check("v{n}", 12, "v12", true);
        check("v{n}", 12, "v13", false);
        check("v{n}", 12, "v0", false);
        check("v{n}", 12, "v01", false);
        check("v{n}", 12, "v", false);
        check("{n}-{n}", 3, "2-2", true);
        check("{n}-{n}", 3, "2-3", false);
        check("a{n}1", 12, "a11", true);
        check("a{n}1", 12, "a121", true);
        check("a{n}b", 12, "a12b", true);
        check("a{n}b", 12, "a12", false);
        check("v{n}", 1, "v1", true);
        check("v{n}", 3, "v99999999999999999999999", false);
    }
}
