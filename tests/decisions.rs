//! docs/DECISIONS.md lists every field of requests and every reason with its codes.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use gqos::admission::Reason;
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
