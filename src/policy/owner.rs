//! Owners: the user, group and control group of a flow, and a class's conditions on them.

use std::fmt;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

/// The owner of a flow, as far as it is known.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Owner {
    /// The user id.
    pub uid: Option<u32>,
    /// The group id.
    pub gid: Option<u32>,
    /// The control group's path from the root of the hierarchy: `/system.slice/origin.service`.
    pub cgroup: Option<String>,
}

/// Conditions on an owner. An absent condition always holds; a condition on an unknown field never does.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct OwnerMatch {
    /// One of these ranges contains the user id.
    pub uid: Vec<RangeInclusive<u32>>,
    /// One of these ranges contains the group id.
    pub gid: Vec<RangeInclusive<u32>>,
    /// The control group is one of these, or below one of them.
    pub cgroup: Vec<String>,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = [
            self.uid.map(|uid| format!("uid {uid}")),
            self.gid.map(|gid| format!("gid {gid}")),
            self.cgroup.as_ref().map(|cgroup| format!("cgroup {cgroup}")),
        ];
        let known: Vec<_> = known.into_iter().flatten().collect();
        f.write_str(&if known.is_empty() { "an unknown owner".to_owned() } else { known.join(", ") })
    }
}

impl OwnerMatch {
    /// Whether the owner meets all conditions.
    pub fn is_met_by(&self, owner: &Owner) -> bool {
        let one_of = |ranges: &[RangeInclusive<u32>], number: Option<u32>| {
            ranges.is_empty()
                || number.is_some_and(|number| ranges.iter().any(|range| range.contains(&number)))
        };
        one_of(&self.uid, owner.uid)
            && one_of(&self.gid, owner.gid)
            && (self.cgroup.is_empty() || owner.cgroup.as_deref().is_some_and(|path| self.has_cgroup(path)))
    }

    /// An owner that meets all conditions.
    #[cfg(feature = "cli")]
    pub(crate) fn an_owner(&self) -> Owner {
        let first = |ranges: &[RangeInclusive<u32>]| ranges.first().map(|range| *range.start());
        Owner { uid: first(&self.uid), gid: first(&self.gid), cgroup: self.cgroup.first().cloned() }
    }

    /// Whether a control group is one of those of the condition, or below one of them.
    pub(super) fn has_cgroup(&self, path: &str) -> bool {
        self.cgroup.iter().any(|top| {
            top == "/"
                || path
                    .strip_prefix(top.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_has_to_meet_every_condition() {
        let matches =
            OwnerMatch { uid: vec![1000..=1999], gid: Vec::new(), cgroup: vec!["/system.slice".into()] };
        let owner = |uid, cgroup: &str| Owner { uid: Some(uid), gid: None, cgroup: Some(cgroup.to_owned()) };
        assert!(matches.is_met_by(&owner(1000, "/system.slice")));
        assert!(matches.is_met_by(&owner(1999, "/system.slice/origin.service")));
        assert!(!matches.is_met_by(&owner(2000, "/system.slice")), "another user");
        assert!(!matches.is_met_by(&owner(1000, "/system.slices")), "a path component is compared whole");
        assert!(
            !matches.is_met_by(&Owner { uid: Some(1000), ..Owner::default() }),
            "an unknown cgroup is in no cgroup"
        );
        assert!(!OwnerMatch { gid: vec![0..=0], ..OwnerMatch::default() }.is_met_by(&owner(0, "/")));
        assert!(OwnerMatch::default().is_met_by(&Owner::default()));
        assert!(matches.is_met_by(&matches.an_owner()));
    }
}
