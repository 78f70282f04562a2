//! A reservation does not outlive its peer: timeouts of the policy, in virtual time.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod common;

use common::policy;
use flowspec::{Bytes, Moment};
use gqos::admission::{Decision, Operation, PeerLoss, PeerState};
use gqos::manager::{DryRun, Effect, Input, Loss, Manager, Notice, RequestId, Root, Seen};
use gqos::policy::{Code, FlowNames, Policy, Source};
use gqos::scenario::parse_line;
use gqos::telemetry::{Counters, Event, ReservedRates};

const SECOND: u64 = 1_000_000;

/// A link of 10 Mbit/s, each flow of 6 Mbit/s; `texts` adds keys at the top, to the class and to the client.
fn text(top: &str, class: &str, client: &str) -> String {
    format!(
        "version = 1\n{top}\n[interface.eth0]\negress = {{ capacity = \"10 Mbit/s\", reservable = \"80%\" }}\nenforcement = \"user-space\"\n\
         [template.hd]\nsending = {{ service_type = \"guaranteed\", token_rate = \"6 Mbit/s\" }}\n\
         [class.viewer]\n{class}\n[client.\"origin-*\"]\n{client}\n"
    )
}

/// A manager without a kernel that takes lines.
struct Traced(DryRun);

impl Traced {
    fn new(text: &str) -> Self {
        let mut manager = DryRun::new(policy(text));
        manager.record_events();
        Self(manager)
    }

    /// A line at a second, with `'` for `"`.
    #[track_caller]
    fn line(&mut self, second: u64, line: &str) -> Decision {
        let line = format!("{{'at_us':{},{line}}}", second * SECOND).replace('\'', "\"");
        let traced = parse_line(&line, self.0.ledger().policy()).expect(&line);
        let decision = traced.decide_by_manager(&mut self.0);
        self.0.invariants();
        decision
    }

    #[track_caller]
    fn reserve(&mut self, second: u64, id: &str, fields: &str) -> Decision {
        let line = format!("'op':'reserve','id':'{id}','interface':'eth0','template':'hd'{fields}");
        self.line(second, &line)
    }

    #[track_caller]
    fn peer(&mut self, second: u64, state: &str) -> Decision {
        self.line(second, &format!("'op':'peer','id':'v','state':'{state}'"))
    }
}

/// A flow whose peer is in this state from second 10 on: the last second in which it holds its reservation, and why it
/// loses it; `None` where it keeps it for a day.
#[track_caller]
fn check(name: &str, text: &str, state: &str, expected: Option<(u64, PeerLoss)>) {
    let mut traced = Traced::new(text);
    assert!(traced.reserve(0, "v", ",'class':'viewer','client':'origin-1'").is_ok(), "{name}");
    let decision = traced.peer(10, state);
    assert!(decision.is_ok() && decision.dead.is_empty() && decision.stalled.is_empty(), "{name}");
    let Some((second, loss)) = expected else {
        let day = traced.line(86_400, "'op':'tick'");
        return assert!(day.dead.is_empty() && day.stalled.is_empty(), "{name}: {day:?}");
    };
    let before = traced.line(second, "'op':'tick'");
    assert!(before.dead.is_empty() && before.stalled.is_empty(), "{name}: too early");
    let after = traced.reserve(second + 1, "next", "");
    let lists = match loss {
        PeerLoss::Dead => (&after.dead[..], &after.stalled[..]),
        PeerLoss::Stalled => (&after.stalled[..], &after.dead[..]),
        other => panic!("{other:?}"),
    };
    assert_eq!(lists, (&["v".to_owned()][..], &[][..]), "{name}");
    assert!(after.is_ok(), "{name}: what it held is free: {}", after.message());
}

#[test]
fn a_flow_loses_its_reservation_after_the_timeouts_of_its_policy() {
    let plain = text("", "", "");
    check("30 s by default", &plain, "silent", Some((39, PeerLoss::Dead)));
    check("60 s by default", &plain, "stalled", Some((69, PeerLoss::Stalled)));
    check("of an active peer", &plain, "active", None);
    let top = "dead_after = \"5 s\"\nstalled_after = \"20 s\"";
    check("the policy's", &text(top, "", ""), "silent", Some((14, PeerLoss::Dead)));
    check("the policy's", &text(top, "", ""), "stalled", Some((29, PeerLoss::Stalled)));
    let class = "dead_after = \"7 s\"\nstalled_after = \"off\"";
    check("the class's", &text(top, class, ""), "silent", Some((16, PeerLoss::Dead)));
    check("off", &text(top, class, ""), "stalled", None);
    let client = "stalled_after = \"40 s\"";
    check("the client's", &text(top, class, client), "stalled", Some((49, PeerLoss::Stalled)));
    check("what the client leaves", &text(top, class, client), "silent", Some((16, PeerLoss::Dead)));
    check("off for the client", &text(top, class, "dead_after = \"off\""), "silent", None);
}

#[test]
fn the_earlier_of_two_absences_counts() {
    let mut traced = Traced::new(&text("", "", ""));
    assert!(traced.reserve(0, "v", "").is_ok());
    let stalled = traced.peer(1, "stalled");
    assert_eq!(stalled.message(), "eth0: the peer is stalled; released as stalled at 61000000 us");
    assert_eq!(
        traced.peer(20, "silent").message(),
        "eth0: the peer is silent; released as dead at 50000000 us"
    );
    // The same again says nothing new.
    assert_eq!(
        traced.peer(30, "silent").message(),
        "eth0: the peer is silent; released as dead at 50000000 us"
    );
    assert_eq!(traced.line(50, "'op':'tick'").dead, ["v"]);
    assert_eq!(traced.peer(51, "silent").reason().map(|reason| reason.name()), Some("unknown_id"));
}

#[test]
fn an_active_peer_keeps_the_reservation() {
    let mut traced = Traced::new(&text("", "", ""));
    assert!(traced.reserve(0, "v", "").is_ok());
    for second in [1, 30, 59] {
        traced.peer(second, "silent");
        traced.peer(second, "stalled");
        assert_eq!(traced.peer(second + 28, "active").message(), "eth0: the peer is active");
    }
    assert!(traced.line(300, "'op':'tick'").dead.is_empty());
    // A moment since which it is so may be given, and not one to come.
    let since = traced.line(400, "'op':'peer','id':'v','state':'silent','since_us':390000000");
    assert_eq!(since.message(), "eth0: the peer is silent; released as dead at 420000000 us");
    let late = traced.line(410, "'op':'peer','id':'v','state':'stalled','since_us':1000000");
    assert_eq!(late.message(), "eth0: the peer is stalled; released as stalled");
    assert_eq!(late.stalled, ["v"]);
}

#[test]
fn what_a_dead_flow_held_reaches_the_flow_that_waits() {
    let mut traced = Traced::new(&text("", "", ""));
    assert!(traced.reserve(0, "v", "").is_ok());
    assert!(traced.reserve(1, "w", ",'wait':true").is_waiting());
    let gone = traced.peer(2, "gone");
    assert_eq!((gone.dead.as_slice(), gone.notified.as_slice()), (&["v".into()][..], &["w".into()][..]));
    assert_eq!(gone.message(), "eth0: the peer is gone; released as dead");
    assert!(traced.reserve(3, "w", "").is_ok());
    let json = serde_json::to_value(&gone).unwrap();
    assert_eq!(
        (&json["op"], &json["dead"], json.get("stalled")),
        (&"peer".into(), &serde_json::json!(["v"]), None)
    );
    let events = traced.0.take_events();
    let timed_out = events.iter().find(|recorded| matches!(recorded.event, Event::FlowTimedOut(_))).unwrap();
    let json = serde_json::to_value(timed_out).unwrap();
    assert_eq!(
        (&json["event"], &json["reason"], &json["id"]),
        (&"flow_timed_out".into(), &"dead".into(), &"v".into())
    );
    let (mut counters, mut reserved) = (Counters::default(), ReservedRates::default());
    for recorded in &events {
        counters.record(&recorded.event);
        reserved.record(&recorded.event);
    }
    assert_eq!((counters.flows_timed_out[&PeerLoss::Dead], counters.flows()), (1, 1));
    assert_eq!(
        Some(reserved.on("eth0").sending),
        traced.0.ledger().totals("eth0").map(|totals| totals.sending.reserved)
    );
}

#[test]
fn the_manager_wakes_for_the_timeout_and_tells_the_owner() {
    let mut manager = Manager::new(policy(&text("", "", "")));
    let at = |second: u64| Moment::from_micros(second * SECOND);
    let (interface, mtu) = ("eth0".to_owned(), Bytes::new(1500));
    manager.handle(
        Input::Seen(Seen {
            interface,
            index: 2,
            mtu,
            speed: None,
            shares_wire_with: None,
            root: Root::Default,
        }),
        at(0),
    );
    let request = |manager: &mut Manager, second, line: &str| {
        let line = format!("{{'at_us':{},{line}}}", second * SECOND).replace('\'', "\"");
        let operation = parse_line(&line, manager.ledger().policy()).unwrap().request.unwrap();
        manager.handle(Input::Request { id: RequestId(1), operation: Box::new(operation) }, at(second))
    };
    request(&mut manager, 0, "'op':'reserve','id':'v','interface':'eth0','template':'hd'");
    request(&mut manager, 1, "'op':'reserve','id':'w','interface':'eth0','template':'hd','wait':true");
    request(&mut manager, 2, "'op':'peer','id':'v','state':'stalled'");
    assert_eq!(manager.due(), Some(at(62)));
    let tick = Input::Request { id: RequestId(2), operation: Box::new(Operation::Tick) };
    let told: Vec<_> = manager.handle(tick, at(62)).effects;
    let told = told.iter().filter_map(|effect| match effect {
        Effect::Notify(notice) => Some(notice),
        _ => None,
    });
    let told: Vec<_> = told.collect();
    assert!(matches!(told[0], Notice::Lost(lost) if lost.id == "v" && lost.why == Loss::Stalled), "{told:?}");
    assert!(matches!(told[1], Notice::CapacityAvailable { id } if id == "w"), "{told:?}");
    // Until then `w` may request what is free for it before others.
    assert_eq!(manager.due(), Some(at(67)));
}

#[test]
fn a_reload_counts_its_timeouts_from_the_same_moment() {
    let mut traced = Traced::new(&text("", "", ""));
    assert!(traced.reserve(0, "v", ",'class':'viewer'").is_ok());
    traced.peer(10, "silent");
    traced.0.reload(policy(&text("", "dead_after = \"2 min\"", "")), Moment::from_micros(20 * SECOND));
    assert!(traced.line(129, "'op':'tick'").dead.is_empty());
    traced.0.reload(policy(&text("dead_after = \"off\"", "", "")), Moment::from_micros(129 * SECOND));
    assert!(traced.line(200, "'op':'tick'").dead.is_empty());
    let reloaded = traced.0.reload(policy(&text("", "", "")), Moment::from_micros(200 * SECOND));
    assert_eq!(reloaded.dead, ["v"], "30 s have passed long ago");
    assert_eq!(traced.0.ledger().flow("v"), None);
    assert!(traced.line(201, "'op':'tick'").dead.is_empty(), "once");
}

#[test]
fn the_kind_of_a_peers_state_is_one_word_everywhere() {
    for state in [PeerState::Active, PeerState::Silent, PeerState::Stalled, PeerState::Gone] {
        assert_eq!(serde_json::to_value(state).unwrap(), state.name());
    }
    for loss in [PeerLoss::Dead, PeerLoss::Stalled] {
        assert_eq!(serde_json::to_value(loss).unwrap(), loss.name());
    }
}

/// A policy's problems: code, and a part of the message.
#[track_caller]
fn problem(top: &str, code: Code, part: &str) {
    let text = text(top, "", "");
    let problems = match Policy::parse(&[Source { name: "test", text: &text }]) {
        Ok((_, problems)) | Err(problems) => problems,
    };
    let found = problems.iter().any(|problem| problem.code == code && problem.message.contains(part));
    assert!(found, "{top}: {problems:?}");
}

#[test]
fn a_timeout_has_a_unit_and_a_range() {
    problem("dead_after = 30", Code::BadUnit, "dead_after");
    problem("dead_after = \"never\"", Code::BadUnit, "dead_after");
    problem("dead_after = \"0 s\"", Code::BadValue, "neither between 1 s and a day nor \"off\"");
    problem("stalled_after = \"25 h\"", Code::BadValue, "stalled_after: 90000 s");
    problem("dead_after = \"4 s\"", Code::HastyTimeout, "dead_after: 4 s is short");
    problem("stalled_after = \"9 s\"", Code::HastyTimeout, "a player with a full buffer");
    problem("stalled_for = \"9 s\"", Code::UnknownKey, "stalled_for");
    let text = text("dead_after = \"5 s\"\nstalled_after = \"off\"", "", "");
    let (policy, problems) = Policy::parse(&[Source { name: "test", text: &text }]).unwrap();
    assert_eq!(problems, []);
    assert!(
        policy.effective().contains("dead_after = \"5 s\"\nstalled_after = \"off\"\n"),
        "{}",
        policy.effective()
    );
    let unknown = FlowNames { class: Some("unknown"), client: Some("unknown") };
    assert_eq!(policy.timeouts_of(unknown).stalled_after.limit(), None);
}
