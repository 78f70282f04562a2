//! How a tree in the kernel differs from the one that was programmed.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::handle::Handle;

/// One difference of a tree.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Difference {
    /// The root qdisc was deleted.
    #[error("the root qdisc is missing")]
    RootMissing,
    /// The root qdisc is gqos's by its handle and has another default or direct queue.
    #[error("the root qdisc {root} has other settings")]
    RootChanged {
        /// The qdisc's handle.
        root: Handle,
    },
    /// A class was deleted.
    #[error("class {class} is missing")]
    ClassMissing {
        /// The class that was programmed.
        class: Handle,
    },
    /// A class has another rate, ceil, burst or quantum.
    #[error("class {class} has another rate or bucket")]
    ClassChanged {
        /// The class that was programmed.
        class: Handle,
    },
    /// There is a class that was not programmed.
    #[error("class {class} was added by another program")]
    ClassForeign {
        /// The class that was added.
        class: Handle,
    },
    /// A class has no queue of its own, another queue, or one that was not programmed.
    #[error("class {class} has another queue")]
    QueueChanged {
        /// The class that the queue belongs to.
        class: Handle,
    },
    /// A qdisc or a class has filters that were not programmed.
    #[error("a filter below {parent} was added by another program")]
    FilterForeign {
        /// The qdisc or class whose packets the filter sees.
        parent: Handle,
    },
    /// The ingress qdisc was deleted.
    #[error("the ingress qdisc is missing")]
    IngressMissing,
    /// The qdisc of another program has what the interface receives.
    #[error("another program has the ingress qdisc")]
    IngressForeign,
    /// The filter was deleted that leads what the interface receives to its ifb.
    #[error("the redirect of what is received is missing")]
    RedirectMissing,
    /// The ifb was deleted.
    #[error("the ifb is missing")]
    IfbMissing,
    /// The ifb was set down.
    #[error("the ifb is down")]
    IfbDown,
    /// The ifb was given another name.
    #[error("the ifb has another name")]
    IfbRenamed,
    /// Filters of the ifb were deleted, or others added.
    #[error("the filters of the ifb were changed")]
    FiltersChanged,
    /// A difference that another version of gqos has written.
    #[error("{text}")]
    Described {
        /// As that version has written it.
        text: String,
    },
}

/// The differences of a tree: the first of them, and how many more there are. In JSON a text.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(from = "String", into = "String")]
pub struct Differences {
    /// In the order in which they are repaired, at most [`MOST_NAMED`](Self::MOST_NAMED).
    pub first: Vec<Difference>,
    /// How many are not among the first.
    pub more: usize,
}

impl Difference {
    const WITHOUT_HANDLE: [Self; 8] = [
        Self::RootMissing,
        Self::IngressMissing,
        Self::IngressForeign,
        Self::RedirectMissing,
        Self::IfbMissing,
        Self::IfbDown,
        Self::IfbRenamed,
        Self::FiltersChanged,
    ];

    /// The variants that name a qdisc or a class, of this one.
    const fn with_handle(handle: Handle) -> [Self; 6] {
        [
            Self::RootChanged { root: handle },
            Self::ClassMissing { class: handle },
            Self::ClassChanged { class: handle },
            Self::ClassForeign { class: handle },
            Self::QueueChanged { class: handle },
            Self::FilterForeign { parent: handle },
        ]
    }

    /// The variant whose message this is; [`Described`](Self::Described) where there is none.
    fn of_text(text: &str) -> Self {
        let handles = text.split(' ').filter_map(|word| word.parse().ok());
        let mut all = handles.flat_map(Self::with_handle).chain(Self::WITHOUT_HANDLE);
        let known = all.find(|difference| difference.to_string() == text);
        known.unwrap_or_else(|| Self::Described { text: text.to_owned() })
    }
}

impl Differences {
    /// The most differences that are named one by one.
    pub const MOST_NAMED: usize = 4;

    /// A single difference.
    pub fn one(difference: Difference) -> Self {
        Self { first: vec![difference], more: 0 }
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, difference) in self.first.iter().enumerate() {
            let lead = if number == 0 { "" } else { ", " };
            write!(f, "{lead}{difference}")?;
        }
        if self.more > 0 { write!(f, ", {} more differences", self.more) } else { Ok(()) }
    }
}

impl From<String> for Differences {
    fn from(text: String) -> Self {
        let mut first: Vec<_> = text.split(", ").collect();
        let counted = first.last().and_then(|last| last.strip_suffix(" more differences")?.parse().ok());
        if counted.is_some() {
            first.pop();
        }
        let first = first.into_iter().map(Difference::of_text).collect();
        Self { first, more: counted.unwrap_or_default() }
    }
}

impl From<Differences> for String {
    fn from(differences: Differences) -> Self {
        differences.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(first: &[Difference], more: usize, text: &str) {
        let differences = Differences { first: first.to_vec(), more };
        assert_eq!(differences.to_string(), text);
        let json = serde_json::to_value(&differences).unwrap();
        assert_eq!(json, text);
        assert_eq!(serde_json::from_value::<Differences>(json).unwrap(), differences, "{text}");
    }

    #[test]
    fn differences_survive_json() {
        let handle = Handle::qdisc(0x6771).class(0x100);
        for difference in Difference::with_handle(handle).into_iter().chain(Difference::WITHOUT_HANDLE) {
            let text = difference.to_string();
            check(&[difference.clone(), Difference::IfbDown], 0, &format!("{text}, the ifb is down"));
            check(&[difference], 12, &format!("{text}, 12 more differences"));
        }
        let text = "filter 7: has another protocol".to_owned();
        check(&[Difference::Described { text }], 0, "filter 7: has another protocol");
    }
}
