//! A reload: what the new policy states holds, admitted flows keep what they have, and what differs is listed.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod common;

use common::policy;
use flowspec::{Bytes, Direction, Flowspec, Qos, Rate};
use gqos::admission::{GroupDifference, Ledger, NewFlow, Reason, Refusal, Reload, Request};
use gqos::policy::GroupMode;
use gqos::scenario::parse_line;

/// A ledger that takes lines and policies.
struct Reloaded(Ledger);

impl Reloaded {
    fn new(text: &str) -> Self {
        Self(Ledger::new(policy(&format!("version = 1\n{text}"))))
    }

    #[track_caller]
    fn reload(&mut self, text: &str) -> Reload {
        let reload = self.0.reload(policy(&format!("version = 1\n{text}")));
        self.0.invariants();
        reload
    }

    /// A line with `'` for `"`: why it is refused.
    #[track_caller]
    fn line(&mut self, fields: &str) -> Option<Reason> {
        let line = format!("{{'at_us':0,{fields}}}").replace('\'', "\"");
        let traced = parse_line(&line, self.0.policy()).expect(&line);
        let decision = traced.decide_by_ledger(&mut self.0);
        self.0.invariants();
        decision.reason()
    }

    #[track_caller]
    fn reserve(&mut self, id: &str, rate: u64, fields: &str) -> Option<Reason> {
        self.line(&format!("'op':'reserve','id':'{id}','interface':'eth0','sending':{}{fields}", load(rate)))
    }

    #[track_caller]
    fn renegotiate(&mut self, id: &str, sending: &str) -> Option<Reason> {
        self.line(&format!("'op':'renegotiate','id':'{id}','sending':{sending}"))
    }

    #[track_caller]
    fn release(&mut self, id: &str) -> Option<Reason> {
        self.line(&format!("'op':'release','id':'{id}'"))
    }

    #[track_caller]
    fn group(&self, id: &str) -> Option<(GroupMode, u64)> {
        let (_, totals) = self.0.group_totals(id)?;
        Some((self.0.group_mode(id)?, totals.sending.budget.get()))
    }
}

fn load(rate: u64) -> String {
    format!("{{'service_type':'controlled_load','token_rate':{rate}}}")
}

const LINK: &str = "[interface.eth0]\negress = { capacity = \"1000 B/s\", reservable = \"100%\" }\n";

fn envelope(rate: u64) -> String {
    format!(
        "{LINK}[group.g]\ninterface = \"eth0\"\nsending = {{ service_type = \"controlled_load\", token_rate = \"{rate} B/s\" }}\n"
    )
}

const OTHER_LINK: &str = "[interface.eth1]\negress = { capacity = \"1000 B/s\" }\n";

#[test]
fn a_flow_whose_class_or_interface_is_gone_may_ask_for_less_and_for_no_more() {
    #[track_caller]
    fn check(name: &str, before: &str, class: &str, after: &str, more: Reason) {
        let mut ledger = Reloaded::new(before);
        for id in ["less", "same", "nothing", "released"] {
            assert_eq!(ledger.reserve(id, 200, class), None, "{name}");
        }
        let reload = ledger.reload(after);
        assert_eq!(reload.orphans, ["less", "same", "nothing", "released"], "{name}");
        assert_eq!(ledger.renegotiate("less", &load(100)), None, "{name}: less");
        assert_eq!(ledger.renegotiate("same", &load(200)), None, "{name}: the same");
        assert_eq!(ledger.renegotiate("same", &load(201)), Some(more), "{name}: more");
        assert_eq!(ledger.renegotiate("nothing", "{'service_type':'best_effort'}"), None, "{name}");
        assert_eq!(ledger.renegotiate("less", "{'service_type':'no_traffic'}"), None, "{name}");
        for id in ["less", "same", "nothing", "released"] {
            assert_eq!(ledger.release(id), None, "{name}: {id} is released");
        }
        assert_eq!(ledger.0.flows(), 0);
    }
    let with_class = format!("{LINK}[class.a]\nmax_flows = 9\n[class.b]\nmax_flows = 9\nshare = \"90%\"\n");
    let class = ",'class':'b'";
    check("no class", &with_class, class, LINK, Reason::UnknownClass);
    let renumbered = format!("{LINK}[class.z]\nmax_flows = 1\nshare = \"10%\"\n");
    check("another class has its number", &with_class, class, &renumbered, Reason::UnknownClass);
    check("no interface", LINK, "", OTHER_LINK, Reason::UnknownInterface);
    let other = format!("{OTHER_LINK}[class.b]\nshare = \"10%\"\n");
    check("no interface, and the class renumbered", &with_class, class, &other, Reason::UnknownInterface);
    check("neither", &with_class, class, OTHER_LINK, Reason::UnknownClass);
    let measured = format!("{LINK}[class.b]\nadmission = \"measured\"\n");
    check("no measured class", &measured, class, LINK, Reason::UnknownClass);
    let overbooked = format!("{LINK}[class.b]\noverbooking = 2.0\n");
    check("no overbooked class", &overbooked, class, LINK, Reason::UnknownClass);
}

#[test]
fn an_interface_that_comes_back_counts_the_flows_that_are_left() {
    let mut ledger = Reloaded::new(LINK);
    assert_eq!(ledger.reserve("a", 600, ""), None);
    assert_eq!(ledger.reserve("b", 300, ""), None);
    ledger.reload(OTHER_LINK);
    assert_eq!(ledger.release("b"), None);
    assert_eq!(ledger.reserve("c", 1, ""), Some(Reason::UnknownInterface));
    assert_eq!(ledger.reload(LINK).orphans, Vec::<String>::new());
    assert_eq!(ledger.0.totals("eth0").unwrap().sending.reserved, Rate::new(600));
    assert_eq!(ledger.reserve("c", 401, ""), Some(Reason::InterfaceBudget));
    assert_eq!(ledger.reserve("c", 400, ""), None);
}

#[test]
fn a_group_that_does_not_fit_is_listed_and_made_when_it_does() {
    let mut ledger = Reloaded::new(LINK);
    assert_eq!(ledger.reserve("a", 700, ""), None);
    assert_eq!(ledger.reserve("b", 200, ""), None);
    let reload = ledger.reload(&envelope(400));
    let [(name, GroupDifference::Refused(Refusal::InterfaceBudget { .. }))] = &reload.groups[..] else {
        panic!("{:?}", reload.groups)
    };
    assert_eq!((name.as_str(), ledger.group("g")), ("g", None));
    assert_eq!(ledger.reserve("m", 1, ",'group':'g'"), Some(Reason::UnknownGroup));
    let mut request = Request::new(
        NewFlow { id: "m", interface: "eth0" },
        Qos::sending(Flowspec::guaranteed(Rate::new(400), Bytes::new(1500))),
    );
    request.group = Some("g".into());
    let refusal = ledger.0.admit(&request).expect_err("a group that has not been made");
    let start = "group \"g\" of the policy has not been made: eth0 sending: 3.2 kbit/s asked";
    assert!(refusal.to_string().starts_with(start), "{refusal}");
    request.group = Some("h".into());
    let refusal = ledger.0.admit(&request).expect_err("a group that the policy does not have");
    assert_eq!(refusal.to_string(), "there is no group \"h\"");
    assert_eq!(ledger.release("b"), None);
    assert_eq!(ledger.group("g"), None);
    assert_eq!(ledger.release("a"), None);
    assert_eq!(ledger.group("g"), Some((GroupMode::Envelope, 400)));
    assert_eq!(ledger.0.group_differences(), []);
}

#[test]
fn a_group_that_grows_keeps_its_size_until_the_larger_one_fits() {
    let mut ledger = Reloaded::new(&envelope(400));
    assert_eq!(ledger.reserve("a", 500, ""), None);
    assert_eq!(ledger.reserve("m", 300, ",'group':'g'"), None);
    let reload = ledger.reload(&envelope(600));
    assert!(matches!(&reload.groups[..], [(_, GroupDifference::Refused(_))]), "{:?}", reload.groups);
    assert_eq!(ledger.group("g"), Some((GroupMode::Envelope, 400)));
    assert_eq!(ledger.release("a"), None);
    assert_eq!(ledger.group("g"), Some((GroupMode::Envelope, 600)));
}

/// Envelopes of these rates.
fn envelopes(rates: &[(&str, u64)]) -> String {
    let group = |(name, rate): &(&str, u64)| {
        envelope(*rate).replace(LINK, "").replace("[group.g]", &format!("[group.{name}]"))
    };
    format!("{LINK}{}", rates.iter().map(group).collect::<String>())
}

/// Which groups are listed, and that each is for lack of budget.
#[track_caller]
fn check_refused(groups: &[(String, GroupDifference)], expected: &[&str]) {
    let refused = |difference: &GroupDifference| {
        matches!(difference, GroupDifference::Refused(Refusal::InterfaceBudget { .. }))
    };
    assert!(groups.iter().all(|(_, difference)| refused(difference)), "{groups:?}");
    assert_eq!(groups.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), expected);
}

#[test]
fn of_groups_that_do_not_fit_together_those_that_are_refused_are_listed() {
    let sizes = |ledger: &Reloaded| ["a", "b", "c"].map(|name| ledger.group(name).map(|(_, rate)| rate));
    let mut ledger = Reloaded::new(LINK);
    let reload = ledger.reload(&envelopes(&[("a", 600), ("b", 500), ("c", 400)]));
    check_refused(&reload.groups, &["b"]);
    assert_eq!(sizes(&ledger), [Some(600), None, Some(400)], "in the order of their names, each that fits");
    let json = serde_json::to_value(&reload).unwrap();
    assert_eq!(json["groups"][0][0], "b", "{json}");
    assert!(json["groups"][0][1]["refused"].is_object(), "{json}");
    assert_eq!(reload.groups[0].1.to_string().split(':').next(), Some("does not fit yet"));
    let compared =
        ledger.0.compare(&policy(&format!("version = 1\n{}", envelopes(&[("a", 600), ("b", 400)]))));
    assert_eq!(compared.groups, [], "without one of them the others fit");
    assert_eq!(sizes(&ledger), [Some(600), None, Some(400)], "a comparison changes nothing");

    // Each would fit alone, and neither beside what the other has.
    let reload = ledger.reload(&envelopes(&[("a", 700), ("c", 700)]));
    check_refused(&reload.groups, &["a", "c"]);
    assert_eq!(sizes(&ledger), [Some(600), None, Some(400)], "they stay as they are");
    let reload = ledger.reload(&envelopes(&[("a", 700)]));
    assert_eq!(reload.groups, []);
    assert_eq!(sizes(&ledger), [Some(700), None, None]);
}

#[test]
fn a_group_that_grows_gets_what_one_that_shrinks_releases() {
    for names in [["a", "b"], ["b", "a"]] {
        let [grows, shrinks] = names;
        let mut ledger = Reloaded::new(&envelopes(&[(grows, 300), (shrinks, 700)]));
        assert_eq!(ledger.reserve("m", 200, &format!(",'group':'{grows}'")), None);
        let reload = ledger.reload(&envelopes(&[(grows, 600), (shrinks, 400)]));
        assert_eq!(reload.groups, [], "{names:?}: both fit, as after a start under the new policy");
        assert_eq!(ledger.group(grows), Some((GroupMode::Envelope, 600)), "{names:?}");
        assert_eq!(ledger.group(shrinks), Some((GroupMode::Envelope, 400)), "{names:?}");
    }
}

#[test]
fn a_group_that_shrinks_is_charged_for_its_members_until_they_fit() {
    let mut ledger = Reloaded::new(&envelope(400));
    for (id, rate) in [("m1", 100), ("m2", 200)] {
        assert_eq!(ledger.reserve(id, rate, ",'group':'g'"), None);
    }
    let reload = ledger.reload(&envelope(150));
    assert_eq!(reload.groups, [("g".to_owned(), GroupDifference::Outgrown)]);
    assert_eq!(ledger.group("g"), Some((GroupMode::Envelope, 400)));
    assert_eq!(ledger.reserve("m3", 1, ",'group':'g'"), Some(Reason::GroupBudget), "the new size counts");
    assert_eq!(ledger.renegotiate("m1", &load(101)), Some(Reason::GroupBudget));
    assert_eq!(ledger.renegotiate("m1", &load(90)), None, "less is admitted");
    assert_eq!(ledger.release("m2"), None);
    assert_eq!(ledger.group("g"), Some((GroupMode::Envelope, 150)));
    assert_eq!(ledger.reserve("m3", 60, ",'group':'g'"), None);
}

#[test]
fn a_change_of_a_groups_mode_or_interface_is_listed_and_made_after_its_last_member() {
    #[track_caller]
    fn check(after: &str, difference: &GroupDifference, made: (GroupMode, u64)) {
        let mut ledger = Reloaded::new(&envelope(400));
        assert_eq!(ledger.reserve("m", 300, ",'group':'g'"), None);
        let reload = ledger.reload(after);
        assert_eq!(reload.groups, [("g".to_owned(), difference.clone())]);
        assert_eq!(ledger.group("g"), Some((GroupMode::Envelope, 400)), "its member keeps what it has");
        assert_eq!(ledger.reserve("n", 1, ",'group':'g'"), Some(Reason::UnknownGroup));
        assert_eq!(ledger.release("m"), None);
        assert_eq!(ledger.group("g"), Some(made));
        // Without members it is changed at once.
        let mut ledger = Reloaded::new(&envelope(400));
        assert_eq!(ledger.reload(after).groups, []);
        assert_eq!(ledger.group("g"), Some(made));
    }
    let shared = envelope(400).replace("[group.g]", "[group.g]\nmode = \"shared\"");
    check(&shared, &GroupDifference::OtherMode, (GroupMode::Shared, 0));
    let elsewhere = format!("{OTHER_LINK}{}", envelope(200).replace("\"eth0\"", "\"eth1\""));
    let difference = GroupDifference::OtherInterface { interface: "eth0".into() };
    check(&elsewhere, &difference, (GroupMode::Envelope, 200));
}

#[test]
fn members_that_stay_in_the_former_class_of_their_group_are_listed() {
    let classes = "[class.a]\nmax_flows = 9\n[class.b]\nmax_flows = 9\n";
    let of_class = |class: &str| {
        let stated = envelope(400).replace("[group.g]", &format!("[group.g]\n{class}"));
        format!("{stated}{classes}")
    };
    let [none, a, b] = ["", "class = \"a\"", "class = \"b\""].map(of_class);
    let in_class = |class: Option<&str>| {
        let class = class.map(str::to_owned);
        [("g".to_owned(), GroupDifference::OtherClass { class })]
    };
    let mut ledger = Reloaded::new(&a);
    assert_eq!(ledger.reload(&b).groups, [], "it has no members");
    assert_eq!(ledger.reserve("m", 100, ",'group':'g'"), None);
    assert_eq!(ledger.reload(&b).groups, [], "nothing has changed");
    let reload = ledger.reload(&none);
    assert_eq!(reload.groups, in_class(Some("b")));
    assert_eq!(
        reload.groups[0].1.to_string(),
        "has members that were admitted in class b, and stay so until they end"
    );
    assert_eq!(ledger.reserve("n", 100, ",'group':'g'"), None);
    assert_eq!(ledger.reload(&a).groups, in_class(None), "n has no class");
    for id in ["m", "n"] {
        assert_eq!(ledger.release(id), None);
    }
    assert_eq!(ledger.reload(&b).groups, []);
    // A member may name a class of its own, which has nothing to do with the group's.
    assert_eq!(ledger.reserve("o", 100, ",'group':'g','class':'a'"), None);
    assert_eq!(ledger.reload(&none).groups, []);
}

#[test]
fn a_group_that_is_removed_is_listed_while_it_has_members() {
    let mut ledger = Reloaded::new(&envelope(400));
    assert_eq!(ledger.reserve("m", 300, ",'group':'g'"), None);
    assert_eq!(ledger.reload(LINK).groups, [("g".to_owned(), GroupDifference::Removed)]);
    assert_eq!(ledger.reload(&envelope(400)).groups, [], "it is back");
    assert_eq!(ledger.reserve("n", 100, ",'group':'g'"), None);
    ledger.reload(LINK);
    for id in ["m", "n"] {
        assert_eq!(ledger.release(id), None);
    }
    assert_eq!(ledger.group("g"), None);
}

#[test]
fn a_members_larger_class_charge_is_not_a_larger_request() {
    // The new policy charges more for the same: asking for less is admitted all the same.
    let class = |overbooking: &str| format!("{LINK}[class.c]\noverbooking = {overbooking}\n");
    let mut ledger = Reloaded::new(&class("2.0"));
    assert_eq!(ledger.reserve("a", 800, ",'class':'c'"), None);
    ledger.reload(&class("1.0"));
    assert_eq!(ledger.renegotiate("a", &load(400)), None);
    assert_eq!(ledger.0.totals("eth0").unwrap().sending.reserved, Rate::new(400));
}

#[test]
fn a_flow_that_asks_for_less_is_admitted_where_the_new_policy_charges_more_for_it() {
    let class = |keys: &str| format!("{LINK}[class.c]\n{keys}\n");
    let full = |ledger: &mut Reloaded| {
        assert_eq!(ledger.reserve("a", 800, ",'class':'c'"), None);
        assert_eq!(ledger.reserve("rest", 600, ""), None);
    };
    let charged = |ledger: &Reloaded| ledger.0.flow("a").unwrap().1.sending.get();
    let (before, none) = (class("overbooking = 2.0"), "{'service_type':'best_effort'}");
    let measured = class("admission = \"measured\"");
    let crowded = class("max_rate = \"100 B/s\"\nshare = \"10%\"\nmax_flows = 1");
    for after in [class(""), measured, crowded] {
        let mut ledger = Reloaded::new(&before);
        full(&mut ledger);
        assert_eq!(charged(&ledger), 400);
        ledger.reload(&after);
        for less in [800, 799, 500] {
            assert_eq!(ledger.renegotiate("a", &load(less)), None, "{less} under {after}");
            assert_eq!(charged(&ledger), 400, "{less} under {after}: what it has had");
        }
        assert!(ledger.renegotiate("a", &load(501)).is_some(), "{after}: more than 500");
        assert_eq!(ledger.renegotiate("a", &load(100)), None, "{after}");
        assert!(charged(&ledger) >= 100, "{after}: by the new policy");
        assert_eq!(ledger.renegotiate("a", none), None, "{after}");
        assert_eq!(charged(&ledger), 0);
    }
    // Where there is capacity, the new policy charges what it says.
    let mut ledger = Reloaded::new(&before);
    assert_eq!(ledger.reserve("a", 800, ",'class':'c'"), None);
    ledger.reload(&class(""));
    assert_eq!(ledger.renegotiate("a", &load(700)), None);
    assert_eq!(charged(&ledger), 700);
}

#[test]
fn a_client_with_too_many_requests_may_ask_for_no_more_than_it_has() {
    let group = |name: &str, mode: &str| {
        format!(
            "[group.{name}]\ninterface = \"eth0\"\nclass = \"measured\"\nmode = \"{mode}\"\nsending = {{ service_type = \"controlled_load\", token_rate = \"200 B/s\", token_bucket_size = \"3000 B\" }}\n"
        )
    };
    let limited = format!(
        "{LINK}[class.c]\n[class.measured]\nadmission = \"measured\"\n{}{}[client.\"*\"]\nrequests_per_second = 1\n",
        group("e", "envelope"),
        group("s", "shared"),
    );
    let bucket = |rate: u64, size: u64| {
        format!("{{'service_type':'controlled_load','token_rate':{rate},'token_bucket_size':{size}}}")
    };
    for named in ["", ",'class':'c'", ",'class':'measured'", ",'group':'e'", ",'group':'s'"] {
        let fields = &format!(",'client':'x'{named}");
        let mut ledger = Reloaded::new(&limited);
        let reserve =
            format!("'op':'reserve','id':'a','interface':'eth0','sending':{}{fields}", bucket(200, 3000));
        assert_eq!(ledger.line(&reserve), None);
        assert_eq!(ledger.reserve("b", 1, fields), Some(Reason::ClientLimit), "no request is left");
        for (sending, reason) in [
            (bucket(200, 3000), None),
            (bucket(200, 2000), None),
            (bucket(200, 2001), Some(Reason::ClientLimit)),
            (bucket(199, 2001), Some(Reason::ClientLimit)),
            (bucket(199, 2000), None),
            ("{'service_type':'no_change'}".to_owned(), None),
            (bucket(200, 2000), Some(Reason::ClientLimit)),
            ("{'service_type':'best_effort'}".to_owned(), None),
            (bucket(1, 1), Some(Reason::ClientLimit)),
        ] {
            assert_eq!(ledger.renegotiate("a", &sending), reason, "{sending}{fields}");
        }
    }
}

#[test]
fn what_a_link_was_observed_to_carry_is_listed_and_counts() {
    let mut ledger = Reloaded::new(LINK);
    assert_eq!(ledger.line("'op':'capacity','interface':'eth0','direction':'egress','capacity':300"), None);
    let reload = ledger.reload(&format!("{LINK}[class.c]\n"));
    let [observed] = &reload.capacities[..] else { panic!("{:?}", reload.capacities) };
    assert_eq!((observed.observed, observed.stated), (Rate::new(300), Rate::new(1000)));
    assert_eq!(observed.direction, Direction::Sending);
    assert_eq!(ledger.reload(&LINK.replace("1000", "2000")).capacities, [], "what is stated anew counts");
    assert_eq!(ledger.0.totals("eth0").unwrap().sending.budget, Rate::new(2000));
}

#[test]
fn what_the_kernel_has_stated_counts_where_the_policy_states_nothing_any_more() {
    let auto = "[interface.eth0]\negress = { capacity = \"auto\", reservable = \"100%\" }\n";
    let stated =
        "[interface.eth0]\negress = { capacity = \"1000 B/s\", reservable = \"100%\" }\nmtu = \"9000 B\"\n";
    let mut ledger = Reloaded::new(stated);
    ledger.0.observe_link("eth0", Bytes::new(1500), Some(Rate::new(7000)));
    ledger.reload(auto);
    assert_eq!(ledger.0.totals("eth0").unwrap().sending.budget, Rate::new(7000));
    let mut spec = Flowspec::guaranteed(Rate::new(100), Bytes::new(9000));
    spec.max_sdu_size = Some(Bytes::new(2000));
    let refusal = ledger
        .0
        .admit(&Request::new(NewFlow { id: "jumbo", interface: "eth0" }, Qos::sending(spec)))
        .unwrap_err();
    assert_eq!(refusal.reason(), Reason::Mtu);
}

#[test]
fn a_flow_that_waits_is_notified_of_what_a_reload_leaves_free() {
    let mut ledger = Reloaded::new(LINK);
    assert_eq!(ledger.reserve("a", 900, ""), None);
    assert_eq!(ledger.reserve("w", 200, ",'wait':true"), Some(Reason::InterfaceBudget));
    ledger.reload(&LINK.replace("1000", "2000"));
    let line = parse_line("{\"at_us\":0,\"op\":\"tick\"}", ledger.0.policy()).unwrap();
    assert_eq!(line.decide_by_ledger(&mut ledger.0).notified, ["w"]);
}

/// A policy whose limits are random, some of them far below what flows hold.
fn random_limits(random: &mut impl FnMut(u64) -> u64) -> String {
    let mut text = String::new();
    for (table, capacity) in [("eth0", 20_000), ("eth1", 5_000)] {
        let model = ["mam", "rdm", "mar"][usize::try_from(random(3)).unwrap()];
        let capacity = 1 + random(capacity);
        text += &format!(
            "[interface.{table}]\negress = {{ capacity = \"{capacity} B/s\", reservable = \"{}%\" }}\nclass_model = \"{model}\"\n",
            1 + random(100)
        );
        if random(2) == 0 {
            text += &format!("max_flows = {}\nbuffer = \"{} B\"\n", 1 + random(6), 1500 * (1 + random(20)));
        }
    }
    for class in ["a", "b"] {
        text += &format!("[class.{class}]\nclass_type = {}\nshare = \"{}%\"\n", random(3), 1 + random(100));
        if random(2) == 0 {
            text += &format!("max_flows = {}\nmax_rate = \"{} B/s\"\n", 1 + random(5), 1 + random(4000));
        }
        if random(3) == 0 {
            text += "admission = \"measured\"\n";
        }
    }
    for (group, mode) in [("e", "envelope"), ("s", "shared")] {
        let rate = 1 + random(6000);
        text += &format!(
            "[group.{group}]\ninterface = \"eth0\"\nmode = \"{mode}\"\nsending = {{ service_type = \"controlled_load\", token_rate = \"{rate} B/s\" }}\n"
        );
    }
    let (flows, rate) = (1 + random(5), 1 + random(9000));
    text + &format!("[client.\"c*\"]\nmax_flows = {flows}\nmax_rate = \"{rate} B/s\"\n")
}

#[test]
fn a_flow_that_asks_for_no_more_than_it_holds_is_never_refused() {
    let mut state = 0x5EED_u64;
    let mut random = move |limit: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % limit
    };
    let mut asked = 0;
    for round in 0..400 {
        let before = random_limits(&mut random);
        let mut ledger = Reloaded::new(&before);
        for flow in 0..8 {
            let fields = [
                "",
                ",'class':'a'",
                ",'class':'b','client':'c1'",
                ",'client':'c2'",
                ",'group':'e'",
                ",'group':'s'",
                ",'group':'s','client':'c1','start_us':5000000,'end_us':9000000",
                ",'class':'a','start_us':3000000",
            ];
            let rate = 1 + random(3000);
            ledger.reserve(&format!("f{flow}"), rate, fields[usize::try_from(random(8)).unwrap()]);
        }
        let after = random_limits(&mut random);
        ledger.reload(&after);
        for flow in 0..8 {
            let id = format!("f{flow}");
            let Some((_, charged)) = ledger.0.flow(&id) else { continue };
            let rate = charged.sending.get();
            for less in [rate, rate.div_ceil(2), 1 + random(rate.max(1))] {
                if rate == 0 {
                    continue;
                }
                asked += 1;
                let refused = ledger.renegotiate(&id, &load(less.min(rate)));
                assert_eq!(refused, None, "round {round}, {id}: {less} of {rate}\n{before}\n{after}");
                if less < rate {
                    break;
                }
            }
        }
    }
    assert!(asked > 1000, "{asked} renegotiations");
}
