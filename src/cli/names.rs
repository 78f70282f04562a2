//! Names that a filter of the command line may have.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, TypedValueParser};

/// Takes one of some names, which completions offer.
#[derive(Clone, Copy, Debug)]
pub(super) struct NamedValue {
    pub(super) kind: &'static str,
    pub(super) names: fn() -> Vec<&'static str>,
}

impl TypedValueParser for NamedValue {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        let Self { kind, names } = *self;
        let known = move |name: &str| match names().contains(&name) {
            true => Ok(name.to_owned()),
            false => Err(UnknownName::new(kind, name, names().into_iter())),
        };
        known.parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new((self.names)().into_iter().map(PossibleValue::new)))
    }
}

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
