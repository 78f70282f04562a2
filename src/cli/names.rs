//! Names that a filter of the command line may have.

/// A name that is not among those that there are.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("there is no {kind} {name:?}{}", .nearest.as_ref().map_or_else(String::new, |near| format!("; did you mean {near:?}?")))]
pub(super) struct UnknownName {
    kind: &'static str,
    name: String,
    nearest: Option<String>,
}

impl UnknownName {
    /// The name, and the nearest of those that there are.
    pub(super) fn new<'n>(kind: &'static str, name: &str, known: impl Iterator<Item = &'n str>) -> Self {
        let similarity = |known: &str| strsim::jaro_winkler(&known.to_lowercase(), &name.to_lowercase());
        let nearest = known.max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
        Self { kind, name: name.to_owned(), nearest: nearest.map(str::to_owned) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_said() {
        let check = |name, known: &[&str], expected: &str| {
            assert_eq!(UnknownName::new("interface", name, known.iter().copied()).to_string(), expected);
        };
        check("eth", &["lo", "eth0"], "there is no interface \"eth\"; did you mean \"eth0\"?");
        check("eth0", &[], "there is no interface \"eth0\"");
    }
}
