//! The largest numbers, and mistakes that admission control has made before.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use flowspec::Moment;
use gqos::admission::{Ledger, Reason};
use gqos::policy::{Policy, Source};
use gqos::scenario::parse_line;

/// Decides lines of a trace under a policy: `ok`, or the reason.
#[track_caller]
fn check(name: &str, policy: &str, trace: &[(&str, &str)]) {
    let text = format!("version = 1\n{policy}");
    let (policy, _) = Policy::parse(&[Source { name, text: &text }]).unwrap();
    let policy = Arc::new(policy);
    let mut ledger = Ledger::new(Arc::clone(&policy));
    for (number, (line, expected)) in trace.iter().enumerate() {
        let traced = parse_line(&line.replace('\'', "\""), &policy).unwrap();
        let decision = traced.decide_by_ledger(&mut ledger);
        assert_eq!(
            decision.reason().map_or("ok", Reason::name),
            *expected,
            "{name}, line {}: {}",
            number + 1,
            decision.message()
        );
    }
}

const MAX: &str = "18446744073709551615";

/// A link of the largest capacity, with a group.
const LARGEST: &str = r#"
[interface.eth0]
egress = { capacity = "18446744073709551615 B/s", reservable = "100%" }
[group.g]
interface = "eth0"
sending = { service_type = "guaranteed", token_rate = "8 kbit/s" }
"#;

/// A reservation on eth0 at time 0; `fields` are those of the flowspec after the service type.
fn reserve(id: &str, fields: &str) -> String {
    format!(
        "{{'at_us':0,'op':'reserve','id':'{id}','interface':'eth0','sending':{{'service_type':'guaranteed',{fields}}}}}"
    )
}

#[test]
fn rates_do_not_wrap() {
    check(
        "two of the largest",
        LARGEST,
        &[
            (&reserve("a", &format!("'token_rate':{MAX}")), "interface_budget"),
            (&reserve("b", "'token_rate':18446744073709550615"), "ok"),
            (&reserve("c", "'token_rate':1"), "interface_budget"),
        ],
    );
}

#[test]
fn buckets_do_not_wrap() {
    let member = |id: &str| {
        let line = reserve(id, &format!("'token_rate':1,'token_bucket_size':{MAX},'peak_bandwidth':{MAX}"));
        line.replace("'interface'", "'group':'g','interface'")
    };
    check(
        "members of a group without a bucket",
        LARGEST,
        &[
            (&member("a"), "ok"),
            (&member("b"), "ok"),
            (&member("c"), "ok"),
            ("{'at_us':0,'op':'release','id':'b'}", "ok"),
            (&member("d"), "ok"),
        ],
    );
}

#[test]
fn times_do_not_wrap() {
    let line = |id: &str, times: String| {
        let line = reserve(id, "'token_rate':1").replace("'at_us':0", "'at_us':5");
        line.replace("'sending'", &format!("{times},'sending'"))
    };
    check(
        "the largest times",
        LARGEST,
        &[
            (&line("a", format!("'start_us':{MAX}")), "ok"),
            (&line("b", format!("'end_us':{MAX},'ttl_us':{MAX}")), "ok"),
            (&format!("{{'at_us':{MAX},'op':'tick'}}"), "ok"),
            (&format!("{{'at_us':{MAX},'op':'release','id':'b'}}"), "unknown_id"),
        ],
    );
}

#[test]
fn a_time_to_live_that_ends_after_the_last_moment_is_none() {
    let soft = |id: &str, time: &str| {
        let line = reserve(id, "'token_rate':1").replace("'at_us':0", &format!("'at_us':10,'ttl_us':{time}"));
        (line, "ok")
    };
    let (a, b, c) = (soft("a", MAX), soft("b", "18446744073709551605"), soft("c", "5"));
    let refresh = format!("{{'at_us':11,'op':'refresh','id':'c','ttl_us':{MAX}}}");
    let last = |operation: &str, id: &str| format!("{{'at_us':{MAX},'op':'{operation}','id':'{id}'}}");
    let release = ["a", "b", "c"].map(|id| last("release", id));
    let [of_a, of_b, of_c] = &release;
    check(
        "times to live",
        LARGEST,
        &[
            (&a.0, a.1),
            (&b.0, b.1),
            (&c.0, c.1),
            (&refresh, "ok"),
            (of_a, "ok"),
            (of_b, "unknown_id"),
            (of_c, "ok"),
        ],
    );
}

#[test]
fn latencies_do_not_wrap() {
    let policy = "[interface.eth0]\negress = { capacity = \"1 Gbit/s\" }\nerror_terms = { c = \"1500 B\", d = \"1 ms\" }\nbuffer = \"1 MiB\"\n";
    let beyond = format!("'token_rate':{MAX},'token_bucket_size':{MAX},'latency':1001");
    check(
        "the largest latency, the largest rate, and no time left",
        policy,
        &[
            (&reserve("a", &format!("'token_rate':1,'latency':{MAX}")), "ok"),
            (&reserve("b", &beyond), "delay"),
            (&reserve("c", "'token_rate':1,'latency':1000"), "delay"),
        ],
    );
}

/// A request is refused if either direction has too little capacity.
#[test]
fn both_directions_or_none() {
    let policy = "[interface.eth0]\negress = { capacity = \"8 Mbit/s\", reservable = \"100%\" }\ningress = { capacity = \"800 kbit/s\", reservable = \"100%\" }\n";
    let both = "{'at_us':0,'op':'reserve','id':'a','interface':'eth0','sending':{'service_type':'guaranteed','token_rate':1000},'receiving':{'service_type':'guaranteed','token_rate':100001}}";
    let full = "{'at_us':0,'op':'reserve','id':'b','interface':'eth0','sending':{'service_type':'guaranteed','token_rate':1000000},'receiving':{'service_type':'guaranteed','token_rate':100000}}";
    check("nothing of a refused request is kept", policy, &[(both, "interface_budget"), (full, "ok")]);
}

/// A lower rate is accepted whatever the capacity has become; a higher one is not.
#[test]
fn only_an_increase_is_checked_against_the_capacity() {
    let policy = "[interface.eth0]\negress = { capacity = \"8 Mbit/s\", reservable = \"100%\" }\n";
    let ask = |op: &str, rate: u64| {
        format!(
            "{{'at_us':0,'op':'{op}','id':'a',{}'sending':{{'service_type':'guaranteed','token_rate':{rate}}}}}",
            if op == "reserve" { "'interface':'eth0'," } else { "" }
        )
    };
    check(
        "after a fall",
        policy,
        &[
            (&ask("reserve", 900_000), "ok"),
            ("{'at_us':1,'op':'capacity','interface':'eth0','direction':'egress','capacity':500000}", "ok"),
            (&ask("renegotiate", 900_001), "interface_budget"),
            (&ask("renegotiate", 900_000), "ok"),
            (&ask("renegotiate", 800_000), "ok"),
            (&ask("renegotiate", 800_001), "interface_budget"),
            ("{'at_us':2,'op':'release','id':'a'}", "ok"),
            ("{'at_us':2,'op':'release','id':'a'}", "unknown_id"),
            ("{'at_us':2,'op':'renegotiate','id':'a'}", "unknown_id"),
        ],
    );
}

/// RFC 4126, table 1: at the share itself a class still counts as within it.
#[test]
fn a_class_at_its_share_is_within_it() {
    let policy = "[interface.eth0]\negress = { capacity = \"8 Mbit/s\", reservable = \"100%\" }\nclass_model = \"mar\"\nmar_threshold = \"10%\"\n[class.c]\nshare = \"50%\"\n";
    let ask = |id: &str, rate: u64| {
        format!(
            "{{'at_us':0,'op':'reserve','id':'{id}','class':'c','interface':'eth0','sending':{{'service_type':'guaranteed','token_rate':{rate}}}}}"
        )
    };
    check("at the share", policy, &[(&ask("a", 500_000), "ok"), (&ask("b", 500_000), "ok")]);
    check(
        "above it",
        policy,
        &[
            (&ask("a", 500_001), "ok"),
            (&ask("b", 400_000), "class_share"),
            (&ask("c", 399_999), "ok"),
            (&ask("d", 1), "class_share"),
        ],
    );
}

/// A preempted flow does not come back, and flows of equal priority are never preempted.
#[test]
fn preemption_needs_a_better_priority() {
    let policy =
        "preemption = true\n[interface.eth0]\negress = { capacity = \"8 Mbit/s\", reservable = \"100%\" }\n";
    let ask = |id: &str, rate: u64, setup: u8, holding: u8| {
        format!(
            "{{'at_us':0,'op':'reserve','id':'{id}','interface':'eth0','setup_priority':{setup},'holding_priority':{holding},'sending':{{'service_type':'guaranteed','token_rate':{rate}}}}}"
        )
    };
    check(
        "flows of equal priority stay",
        policy,
        &[
            (&ask("a", 1_000_000, 4, 4), "ok"),
            (&ask("b", 1, 4, 4), "interface_budget"),
            (&ask("c", 1, 3, 3), "ok"),
            ("{'at_us':0,'op':'release','id':'a'}", "unknown_id"),
        ],
    );
    check(
        "a request that cannot fit preempts no flow",
        policy,
        &[
            (&ask("a", 600_000, 7, 7), "ok"),
            (&ask("b", 400_000, 0, 0), "ok"),
            (&ask("c", 600_001, 1, 1), "interface_budget"),
            ("{'at_us':0,'op':'release','id':'a'}", "ok"),
        ],
    );
    check("setup better than holding is invalid", policy, &[(&ask("a", 1, 1, 2), "invalid_priority")]);
}

/// A ledger with flows that wait.
struct Waits {
    policy: Arc<Policy>,
    ledger: Ledger,
}

impl Waits {
    fn under(text: &str) -> Self {
        let (policy, _) = Policy::parse(&[Source { name: "waiting", text }]).unwrap();
        let policy = Arc::new(policy);
        Self { ledger: Ledger::new(Arc::clone(&policy)), policy }
    }

    /// Whether a line is granted, whether its flow waits then, and which flows are notified.
    #[track_caller]
    fn check(&mut self, line: &str, answer: (bool, bool), notified: &[&str]) {
        let traced = parse_line(&line.replace('\'', "\""), &self.policy).unwrap();
        let decision = traced.decide_by_ledger(&mut self.ledger);
        let found = (decision.is_ok(), decision.is_waiting());
        assert_eq!(found, answer, "{line}: {}", decision.message());
        assert_eq!(decision.notified, notified, "{line}");
        self.ledger.invariants();
    }
}

const GRANTED: (bool, bool) = (true, false);
const WAITS: (bool, bool) = (false, true);
const REFUSED: (bool, bool) = (false, false);

/// A link of 1 MB/s.
const ONE_LINK: &str =
    "version = 1\n[interface.eth0]\negress = { capacity = \"8 Mbit/s\", reservable = \"100%\" }\n";

/// A request that waits; `rest` are fields besides those of its flowspec.
fn ask(at: u64, id: &str, rest: &str, rate: u64) -> String {
    format!(
        "{{'at_us':{at},'op':'reserve','id':'{id}','interface':'eth0','wait':true,{rest}'sending':{{'service_type':'guaranteed','token_rate':{rate}}}}}"
    )
}

fn release(at: u64, id: &str) -> String {
    format!("{{'at_us':{at},'op':'release','id':'{id}'}}")
}

fn tick(at: u64) -> String {
    format!("{{'at_us':{at},'op':'tick'}}")
}

#[test]
fn a_flow_that_would_not_fit_alone_does_not_wait_whichever_limit_refuses_it_first() {
    let mut waits = Waits::under(
        r#"
        version = 1
        [interface.eth0]
        egress = { capacity = "8 Mbit/s", reservable = "100%" }
        ingress = { capacity = "8 Mbit/s", reservable = "100%" }
        [class.one]
        max_flows = 1
        max_rate = "800 kbit/s"
        "#,
    );
    let in_class = "'class':'one',";
    waits.check(&ask(0, "a", in_class, 1), GRANTED, &[]);
    waits.check(&ask(0, "b", "", 900_000), GRANTED, &[]);
    waits.check(&ask(1, "faster than a flow of its class", in_class, 200_000), REFUSED, &[]);
    let receiving = "'receiving':{'service_type':'guaranteed','token_rate':1000001},";
    waits.check(&ask(1, "faster than the other direction", receiving, 200_000), REFUSED, &[]);
    waits.check(&ask(1, "c", in_class, 100_000), WAITS, &[]);
    waits.check(&release(2, "b"), GRANTED, &[]);
    waits.check(&release(3, "a"), GRANTED, &["c"]);
}

#[test]
fn what_a_notified_flow_does_not_take_is_free_for_the_flows_after_it() {
    let notified = || {
        let mut waits = Waits::under(ONE_LINK);
        waits.check(&ask(0, "a", "", 1_000_000), GRANTED, &[]);
        waits.check(&ask(1, "b", "", 900_000), WAITS, &[]);
        waits.check(&ask(2, "c", "", 800_000), WAITS, &[]);
        waits.check(&release(3, "a"), GRANTED, &["b"]);
        waits
    };
    let mut waits = notified();
    waits.check(&tick(5_000_002), GRANTED, &[]);
    assert_eq!(waits.ledger.due().map(Moment::as_micros), Some(5_000_003), "the end of b's wait");
    waits.check(&tick(5_000_003), GRANTED, &["c"]);
    waits.check(&release(5_000_004, "b"), REFUSED, &[]);
    notified().check(&ask(4, "b", "", 100_000), GRANTED, &["c"]);
}

#[test]
fn what_a_notified_flow_would_give_back_is_not_free_before_it_does() {
    let both = |sending: u64, receiving: u64| {
        format!(
            "'receiving':{{'service_type':'guaranteed','token_rate':{receiving}}},'sending':{{'service_type':'guaranteed','token_rate':{sending}}}"
        )
    };
    let text = format!(
        "{}ingress = {{ capacity = \"8 Mbit/s\", reservable = \"100%\" }}\n[template.best]\n{}[template.low]\n{}",
        ONE_LINK,
        "sending = { service_type = \"guaranteed\", token_rate = \"800 kbit/s\" }\nreceiving = { service_type = \"guaranteed\", token_rate = \"8 Mbit/s\" }\n",
        "sending = { service_type = \"guaranteed\", token_rate = \"7200 kbit/s\" }\n",
    );
    let mut waits = Waits::under(&text);
    let reserve = |at: u64, id: &str, what: &str| {
        format!("{{'at_us':{at},'op':'reserve','id':'{id}','interface':'eth0','wait':true,{what}}}")
    };
    waits.check(&reserve(0, "a", &both(1, 1)), GRANTED, &[]);
    waits.check(&reserve(1, "b", "'templates':['best','low']"), (true, true), &[]);
    waits.check(&reserve(2, "c", "'sending':{'service_type':'guaranteed','token_rate':500000}"), WAITS, &[]);
    waits.check(&release(3, "a"), GRANTED, &["b"]);
    waits.check(
        "{'at_us':4,'op':'renegotiate','id':'b','sending':{'service_type':'guaranteed','token_rate':100000}}",
        GRANTED,
        &["c"],
    );
}

#[test]
fn a_flow_whose_reservation_would_be_over_waits_no_longer() {
    let mut waits = Waits::under(ONE_LINK);
    waits.check(&ask(0, "a", "", 1_000_000), GRANTED, &[]);
    waits.check(&ask(1, "b", "'end_us':10,", 1), WAITS, &[]);
    waits.check(&ask(1, "c", "'end_us':11,", 1), WAITS, &[]);
    waits.check(&release(10, "b"), REFUSED, &[]);
    waits.check(&release(10, "c"), GRANTED, &[]);
}

#[test]
fn a_notified_flow_that_its_client_may_not_have_delays_no_other() {
    let text = format!("{ONE_LINK}[client.\"*\"]\nmax_flows = 1\n");
    let mut waits = Waits::under(&text);
    waits.check(&ask(0, "a", "", 1_000_000), GRANTED, &[]);
    waits.check(&ask(1, "b", "'client':'x',", 900_000), WAITS, &[]);
    waits.check(&ask(2, "c", "", 800_000), WAITS, &[]);
    waits.check(&release(3, "a"), GRANTED, &["b"]);
    waits.check(&ask(4, "d", "'client':'x',", 1), GRANTED, &["c"]);
}

#[test]
fn a_request_takes_the_place_of_the_one_of_its_id_that_waits() {
    let mut waits = Waits::under(ONE_LINK);
    waits.check(&ask(0, "a", "", 900_000), GRANTED, &[]);
    for id in ["b", "c"] {
        waits.check(&ask(1, id, "", 500_000), WAITS, &[]);
    }
    // It does not wait for this, and the earlier request is withdrawn.
    waits.check(&ask(2, "b", "", 1_000_001), REFUSED, &[]);
    waits.check(&release(3, "b"), REFUSED, &[]);
    waits.check(&ask(4, "c", "", 500_000).replace("true", "false"), REFUSED, &[]);
    waits.check(&release(5, "a"), GRANTED, &[]);
}

#[test]
fn flows_that_lose_their_peers_at_one_moment_end_in_the_order_in_which_they_came() {
    let mut waits = Waits::under(ONE_LINK);
    // The second flow of the two has the slot of one that has ended.
    for id in ["gone", "first"] {
        waits.check(&ask(0, id, "", 1), GRANTED, &[]);
    }
    waits.check(&release(0, "gone"), GRANTED, &[]);
    waits.check(&ask(0, "second", "", 1), GRANTED, &[]);
    for id in ["second", "first"] {
        let silent = format!("{{'at_us':1,'op':'peer','id':'{id}','state':'silent'}}");
        waits.check(&silent, GRANTED, &[]);
    }
    let ended = waits.ledger.advance(Moment::from_micros(30_000_001));
    let ids: Vec<_> = ended.into_iter().map(|ended| ended.held.id).collect();
    assert_eq!(ids, ["first", "second"]);
}

#[test]
fn a_group_takes_no_place_of_a_flow() {
    let policy = |most: u64| ONE_LINK.replace("egress", &format!("max_flows = {most}\negress"));
    let group = "{'at_us':1,'op':'group','id':'g','interface':'eth0','sending':{'service_type':'guaranteed','token_rate':1}}";
    for reloaded in [2, 1] {
        let mut waits = Waits::under(&policy(2));
        waits.check(&ask(0, "a", "", 1), GRANTED, &[]);
        waits.check(&ask(0, "b", "", 1), GRANTED, &[]);
        waits.ledger.reload(Waits::under(&policy(reloaded)).policy);
        waits.check(group, GRANTED, &[]);
    }
}

/// Waiting flows are notified once, in order, when the capacity that they need is free.
#[test]
fn waiting_flows_are_notified_in_order() {
    let mut waits = Waits::under(ONE_LINK);
    let mut check = |line: &str, ok, waiting, notified: &[&str]| waits.check(line, (ok, waiting), notified);
    let ask = |at, id: &str, rate| ask(at, id, "", rate);
    for id in ["a", "b", "c", "d"] {
        check(&ask(0, id, 250_000), true, false, &[]);
    }
    check(&ask(1, "big", 500_000), false, true, &[]);
    check(&ask(2, "small", 100_000), false, true, &[]);
    // A request larger than the budget does not wait.
    check(&ask(3, "huge", 1_000_001), false, false, &[]);
    check(&release(4, "a"), true, false, &[]);
    check(&release(5, "b"), true, false, &["big"]);
    check(&tick(6), true, false, &[]);
    check(&release(7, "c"), true, false, &["small"]);
    check(&ask(8, "big", 500_000), true, false, &[]);
    check(&ask(9, "quick", 250_000), true, false, &[]);
    check(&ask(10, "small", 100_000), false, true, &[]);
    check(&release(11, "quick"), true, false, &["small"]);
    // The notified flow does not reserve in time and loses its place; no other waiting flow fits.
    check(&tick(6_000_000), true, false, &[]);
    check(&release(6_000_001, "small"), false, false, &[]);
    check(&release(6_000_002, "huge"), false, false, &[]);
    // A flow that gives up leaves the queue.
    check(&ask(6_000_003, "big2", 400_000), false, true, &[]);
    check(&release(6_000_004, "big2"), true, false, &[]);
    check(&release(6_000_005, "big2"), false, false, &[]);
    // A flow that waits for more than a smaller link has blocks no other flow, and is notified when the capacity is back.
    let link = |at: u64, rate: u64| {
        format!("{{'at_us':{at},'op':'capacity','interface':'eth0','direction':'egress','capacity':{rate}}}")
    };
    check(&ask(7_000_000, "wide", 900_000), false, true, &[]);
    check(&ask(7_000_001, "narrow", 300_000), false, true, &[]);
    check(&link(7_000_002, 800_000), true, false, &[]);
    check(&release(7_000_003, "big"), true, false, &["narrow"]);
    check(&release(7_000_004, "d"), true, false, &[]);
    check(&link(14_000_000, 1_000_000), true, false, &["wide"]);
}
