//! Owners: whose a flow is, and what a class asks of that.

use std::fmt;
use std::ops::RangeInclusive;

use toml::Spanned;
use toml::de::DeValue;

use super::document::each;
use super::problem::Code;
use super::reader::Section;

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

/// A class's `match`.
pub(super) fn owner_match(section: Section<'_>) -> OwnerMatch {
    let uid = each(&section, "uid", |section, value| numbers(section, "uid", value));
    let gid = each(&section, "gid", |section, value| numbers(section, "gid", value));
    let cgroup = each(&section, "cgroup", |section, value| {
        let text = section.as_string("match.cgroup", value)?;
        if !text.value.starts_with('/') {
            let message = format!(
                "match.cgroup: {:?} is no path from the root of the hierarchy, such as \"/system.slice/origin.service\"",
                text.value
            );
            section.problem(Code::BadValue, &text.place, message);
            return None;
        }
        let path = text.value.trim_end_matches('/');
        Some(if path.is_empty() { "/" } else { path }.to_owned())
    });
    let matches = OwnerMatch { uid, gid, cgroup };
    if section.entries().next().is_none() {
        section.missing("uid, gid or cgroup");
    }
    section.finish();
    matches
}

/// A number, or a range such as `"1000-1999"`.
fn numbers<'a>(
    section: &Section<'a>,
    key: &'static str,
    value: &'a Spanned<DeValue<'a>>,
) -> Option<RangeInclusive<u32>> {
    let place = section.at(value.span());
    let number = |text: &str| text.trim().parse::<u32>().ok();
    let range = match value.get_ref() {
        DeValue::Integer(one) => number(one.as_str()).map(|one| one..=one),
        DeValue::String(text) => match text.split_once('-') {
            Some((first, last)) => number(first).zip(number(last)).map(|(first, last)| first..=last),
            None => number(text).map(|one| one..=one),
        },
        other => {
            let path = format!("match.{key}");
            section.wrong_type(&path, &place, "a number or a range such as \"1000-1999\"", other);
            return None;
        }
    };
    let range = range.filter(|range| !range.is_empty());
    if range.is_none() {
        let message = format!("match.{key}: a number up to 4294967295, or a range such as \"1000-1999\"");
        section.problem(Code::BadValue, &place, message);
    }
    range
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
