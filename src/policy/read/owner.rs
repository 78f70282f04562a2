//! A class's `match`: conditions on the owner of a flow.

use toml::Spanned;
use toml::de::DeValue;

use super::range::{Numbers, range};
use super::section::Section;
use crate::policy::code::Code;
use crate::policy::owner::OwnerMatch;

pub(super) fn owner_match(section: Section<'_>) -> OwnerMatch {
    let uid = section.each("uid", |section, value| range(section, value, &UIDS));
    let gid = section.each("gid", |section, value| range(section, value, &GIDS));
    let cgroup = section.each("cgroup", cgroup);
    if section.entries().next().is_none() {
        section.missing("uid, gid or cgroup");
    }
    section.finish();
    OwnerMatch { uid, gid, cgroup }
}

/// A control group's path, without a slash at its end.
fn cgroup<'a>(section: &Section<'a>, value: &'a Spanned<DeValue<'a>>) -> Option<String> {
    let text = section.as_string("match.cgroup", value)?;
    if !text.value.starts_with('/') {
        let message = format!(
            "match.cgroup: {:?} is not a path from the root of the hierarchy, such as \"/system.slice/origin.service\"",
            text.value
        );
        section.problem(Code::BadValue, &text.place, message);
        return None;
    }
    let path = text.value.trim_end_matches('/');
    Some(if path.is_empty() { "/" } else { path }.to_owned())
}

const UIDS: Numbers = Numbers { key: "uid", limits: ID_LIMITS, example: "1000-1999" };
const GIDS: Numbers = Numbers { key: "gid", limits: ID_LIMITS, example: "1000-1999" };
const ID_LIMITS: &str = "an id is 0 to 4294967295";
