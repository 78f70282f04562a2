//! Properties of all policy texts and traces. The fuzz targets check them on new inputs, `tests/corpus.rs` on kept ones.

use std::sync::Arc;

use gqos::admission::{Ledger, Operation};
use gqos::manager::{DryRun, proven_error_terms};
use gqos::policy::{Policy, Severity, Source};
use gqos::scenario::{Suite, infeasible, parse_line, run_test};

/// A policy that uses most features.
const POLICY: &str = include_str!("policy.toml");

/// A policy text, which is read as a test file too: every problem has a place inside the text.
pub(crate) fn policy(input: &[u8]) {
    let Ok(text) = core::str::from_utf8(input) else { return };
    let sources = [Source { name: "fuzz", text }];
    let problems = match Policy::parse(&sources) {
        Ok((policy, mut warnings)) => {
            warnings.extend(infeasible(&policy));
            assert!(warnings.iter().all(|problem| problem.code.severity() == Severity::Warning));
            // A ledger can be created under every valid policy.
            let ledger = Ledger::new(Arc::new(policy));
            assert_eq!(ledger.flows(), 0);
            warnings
        }
        Err(problems) => {
            assert!(problems.iter().any(|problem| problem.code.severity() == Severity::Error));
            problems
        }
    };
    for problem in &problems {
        let span = &problem.place.span;
        assert!(span.start <= span.end && span.end <= text.len(), "{problem:?}");
        assert!(text.is_char_boundary(span.start) && text.is_char_boundary(span.end), "{problem:?}");
        assert!(!problem.message.is_empty());
    }
    if text.len() < 4096
        && let Ok(suite) = Suite::parse(&sources[0])
    {
        let (policy, _) = Policy::parse(&[Source { name: "policy", text: POLICY }]).expect("it is valid");
        let policy = Arc::new(policy);
        let named = suite.policies().into_iter().map(|name| (name.to_owned(), Arc::clone(&policy))).collect();
        for problem in suite.check(&named) {
            assert!(text.get(problem.place.span.clone()).is_some(), "{problem:?}");
        }
        // A step may open a million flows, which takes too long here.
        if !text.contains("repeat") {
            for test in &suite.tests {
                let first = run_test(test, &policy, &named, None);
                assert_eq!(first.verdict, run_test(test, &policy, &named, None).verdict);
            }
        }
    }
}

/// A trace: ledger and manager decide the same, and no more than the budget is reserved unless a capacity has fallen.
pub(crate) fn trace(input: &[u8]) {
    let Ok(text) = core::str::from_utf8(input) else { return };
    let (policy, _) = Policy::parse(&[Source { name: "policy", text: POLICY }]).expect("it is valid");
    let policy = Arc::new(policy);
    let mut ledger = Ledger::proving(Arc::clone(&policy), proven_error_terms);
    let mut twin = DryRun::new(Arc::clone(&policy));
    let mut fell = false;
    for line in text.lines() {
        let Ok(traced) = parse_line(line, &policy) else { continue };
        fell |= matches!(traced.request, Ok(Operation::Capacity { .. }));
        let decision = traced.decide_by_ledger(&mut ledger);
        let json = serde_json::to_string(&decision).expect("every decision is JSON");
        let again = traced.decide_by_manager(&mut twin);
        assert_eq!(json, serde_json::to_string(&again).expect("JSON"));
        ledger.invariants();
        twin.invariants();
        assert_eq!(decision.is_ok(), decision.error().is_none() && decision.reason().is_none());
        for (name, totals) in ledger.interfaces() {
            for totals in [totals.sending, totals.receiving] {
                assert!(fell || totals.reserved <= totals.budget, "{name}: {totals:?} after {line}");
            }
        }
    }
}
