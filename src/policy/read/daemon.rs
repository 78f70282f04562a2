//! `[daemon]`.

use std::fmt::Display;
use std::ops::RangeInclusive;

use flowspec::{Bytes, Micros};
use toml::de::DeValue;

use super::section::{Placed, Section};
use crate::policy::code::Code;
use crate::policy::daemon::{AuditPolicy, DaemonPolicy, Degrade};
use crate::policy::http::{HttpAddress, LONGEST_SOCKET};

pub(super) fn daemon(section: Section<'_>) -> DaemonPolicy {
    let number =
        |key, most| section.integer(key, 1..=most).and_then(|number| usize::try_from(number.value).ok());
    let socket = section.string("socket").and_then(|socket| {
        let (length, path) = (socket.value.len(), section.path_of("socket"));
        if !socket.value.starts_with('/') || length > LONGEST_SOCKET {
            let message = format!(
                "{path}: {:?} is not an absolute path of at most {LONGEST_SOCKET} bytes",
                socket.value
            );
            section.problem(Code::BadValue, &socket.place, message);
            return None;
        }
        Some(socket.value.to_owned())
    });
    let http = section.string("http").and_then(|http| {
        let address = http.value.parse::<HttpAddress>();
        let problem = |error| {
            let message = format!("{}: {error}", section.path_of("http"));
            section.problem(Code::BadValue, &http.place, message);
        };
        address.map_err(problem).ok()
    });
    let policy = DaemonPolicy {
        socket,
        group: section.text("group"),
        connections_per_user: number("connections_per_user", 1024),
        flows_per_user: number("flows_per_user", 1_000_000),
        calls_per_second: section
            .integer("calls_per_second", 10..=1_000_000)
            .and_then(|rate| u32::try_from(rate.value).ok()),
        grace: section.quantity::<Micros>("grace").map(|grace| grace.value),
        degrade: section.choice("degrade", &Degrade::WORDS).map(|degrade| degrade.value),
        http,
        audit: audit(&section),
        place: section.place.clone(),
    };
    section.finish();
    policy
}

/// The sizes that a file of the audit log may have.
const SIZES: RangeInclusive<Bytes> = Bytes::new(64 << 10)..=Bytes::new(64 << 30);

/// The times that a file of the audit log may be written to: a minute to a year.
const AGES: RangeInclusive<Micros> = Micros::new(60_000_000)..=Micros::new(366 * 86_400_000_000);

/// `audit = "PATH"`, or a table with more.
fn audit(section: &Section<'_>) -> Option<AuditPolicy> {
    let value = section.raw("audit");
    if matches!(value.map(|value| value.get_ref()), Some(DeValue::String(_))) {
        return Some(AuditPolicy::at(audit_path(section, "audit")?));
    }
    let audit = section.section("audit")?;
    let path = audit_path(&audit, "path");
    if !audit.has("path") {
        audit.missing("path");
    }
    let max_size = within(&audit, audit.quantity::<Bytes>("max_size"), ("max_size", SIZES));
    let max_age = within(&audit, audit.quantity::<Micros>("max_age"), ("max_age", AGES));
    let keep = audit.integer("keep", 1..=1000).and_then(|keep| usize::try_from(keep.value).ok());
    audit.finish();
    let defaults = AuditPolicy::at(path?);
    Some(AuditPolicy {
        max_size: max_size.unwrap_or(defaults.max_size),
        max_age: max_age.unwrap_or(defaults.max_age),
        keep: keep.unwrap_or(defaults.keep),
        path: defaults.path,
    })
}

fn audit_path(section: &Section<'_>, key: &'static str) -> Option<String> {
    let path = section.string(key)?;
    if !path.value.starts_with('/') || path.value.ends_with('/') {
        let message =
            format!("{}: {:?} is not the absolute path of a file", section.path_of(key), path.value);
        section.problem(Code::BadValue, &path.place, message);
        return None;
    }
    Some(path.value.to_owned())
}

fn within<T: Display + PartialOrd>(
    section: &Section<'_>,
    value: Option<Placed<T>>,
    (key, range): (&'static str, RangeInclusive<T>),
) -> Option<T> {
    let Placed { value, place } = value?;
    if range.contains(&value) {
        return Some(value);
    }
    let (least, most) = range.into_inner();
    let message = format!("{}: {value} is not between {least} and {most}", section.path_of(key));
    section.problem(Code::BadValue, &place, message);
    None
}
