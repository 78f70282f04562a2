//! `[daemon]`.

use flowspec::Micros;

use super::section::Section;
use crate::policy::code::Code;
use crate::policy::daemon::{DaemonPolicy, Degrade};
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
        place: section.place.clone(),
    };
    section.finish();
    policy
}
