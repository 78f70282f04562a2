//! Interfaces that send on the wire of another: both budgets hold, and a refusal names the one that has too little.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod common;

use common::policy;
use flowspec::{Bytes, Direction, Flowspec, Qos, Rate};
use gqos::admission::{Decision, Ledger, NewFlow, Reason, Refusal, Request, Response};
use gqos::policy::{Code, Policy, Source};
use gqos::scenario::parse_line;

/// A physical link of 1000 B/s with a bridge on it, and two VLANs on the bridge.
const STACK: &str = r#"
[interface.eth0]
egress = { capacity = "1000 B/s", reservable = "100%" }
[interface.br0]
egress = { capacity = "900 B/s", reservable = "100%" }
parent = "eth0"
[interface."br0.10"]
egress = { capacity = "600 B/s", reservable = "100%" }
parent = "br0"
[interface."br0.20"]
egress = { capacity = "600 B/s", reservable = "100%" }
parent = "br0"
[interface.lone]
egress = { capacity = "500 B/s", reservable = "100%" }
"#;

/// A ledger that takes lines, and is checked after each.
struct Lines(Ledger);

impl Lines {
    fn new(text: &str) -> Self {
        Self(Ledger::new(policy(&format!("version = 1\n{text}"))))
    }

    /// A line with `'` for `"` at a moment.
    #[track_caller]
    fn line(&mut self, at: u64, fields: &str) -> Decision {
        let line = format!("{{'at_us':{at},{fields}}}").replace('\'', "\"");
        let decision = parse_line(&line, self.0.policy()).expect(&line).decide_by_ledger(&mut self.0);
        self.0.invariants();
        decision
    }

    #[track_caller]
    fn reserve(&mut self, id: &str, interface: &str, rate: u64, fields: &str) -> Decision {
        let sending = load(rate);
        self.line(
            0,
            &format!("'op':'reserve','id':'{id}','interface':'{interface}','sending':{sending}{fields}"),
        )
    }

    /// What is reserved for sending.
    #[track_caller]
    fn reserved(&self, interfaces: [&str; 4]) -> [u64; 4] {
        interfaces.map(|name| self.0.totals(name).unwrap().sending.reserved.get())
    }
}

const ALL: [&str; 4] = ["eth0", "br0", "br0.10", "br0.20"];

fn load(rate: u64) -> String {
    format!("{{'service_type':'controlled_load','token_rate':{rate}}}")
}

/// The interface that a refusal names, with what is free there.
#[track_caller]
fn lacking(decision: &Decision) -> (String, u64) {
    match decision.refusal() {
        Some(Refusal::InterfaceBudget { interface, shortfall, .. }) => {
            (interface.clone(), shortfall.would_fit.get())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_flow_is_charged_to_its_interface_and_to_every_parent() {
    let mut ledger = Lines::new(STACK);
    assert!(ledger.reserve("a", "br0.10", 500, "").is_ok());
    assert_eq!(ledger.reserved(ALL), [500, 500, 500, 0]);
    assert!(ledger.reserve("b", "eth0", 100, "").is_ok());
    assert_eq!(ledger.reserved(ALL), [600, 500, 500, 0], "a parent's own flow takes nothing of its children");
    assert_eq!(lacking(&ledger.reserve("c", "br0.10", 101, "")), ("br0.10".into(), 100), "its own budget");
    assert_eq!(lacking(&ledger.reserve("c", "br0.20", 401, "")), ("br0".into(), 400), "its parent's");
    assert!(ledger.reserve("c", "br0.20", 300, "").is_ok());
    assert_eq!(lacking(&ledger.reserve("d", "br0.20", 200, "")), ("br0".into(), 100));
    assert!(ledger.reserve("e", "eth0", 100, "").is_ok());
    assert_eq!(lacking(&ledger.reserve("d", "br0.20", 1, "")), ("eth0".into(), 0), "the lowest link is full");
    assert_eq!(ledger.reserved(ALL), [1000, 800, 500, 300], "refusals reserve nothing");
    assert!(ledger.reserve("f", "lone", 500, "").is_ok(), "another wire");
    for id in ["a", "b", "c", "e", "f"] {
        assert!(ledger.line(1, &format!("'op':'release','id':'{id}'")).is_ok());
    }
    assert_eq!(ledger.reserved(ALL), [0; 4]);
}

#[test]
fn a_query_gives_the_least_that_is_free_of_the_wire() {
    let mut ledger = Lines::new(STACK);
    let decision = ledger.reserve("a", "br0.10", 200, "");
    assert_eq!(decision.totals.keys().collect::<Vec<_>>(), ["br0.10"], "the totals of its own interface");
    assert!(ledger.reserve("b", "eth0", 750, "").is_ok());
    let query = ledger.line(0, &format!("'op':'query','interface':'br0.20','sending':{}", load(51)));
    let Response::Query(Ok(free)) = &query.response else { panic!("{query:?}") };
    assert_eq!(free.available.sending, Rate::new(50), "eth0 has less left than br0.20");
}

#[test]
fn the_earliest_moment_is_one_at_which_every_link_of_the_wire_has_enough() {
    let mut ledger = Lines::new(STACK);
    assert!(ledger.reserve("a", "eth0", 900, ",'end_us':700").is_ok());
    assert!(ledger.reserve("b", "br0.20", 100, ",'end_us':900").is_ok());
    let qos = |rate| Qos::sending(Flowspec::guaranteed(Rate::new(rate), Bytes::new(100)));
    let earliest = |ledger: &mut Lines, interface, rate| {
        let request = Request::new(NewFlow { id: "q", interface }, qos(rate));
        ledger.0.earliest(&request).map(flowspec::Moment::as_micros)
    };
    assert_eq!(earliest(&mut ledger, "br0.10", 500), Some(700), "eth0 frees enough");
    assert_eq!(earliest(&mut ledger, "br0.20", 600), Some(900), "its own budget is free later");
    assert_eq!(earliest(&mut ledger, "br0.20", 601), None);
}

#[test]
fn a_flow_of_a_parent_and_one_of_a_child_preempt_each_other() {
    let text = format!("preemption = true\n{STACK}");
    let urgent = ",'setup_priority':1,'holding_priority':1";
    let mut ledger = Lines::new(&text);
    assert!(ledger.reserve("low", "br0.10", 600, "").is_ok());
    assert!(ledger.reserve("other", "br0.20", 300, "").is_ok());
    let decision = ledger.reserve("high", "eth0", 700, urgent);
    assert_eq!(decision.preempted(), ["low"], "the newest first, and none that is not needed");
    assert_eq!(ledger.reserved(ALL), [1000, 300, 0, 300]);
    let mut ledger = Lines::new(&text);
    assert!(ledger.reserve("base", "eth0", 800, "").is_ok());
    assert!(ledger.reserve("lone", "lone", 500, "").is_ok());
    let decision = ledger.reserve("high", "br0.20", 600, urgent);
    assert_eq!(decision.preempted(), ["base"], "a flow of the parent alone stands in the way");
    // A flow with an end is not added up with the others.
    let mut ledger = Lines::new(&text);
    assert!(ledger.reserve("short", "br0.10", 500, ",'end_us':900").is_ok());
    assert!(ledger.reserve("long", "eth0", 500, "").is_ok());
    let decision = ledger.reserve("high", "br0.20", 500, urgent);
    assert_eq!(decision.preempted(), ["short"], "the newest would free enough of eth0, and nothing of br0");
    assert_eq!(ledger.reserve("higher", "eth0", 500, urgent).preempted(), ["long"]);
}

#[test]
fn a_parent_that_carries_less_sheds_flows_of_its_children() {
    let text = STACK.replacen("[interface.br0]", "on_capacity_drop = \"shed\"\n[interface.br0]", 1);
    let mut ledger = Lines::new(&text);
    assert!(ledger.reserve("a", "br0.10", 400, "").is_ok());
    assert!(ledger.reserve("b", "br0.20", 400, "").is_ok());
    let down = ledger.line(1, "'op':'capacity','interface':'eth0','direction':'egress','capacity':500");
    assert_eq!(down.shed(), ["b"]);
    assert_eq!(ledger.reserved(ALL), [400, 400, 400, 0]);
    assert_eq!(lacking(&ledger.reserve("b", "br0.20", 400, "")), ("eth0".into(), 100));
}

#[test]
fn flows_that_wait_are_notified_in_their_order_on_each_link_of_the_wire() {
    let mut ledger = Lines::new(STACK);
    assert!(ledger.reserve("a", "eth0", 700, "").is_ok());
    assert!(ledger.reserve("a10", "br0.10", 300, "").is_ok());
    for (id, interface, rate) in [("w1", "br0.10", 400), ("w2", "br0.20", 300), ("w3", "br0.10", 100)] {
        assert!(ledger.reserve(id, interface, rate, ",'wait':true").is_waiting(), "{id}");
    }
    let smaller = ledger.line(1, &format!("'op':'renegotiate','id':'a','sending':{}", load(400)));
    assert_eq!(smaller.notified, [] as [&str; 0], "w1 lacks 100 B/s of eth0: none behind it is served first");
    let released = ledger.line(2, "'op':'release','id':'a10'");
    assert_eq!(released.notified, ["w1"], "400 of 600 B/s, and w2 lacks the rest");
    let released = ledger.line(3, "'op':'release','id':'a'");
    assert_eq!(released.notified, ["w2", "w3"]);
    // Its own interface is full, and eth0 is not: only flows of that interface wait behind it.
    let mut ledger = Lines::new(STACK);
    assert!(ledger.reserve("a", "br0.10", 600, "").is_ok());
    assert!(ledger.reserve("b", "eth0", 400, "").is_ok());
    assert!(ledger.reserve("w1", "br0.10", 200, ",'wait':true").is_waiting());
    assert!(ledger.reserve("w2", "br0.20", 200, ",'wait':true").is_waiting());
    assert_eq!(ledger.line(1, "'op':'release','id':'b'").notified, ["w2"]);
}

#[test]
fn a_group_takes_its_share_of_the_whole_wire() {
    let group = "[group.g]\ninterface = \"br0.10\"\nmode = \"shared\"\n";
    let mut ledger = Lines::new(&format!("{STACK}{group}"));
    assert!(ledger.reserve("m1", "br0.10", 200, ",'group':'g'").is_ok());
    assert!(ledger.reserve("m2", "br0.10", 500, ",'group':'g'").is_ok());
    assert_eq!(ledger.reserved(ALL), [500, 500, 500, 0], "the largest member");
    assert!(ledger.line(1, "'op':'release','id':'m2'").is_ok());
    assert_eq!(ledger.reserved(ALL), [200, 200, 200, 0]);
    assert!(ledger.reserve("b", "eth0", 700, "").is_ok());
    assert_eq!(lacking(&ledger.reserve("m3", "br0.10", 301, ",'group':'g'")).0, "eth0");
    // An envelope that the parent does not have is made once the parent has it.
    let envelope = format!(
        "[group.g]\ninterface = \"br0.10\"\nsending = {}\n",
        load(400)
            .replace(':', "=")
            .replace('\'', "\"")
            .replace("\"service_type\"", "service_type")
            .replace("\"token_rate\"=400", "token_rate=\"400 B/s\"")
    );
    let mut ledger = Lines::new(STACK);
    assert!(ledger.reserve("a", "eth0", 700, "").is_ok());
    let reload = ledger.0.reload(policy(&format!("version = 1\n{STACK}{envelope}")));
    assert_eq!(reload.groups.len(), 1, "{:?}", reload.groups);
    assert!(ledger.line(1, "'op':'release','id':'a'").is_ok());
    assert_eq!(ledger.reserved(ALL), [400, 400, 400, 0]);
}

#[test]
fn what_is_measured_as_unused_of_a_child_is_unused_of_its_parents() {
    let text =
        format!("{STACK}[class.m]\nadmission = \"measured\"\noverbooking = 2.0\n").replace(" B/s", " kB/s");
    let mut ledger = Lines::new(&text);
    let small = "{'service_type':'controlled_load','token_rate':4000,'token_bucket_size':64}";
    let of_class = |id: &str, interface: &str, spec: &str| {
        format!("'op':'reserve','id':'{id}','interface':'{interface}','class':'m','sending':{spec}")
    };
    for number in 0..100 {
        assert!(ledger.line(0, &of_class(&format!("f{number}"), "br0.10", small)).is_ok());
    }
    assert_eq!(ledger.reserved(ALL), [400_000, 400_000, 400_000, 0]);
    let measured = ledger.line(
        2_000_000,
        "'op':'measure','interface':'br0.10','class':'m','window_us':1000000,'rate':{'sending':10,'receiving':0}",
    );
    assert!(measured.is_ok());
    assert_eq!(ledger.reserved(ALL), [200_000, 200_000, 200_000, 0], "half of it, by the overbooking");
    let declared = ledger.reserve("declared", "eth0", 600_001, "");
    assert_eq!(lacking(&declared), ("eth0".into(), 600_000), "no guarantee rests on a measurement");
    let large = small.replace("4000", "700000");
    assert!(ledger.line(2_000_000, &of_class("measured", "eth0", &large)).is_ok());
    assert_eq!(ledger.reserved(ALL), [900_000, 200_000, 200_000, 0]);
}

#[test]
fn a_reload_adds_and_removes_parents_of_flows_that_are_admitted() {
    let apart = STACK.lines().filter(|line| !line.starts_with("parent")).collect::<Vec<_>>().join("\n");
    let mut ledger = Lines::new(&apart);
    assert!(ledger.reserve("a", "br0.10", 600, "").is_ok());
    assert!(ledger.reserve("b", "br0.20", 600, "").is_ok());
    assert_eq!(ledger.0.totals("eth0").unwrap().sending.reserved, Rate::ZERO);
    let reload = ledger.0.reload(policy(&format!("version = 1\n{STACK}")));
    ledger.0.invariants();
    let over: Vec<_> = reload.over.iter().map(|(name, way, _)| (name.as_str(), *way)).collect();
    assert_eq!(over, [("br0", Direction::Sending), ("eth0", Direction::Sending)]);
    assert_eq!(ledger.reserved(ALL), [1200, 1200, 600, 600]);
    assert_eq!(ledger.reserve("c", "eth0", 1, "").reason(), Some(Reason::InterfaceBudget));
    ledger.0.reload(policy(&format!("version = 1\n{apart}")));
    ledger.0.invariants();
    assert_eq!(ledger.reserved(ALL), [0, 0, 600, 600]);
    assert!(ledger.reserve("c", "eth0", 1000, "").is_ok());
    // An interface that a reload drops keeps charging the parent that it had.
    let mut ledger = Lines::new(STACK);
    assert!(ledger.reserve("a", "br0.10", 600, "").is_ok());
    let (before, after) = STACK.split_at(STACK.find("[interface.\"br0.10\"]").unwrap());
    let without = format!("{before}{}", &after[after.find("[interface.\"br0.20\"]").unwrap()..]);
    let reload = ledger.0.reload(policy(&format!("version = 1\n{without}")));
    ledger.0.invariants();
    assert_eq!(reload.orphans, ["a"]);
    assert_eq!(ledger.0.totals("eth0").unwrap().sending.reserved, Rate::new(600));
    assert!(ledger.line(1, "'op':'release','id':'a'").is_ok());
    assert_eq!(ledger.0.totals("eth0").unwrap().sending.reserved, Rate::ZERO);
}

#[test]
fn each_link_on_the_way_adds_its_error_terms_to_a_delay() {
    let text = |parent: &str| {
        format!(
            "[interface.eth0]\negress = {{ capacity = \"1 MB/s\", reservable = \"100%\" }}\n{parent}[interface.\"eth0.10\"]\nparent = \"eth0\"\negress = {{ capacity = \"1 MB/s\", reservable = \"100%\" }}\nerror_terms = {{ c = \"100 B\", d = \"10 ms\" }}\n"
        )
    };
    let guaranteed = "{'service_type':'guaranteed','token_rate':100,'token_bucket_size':900,'max_sdu_size':900,'latency':30000}";
    let request = format!("'op':'reserve','id':'a','interface':'eth0.10','sending':{guaranteed}");
    let mut ledger = Lines::new(&text("error_terms = { c = \"200 B\", d = \"10 ms\" }\n"));
    let decision = ledger.line(0, &request);
    // (900 + 100 + 200) B in 30 - 10 - 10 ms.
    assert_eq!(decision.charged().sending, Rate::new(120_000), "{decision:?}");
    let decision = Lines::new(&text("")).line(0, &request);
    assert_eq!(decision.reason(), Some(Reason::Delay), "nothing is known of the link below: {decision:?}");
}

#[test]
fn a_parent_that_is_unknown_or_leads_back_is_a_problem_at_its_place() {
    #[track_caller]
    fn check(text: &str, code: Code, at: &str, message: &str) {
        let text = format!("version = 1\n{text}");
        let problems = Policy::parse(&[Source { name: "p.toml", text: &text }]).expect_err(&text);
        let found: Vec<_> = problems
            .iter()
            .map(|problem| (problem.code, &text[problem.place.span.clone()], problem.message.as_str()))
            .collect();
        let is_expected =
            |(of, place, words): &(Code, &str, &str)| *of == code && *place == at && words.contains(message);
        assert!(found.iter().any(is_expected), "{found:#?}");
    }
    let table = |name: &str, parent: &str| {
        format!("[interface.{name}]\negress = {{ capacity = \"1 Mbit/s\" }}\nparent = \"{parent}\"\n")
    };
    check(&table("a", "eth9"), Code::UnknownName, "\"eth9\"", "which is not defined");
    check(&table("a", "a"), Code::BadValue, "\"a\"", "a → a");
    check(&[table("a", "b"), table("b", "a")].concat(), Code::BadValue, "\"b\"", "a → b → a");
    check(&[table("a", "b"), table("b", "a")].concat(), Code::BadValue, "\"a\"", "b → a → b");
    check(&[table("\"*\"", "b")].concat(), Code::BadValue, "\"b\"", "* → *");
    let through_any = [table("\"*\"", "a"), table("a", "b")].concat();
    check(&through_any, Code::BadValue, "\"b\"", "a → * → a");
    check(&table("a", "*"), Code::BadName, "\"*\"", "contains a star");
    check(&table("a", "x/y"), Code::BadName, "\"x/y\"", "contains '/'");
    let valid =
        [table("\"*\"", "b"), "[interface.b]\negress = { capacity = \"1 Mbit/s\" }\n".to_owned()].concat();
    let mut ledger = Lines::new(&valid);
    assert!(ledger.reserve("f", "vlan7", 100_000, "").is_ok());
    assert_eq!(lacking(&ledger.reserve("g", "vlan8", 1, "")), ("b".into(), 0), "all others are on b");
}
