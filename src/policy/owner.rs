//! Owners: whose a flow is, and what a class asks of that.

use std::fmt;
use std::ops::RangeInclusive;

/// Whose a flow is, as far as it is known.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Owner {
    /// The user's number.
    pub uid: Option<u32>,
    /// The group's number.
    pub gid: Option<u32>,
    /// The control group's path, from the root of the hierarchy: `/system.slice/origin.service`.
    pub cgroup: Option<String>,
}

/// Conditions on an owner; an absent one always holds, and one on what is not known never does.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct OwnerMatch {
    /// One of these contains the uid.
    pub uid: Vec<RangeInclusive<u32>>,
    /// One of these contains the gid.
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
        f.write_str(&if known.is_empty() { "nobody known".to_owned() } else { known.join(", ") })
    }
}

impl OwnerMatch {
    /// Whether all conditions hold.
    pub fn admits(&self, owner: &Owner) -> bool {
        let one_of = |ranges: &[RangeInclusive<u32>], number: Option<u32>| {
            ranges.is_empty()
                || number.is_some_and(|number| ranges.iter().any(|range| range.contains(&number)))
        };
        let below = |path: &str| {
            self.cgroup.iter().any(|top| {
                top == "/"
                    || path
                        .strip_prefix(top.as_str())
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
        };
        one_of(&self.uid, owner.uid)
            && one_of(&self.gid, owner.gid)
            && (self.cgroup.is_empty() || owner.cgroup.as_deref().is_some_and(below))
    }

    /// Whether there is no condition.
    pub const fn is_empty(&self) -> bool {
        self.uid.is_empty() && self.gid.is_empty() && self.cgroup.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_hold_together() {
        let matches =
            OwnerMatch { uid: vec![1000..=1999], gid: Vec::new(), cgroup: vec!["/system.slice".into()] };
        let owner = |uid, cgroup: &str| Owner { uid: Some(uid), gid: None, cgroup: Some(cgroup.to_owned()) };
        assert!(matches.admits(&owner(1000, "/system.slice")));
        assert!(matches.admits(&owner(1999, "/system.slice/origin.service")));
        assert!(!matches.admits(&owner(2000, "/system.slice")), "another user");
        assert!(!matches.admits(&owner(1000, "/system.slices")), "a path ends at a slash");
        assert!(!matches.admits(&Owner { uid: Some(1000), ..Owner::default() }), "not known is not in it");
        assert!(!OwnerMatch { gid: vec![0..=0], ..OwnerMatch::default() }.admits(&owner(0, "/")));
        assert!(OwnerMatch::default().admits(&Owner::default()));
    }
}
