//! What `gqos events` and `gqos reload` print of the daemon's replies.

use super::check_replies;

#[test]
fn reloads_are_shown() {
    let reload = r#"{"method":"org.gqos.Reload","parameters":{}}"#;
    let changes = r#"{"parameters":{"changes":{"removed":[{"item":"interface.v1","keys":[{"key":"egress.capacity","before":"\"50 Mbit/s\"","after":null},{"key":"egress.reservable","before":"\"80%\"","after":null},{"key":"ingress.capacity","before":"\"50 Mbit/s\"","after":null},{"key":"shared","before":"\"refuse\"","after":null}]},{"item":"class.gone","keys":[]}],"changed":[{"item":"daemon","keys":[{"key":"socket","before":null,"after":"\"/s\""}]}],"orphans":["o\u202e0","o1"],"groups":[["g","removed"]],"capacities":[{"interface":"v0","direction":"receiving","observed":1000000,"stated":12500000}],"over":[["v0","sending",{"budget":6000000,"reserved":8750000}]],"needs_restart":["daemon.socket"],"a_later_version":1}}}"#;
    let text = "the policy is in force; what has changed:\n  daemon.socket: none → \"/s\"\n  interface.v1: removed: egress.capacity = \"50 Mbit/s\"\n  class.gone: removed\nflows, groups and links that are not as the policy states them:\n  v0 sending: 70 Mbit/s reserved, 22 Mbit/s more than the budget of 48 Mbit/s: no flow is admitted until enough have ended\n  2 flows keep their reservations without interface or class in the policy: o\\u{202e}0, o1\n  group g: is not in the policy and has members: it ends with its last member\n  v0 receiving: the link was observed to carry 8 Mbit/s, which counts; the policy states 100 Mbit/s\nin force once the daemon is started again:\n  daemon.socket\n";
    check_replies(&["reload"], reload, &[changes], 0, text);
    let plan = r#"{"method":"org.gqos.Plan","parameters":{}}"#;
    let none = r#"{"parameters":{"changes":{}}}"#;
    check_replies(&["reload", "--dry-run"], plan, &[none], 0, "the policy has not changed\n");
    let denied = r#"{"error":"org.gqos.NotPermitted","parameters":{"method":"org.gqos.Reload"}}"#;
    check_replies(&["reload"], reload, &[denied], 77, "");
    let invalid = r#"{"error":"org.gqos.InvalidPolicy","parameters":{"problems":[{"code":"GQ0002","message":"no","file":"p.toml","line":1,"column":2}]}}"#;
    check_replies(&["reload"], reload, &[invalid], 78, "");
    let hostile = r#"{"error":"org.gqos.InvalidPolicy","parameters":{"problems":[{"code":"GQ0002","message":"a\u001b[31m\u202e","file":"p.toml","line":1,"column":2}]}}"#;
    let foreign = r#"{"error":"org.x.\u001b[31mY\u202e","parameters":{}}"#;
    for (reply, code, shown) in
        [(hostile, 78, "a\\u{1b}[31m\\u{202e}"), (foreign, 71, "org.x.\\u{1b}[31mY\\u{202e}")]
    {
        let errors = check_replies(&["reload"], reload, &[reply], code, "");
        assert!(errors.contains(shown) && !errors.contains(['\u{1b}', '\u{202e}']), "{errors}");
    }
    let problems = "{\"is_valid\":false,\"problems\":[{\"code\":\"GQ0002\",\"severity\":\"error\",\"message\":\"no\",\"file\":\"p.toml\",\"line\":1,\"column\":2}]}\n";
    check_replies(&["reload", "--json"], reload, &[invalid], 78, problems);
}

#[test]
fn events_are_shown() {
    let events = r#"{"method":"org.gqos.Events","parameters":{},"more":true}"#;
    let batch = r#"{"parameters":{"events":[{"at_us":1,"event":"flow_admitted","id":"v1"},{"at_us":2,"event":"flow_released","id":"v1","interface":null}],"dropped":0},"continues":true}"#;
    check_replies(
        &["events", "--count", "2"],
        events,
        &[batch],
        0,
        "flow_admitted id=v1\nflow_released id=v1\n",
    );
    let timed = r#"{"parameters":{"events":[{"at_us":1500000,"event":"flow_admitted","id":"v1","interface":"v0","charged":{"sending":750000,"receiving":0}},{"at_us":2,"event":"capacity_changed","interface":"v0","capacity":12500000}],"dropped":0,"began_us":1800000000000000},"continues":true}"#;
    check_replies(
        &["events", "--count", "2"],
        events,
        &[timed],
        0,
        "2027-01-15T08:00:01.500000Z flow_admitted id=v1 interface=v0 charged.sending=\"6 Mbit/s\" charged.receiving=\"0 bit/s\"\n2027-01-15T08:00:00.000002Z capacity_changed interface=v0 capacity=\"100 Mbit/s\"\n",
    );
    let only = ["events", "--event", "flow_released", "--count", "1"];
    check_replies(&only, events, &[batch], 0, "flow_released id=v1\n");
}
