//! A class's `match`: conditions on the owner of a flow.

use std::ops::RangeInclusive;

use toml::Spanned;
use toml::de::DeValue;

use super::section::Section;
use crate::policy::code::Code;
use crate::policy::owner::OwnerMatch;

pub(super) fn owner_match(section: Section<'_>) -> OwnerMatch {
    let uid = section.each("uid", |section, value| ids(section, "uid", value));
    let gid = section.each("gid", |section, value| ids(section, "gid", value));
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

/// A user or group id, or a range such as `"1000-1999"`.
fn ids<'a>(
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
        let message = format!("match.{key}: an id is 0 to 4294967295, and a range is written \"1000-1999\"");
        section.problem(Code::BadValue, &place, message);
    }
    range
}
