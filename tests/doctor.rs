//! What `gqos doctor` says of facts: each lack has its cost and its cure, and guarantees alone decide.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use flowspec::{Bytes, Errno, Rate};
use gqos::doctor::{
    Facts, FeatureState, Finding, FindingState, InterfaceFacts, Privileges, SystemFacts, judge,
};
use gqos::failure::KernelCall;
use gqos::kernel::ClaimHolder;
use gqos::linux::features::{Feature, Untried};
use gqos::linux::{ConfinementOffer, FoundFilter, Ingress, LinkDetails, Offloads, ReportedSpeed};
use gqos::tc::{Filter, ForeignRoot, Handle, HtbRoot, ObservedRoot, ROOT_QDISC, Redirect, Target};

/// A machine that lacks nothing.
fn whole() -> Facts {
    let link = LinkDetails {
        index: 2,
        name: "eth0".into(),
        kind: None,
        shares_wire_with: None,
        is_loopback: false,
        is_up: true,
        has_carrier: true,
        mtu: Bytes::new(1500),
        gso_max_size: Some(Bytes::new(65_536)),
        offloads: Offloads { tso: Some(true), gso: Some(true), gro: Some(true) },
    };
    let speed = Some(ReportedSpeed { speed: Some(Rate::from_mbit(1000)), is_virtual: false });
    Facts {
        features: Feature::ALL.map(|feature| (feature, FeatureState::Tried(Ok(())))).to_vec(),
        privileges: Privileges { net_admin: true, net_raw: true, namespaces: true },
        confinement: ConfinementOffer { landlock: Ok(7), seccomp: Ok(()) },
        interfaces: vec![InterfaceFacts {
            link,
            speed,
            root: ObservedRoot::Default,
            ingress: Ingress::Absent,
            filters: vec![],
            holder: None,
        }],
        system: SystemFacts {
            congestion_control: Some("cubic".into()),
            default_qdisc: Some("fq_codel".into()),
            tso_rtt_log: Some(0),
            min_tso_segments: Some(1),
            clock_source: Some("tsc".into()),
            timer_slack_nanos: Some(50_000),
            open_files: Some(65_536),
        },
    }
}

/// What is found of a machine that differs in one fact: the states that are not `Ok`, by subject.
#[track_caller]
fn check(what: &str, change: impl FnOnce(&mut Facts), expected: &[(&str, FindingState, &str)]) {
    let mut facts = whole();
    change(&mut facts);
    let findings = judge(&facts);
    let lacks: Vec<&Finding> = findings.iter().filter(|finding| finding.state != FindingState::Ok).collect();
    let shown: Vec<_> = lacks.iter().map(|finding| (finding.subject.as_str(), finding.state)).collect();
    let states: Vec<_> = expected.iter().map(|(subject, state, _)| (*subject, *state)).collect();
    assert_eq!(shown, states, "{what}");
    for (finding, (.., word)) in lacks.iter().zip(expected) {
        let all = format!("{} {:?} {:?}", finding.found, finding.costs, finding.mend);
        assert!(all.contains(word), "{what}: {word:?} is not in {all}");
        assert!(finding.costs.is_some() && finding.mend.is_some(), "{what}: {finding:?}");
    }
}

fn with(feature: Feature, state: FeatureState) -> impl FnOnce(&mut Facts) {
    move |facts| {
        let (_, found) = facts.features.iter_mut().find(|(known, _)| *known == feature).unwrap();
        *found = state;
    }
}

fn refused(errno: Errno) -> FeatureState {
    FeatureState::Tried(Err(KernelCall("RTM_NEWQDISC").failed("lo", errno)))
}

#[test]
fn features_that_guarantees_need_are_told_from_others() {
    use FindingState::{Lacking, Note, Unknown};
    check("a whole machine", |_| {}, &[]);
    check(
        "no htb",
        with(Feature::Htb, refused(Errno::ENOENT)),
        &[("htb qdisc", Lacking, "CONFIG_NET_SCH_HTB")],
    );
    check("htb fails", with(Feature::Htb, refused(Errno::ENOMEM)), &[("htb qdisc", Lacking, "ENOMEM")]);
    check(
        "no fq_codel",
        with(Feature::FqCodel, refused(Errno::ENOENT)),
        &[("fq_codel qdisc", Note, "modprobe sch_fq_codel")],
    );
    check(
        "no ifb",
        with(Feature::Ifb, refused(Errno::EOPNOTSUPP)),
        &[("ifb device", Note, "the kernel lacks it")],
    );
    check(
        "flower fails",
        with(Feature::Flower, refused(Errno::EPERM)),
        &[("flower classifier", Unknown, "EPERM")],
    );
    let untried = FeatureState::Untried;
    check("htb by its module", with(Feature::Htb, untried(Untried::Loaded)), &[]);
    check("htb by modprobe", with(Feature::Htb, untried(Untried::Available)), &[]);
    check(
        "htb is nowhere",
        with(Feature::Htb, untried(Untried::NotFound)),
        &[("htb qdisc", Lacking, "no sch_htb")],
    );
    check(
        "nothing is known of htb",
        with(Feature::Htb, untried(Untried::Unknown)),
        &[("htb qdisc", Lacking, "as root")],
    );
    check(
        "nothing is known of fq",
        with(Feature::Fq, untried(Untried::Unknown)),
        &[("fq qdisc", Unknown, "not tried")],
    );
}

#[test]
fn what_the_daemon_cannot_be_confined_with_is_noted() {
    use FindingState::Note;
    let failed = |call, errno| KernelCall(call).failed("version", errno);
    let landlock = |offered| move |facts: &mut Facts| facts.confinement.landlock = offered;
    check("what is in use is enough", landlock(Ok(6)), &[]);
    check("no signals", landlock(Ok(5)), &[("landlock", Note, "send signals")]);
    check("no TCP", landlock(Ok(3)), &[("landlock", Note, "connect TCP ports, and send signals")]);
    let absent = failed("landlock_create_ruleset", Errno::ENOSYS);
    check("no landlock", landlock(Err(absent)), &[("landlock", Note, "CONFIG_SECURITY_LANDLOCK")]);
    let unused = failed("landlock_create_ruleset", Errno::EOPNOTSUPP);
    check("landlock is not in use", landlock(Err(unused)), &[("landlock", Note, "lsm=")]);
    check(
        "no seccomp",
        |facts| facts.confinement.seccomp = Err(failed("seccomp", Errno::EINVAL)),
        &[("seccomp", Note, "every system call")],
    );
}

#[test]
fn interfaces_are_judged_by_state_speed_root_and_offloads() {
    use FindingState::{Lacking, Note};
    let interface =
        |change: fn(&mut InterfaceFacts)| move |facts: &mut Facts| change(&mut facts.interfaces[0]);
    const NONE_IS_UP: (&str, FindingState, &str) = ("an interface that is up", Lacking, "no flow");
    check(
        "down",
        interface(|eth0| eth0.link.is_up = false),
        &[("state", Note, "ip link set eth0 up"), NONE_IS_UP],
    );
    check(
        "no carrier",
        interface(|eth0| eth0.link.has_carrier = false),
        &[("state", Note, "no carrier"), NONE_IS_UP],
    );
    check("no interface", |facts| facts.interfaces.clear(), &[NONE_IS_UP]);
    check("no speed", interface(|eth0| eth0.speed = None), &[("speed", Note, "unknown_capacity")]);
    let virtual_speed = |eth0: &mut InterfaceFacts| {
        eth0.speed = Some(ReportedSpeed { speed: Some(Rate::from_mbit(10_000)), is_virtual: true });
    };
    check("a virtual link", interface(virtual_speed), &[("speed", Note, "10 Gbit/s, a constant")]);
    let foreign = |eth0: &mut InterfaceFacts| {
        eth0.root = ObservedRoot::Other(ForeignRoot { kind: "cake".into(), handle: Handle::qdisc(1) });
    };
    check("a foreign root", interface(foreign), &[("root qdisc", Lacking, "cake 1:, of another program")]);
    let clsact = |eth0: &mut InterfaceFacts| {
        eth0.ingress = Ingress::Foreign(ForeignRoot { kind: "clsact".into(), handle: Handle::qdisc(0xffff) });
    };
    check(
        "a foreign ingress qdisc",
        interface(clsact),
        &[("ingress qdisc", Lacking, "clsact, of another program")],
    );
    let leftover = interface(|eth0| eth0.ingress = Ingress::Own);
    check("an ifb of no process", leftover, &[("ingress qdisc", Note, "gqos clean --interface eth0")]);
    const OURS: HtbRoot = HtbRoot { handle: ROOT_QDISC, default: 2, direct_queue: 0 };
    check(
        "a leftover",
        interface(|eth0| eth0.root = ObservedRoot::Htb(OURS)),
        &[("root qdisc", Note, "gqos clean --interface eth0")],
    );
    let managed = |eth0: &mut InterfaceFacts| {
        eth0.root = ObservedRoot::Htb(OURS);
        eth0.holder = Some(ClaimHolder { pid: Some(7), command: "origin".into() });
    };
    check("a managed tree", interface(managed), &[]);
    let slow = |eth0: &mut InterfaceFacts| {
        eth0.speed = Some(ReportedSpeed { speed: Some(Rate::from_mbit(100)), is_virtual: false });
    };
    check("aggregates on a slow link", interface(slow), &[("offloads", Note, "5242 us")]);
    check(
        "no aggregates on it",
        interface(|eth0| {
            eth0.speed = Some(ReportedSpeed { speed: Some(Rate::from_mbit(100)), is_virtual: false });
            eth0.link.offloads = Offloads { tso: Some(false), gso: Some(false), gro: None };
        }),
        &[],
    );
}

#[test]
fn filters_that_take_packets_from_their_class_are_named() {
    let found = |filter: Option<Filter>| {
        move |facts: &mut Facts| {
            let kind = filter.as_ref().map_or("fw", Filter::kind).to_owned();
            facts.interfaces[0].filters = vec![FoundFilter { kind, filter }];
        }
    };
    let matchall = |class, redirect| Some(Filter::Matchall { target: Target { class, redirect } });
    check("a class", found(matchall(Some(Handle::qdisc(1).class(1)), None)), &[]);
    let redirected = matchall(None, Some(Redirect { index: 7 }));
    check(
        "a redirect",
        found(redirected),
        &[("egress filter", FindingState::Note, "matchall: packets that match go to interface 7")],
    );
    check("another kind", found(None), &[("egress filter", FindingState::Unknown, "fw, not read")]);
}

#[test]
fn settings_cost_no_guarantee_and_privileges_do() {
    use FindingState::{Lacking, Note};
    check(
        "no privilege",
        |facts| facts.privileges.net_admin = false,
        &[("CAP_NET_ADMIN", Lacking, "setcap")],
    );
    check("no raw sockets", |facts| facts.privileges.net_raw = false, &[("CAP_NET_RAW", Note, "capture")]);
    check(
        "no namespaces",
        |facts| facts.privileges.namespaces = false,
        &[("network namespaces", Note, "user.max_user_namespaces")],
    );
    check(
        "bbr",
        |facts| facts.system.congestion_control = Some("bbr".into()),
        &[("congestion control", Note, "cubic")],
    );
    check(
        "aggregates",
        |facts| facts.system.tso_rtt_log = Some(9),
        &[("tcp_tso_rtt_log", Note, "net.ipv4.tcp_tso_rtt_log=0")],
    );
    check("segments", |facts| facts.system.min_tso_segments = Some(2), &[("tcp_min_tso_segs", Note, "=1")]);
    check(
        "a slow clock",
        |facts| facts.system.clock_source = Some("hpet".into()),
        &[("clock source", Note, "clocksource=")],
    );
    check(
        "a slack",
        |facts| facts.system.timer_slack_nanos = Some(1_000_000),
        &[("timer slack", Note, "1000 us")],
    );
    check("few files", |facts| facts.system.open_files = Some(1024), &[("open files", Note, "ulimit -n")]);
    check("nothing can be read", |facts| facts.system = SystemFacts::default(), &[]);
}

#[test]
fn interfaces_on_one_wire_are_named() {
    let beside = |shared: Option<u32>| {
        move |facts: &mut Facts| {
            let mut upper = facts.interfaces[0].clone();
            (upper.link.index, upper.link.name, upper.link.shares_wire_with) = (3, "eth0.10".into(), shared);
            facts.interfaces.push(upper);
        }
    };
    check("a VLAN", beside(Some(2)), &[("wire", FindingState::Note, "shared with eth0")]);
    check("an interface of its own", beside(None), &[]);
    let vrf = |facts: &mut Facts| facts.interfaces[0].link.kind = Some("vrf".into());
    check("a VRF", vrf, &[("kind", FindingState::Note, "interfaces in it")]);
    check("the other one cannot be seen", beside(Some(9)), &[]);
}
