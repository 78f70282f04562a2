//! The ids of one or more flows.

/// An id, or several: in `v{n}`, `{n}` stands for 1, 2 and so on.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) pattern: String,
    pub(super) repeat: u64,
}

impl Names {
    /// Each id.
    pub(super) fn each(&self) -> impl Iterator<Item = String> + '_ {
        (1..=self.repeat).map(|number| self.pattern.replace("{n}", &number.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_numbered_from_one() {
        let names = Names { pattern: "v{n}".into(), repeat: 3 };
        assert_eq!(names.each().collect::<Vec<_>>(), ["v1", "v2", "v3"]);
    }
}
