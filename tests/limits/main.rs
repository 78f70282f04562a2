//! Limits bind what they name, and refusals and queries say all there is to say.

#![allow(missing_docs, clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests")]

mod alternatives;

use std::sync::Arc;

use gqos::manager::DryRun;
use gqos::policy::{Policy, Source};
use gqos::scenario::TraceReader;
use serde_json::Value;

/// Replays a trace, and compares the fields of each decision that are wanted. A `message` is compared with a part of the
/// message.
#[track_caller]
fn check(name: &str, policy: &str, steps: &[(&str, &str)]) {
    let (policy, _) = Policy::parse(&[Source { name: "policy.toml", text: policy }]).unwrap();
    let policy = Arc::new(policy);
    let mut reader = TraceReader::new(&policy);
    let mut run = DryRun::new(Arc::clone(&policy));
    for (number, (line, want)) in steps.iter().enumerate() {
        let line = reader.read(line).unwrap().unwrap();
        let decision = serde_json::to_value(line.decide_by_manager(&mut run)).unwrap();
        run.invariants();
        let want: Value = serde_json::from_str(want).unwrap();
        for (field, value) in want.as_object().unwrap() {
            let found = decision.get(field).unwrap_or(&Value::Null);
            let agrees = match (field.as_str(), found, value) {
                ("message", Value::String(found), Value::String(part)) => found.contains(part),
                _ => found == value,
            };
            assert!(agrees, "{name}, step {}: {field} is {found}, not {value}\n{decision:#}", number + 1);
        }
    }
}

const OK: &str = r#"{"ok": true}"#;

#[test]
fn a_limit_for_one_flow_binds_the_members_of_groups_and_not_the_groups() {
    let policy = r#"
        version = 1
        [interface.eth0]
        egress = { capacity = "1 Gbit/s", reservable = "80%" }
        ingress = { capacity = "1 Gbit/s", reservable = "80%" }
        [class.viewer]
        share = "600 Mbit/s"
        max_rate = "8 Mbit/s"
        [group.channel7]
        interface = "eth0"
        class = "viewer"
        mode = "envelope"
        sending = { service_type = "guaranteed", token_rate = "200 Mbit/s" }
        [group.free]
        interface = "eth0"
        mode = "envelope"
        sending = { service_type = "guaranteed", token_rate = "100 Mbit/s" }
    "#;
    let refused = r#"{"ok": false, "reason": "flow_rate"}"#;
    check(
        "members",
        policy,
        &[
            (
                r#"{"at_us": 0, "op": "query", "interface": "eth0"}"#,
                r#"{"reserved": {"eth0": {"sending": 37500000, "receiving": 0}}}"#,
            ),
            (
                r#"{"at_us": 0, "op": "reserve", "id": "six", "interface": "eth0", "class": "viewer", "group": "channel7", "sending": {"service_type": "guaranteed", "token_rate": 750000}}"#,
                OK,
            ),
            (
                r#"{"at_us": 0, "op": "reserve", "id": "sixty", "interface": "eth0", "class": "viewer", "group": "channel7", "sending": {"service_type": "guaranteed", "token_rate": 7500000}}"#,
                refused,
            ),
            (
                r#"{"at_us": 0, "op": "reserve", "id": "by group", "interface": "eth0", "group": "channel7", "sending": {"service_type": "guaranteed", "token_rate": 7500000}}"#,
                refused,
            ),
            (
                r#"{"at_us": 0, "op": "reserve", "id": "sixty2", "interface": "eth0", "class": "viewer", "group": "free", "sending": {"service_type": "guaranteed", "token_rate": 7500000}}"#,
                refused,
            ),
            (
                r#"{"at_us": 0, "op": "reserve", "id": "no class", "interface": "eth0", "group": "free", "sending": {"service_type": "guaranteed", "token_rate": 7500000}}"#,
                OK,
            ),
            (
                r#"{"at_us": 0, "op": "renegotiate", "id": "six", "sending": {"service_type": "guaranteed", "token_rate": 1000001}}"#,
                refused,
            ),
            (
                r#"{"at_us": 0, "op": "renegotiate", "id": "six", "sending": {"service_type": "guaranteed", "token_rate": 1000000}}"#,
                OK,
            ),
        ],
    );
}

const RATE_LIMITED: &str = r#"
    version = 1
    [interface.eth0]
    egress = { capacity = "10 Mbit/s", reservable = "80%" }
    ingress = { capacity = "10 Mbit/s", reservable = "80%" }
    [template.hd]
    sending = { service_type = "guaranteed", token_rate = "6 Mbit/s" }
    [template.late]
    sending = { service_type = "guaranteed", token_rate = "1 Mbit/s", latency = "1 us" }
    [template.sd]
    sending = { service_type = "guaranteed", token_rate = "2 Mbit/s" }
    [client."slow-*"]
    requests_per_second = 2
"#;

#[test]
fn a_ladder_is_one_request_of_its_client() {
    let again = r#"{"at_us": 0, "op": "reserve", "id": "c", "interface": "eth0", "client": "slow-1", "template": "sd"}"#;
    check(
        "a ladder",
        RATE_LIMITED,
        &[
            (r#"{"at_us": 0, "op": "reserve", "id": "a", "interface": "eth0", "template": "hd"}"#, OK),
            (
                r#"{"at_us": 0, "op": "reserve", "id": "b", "interface": "eth0", "client": "slow-1", "templates": ["hd", "sd"]}"#,
                r#"{"ok": true, "rendition": "sd", "message": "as sd; hd: eth0 sending: 6 Mbit/s asked"}"#,
            ),
            (r#"{"at_us": 0, "op": "release", "id": "b"}"#, OK),
            (again, OK),
            (r#"{"at_us": 0, "op": "release", "id": "c"}"#, OK),
            (
                r#"{"at_us": 0, "op": "reserve", "id": "d", "interface": "eth0", "client": "slow-2", "templates": ["hd", "hd", "sd"]}"#,
                r#"{"ok": true, "rendition": "sd"}"#,
            ),
            (again, r#"{"reason": "client_limit"}"#),
        ],
    );
}

#[test]
fn every_rendition_is_tried_and_each_refusal_is_said() {
    let ladder = r#"{"at_us": 0, "op": "reserve", "id": "b", "interface": "eth0", "client": "slow-1", "templates": ["hd", "late", "sd"]}"#;
    let hd = r#"{"at_us": 0, "op": "reserve", "id": "a", "interface": "eth0", "template": "hd"}"#;
    let small = r#"{"at_us": 0, "op": "reserve", "id": "x", "interface": "eth0", "sending": {"service_type": "guaranteed", "token_rate": 1}}"#;
    let without_sd =
        r#"{"at_us": 0, "op": "reserve", "id": "b", "interface": "eth0", "templates": ["hd", "late"]}"#;
    check(
        "a rung that never fits is in the way of none below it",
        RATE_LIMITED,
        &[
            (hd, OK),
            (without_sd, r#"{"ok": false, "message": "hd: eth0 sending: 6 Mbit/s asked"}"#),
            (ladder, r#"{"rendition": "sd"}"#),
        ],
    );
    check(
        "the last rung does not fit either",
        RATE_LIMITED,
        &[
            (hd, OK),
            (small, OK),
            (
                ladder,
                r#"{"ok": false, "reason": "interface_budget", "message": "; late: eth0 sending: a delay bound"}"#,
            ),
            (ladder, r#"{"ok": false, "message": "; sd: eth0 sending: 2 Mbit/s asked"}"#),
            (ladder, r#"{"ok": false, "reason": "client_limit", "message": "client slow-1"}"#),
        ],
    );
}

#[test]
fn another_reservation_counts_as_a_request_and_one_that_is_no_larger_is_granted_all_the_same() {
    let flow = r#"{"at_us": 0, "op": "reserve", "id": "a", "interface": "eth0", "client": "slow-1", "template": "sd"}"#;
    let change = |rate: u64| {
        format!(
            r#"{{"at_us": 0, "op": "renegotiate", "id": "a", "sending": {{"service_type": "guaranteed", "token_rate": {rate}}}}}"#
        )
    };
    check(
        "renegotiations",
        RATE_LIMITED,
        &[
            (flow, OK),
            (&change(300_000), OK),
            (&change(400_000), r#"{"ok": false, "reason": "client_limit"}"#),
            (&change(300_000), r#"{"ok": true, "charged": {"sending": 300000, "receiving": 0}}"#),
            (&change(200_000), r#"{"ok": true, "charged": {"sending": 200000, "receiving": 0}}"#),
            (
                r#"{"at_us": 0, "op": "reserve", "id": "b", "interface": "eth0", "client": "slow-1"}"#,
                r#"{"reason": "client_limit"}"#,
            ),
        ],
    );
}

const TWO_CLASSES: &str = r#"
    version = 1
    [interface.eth0]
    egress = { capacity = "150 B/s", reservable = "100%" }
    ingress = { capacity = "150 B/s", reservable = "100%" }
    [class.x]
    share = "100 B/s"
    [class.y]
    share = "100 B/s"
    [client."c"]
    max_rate = "100 B/s"
"#;

const A_GROUP: &str = r#"
    [group.g]
    interface = "eth0"
    sending = { service_type = "controlled_load", token_rate = "50 B/s" }
"#;

/// A line with a flow of so many bytes a second.
fn flow(line: &str, rate: u64) -> String {
    format!(
        r#"{{"at_us": 0, "interface": "eth0", {line}, "sending": {{"service_type": "controlled_load", "token_rate": {rate}}}}}"#
    )
}

#[test]
fn a_query_looks_at_every_moment_at_which_something_that_it_needs_changes() {
    check(
        "the moment at which one flow of the class follows another class's",
        TWO_CLASSES,
        &[
            (&flow(r#""op": "reserve", "id": "A", "class": "x", "end_us": 10"#, 100), OK),
            (&flow(r#""op": "reserve", "id": "B", "class": "y", "start_us": 10, "end_us": 100"#, 100), OK),
            (
                &flow(r#""op": "query", "class": "x", "end_us": 5"#, 50),
                r#"{"op": "query", "earliest_us": 10}"#,
            ),
            (&flow(r#""op": "reserve", "id": "C", "class": "x", "start_us": 10, "end_us": 15"#, 50), OK),
        ],
    );
    check(
        "a client's flow of one rate follows one of another",
        TWO_CLASSES,
        &[
            (&flow(r#""op": "reserve", "id": "A", "client": "c", "end_us": 10"#, 100), OK),
            (&flow(r#""op": "reserve", "id": "B", "client": "c", "start_us": 10, "end_us": 100"#, 50), OK),
            (&flow(r#""op": "query", "client": "c", "end_us": 5"#, 20), r#"{"earliest_us": 10}"#),
        ],
    );
    check(
        "a group's member follows another of another rate",
        &format!("{TWO_CLASSES}{A_GROUP}"),
        &[
            (&flow(r#""op": "reserve", "id": "A", "group": "g", "end_us": 10"#, 50), OK),
            (&flow(r#""op": "reserve", "id": "B", "group": "g", "start_us": 10, "end_us": 100"#, 30), OK),
            (&flow(r#""op": "query", "group": "g", "end_us": 5"#, 20), r#"{"earliest_us": 10}"#),
        ],
    );
    check(
        "a window that would have to end after the last moment",
        TWO_CLASSES,
        &[
            (&flow(r#""op": "reserve", "id": "A", "end_us": 10"#, 150), OK),
            (
                &flow(r#""op": "query", "end_us": 18446744073709551615"#, 20),
                r#"{"ok": true, "earliest_us": null, "message": "never fits"}"#,
            ),
            (&flow(r#""op": "query", "end_us": 18446744073709551605"#, 20), r#"{"earliest_us": 10}"#),
        ],
    );
}

#[test]
fn a_query_that_names_what_does_not_exist_is_refused() {
    let query = |rest: &str| flow(&format!(r#""op": "query", {rest}"#), 20);
    check(
        "queries",
        TWO_CLASSES,
        &[
            (
                &query(r#""class": "z""#),
                r#"{"op": "query", "id": null, "ok": false, "reason": "unknown_class"}"#,
            ),
            (&query(r#""group": "z""#), r#"{"op": "query", "ok": false, "reason": "unknown_group"}"#),
            (
                &query(r#""start_us": 20, "end_us": 10"#),
                r#"{"op": "query", "ok": false, "reason": "invalid_window"}"#,
            ),
            (
                r#"{"at_us": 0, "op": "query", "interface": "eth0", "class": "z"}"#,
                r#"{"op": "query", "ok": false, "reason": "unknown_class"}"#,
            ),
            (
                r#"{"at_us": 0, "op": "query", "interface": "eth0", "group": "z"}"#,
                r#"{"op": "query", "ok": false, "reason": "unknown_group"}"#,
            ),
            (
                r#"{"at_us": 0, "op": "query", "interface": "eth0", "start_us": 20, "end_us": 10}"#,
                r#"{"op": "query", "ok": false, "reason": "invalid_window"}"#,
            ),
            (
                r#"{"at_us": 0, "op": "query", "interface": "eth0", "template": "none"}"#,
                r#"{"op": "query", "ok": false, "reason": "unknown_template"}"#,
            ),
            (
                r#"{"at_us": 0, "op": "query", "interface": "eth0", "templates": ["none"]}"#,
                r#"{"op": "query", "ok": false, "reason": "unknown_template"}"#,
            ),
            (
                r#"{"at_us": 0, "op": "group", "id": "g", "interface": "eth0", "templates": ["none"]}"#,
                r#"{"op": "group", "ok": false, "reason": "unknown_template"}"#,
            ),
            (
                r#"{"at_us": 0, "op": "query", "interface": "eth9"}"#,
                r#"{"op": "query", "ok": false, "reason": "unknown_interface"}"#,
            ),
            (&flow(r#""op": "query""#, 200), r#"{"op": "query", "ok": true, "earliest_us": null}"#),
        ],
    );
}

#[test]
fn the_threshold_of_mar_binds_a_class_only_while_it_is_above_its_share() {
    let policy = r#"
        version = 1
        [interface.eth0]
        egress = { capacity = "100 B/s", reservable = "100%" }
        ingress = { capacity = "100 B/s", reservable = "100%" }
        class_model = "mar"
        mar_threshold = "10%"
        [class.x]
        share = "20 B/s"
    "#;
    check(
        "the class's worst moment is not the link's",
        policy,
        &[
            (&flow(r#""op": "reserve", "id": "A", "class": "x", "end_us": 10"#, 30), OK),
            (&flow(r#""op": "reserve", "id": "B", "start_us": 10, "end_us": 20"#, 80), OK),
            (&flow(r#""op": "reserve", "id": "C", "class": "x", "end_us": 20"#, 20), OK),
            (
                &flow(r#""op": "reserve", "id": "D", "class": "x", "end_us": 10"#, 41),
                r#"{"reason": "class_share", "would_fit": 40}"#,
            ),
            (&flow(r#""op": "reserve", "id": "D", "class": "x", "end_us": 10"#, 40), OK),
        ],
    );
}

const BOOKED: &str = r#"
    version = 1
    [interface.eth0]
    egress = { capacity = "150 B/s", reservable = "100%" }
    ingress = { capacity = "150 B/s", reservable = "100%" }
    buffer = "20 kB"
    max_flows = 3
    [class.x]
    share = "100 B/s"
    max_flows = 1
    [client."c"]
    max_rate = "100 B/s"
    max_flows = 1
"#;

/// The same as [`flow`], from 10 to 20 us.
fn later(line: &str, rate: u64) -> String {
    flow(&format!(r#"{line}, "start_us": 10, "end_us": 20"#), rate)
}

fn refused(reason: &str, part: &str) -> String {
    format!(r#"{{"ok": false, "reason": "{reason}", "message": "{part}"}}"#)
}

#[test]
fn a_refusal_that_a_later_booking_causes_says_when() {
    check(
        "the link and the class",
        BOOKED,
        &[
            (&later(r#""op": "reserve", "id": "A""#, 100), OK),
            (
                &flow(r#""op": "reserve", "id": "B""#, 100),
                &refused("interface_budget", ": 400 bit/s short, from 10 us on; most is held by A"),
            ),
            (
                &later(r#""op": "reserve", "id": "B""#, 100),
                &refused("interface_budget", ": 400 bit/s short; most is held by A"),
            ),
            (&flow(r#""op": "reserve", "id": "B", "end_us": 10"#, 100), OK),
            (
                &flow(r#""op": "reserve", "id": "C""#, 200),
                &refused("interface_budget", ": 1.2 kbit/s short; most is held by"),
            ),
            (&later(r#""op": "reserve", "id": "D", "class": "x""#, 50), OK),
            (
                &flow(r#""op": "reserve", "id": "E", "class": "x""#, 1),
                &refused("class_flows", "1 flow is admitted and max_flows is 1, from 10 us on"),
            ),
            (
                r#"{"at_us": 0, "op": "reserve", "id": "F", "interface": "eth0", "start_us": 10, "end_us": 20}"#,
                OK,
            ),
            (
                &flow(r#""op": "reserve", "id": "E""#, 1),
                &refused("interface_flows", "3 flows are admitted and max_flows is 3, from 10 us on"),
            ),
        ],
    );
}

#[test]
fn a_refusal_names_the_flows_that_hold_the_most_when_it_is_short() {
    check(
        "one flow follows another",
        BOOKED,
        &[
            (&later(r#""op": "reserve", "id": "later""#, 120), OK),
            (&flow(r#""op": "reserve", "id": "now", "end_us": 10"#, 100), OK),
            (
                &flow(r#""op": "reserve", "id": "C""#, 60),
                &refused(
                    "interface_budget",
                    " short, from 10 us on; most is held by later (960 bit/s); at most",
                ),
            ),
            (
                &flow(r#""op": "reserve", "id": "C""#, 40),
                &refused(
                    "interface_budget",
                    " short, from 10 us on; most is held by later (960 bit/s); at most",
                ),
            ),
        ],
    );
}

#[test]
fn limits_of_clients_groups_and_buffers_say_when_too() {
    check(
        "the client",
        BOOKED,
        &[
            (&later(r#""op": "reserve", "id": "A", "client": "c""#, 80), OK),
            (
                &flow(r#""op": "reserve", "id": "B", "client": "c""#, 80),
                &refused("client_limit", "1 flow is admitted and max_flows is 1, from 10 us on"),
            ),
        ],
    );
    check(
        "the client's rate",
        TWO_CLASSES,
        &[
            (&later(r#""op": "reserve", "id": "A", "client": "c""#, 80), OK),
            (
                &flow(r#""op": "reserve", "id": "B", "client": "c""#, 30),
                &refused("client_limit", "max_rate is 800 bit/s, from 10 us on"),
            ),
        ],
    );
    check(
        "the group",
        &format!("{TWO_CLASSES}{A_GROUP}"),
        &[
            (&later(r#""op": "reserve", "id": "A", "group": "g""#, 30), OK),
            (
                &flow(r#""op": "reserve", "id": "B", "group": "g""#, 30),
                &refused("group_budget", "240 bit/s taken of 400 bit/s, from 10 us on"),
            ),
        ],
    );
    let bursts = |line: &str, size: u64| {
        format!(
            r#"{{"at_us": 0, "op": "reserve", "interface": "eth0", {line}, "sending": {{"service_type": "controlled_load", "token_rate": 1, "token_bucket_size": {size}}}}}"#
        )
    };
    check(
        "the buffer",
        BOOKED,
        &[
            (&bursts(r#""id": "A", "start_us": 10"#, 15_000), OK),
            (&bursts(r#""id": "B""#, 6_000), &refused("buffer", "of 20000 B are taken, from 10 us on")),
        ],
    );
}
