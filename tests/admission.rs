//! The ledger: what is admitted, what is refused and why, and that a refusal leaves no trace.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod common;

use common::policy;
use flowspec::{Both, Bytes, Flowspec, Micros, Moment, Qos, Rate, ServiceType, Wsa};
use gqos::admission::{Ladder, Ledger, NewFlow, Operation, Request};
use proptest::prelude::*;

fn ledger(text: &str) -> Ledger {
    Ledger::new(policy(&format!("version = 1\n{text}")))
}

/// eth0 with a budget of this many megabits each way.
fn eth0(megabits: u64) -> Ledger {
    ledger(&format!(
        "[interface.eth0]\negress = {{ capacity = \"{megabits} Mbit/s\", reservable = \"100%\" }}"
    ))
}

fn spec(service: ServiceType, megabits: u64) -> Flowspec {
    let mut spec = Flowspec::new(service);
    spec.token_rate = Some(Rate::from_mbit(megabits));
    spec
}

fn request(id: &str, qos: Qos) -> Request {
    Request::new(NewFlow { id, interface: "eth0" }, qos)
}

fn send(id: &str, megabits: u64) -> Request {
    request(id, Qos::sending(spec(ServiceType::Guaranteed, megabits)))
}

fn reserved(ledger: &Ledger) -> Both<u64> {
    ledger.totals("eth0").unwrap().map(|totals| totals.reserved.get() / 125_000)
}

#[track_caller]
fn check(name: &str, ledger: &mut Ledger, requests: &[Request], expected: &[Result<(), &str>]) {
    for (request, expected) in requests.iter().zip(expected) {
        let (before, flows) = (ledger.totals("eth0"), ledger.flows());
        let answer = ledger.admit(request);
        let reason = answer.as_ref().map(|_| ()).map_err(|refusal| refusal.reason().name());
        assert_eq!(reason, *expected, "{name}: {}: {answer:?}", request.id);
        if answer.is_err() {
            assert_eq!(
                (ledger.totals("eth0"), ledger.flows()),
                (before, flows),
                "{name}: a refusal leaves no trace"
            );
        }
    }
}

const FULL: Result<(), &str> = Err("interface_budget");

#[test]
fn a_budget_is_a_sum() {
    check("an exact fit is admitted", &mut eth0(100), &[send("a", 60), send("b", 40)], &[Ok(()), Ok(())]);
    check("one over is refused", &mut eth0(100), &[send("a", 60), send("b", 41)], &[Ok(()), FULL]);
    check(
        "a refusal reserves nothing",
        &mut eth0(100),
        &[send("a", 60), send("b", 41), send("c", 40)],
        &[Ok(()), FULL, Ok(())],
    );
    check("a zero budget admits nothing", &mut eth0(0), &[send("a", 1)], &[FULL]);
}

#[test]
fn the_budget_is_the_floor_of_capacity_times_reservable() {
    // 999 B/s · 80 % = 799.2.
    let mut ledger = ledger("[interface.eth0]\negress = { capacity = \"999 B/s\", reservable = \"80%\" }");
    let rate = |id: &str, rate| {
        let mut spec = Flowspec::new(ServiceType::Guaranteed);
        spec.token_rate = Some(Rate::new(rate));
        request(id, Qos::sending(spec))
    };
    check("floor", &mut ledger, &[rate("a", 800), rate("b", 799), rate("c", 1)], &[FULL, Ok(()), FULL]);
}

#[test]
fn both_directions_or_none() {
    let both = |id: &str, out, back| {
        request(
            id,
            Qos {
                sending: spec(ServiceType::Guaranteed, out),
                receiving: spec(ServiceType::Guaranteed, back),
            },
        )
    };
    let mut ledger = ledger(
        "[interface.eth0]\negress = { capacity = \"100 Mbit/s\", reservable = \"100%\" }\ningress = { capacity = \"10 Mbit/s\", reservable = \"100%\" }",
    );
    check(
        "receiving is full",
        &mut ledger,
        &[both("a", 50, 10), both("b", 50, 1), send("c", 50)],
        &[Ok(()), FULL, Ok(())],
    );
    assert_eq!(reserved(&ledger), Both { sending: 100, receiving: 10 });
    assert_eq!(ledger.release("a").unwrap().receiving, Rate::from_mbit(10));
    assert_eq!(reserved(&ledger), Both { sending: 50, receiving: 0 });
}

#[test]
fn release_is_idempotent() {
    let mut ledger = eth0(100);
    ledger.admit(&send("a", 60)).unwrap();
    assert!(ledger.release("a").is_some());
    assert_eq!(ledger.release("a"), None);
    assert_eq!(ledger.release("never"), None);
    assert_eq!((reserved(&ledger).sending, ledger.flows()), (0, 0));
    ledger.admit(&send("a", 100)).unwrap();
}

const CLASSES: &str = r#"
[interface.eth0]
egress = { capacity = "100 Mbit/s", reservable = "100%" }
[class.small]
share = "30%"
max_flows = 3
[class.large]
share = "90 Mbit/s"
max_rate = "50 Mbit/s"
overbooking = 2.0
"#;

fn in_class(class: &str, request: Request) -> Request {
    Request { class: Some(class.into()), ..request }
}

#[test]
fn classes_limit_share_count_and_rate() {
    let small = |id, megabits| in_class("small", send(id, megabits));
    check(
        "share",
        &mut ledger(CLASSES),
        &[small("a", 20), small("b", 11), small("c", 10)],
        &[Ok(()), Err("class_share"), Ok(())],
    );
    check(
        "count",
        &mut ledger(CLASSES),
        &[small("a", 1), small("b", 1), small("c", 1), small("d", 1)],
        &[Ok(()), Ok(()), Ok(()), Err("class_flows")],
    );
    let free = |id| in_class("small", request(id, Qos::BEST_EFFORT));
    check(
        "best effort counts as a flow",
        &mut ledger(CLASSES),
        &[free("a"), free("b"), free("c"), free("d")],
        &[Ok(()), Ok(()), Ok(()), Err("class_flows")],
    );
    let large = |id, megabits| in_class("large", send(id, megabits));
    check("rate", &mut ledger(CLASSES), &[large("a", 51), large("b", 50)], &[Err("flow_rate"), Ok(())]);
    check(
        "classes may overlap, the link not",
        &mut ledger(CLASSES),
        &[large("a", 50), large("b", 40), small("c", 10), small("d", 1)],
        &[Ok(()), Ok(()), Ok(()), FULL],
    );
    check("no such class", &mut ledger(CLASSES), &[in_class("huge", send("a", 1))], &[Err("unknown_class")]);
}

#[test]
fn controlled_load_is_overbooked_and_guaranteed_is_not() {
    let mut ledger = ledger(CLASSES);
    let load = |id, megabits| {
        in_class("large", request(id, Qos::sending(spec(ServiceType::ControlledLoad, megabits))))
    };
    check(
        "half",
        &mut ledger,
        &[load("a", 100), in_class("large", send("b", 41)), load("c", 80)],
        &[Ok(()), Err("class_share"), Ok(())],
    );
    assert_eq!(reserved(&ledger).sending, 90);
}

#[test]
fn no_traffic_is_free_and_services_not_offered_are_refused() {
    let one = |service| vec![request("a", Qos::sending(Flowspec::new(service)))];
    for service in [ServiceType::BestEffort, ServiceType::NoTraffic, ServiceType::Qualitative] {
        check(service.name(), &mut eth0(0), &one(service), &[Ok(())]);
    }
    use ServiceType::{GeneralInformation, NetworkControl, NetworkUnavailable, Nonconforming};
    for service in [NetworkControl, Nonconforming, NetworkUnavailable, GeneralInformation] {
        check(service.name(), &mut eth0(100), &one(service), &[Err("service_not_offered")]);
    }
    check("nothing to keep", &mut eth0(100), &one(ServiceType::NoChange), &[Err("invalid_flowspec")]);
}

#[test]
fn a_flowspec_has_to_make_sense_on_the_interface() {
    let mut guaranteed = spec(ServiceType::Guaranteed, 1);
    guaranteed.max_sdu_size = Some(Bytes::new(1501));
    check("M above the MTU", &mut eth0(100), &[request("a", Qos::sending(guaranteed))], &[Err("mtu")]);
    let mut jumbo = eth0(100);
    jumbo.observe_link("eth0", Bytes::new(9000), None);
    check("a larger MTU", &mut jumbo, &[request("a", Qos::sending(guaranteed))], &[Ok(())]);
    guaranteed.max_sdu_size = None;
    guaranteed.latency = Some(Micros::new(1));
    check(
        "no delay bound is proven",
        &mut eth0(100),
        &[request("a", Qos::sending(guaranteed))],
        &[Err("delay")],
    );
    let bare = Flowspec::new(ServiceType::Guaranteed);
    check(
        "no rate to send at",
        &mut eth0(100),
        &[request("a", Qos::sending(bare))],
        &[Err("invalid_flowspec")],
    );
    let receiving = Qos { sending: Flowspec::BEST_EFFORT, receiving: bare };
    check("no limit to receive at", &mut eth0(100), &[request("a", receiving)], &[Ok(())]);
}

#[test]
fn interfaces_without_a_policy_or_a_speed() {
    let elsewhere = |request: Request| Request { interface: "eth9".into(), ..request };
    check(
        "no table",
        &mut eth0(100),
        &[elsewhere(send("a", 1)), elsewhere(request("b", Qos::BEST_EFFORT))],
        &[Err("unknown_interface"), Ok(())],
    );
    let mut auto = ledger("[interface.eth0]\negress = { capacity = \"auto\" }");
    check("no speed", &mut auto, &[send("a", 1)], &[Err("unknown_capacity")]);
    auto.observe_link("eth0", Bytes::new(1500), Some(Rate::from_mbit(100)));
    check("the kernel's speed", &mut auto, &[send("a", 81), send("b", 80)], &[FULL, Ok(())]);
}

#[test]
fn a_refusal_tells_the_whole_sum() {
    let mut ledger = ledger(CLASSES);
    for (id, megabits) in [("a", 10), ("b", 30), ("c", 20), ("d", 30)] {
        ledger.admit(&send(id, megabits)).unwrap();
    }
    let refusal = ledger.admit(&send("e", 11)).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "eth0 sending: 11 Mbit/s asked, 90 Mbit/s reserved of 100 Mbit/s, 10 Mbit/s available: 1 Mbit/s short; most is held by b (30 Mbit/s), d (30 Mbit/s), c (20 Mbit/s); at most 10 Mbit/s would fit"
    );
    assert_eq!((refusal.wsa(), refusal.wsa().code()), (Wsa::Eopnotsupp, 10045));
    assert_eq!(
        (refusal.status(), refusal.would_fit()),
        (Wsa::QosAdmissionFailure, Some(Rate::from_mbit(10)))
    );
    let classy = ledger.admit(&in_class("large", send("f", 50))).unwrap_err();
    assert_eq!(classy.would_fit(), Some(Rate::from_mbit(10)), "the link binds, not the class");
}

#[test]
fn an_id_is_taken_until_it_is_released() {
    let mut ledger = eth0(100);
    check("twice", &mut ledger, &[send("a", 1), send("a", 1)], &[Ok(()), Err("duplicate_id")]);
    assert_eq!(ledger.admit(&send("a", 1)).unwrap_err().wsa(), Wsa::Einval);
}

#[test]
fn rates_at_the_edge_of_64_bits_do_not_wrap() {
    let most =
        format!("[interface.eth0]\negress = {{ capacity = \"{} B/s\", reservable = \"100%\" }}", u64::MAX);
    let mut ledger = ledger(&most);
    let rate = |id: &str, rate| {
        let mut spec = Flowspec::new(ServiceType::Guaranteed);
        spec.token_rate = Some(Rate::new(rate));
        request(id, Qos::sending(spec))
    };
    check(
        "edge",
        &mut ledger,
        &[rate("a", u64::MAX), rate("b", u64::MAX), rate("c", 1)],
        &[Ok(()), FULL, FULL],
    );
}

#[derive(Clone, Debug)]
enum Step {
    Admit { id: usize, class: Option<&'static str>, load: bool, out: u64, back: u64 },
    Release(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let class = prop_oneof![Just(None), Just(Some("small")), Just(Some("large"))];
    let step = prop_oneof![
        3 => (0usize..20, class, any::<bool>(), 0u64..40, 0u64..40)
            .prop_map(|(id, class, load, out, back)| Step::Admit { id, class, load, out, back }),
        2 => (0usize..20).prop_map(Step::Release),
    ];
    prop::collection::vec(step, 1..200)
}

proptest! {
    /// Against a recount of everything that was admitted and not released: never over budget, never a
    /// refusal of what fits, nothing left at the end.
    #[test]
    fn a_recount_agrees(steps in steps()) {
        let mut ledger = ledger(CLASSES);
        let mut live: std::collections::BTreeMap<usize, (Option<&str>, u64, u64)> = Default::default();
        for step in steps {
            match step {
                Step::Release(id) => {
                    prop_assert_eq!(ledger.release(&id.to_string()).is_some(), live.remove(&id).is_some());
                }
                Step::Admit { id, class, load, out, back } => {
                    let service = if load { ServiceType::ControlledLoad } else { ServiceType::Guaranteed };
                    let side = |megabits| if megabits == 0 { Flowspec::BEST_EFFORT } else { spec(service, megabits) };
                    let qos = Qos { sending: side(out), receiving: side(back) };
                    let request = Request { class: class.map(Into::into), ..request(&id.to_string(), qos) };
                    // In bytes per second; overbooking halves controlled load in `large`.
                    let charge = |megabits: u64| {
                        let rate = megabits * 125_000;
                        if load && class == Some("large") { rate.div_ceil(2) } else { rate }
                    };
                    let (out, back) = (charge(out), charge(back));
                    let total = |pick: fn(&(Option<&str>, u64, u64)) -> u64, of: Option<&str>| -> u64 {
                        live.values().filter(|flow| of.is_none() || flow.0 == of).map(pick).sum()
                    };
                    let fits = |asked: u64, pick: fn(&(Option<&str>, u64, u64)) -> u64| {
                        let link = total(pick, None) + asked <= 12_500_000;
                        let share = match class {
                            Some("small") => 3_750_000,
                            Some(_) => 11_250_000,
                            None => u64::MAX,
                        };
                        asked == 0 || link && total(pick, class) + asked <= share || class.is_none() && link
                    };
                    let count = live.values().filter(|flow| flow.0 == Some("small")).count();
                    let expected = !live.contains_key(&id)
                        && fits(out, |flow| flow.1)
                        && fits(back, |flow| flow.2)
                        && (class != Some("small") || count < 3)
                        && (class != Some("large") || out.max(back) <= 6_250_000);
                    prop_assert_eq!(ledger.admit(&request).is_ok(), expected, "{:?}", request);
                    if expected {
                        live.insert(id, (class, out, back));
                    }
                }
            }
            let totals = ledger.totals("eth0").unwrap();
            prop_assert_eq!(totals.sending.reserved.get(), live.values().map(|flow| flow.1).sum::<u64>());
            prop_assert_eq!(totals.receiving.reserved.get(), live.values().map(|flow| flow.2).sum::<u64>());
            prop_assert!(totals.sending.reserved <= totals.sending.budget);
        }
        for id in live.into_keys() {
            ledger.release(&id.to_string());
        }
        prop_assert_eq!((reserved(&ledger), ledger.flows()), (Both::default(), 0));
    }
}

#[test]
fn a_flow_that_has_ended_by_itself_does_not_wait_for_more() {
    let mut ledger = eth0(100);
    let mut submit = |at, operation| ledger.decide(Moment::from_micros(at), &operation).decision;
    let reserve = |id: &str, megabits, lower: &[u64], time_to_live| {
        let mut request = send(id, megabits);
        (request.wait, request.time_to_live) = (true, time_to_live);
        let lower = lower.iter().map(|&lower| ("lower".to_owned(), send(id, lower).qos));
        Operation::Reserve(Box::new(Ladder {
            request,
            first: Some("best".into()),
            renditions: lower.collect(),
        }))
    };
    assert!(submit(0, reserve("a", 90, &[], None)).is_ok());
    let soft = submit(0, reserve("soft", 100, &[10], Some(Micros::new(5))));
    assert_eq!((soft.rendition(), soft.is_waiting()), (Some("lower"), true));
    // It expires in the same moment in which it asks again, and waits anew.
    let again = submit(5, reserve("soft", 100, &[10], Some(Micros::new(5))));
    assert_eq!((again.expired.as_slice(), again.is_waiting()), (&["soft".to_owned()][..], true));
    // The manager lets time pass apart from its operations.
    let expired = ledger.advance(Moment::from_micros(10));
    assert_eq!(expired.iter().map(|ended| ended.held.id.as_str()).collect::<Vec<_>>(), ["soft"]);
    let mut submit = |at, operation| ledger.decide(Moment::from_micros(at), &operation).decision;
    assert!(submit(11, reserve("b", 50, &[], None)).is_waiting());
    assert_eq!(submit(12, Operation::Release { id: "a".into() }).notified, ["b"]);
}
