//! What would fit in place of a refused flow.

use std::sync::Arc;

use flowspec::{Bytes, Flowspec, Moment, Qos, Rate, ServiceType};
use gqos::admission::{Ledger, NewFlow, Refusal, Request};
use gqos::policy::{Policy, Source};

use super::{OK, check, flow};

#[test]
fn what_would_fit_is_admitted_or_the_refusal_says_what_else_is_in_the_way() {
    let policy = r#"
        version = 1
        [interface.eth0]
        egress = { capacity = "1000 B/s", reservable = "100%" }
        ingress = { capacity = "600 B/s", reservable = "100%" }
        buffer = "40 kB"
        [class.x]
        share = "50%"
        max_rate = "300 B/s"
        [class.y]
        share = "400 B/s"
        [client."c*"]
        max_rate = "500 B/s"
        [group.g]
        interface = "eth0"
        class = "x"
        sending = { service_type = "controlled_load", token_rate = "150 B/s" }
    "#;
    let (policy, _) = Policy::parse(&[Source { name: "policy.toml", text: policy }]).unwrap();
    let mut ledger = Ledger::new(Arc::new(policy));
    let mut random = 1_u64;
    let mut below = |limit: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % limit
    };
    let (mut fitted, mut hindered) = (0, 0);
    for number in 0..6000_u64 {
        let now = Moment::from_micros(number);
        ledger.advance(now);
        let mut spec = |zero: bool| {
            let mut spec = Flowspec::new(ServiceType::ControlledLoad);
            spec.token_rate = Some(Rate::new(if zero { 1 } else { 1 + below(500) }));
            spec.token_bucket_size = Some(Bytes::new(1500 + below(4000)));
            spec
        };
        let qos = Qos { sending: spec(number % 3 == 0), receiving: spec(number % 2 == 0) };
        let mut request = Request::new(NewFlow { id: &format!("f{number}"), interface: "eth0" }, qos);
        request.class = [None, Some("x"), Some("y")][below(3) as usize].map(str::to_owned);
        request.group = (below(8) == 0).then(|| "g".to_owned());
        request.client = (below(4) == 0).then(|| format!("c{}", below(2)));
        request.start = Some(Moment::from_micros(number + below(30)));
        request.end = Some(Moment::from_micros(number + 31 + below(40)));
        let Err(refusal) = ledger.admit(&request) else { continue };
        let (direction, besides) = match &refusal {
            Refusal::InterfaceBudget { direction, besides, .. }
            | Refusal::ClassShare { direction, besides, .. }
            | Refusal::FlowRate { direction, besides, .. } => (*direction, besides),
            _ => continue,
        };
        let would_fit = refusal.would_fit().unwrap();
        if would_fit == Rate::ZERO {
            continue;
        }
        let mut less = request.clone();
        less.qos.get_mut(direction).token_rate = Some(would_fit);
        let admitted = ledger.admit(&less);
        assert_eq!(admitted.is_ok(), besides.is_none(), "{refusal}\n{admitted:?}\n{request:#?}");
        *if admitted.is_ok() { &mut fitted } else { &mut hindered } += 1;
        if admitted.is_ok() {
            // And no more than that.
            ledger.release(&less.id);
            less.qos.get_mut(direction).token_rate = Some(Rate::new(would_fit.get() + 1));
            assert!(ledger.admit(&less).is_err(), "more than would fit fits: {refusal}");
        }
    }
    assert!(fitted > 100 && hindered > 0, "{fitted} fitted, {hindered} were hindered");
}

#[test]
fn a_limit_of_one_flow_names_what_fits_the_link_as_well() {
    check(
        "the link has less left than one flow may have",
        "version = 1\n[interface.eth0]\negress = { capacity = \"150 B/s\", reservable = \"100%\" }\n[class.x]\nmax_rate = \"100 B/s\"",
        &[
            (&flow(r#""op": "reserve", "id": "A""#, 100), OK),
            (
                &flow(r#""op": "reserve", "id": "B", "class": "x""#, 120),
                r#"{"reason": "flow_rate", "would_fit": 50, "message": "max_rate is 800 bit/s; at most 400 bit/s would fit"}"#,
            ),
            (&flow(r#""op": "reserve", "id": "B", "class": "x""#, 50), OK),
        ],
    );
}

#[test]
fn a_refusal_names_the_limit_that_leaves_nothing() {
    check(
        "the flow asks more than max_rate, and the link is full",
        "version = 1\n[interface.eth0]\negress = { capacity = \"150 B/s\", reservable = \"100%\" }\n[class.x]\nmax_rate = \"50 B/s\"",
        &[
            (&flow(r#""op": "reserve", "id": "A""#, 150), OK),
            (
                &flow(r#""op": "reserve", "id": "B", "class": "x""#, 60),
                r#"{"reason": "flow_rate", "would_fit": 0, "message": "max_rate is 400 bit/s; nothing would fit, because of another limit: eth0 sending: "}"#,
            ),
            // One flow may have as much, and the link alone is named.
            (
                &flow(r#""op": "reserve", "id": "C", "class": "x""#, 50),
                r#"{"reason": "interface_budget", "would_fit": 0, "message": "eth0 sending: 400 bit/s asked"}"#,
            ),
        ],
    );
}

#[test]
fn what_would_fit_of_a_direction_does_not_depend_on_the_other_one() {
    let both = |id: &str, sending: u64, receiving: u64| {
        let spec = |rate: u64| format!(r#"{{"service_type": "guaranteed", "token_rate": {rate}}}"#);
        format!(
            r#"{{"at_us": 0, "op": "reserve", "id": "{id}", "interface": "eth0", "class": "a", "sending": {}, "receiving": {}}}"#,
            spec(sending),
            spec(receiving)
        )
    };
    let policy = "version = 1\n[interface.eth0]\negress = { capacity = \"1000 B/s\", reservable = \"80%\" }\ningress = { capacity = \"1000 B/s\", reservable = \"80%\" }\n[class.a]\nshare = \"500 B/s\"\nmax_rate = \"450 B/s\"";
    let refused = |would_fit: u64, other: &str| {
        format!(r#"{{"reason": "flow_rate", "would_fit": {would_fit}, "message": "{other}"}}"#)
    };
    let other = "at most 800 bit/s would fit, but for another limit: class a receiving: 7.2 kbit/s asked";
    check(
        "two directions above max_rate",
        policy,
        &[
            (&flow(r#""op": "reserve", "id": "A", "class": "a""#, 400), OK),
            (&both("B", 500, 900), &refused(100, other)),
            (&both("B", 500, 100), &refused(100, "at most 800 bit/s would fit")),
            (&both("B", 100, 100), OK),
        ],
    );
}

#[test]
fn a_rate_that_would_fit_comes_with_its_delay() {
    let policy = r#"
        version = 1
        [interface.eth0]
        egress = { capacity = "1 Mbit/s", reservable = "80%" }
        error_terms = { c = "1500 B", d = "10 ms" }
        path_latency = "5 ms"
        [class.a]
        share = "400 kbit/s"
        max_rate = "350 kbit/s"
    "#;
    let timely = |id: &str, class: &str, latency: u64| {
        format!(
            r#"{{"at_us": 0, "op": "reserve", "id": "{id}", "interface": "eth0"{class}, "sending": {{"service_type": "guaranteed", "token_rate": 10000, "token_bucket_size": 3000, "max_sdu_size": 1500, "latency": {latency}}}}}"#
        )
    };
    let delay = "with a delay of 212.951 ms";
    check(
        "above max_rate for its latency",
        policy,
        &[
            (&timely("A", "", 200_000), OK),
            (&timely("B", "", 100_000), OK),
            (
                &timely("C", r#", "class": "a""#, 100_000),
                &format!(
                    r#"{{"reason": "flow_rate", "would_fit": 22733, "least_latency": 212951, "message": "{delay}"}}"#
                ),
            ),
            (&timely("D", r#", "class": "a""#, 212_950), r#"{"reason": "interface_budget"}"#),
            // Of the path 5 ms.
            (&timely("E", r#", "class": "a""#, 212_951), OK),
        ],
    );
}
