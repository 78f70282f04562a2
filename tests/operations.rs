//! Operations on a ledger besides plain requests: classes for certain owners, measured admission, changes of capacity,
//! renditions and reloads. Each case is a trace.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod common;

use common::policy;
use flowspec::Direction;
use gqos::admission::{Decision, Ledger, Reason, Reload};
use gqos::scenario::parse_line;

/// A ledger that decides the lines of a trace.
struct Traced(Ledger);

impl Traced {
    fn new(text: &str) -> Self {
        Self(Ledger::new(policy(&format!("version = 1\n{text}"))))
    }

    /// Decides a line, in which `'` stands for `"`.
    #[track_caller]
    fn line(&mut self, line: &str) -> Decision {
        let traced = parse_line(&line.replace('\'', "\""), self.0.policy()).expect(line);
        traced.decide_by_ledger(&mut self.0)
    }

    /// The reason of a refusal.
    #[track_caller]
    fn reason(&mut self, line: &str) -> Option<Reason> {
        self.line(line).reason()
    }

    fn reserved(&self) -> u64 {
        self.0.totals("eth0").unwrap().sending.reserved.get()
    }
}

const OWNERS: &str = r#"
[interface.eth0]
egress = { capacity = "80 Mbit/s" }
[class.web]
match = { uid = [33, "1000-1999"] }
[class.media]
match = { cgroup = "/system.slice" }
max_flows = 1
[class.open]
"#;

#[test]
fn a_class_with_conditions_admits_matching_owners_only() {
    let mut traced = Traced::new(OWNERS);
    let mut check = |name: &str, fields: &str, expected: Option<Reason>| {
        let line = format!(
            "{{'at_us':0,'op':'reserve','id':'{name}','interface':'eth0','sending':{{'service_type':'guaranteed','token_rate':1000}}{fields}}}"
        );
        let decision = traced.line(&line);
        assert_eq!(decision.reason(), expected, "{name}: {}", decision.message());
        decision
    };
    check("the class of its owner", ",'class':'web','uid':33", None);
    check("the last uid of the range", ",'class':'web','uid':1999", None);
    let refused = check("another owner", ",'class':'web','uid':0", Some(Reason::ClassOwner));
    assert_eq!(refused.rule_line(), Some("test:5"));
    assert!(refused.message().contains("class web is not for flows of uid 0"), "{}", refused.message());
    check("an unknown owner", ",'class':'web'", Some(Reason::ClassOwner));
    check("a class without conditions", ",'class':'open','uid':0", None);
    check("a flow that names no class gets the class of its owner", ",'cgroup':'/system.slice/origin'", None);
    check("the limits of that class apply", ",'cgroup':'/system.slice/origin'", Some(Reason::ClassFlows));
    check(
        "of several classes the first in the file counts",
        ",'cgroup':'/system.slice/origin','uid':33",
        None,
    );
    check("an owner for which there is no class has none", ",'cgroup':'/user.slice','uid':5", None);
}

const MEASURED: &str = r#"
[interface.eth0]
egress = { capacity = "80 Mbit/s", reservable = "100%" }
on_capacity_drop = "shed"
[class.live]
admission = "measured"
overbooking = 2
"#;

/// A flow of 100 kB/s that sends no more than 115 kB/s over a tenth of a second.
fn live(id: &str, at: u64, service: &str) -> String {
    format!(
        "{{'at_us':{at},'op':'reserve','id':'{id}','interface':'eth0','class':'live','sending':{{'service_type':'{service}','token_rate':100000,'token_bucket_size':1500}}}}"
    )
}

fn measure(at: u64, rate: u64) -> String {
    format!(
        "{{'at_us':{at},'op':'measure','interface':'eth0','class':'live','window_us':1000000,'rate':{{'sending':{rate},'receiving':0}}}}"
    )
}

fn filled() -> Traced {
    let mut traced = Traced::new(MEASURED);
    for number in 0..100 {
        assert_eq!(traced.reason(&live(&format!("l{number}"), 0, "controlled_load")), None);
    }
    assert_eq!(traced.reason(&live("more", 0, "controlled_load")), Some(Reason::InterfaceBudget));
    traced
}

#[test]
fn controlled_load_is_charged_by_measurement() {
    let mut traced = filled();
    // ν + sqrt(6.907756 · 100 · 115000²), rounded up.
    let decision = traced.line(&measure(1_000_000, 2_000_000));
    assert!(decision.is_ok(), "{}", decision.message());
    assert_eq!(traced.reserved(), 2_000_000 + 3_022_501);
    // A new flow is charged as it declares. Guaranteed service cannot use rate that was measured as unused.
    assert_eq!(traced.reason(&live("new", 1_000_000, "controlled_load")), None);
    assert_eq!(traced.reserved(), 2_000_000 + 3_022_501 + 100_000);
    let refused = traced.line(&live("firm", 1_000_000, "guaranteed"));
    assert_eq!(refused.reason(), Some(Reason::InterfaceBudget));
    assert!(refused.message().contains("was measured as unused"), "{}", refused.message());
    // A flow is measured from a whole window after it began. The highest mean counts.
    traced.line(&measure(1_500_000, 1_000_000));
    assert_eq!(traced.reserved(), 2_000_000 + 3_022_501 + 100_000);
    traced.line(&measure(2_000_000, 1_000_000));
    // 2 MB/s and the margin of 101 flows are less than half of the declared rate, which is the minimum.
    assert_eq!(traced.reserved(), 5_050_000);
    // The margin shrinks with the flow that ends.
    traced.line("{'at_us':2000000,'op':'release','id':'l0'}");
    assert_eq!(traced.reserved(), 2_000_000 + 3_022_501);
    // Without a measurement for three windows all flows are charged as declared again. None is shed.
    traced.line("{'at_us':4999999,'op':'tick'}");
    assert_eq!(traced.reserved(), 5_022_501);
    traced.line("{'at_us':5000000,'op':'tick'}");
    assert_eq!((traced.reserved(), traced.0.flows()), (10_000_000, 100));
    assert_eq!(traced.reason(&live("late", 5_000_000, "controlled_load")), Some(Reason::InterfaceBudget));
}

#[test]
fn measurements_have_bounds() {
    // At least half of the declared rate is charged, however little is sent.
    let mut traced = filled();
    traced.line(&measure(1_000_000, 0));
    assert_eq!(traced.reserved(), 5_000_000);
    for number in 0..50 {
        assert_eq!(traced.reason(&live(&format!("m{number}"), 1_000_000, "controlled_load")), None);
    }
    assert_eq!(traced.reason(&live("one more", 1_000_000, "controlled_load")), Some(Reason::InterfaceBudget));
    // At most the declared rate is charged, however much is sent.
    let mut traced = filled();
    traced.line(&measure(1_000_000, 50_000_000));
    assert_eq!(traced.reserved(), 10_000_000);
    // A flow with an end is charged as declared: measurements say nothing about later.
    let mut traced = Traced::new(MEASURED);
    let line = live("ends", 0, "controlled_load").replace("'class'", "'end_us':9000000,'class'");
    assert_eq!(traced.reason(&line), None);
    traced.line(&measure(1_000_000, 0));
    assert_eq!(traced.reserved(), 100_000);
    // A class that is not measured, and an unknown class.
    let mut traced = Traced::new("[interface.eth0]\negress = { capacity = \"1 Mbit/s\" }\n[class.live]\n");
    assert_eq!(traced.reason(&measure(1, 0)), Some(Reason::NotMeasured));
    assert_eq!(traced.reason(&measure(1, 0).replace("'live'", "'dead'")), Some(Reason::UnknownClass));
    let short = measure(1, 0).replace("1000000", "99999").replace('\'', "\"");
    assert!(parse_line(&short, traced.0.policy()).is_err());
}

/// The fewest flows that make the measured rate fit are shed.
#[test]
fn a_smaller_capacity_sheds_by_the_measured_rate() {
    let mut traced = filled();
    traced.line(&measure(1_000_000, 2_000_000));
    let capacity = |rate: u64| {
        format!(
            "{{'at_us':1000000,'op':'capacity','interface':'eth0','direction':'egress','capacity':{rate}}}"
        )
    };
    assert_eq!(traced.line(&capacity(5_022_501)).shed().len(), 0, "the measured rate fits");
    let shed = traced.line(&capacity(4_000_000)).shed().to_vec();
    assert!(
        !shed.is_empty() && traced.reserved() <= 4_000_000,
        "{} shed, {} B/s reserved",
        shed.len(),
        traced.reserved()
    );
    assert_eq!(shed.first().map(String::as_str), Some("l99"), "the newest first");
    // 2 MB/s + 302250 · sqrt(43) fits, with 44 it does not.
    assert_eq!(shed.len(), 57);
}

const FLAPPING: &str = r#"
[interface.eth0]
egress = { capacity = "8 Mbit/s", reservable = "100%" }
on_capacity_drop = "shed"
hysteresis = { time = "5 s", change = "5%" }
"#;

#[test]
fn a_flapping_link_sheds_no_flow_within_its_tolerance() {
    let mut traced = Traced::new(FLAPPING);
    let flow = |id: &str, at: u64, rate: u64| {
        format!(
            "{{'at_us':{at},'op':'reserve','id':'{id}','interface':'eth0','sending':{{'service_type':'guaranteed','token_rate':{rate}}}}}"
        )
    };
    let capacity = |at: u64, rate: u64| {
        format!("{{'at_us':{at},'op':'capacity','interface':'eth0','direction':'egress','capacity':{rate}}}")
    };
    assert_eq!(traced.reason(&flow("a", 0, 500_000)), None);
    assert_eq!(traced.reason(&flow("b", 0, 500_000)), None);
    // A capacity that falls by less than a twentieth sheds no flow and admits none.
    assert_eq!(traced.line(&capacity(1, 950_001)).shed().len(), 0);
    assert_eq!(traced.reason(&flow("c", 2, 1)), Some(Reason::InterfaceBudget));
    // The falls add up.
    assert_eq!(traced.line(&capacity(3, 950_000)).shed(), ["b"]);
    // A higher capacity counts once it has lasted for five seconds.
    let decision = traced.line(&capacity(4, 1_000_000));
    assert!(decision.message().contains("counts from 5000004 us on"), "{}", decision.message());
    assert_eq!(traced.reason(&flow("d", 5, 500_000)), Some(Reason::InterfaceBudget));
    traced.line(&capacity(2_000_000, 900_000));
    assert_eq!(
        traced.reason(&flow("d", 6_000_000, 500_000)),
        Some(Reason::InterfaceBudget),
        "the higher capacity did not last"
    );
    traced.line(&capacity(6_000_000, 1_000_000));
    assert_eq!(traced.reason(&flow("d", 10_999_999, 500_000)), Some(Reason::InterfaceBudget));
    assert_eq!(traced.reason(&flow("d", 11_000_000, 500_000)), None);
}

const LADDER: &str = r#"
[interface.eth0]
egress = { capacity = "8 Mbit/s", reservable = "100%" }
[template.hd]
sending = { service_type = "guaranteed", token_rate = "6 Mbit/s" }
[template.sd]
sending = { service_type = "guaranteed", token_rate = "2 Mbit/s" }
"#;

#[test]
fn a_flow_with_a_lower_rendition_may_wait_for_a_better_one() {
    let mut traced = Traced::new(LADDER);
    let ask = |id: &str, at: u64, wait: bool| {
        format!(
            "{{'at_us':{at},'op':'reserve','id':'{id}','interface':'eth0','templates':['hd','sd'],'wait':{wait}}}"
        )
    };
    let first = traced.line(&ask("a", 0, true));
    assert_eq!((first.rendition(), first.is_first_rendition()), (Some("hd"), true));
    let lower = traced.line(&ask("b", 1, true));
    assert_eq!((lower.is_ok(), lower.is_waiting(), lower.rendition()), (true, true, Some("sd")));
    // A third flow is refused, and waits behind b.
    let refused = traced.line(&ask("c", 2, true));
    assert_eq!((refused.is_ok(), refused.is_waiting()), (false, true));
    // The rate that a releases is enough for b's better rendition, and not for c after that.
    let released = traced.line("{'at_us':3,'op':'release','id':'a'}");
    assert_eq!(released.notified, ["b"]);
    assert_eq!(traced.reserved(), 250_000, "a notification reserves nothing");
    let better =
        "{'at_us':4,'op':'renegotiate','id':'b','sending':{'service_type':'guaranteed','token_rate':750000}}";
    assert!(traced.line(better).is_ok());
    assert_eq!(
        traced.line("{'at_us':5,'op':'tick'}").notified.len(),
        0,
        "c waits for hd, and b no longer waits"
    );
    // A flow that ends leaves the queue.
    let mut traced = Traced::new(LADDER);
    traced.line(&ask("a", 0, false));
    assert!(traced.line(&ask("b", 1, true)).is_waiting());
    traced.line("{'at_us':2,'op':'release','id':'b'}");
    assert_eq!(traced.line("{'at_us':3,'op':'release','id':'a'}").notified.len(), 0);
}

#[test]
fn a_comparison_lists_the_effects_of_a_reload_and_makes_none() {
    let mut traced = Traced::new(OWNERS);
    let reserve = "{'at_us':0,'op':'reserve','id':'a','interface':'eth0','class':'open','sending':{'service_type':'guaranteed','token_rate':5000000}}";
    assert_eq!(traced.reason(reserve), None);
    let same = traced.0.compare(&policy(&format!("# a comment\nversion = 1\n{OWNERS}")));
    assert_eq!(same, Reload::default());
    let text = "version = 1\npreemption = true\n[interface.eth0]\negress = { capacity = \"40 Mbit/s\" }\n[class.web]\n[class.late]\n";
    let Reload { changes, orphans, over, groups, capacities } = traced.0.compare(&policy(text));
    assert!(groups.is_empty() && capacities.is_empty(), "{groups:?} {capacities:?}");
    assert_eq!(
        changes.to_string(),
        "preemption: false → true\n\
         interface.eth0.egress.capacity: \"80 Mbit/s\" → \"40 Mbit/s\"\n\
         interface.eth0.ingress.capacity: \"80 Mbit/s\" → \"40 Mbit/s\"\n\
         class.web.match.uid: [33, \"1000-1999\"] → none\n\
         class.late: added\n\
         class.media: removed: max_flows = 1, match.cgroup = [\"/system.slice\"]\n\
         class.open: removed\n"
    );
    assert_eq!(orphans, ["a"]);
    let [(interface, direction, totals)] = &over[..] else { panic!("{over:?}") };
    assert_eq!(
        (interface.as_str(), *direction, totals.budget.get()),
        ("eth0", Direction::Sending, 4_000_000)
    );
    assert_eq!(traced.0.policy().classes.len(), 3, "the policy is unchanged");
}

#[test]
fn a_renegotiation_by_template_takes_effect() {
    let mut traced = Traced::new(&format!(
        "{BOOKABLE}[template.t]\nsending = {{ service_type = \"guaranteed\", token_rate = \"8 kbit/s\" }}\n"
    ));
    traced.line("{'at_us':0,'op':'reserve','id':'a','interface':'eth0','sending':{'service_type':'guaranteed','token_rate':500}}");
    let decision = traced.line("{'at_us':0,'op':'renegotiate','id':'a','template':'t'}");
    assert!(decision.is_ok() && traced.reserved() == 1000, "{}", decision.message());
    let unknown = "{'at_us':0,'op':'renegotiate','id':'a','template':'u'}";
    assert_eq!(traced.reason(unknown), Some(Reason::UnknownTemplate));
    assert_eq!(traced.reserved(), 1000);
}

const BOOKABLE: &str = "[interface.eth0]\negress = { capacity = \"8 Mbit/s\", reservable = \"80%\" }\n[group.g]\ninterface = \"eth0\"\nmode = \"shared\"\n";

/// The sum that a refusal states and the holders that it names are of one moment.
#[test]
fn holders_are_those_of_the_moment_with_the_largest_sum() {
    let reserve = |id: &str, rate: u64, window: &str| {
        format!(
            "{{'at_us':0,'op':'reserve','id':'{id}','interface':'eth0','sending':{{'service_type':'guaranteed','token_rate':{rate}}}{window}}}"
        )
    };
    let tomorrow = ",'start_us':5000000,'end_us':6000000";
    let mut traced = Traced::new(BOOKABLE);
    traced.line(&reserve("now", 100_000, ",'end_us':5000000"));
    traced.line(&reserve("between", 300_000, ",'start_us':2000000,'end_us':3000000"));
    traced.line(&reserve("tomorrow", 500_000, tomorrow));
    let mut check = |line: &str, expected: &str| {
        let message = traced.line(line).message().to_owned();
        assert!(message.contains(expected), "{line}: {message}");
    };
    let held = "4 Mbit/s reserved of 6.4 Mbit/s, 2.4 Mbit/s available";
    for rate in [400_000, 600_000, 750_000, 900_000] {
        let short = match rate {
            400_000 => "800 kbit/s",
            600_000 => "2.4 Mbit/s",
            750_000 => "3.6 Mbit/s",
            _ => "4.8 Mbit/s",
        };
        let expected = format!(
            "{held}: {short} short, from 5000000 us on; most is held by tomorrow (4 Mbit/s); at most"
        );
        check(&reserve("a", rate, ""), &expected);
        check(&reserve("b", rate, ",'end_us':7000000"), &expected);
    }
    check(
        &reserve("c", 500_000, ",'end_us':4000000"),
        "3.2 Mbit/s reserved of 6.4 Mbit/s, 3.2 Mbit/s available: 800 kbit/s short, from 2000000 us on; \
         most is held by between (2.4 Mbit/s), now (800 kbit/s); at most",
    );
    check(
        &reserve("d", 500_000, tomorrow),
        &format!("{held}: 1.6 Mbit/s short; most is held by tomorrow (4 Mbit/s); at most"),
    );
}

/// What a request could displace is not counted as free, and the messages say so.
#[test]
fn what_would_fit_is_without_preempting() {
    let text = "preemption = true\n[interface.eth0]\negress = { capacity = \"8 Mbit/s\", reservable = \"100%\" }\n[class.c]\nmax_rate = \"4 Mbit/s\"\n";
    let line = |op: &str, rate: u64, more: &str| {
        format!(
            "{{'at_us':0,'op':'{op}','interface':'eth0','sending':{{'service_type':'guaranteed','token_rate':{rate}}}{more}}}"
        )
    };
    let mut traced = Traced::new(text);
    traced.line(&line("reserve", 900_000, ",'id':'low','setup_priority':6,'holding_priority':6"));
    let mut check = |line: &str, expected: &str| {
        let message = traced.line(line).message().to_owned();
        assert!(message.ends_with(expected), "{line}: {message}");
    };
    check(&line("reserve", 1_000_001, ",'id':'a'"), "; at most 800 kbit/s would fit without preempting");
    check(
        &line("reserve", 600_000, ",'id':'a','class':'c'"),
        "max_rate is 4 Mbit/s; at most 800 kbit/s would fit without preempting",
    );
    check(&line("query", 1_000_000, ""), "; the flow never fits without preempting");
    // A group takes no place of a flow.
    check(&line("group", 1_000_000, ",'id':'g'"), "; at most 800 kbit/s would fit");
    let decision = traced.line(&line("reserve", 1_000_000, ",'id':'a'"));
    assert_eq!(decision.preempted(), ["low"], "{}", decision.message());
}

/// The sum of a refusal without holders is that of the moment that it states: the largest one, not the first that is too
/// large.
#[test]
fn a_refusal_without_holders_states_the_sum_of_its_moment() {
    const POLICY: &str = "[interface.eth0]\negress = { capacity = \"80 Mbit/s\", reservable = \"80%\" }\nbuffer = \"40 kB\"\n[interface.eth1]\negress = { capacity = \"80 Mbit/s\", reservable = \"80%\" }\n[group.g]\ninterface = \"eth1\"\nsending = { service_type = \"guaranteed\", token_rate = \"8 Mbit/s\", token_bucket_size = \"40 kB\" }\n[client.c]\nmax_rate = \"8 Mbit/s\"\n";
    let mut traced = Traced::new(POLICY);
    let mut check = |interface: &str, more: &str, expected: &str| {
        let mut flows = 0;
        let mut reserve = |bucket: u64, window: &str| {
            flows += 1;
            let (id, rate) = (format!("{interface}{}{flows}", more.len()), bucket * 25);
            traced.line(&format!(
                "{{'at_us':0,'op':'reserve','id':'{id}','interface':'{interface}'{more},'sending':{{'service_type':'guaranteed','token_rate':{rate},'token_bucket_size':{bucket}}}{window}}}"
            ))
        };
        let first = reserve(30_000, ",'start_us':1000,'end_us':2000");
        assert!(first.is_ok(), "{}", first.message());
        assert!(reserve(35_000, ",'start_us':3000,'end_us':4000").is_ok());
        let refused = reserve(20_000, "");
        assert!(refused.message().contains(expected), "{}", refused.message());
    };
    check("eth0", "", "a buffer of 20000 B is needed, 35000 B of 40000 B are taken, from 3000 us on");
    check("eth1", ",'group':'g'", "from 3000 us on");
    check("eth1", ",'client':'c'", "7 Mbit/s reserved, max_rate is 8 Mbit/s, from 3000 us on");
}
