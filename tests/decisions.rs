//! docs/DECISIONS.md lists every field of requests and of decisions, and every reason with its codes.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::policy;
use flowspec::{Bytes, Flowspec, Moment, Qos, Rate};
use gqos::admission::{Enforced, Lack, Ledger, NewFlow, Operation, Reason, Request};
use gqos::policy::Policy;
use gqos::scenario::parse_line;

/// The cells of each row of the table below a heading.
fn table(heading: &str) -> Vec<Vec<String>> {
    let text = include_str!("../docs/DECISIONS.md");
    let section = text.split("\n## ").find(|section| section.starts_with(heading)).expect(heading);
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cells = |row: &str| {
        row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
    };
    rows.map(cells).collect()
}

#[test]
fn all_fields_of_requests_are_listed() {
    let line = "{\"at_us\":0,\"op\":\"tick\",\"no_field\":0}";
    let error = parse_line(line, &Policy::default()).unwrap_err().to_string();
    let (_, fields) = error.split_once("expected one of ").expect(&error);
    let known: BTreeSet<_> = fields.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let listed: BTreeSet<_> = table("Request fields").into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(listed, known);
}

#[test]
fn all_reasons_are_listed_with_their_codes() {
    let rows = table("Reasons");
    let listed: Vec<_> = rows.iter().map(|row| row[0].as_str()).collect();
    let names: Vec<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
    assert_eq!(listed, names);
    for (reason, row) in Reason::ALL.iter().zip(&rows) {
        assert_eq!(row[1], reason.wsa().name(), "{reason}");
        assert!(row[2].split(", ").any(|status| status == reason.status().name()), "{reason}: {}", row[2]);
    }
}

/// A policy under which every field of a decision occurs.
const POLICY: &str = r#"
version = 1
preemption = true
dead_after = "1 s"
stalled_after = "1 s"
[interface.eth0]
egress = { capacity = "8 Mbit/s", reservable = "100%" }
error_terms = { c = "1500 B", d = "1 ms" }
on_capacity_drop = "shed"
[template.hd]
sending = { service_type = "guaranteed", token_rate = "6 Mbit/s" }
[template.sd]
sending = { service_type = "guaranteed", token_rate = "2 Mbit/s" }
[class.live]
admission = "measured"
"#;

/// One trace with every operation, granted and refused. `'` stands for `"`.
const TRACE: &[&str] = &[
    "{'at_us':0,'op':'tick'}",
    "{'at_us':0,'op':'reserve','id':'a','interface':'eth0','templates':['hd','sd']}",
    "{'at_us':0,'op':'reserve','id':'l','interface':'eth0','sending':{'service_type':'guaranteed','token_rate':1000,'token_bucket_size':50000,'latency':101000}}",
    "{'at_us':0,'op':'reserve','id':'b','interface':'eth0','templates':['hd','sd'],'wait':true}",
    "{'at_us':0,'op':'reserve','id':'b','interface':'eth0','templates':['hd','sd']}",
    "{'at_us':0,'op':'reserve','id':'w','interface':'eth0','template':'hd','wait':true}",
    "{'at_us':1,'op':'query','interface':'eth0'}",
    "{'at_us':1,'op':'query','interface':'eth0','template':'hd'}",
    "{'at_us':1,'op':'query','interface':'eth1'}",
    "{'at_us':2,'op':'release','id':'a'}",
    "{'at_us':2,'op':'release','id':'a'}",
    "{'at_us':2,'op':'query','interface':'eth0','template':'sd'}",
    "{'at_us':2,'op':'reserve','id':'t','interface':'eth0','ttl_us':10,'sending':{'service_type':'guaranteed','token_rate':1000}}",
    "{'at_us':2,'op':'refresh','id':'t','ttl_us':20}",
    "{'at_us':2,'op':'renegotiate','id':'t','sending':{'service_type':'guaranteed','token_rate':2000}}",
    "{'at_us':2,'op':'renegotiate','id':'x'}",
    "{'at_us':30,'op':'tick'}",
    "{'at_us':30,'op':'reserve','id':'p','interface':'eth0','setup_priority':0,'holding_priority':0,'sending':{'service_type':'guaranteed','token_rate':900000}}",
    "{'at_us':30,'op':'group','id':'g','interface':'eth0','sending':{'service_type':'guaranteed','token_rate':1000}}",
    "{'at_us':30,'op':'ungroup','id':'g'}",
    "{'at_us':30,'op':'ungroup','id':'g'}",
    "{'at_us':40,'op':'capacity','interface':'eth0','direction':'egress','capacity':800000}",
    "{'at_us':500000,'op':'measure','interface':'eth0','class':'live','window_us':100000,'rate':{'sending':1,'receiving':0}}",
    "{'at_us':500000,'op':'measure','interface':'eth0','class':'none','window_us':100000,'rate':{'sending':1,'receiving':0}}",
    "{'at_us':600000,'op':'reserve','id':'d','interface':'eth0','sending':{'service_type':'guaranteed','token_rate':1000}}",
    "{'at_us':600000,'op':'reserve','id':'s','interface':'eth0','sending':{'service_type':'guaranteed','token_rate':1000}}",
    "{'at_us':600000,'op':'peer','id':'d','state':'silent'}",
    "{'at_us':600000,'op':'peer','id':'s','state':'stalled'}",
    "{'at_us':1600000,'op':'tick'}",
];

/// The decisions on [`TRACE`], and one of a running host.
fn decisions() -> Vec<serde_json::Value> {
    let policy = policy(POLICY);
    let mut ledger = Ledger::new(Arc::clone(&policy));
    let decide = |line: &&str| {
        let line = line.replace('\'', "\"");
        parse_line(&line, &policy).expect(&line).decide_by_ledger(&mut ledger)
    };
    let mut decisions: Vec<_> = TRACE.iter().map(decide).collect();
    let mut enforced = decisions[1].clone();
    enforced.set_enforced(Enforced {
        class: Some("6771:100 dev eth0".parse().unwrap()),
        shared: false,
        sending: true,
        receiving: false,
        receiving_class: Some("6771:100 dev gqi2".parse().unwrap()),
        lacking: vec![Lack::ReceivedDatagrams],
        slice: Some("3f2a".to_owned()),
    });
    decisions.push(enforced);
    decisions.iter().map(|decision| serde_json::to_value(decision).unwrap()).collect()
}

/// Whether a value is of a type, as the table words it.
fn is_of(value: &serde_json::Value, listed: &str) -> bool {
    let keys = |expected: &[&str]| {
        let found =
            value.as_object().map(|object| object.keys().map(String::as_str).collect::<BTreeSet<_>>());
        found == Some(expected.iter().copied().collect())
    };
    let is_pair = |pair: &serde_json::Value| {
        let rates = |pair: &serde_json::Map<_, _>| pair.len() == 2 && pair.values().all(|rate| rate.is_u64());
        pair["sending"].is_u64() && pair["receiving"].is_u64() && pair.as_object().is_some_and(rates)
    };
    match listed {
        "time" | "duration" | "rate" | "integer" => value.is_u64(),
        "string" => value.is_string(),
        "string or null" => value.is_string() || value.is_null(),
        "boolean" => value.is_boolean(),
        "list of ids" => value.as_array().is_some_and(|ids| ids.iter().all(serde_json::Value::is_string)),
        "{sending, receiving}`, rates" => is_pair(value),
        "object by interface of `{sending, receiving}`, rates" => {
            value.as_object().is_some_and(|interfaces| interfaces.values().all(is_pair))
        }
        "object" => keys(&["class", "shared", "sending", "receiving", "receiving_class", "lacking", "slice"]),
        other => panic!("the test does not know the type {other}"),
    }
}

#[test]
fn all_fields_of_decisions_are_listed_with_type_and_presence() {
    let (rows, decisions) = (table("Decision fields"), decisions());
    let listed: BTreeSet<_> = rows.iter().map(|row| row[0].as_str()).collect();
    for decision in &decisions {
        let fields: BTreeSet<_> = decision.as_object().unwrap().keys().map(String::as_str).collect();
        assert!(fields.is_subset(&listed), "{:?} are not listed", fields.difference(&listed));
    }
    for row in &rows {
        let [field, listed, present, _] = &row[..] else { panic!("{row:?}") };
        let values: Vec<_> = decisions.iter().filter_map(|decision| decision.get(field)).collect();
        for value in &values {
            assert!(is_of(value, listed), "{field} is no {listed}: {value}");
        }
        let (count, all) = (values.len(), decisions.len());
        match present.as_str() {
            "always" => assert_eq!(count, all, "{field}"),
            "if not empty" => assert!(values.iter().all(|value| **value != serde_json::json!([])), "{field}"),
            "if true" => assert!(values.iter().all(|value| **value == true), "{field}"),
            _ => assert!(count < all, "{field} is always present"),
        }
        assert!(count > 0, "the trace has no decision with {field}");
        if let "string or null" | "list of ids" = listed.as_str() {
            let is_empty = |value: &serde_json::Value| value.is_null() || *value == serde_json::json!([]);
            assert!(values.iter().any(|value| !is_empty(value)), "the trace has no decision with a {field}");
        }
    }
}

#[test]
fn an_empty_id_of_a_caller_of_the_library_is_null() {
    let mut ledger = Ledger::new(policy(POLICY));
    let mut id = |operation: &Operation| {
        let decision = ledger.decide(Moment::START, operation).decision;
        serde_json::to_value(&decision).unwrap()["id"].clone()
    };
    let mut reserve = |name: &str, megabits| {
        let flow = NewFlow { id: name, interface: "eth0" };
        let spec = Flowspec::guaranteed(Rate::from_mbit(megabits), Bytes::new(3000));
        id(&Operation::Reserve(Box::new(Request::new(flow, Qos::sending(spec)).into())))
    };
    assert_eq!(reserve("v", 1), "v");
    assert!(reserve("", 1).is_null(), "admitted");
    assert!(reserve("", 100).is_null(), "refused");
    assert!(id(&Operation::Release { id: String::new() }).is_null());
}
