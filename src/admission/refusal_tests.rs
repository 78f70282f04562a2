//! Every refusal comes back from JSON, and its text and codes are what they were.

use std::collections::BTreeSet;

use flowspec::{Bytes, Direction, Errno, ErrorTerms, FlowspecError, Micros, Moment, Rate, ServiceType, Wsa};

use super::limits::{ClientLimit, GroupLimit, Holder, Shortfall};
use super::not_programmed::NotProgrammed;
use super::reason::Reason;
use super::refusal::Refusal;
use crate::failure::{Cause, KernelCall};
use crate::policy::Owner;

const SENDING: Direction = Direction::Sending;

fn shortfall() -> Box<Shortfall> {
    let holders = vec![Holder { id: "v1".into(), charged: Rate::new(4) }];
    let (asked, reserved, budget) = (Rate::new(9), Rate::new(4), Rate::new(10));
    let (would_fit, measured) = (Rate::new(6), Rate::new(1));
    Box::new(Shortfall {
        asked,
        reserved,
        budget,
        holders,
        would_fit,
        least_latency: Some(Micros::new(7)),
        measured,
        from: None,
        preemption: false,
        mar_threshold: None,
    })
}

/// Refusals of an interface, a class, a group or a client that is full.
fn limits_reached() -> Vec<Refusal> {
    let interface = || "eth0".to_owned();
    let class = || "gold".to_owned();
    let (asked, flows, max_flows) = (Rate::new(9), 3, 3);
    let group = |limit: GroupLimit| {
        let group = "g".to_owned();
        let from = Some(Moment::from_micros(7));
        let [asked, taken, most] = [9, 4, 10].map(|number| limit.amount(Some(number)));
        Refusal::GroupBudget { group, direction: SENDING, limit, asked, taken, most, from }
    };
    let client = |limit| Refusal::Client { client: "c1".into(), limit };
    let (needed, taken, limit) = (Bytes::new(9), Bytes::new(4), Bytes::new(10));
    let from = Some(Moment::from_micros(7));
    let besides = Some(Box::new(Refusal::InfinitePeak { direction: Direction::Receiving }));
    vec![
        Refusal::InterfaceBudget {
            interface: interface(),
            direction: SENDING,
            shortfall: shortfall(),
            besides: besides.clone(),
        },
        Refusal::ClassShare {
            interface: interface(),
            direction: SENDING,
            class: class(),
            shortfall: shortfall(),
            besides: None,
        },
        Refusal::ClassFlows { interface: interface(), class: class(), flows, max_flows, from },
        Refusal::FlowRate {
            class: class(),
            direction: SENDING,
            asked,
            max_rate: Rate::new(8),
            would_fit: Rate::new(7),
            least_latency: None,
            preemption: true,
            besides,
        },
        Refusal::InfinitePeak { direction: SENDING },
        Refusal::InterfaceFlows { interface: interface(), flows, max_flows, from: None },
        Refusal::Buffer { interface: interface(), direction: SENDING, needed, taken, limit, from },
        group(GroupLimit::Rate),
        group(GroupLimit::TokenRate),
        group(GroupLimit::TokenBucketSize),
        group(GroupLimit::PeakBandwidth),
        group(GroupLimit::MaxSduSize),
        group(GroupLimit::MinimumPolicedSize),
        client(ClientLimit::Flows { flows: 2, most: 2, from }),
        client(ClientLimit::Rate {
            direction: SENDING,
            asked,
            taken: Rate::new(1),
            most: Rate::new(8),
            from: None,
        }),
        client(ClientLimit::Requests(10)),
        client(ClientLimit::Horizon { ahead: Micros::new(9), horizon: Micros::new(8) }),
        client(ClientLimit::Priority { setup: 1, best: 2 }),
        Refusal::TooManyFlows { flows: 1_000_000 },
        Refusal::TooManyGroups { groups: 100_000 },
        Refusal::TooManyRequests { waiting: 4096, limit: 4096 },
    ]
}

/// Refusals of requests that are not valid, or that name what does not exist.
fn invalid_requests() -> Vec<Refusal> {
    let interface = || "eth0".to_owned();
    let terms = Some(ErrorTerms { c: Bytes::new(1500), d: Micros::new(1000) });
    let failure = KernelCall("RTM_NEWTCLASS").failed("eth0 6771:100", Cause::from(Errno::EPERM));
    vec![
        Refusal::Delay { interface: interface(), direction: SENDING, target: Micros::new(9), terms },
        Refusal::Delay { interface: interface(), direction: SENDING, target: Micros::new(9), terms: None },
        Refusal::Mtu {
            interface: interface(),
            direction: SENDING,
            max_sdu_size: Bytes::new(9000),
            mtu: Bytes::new(1500),
        },
        Refusal::ServiceNotOffered { direction: SENDING, service: ServiceType::NetworkControl },
        Refusal::InvalidFlowspec { direction: SENDING, error: FlowspecError::InfiniteTokenRate },
        Refusal::UnknownInterface { interface: interface() },
        Refusal::UnknownCapacity { interface: interface(), direction: SENDING },
        Refusal::UnknownClass { class: "gold".into() },
        Refusal::UnknownTemplate { template: "hd".into() },
        Refusal::UnknownGroup { group: "g".into() },
        Refusal::GroupNotMade {
            group: "g".into(),
            why: Box::new(Refusal::UnknownInterface { interface: interface() }),
        },
        Refusal::GroupElsewhere { group: "g".into(), group_interface: "eth1".into(), interface: interface() },
        Refusal::GroupModeFixed { group: "g".into() },
        Refusal::GroupEnding { group: "g".into() },
        Refusal::ClassOwner { class: "gold".into(), owner: Owner { uid: Some(33), gid: None, cgroup: None } },
        Refusal::NotMeasured { class: "gold".into() },
        Refusal::UnknownId { id: "v1".into() },
        Refusal::Window { start: Moment::from_micros(9), end: Moment::from_micros(8) },
        Refusal::Priorities { setup: 1, holding: 2 },
        Refusal::PriorityRange { priority: 8 },
        Refusal::DuplicateId { id: "v1".into() },
        Refusal::InProgress { id: "v1".into() },
        Refusal::TrafficControl { interface: interface(), cause: NotProgrammed::CapacityUnknown },
        Refusal::TrafficControl { interface: interface(), cause: failure.into() },
        Refusal::ManagerFault { fault: "overflow".into(), admission_stopped: false },
        Refusal::ManagerFault { fault: "overflow".into(), admission_stopped: true },
    ]
}

#[test]
fn every_refusal_comes_back_from_json() {
    let all = [limits_reached(), invalid_requests()].concat();
    for refusal in &all {
        let json = serde_json::to_string(refusal).unwrap();
        assert_eq!(serde_json::from_str::<Refusal>(&json).unwrap(), *refusal, "{json}");
        assert!(!refusal.to_string().is_empty());
    }
    let reasons: BTreeSet<_> = all.iter().map(Refusal::reason).collect();
    assert_eq!(reasons, Reason::ALL.iter().copied().collect(), "each reason has a refusal here");
}

#[test]
fn a_message_counts_and_says_when_and_what_else_is_in_the_way() {
    let flows = |flows| {
        let from = Some(Moment::from_micros(10)).filter(|_| flows == 1);
        Refusal::InterfaceFlows { interface: "eth0".into(), flows, max_flows: flows, from }.to_string()
    };
    assert_eq!(flows(1), "eth0: 1 flow is admitted and max_flows is 1, from 10 us on");
    assert_eq!(flows(2), "eth0: 2 flows are admitted and max_flows is 2");
    let requests = |most| {
        let limit = ClientLimit::Requests(most);
        Refusal::Client { client: "c".into(), limit }.to_string()
    };
    assert_eq!(requests(1), "client c: more than 1 request a second");
    assert_eq!(requests(50), "client c: more than 50 requests a second");
    let besides = Some(Box::new(Refusal::InfinitePeak { direction: Direction::Receiving }));
    let shortfall = Box::new(Shortfall { least_latency: None, measured: Rate::ZERO, ..*shortfall() });
    let of_mar = Shortfall { mar_threshold: Some(Rate::new(1)), ..*shortfall.clone() }.to_string();
    assert!(
        of_mar.contains("; the class is above its share, and mar_threshold keeps 8 bit/s free; most"),
        "{of_mar}"
    );
    let refusal =
        Refusal::InterfaceBudget { interface: "eth0".into(), direction: SENDING, shortfall, besides };
    let end = "; at most 48 bit/s would fit, but for another limit: receiving: the class is charged by peak_bandwidth, which is infinite";
    assert!(refusal.to_string().ends_with(end), "{refusal}");
}

#[test]
fn codes_follow_the_reason_and_the_flowspec() {
    let error = FlowspecError::ServiceType { value: 99 };
    let refusal = Refusal::InvalidFlowspec { direction: SENDING, error };
    assert_eq!((refusal.wsa(), refusal.status()), (Wsa::Eopnotsupp, Wsa::QosEservicetype));
    let refusal = Refusal::TooManyRequests { waiting: 4096, limit: 4096 };
    assert_eq!((refusal.wsa(), refusal.status()), (Wsa::Enobufs, Wsa::QosAdmissionFailure));
    let refusal = Refusal::InProgress { id: "v1".into() };
    assert_eq!((refusal.wsa(), refusal.status()), (Wsa::Einval, Wsa::QosGenericError));
    let refusal = Refusal::InterfaceBudget {
        interface: "eth0".into(),
        direction: SENDING,
        shortfall: shortfall(),
        besides: None,
    };
    assert_eq!((refusal.wsa(), refusal.status()), (Wsa::Eopnotsupp, Wsa::QosAdmissionFailure));
}
