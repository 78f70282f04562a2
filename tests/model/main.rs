//! The ledger against a recount: the reservations as lists, counted anew moment by moment for every question. Random
//! operations of every kind under policies that are exchanged; decisions and totals have to agree.
//!
//! `GQOS_MODEL_OPERATIONS` is the number of operations, `GQOS_MODEL_SEED` the first seed. A difference prints its seed.

#![allow(missing_docs, clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests")]

mod clients;
mod counts;
mod fit;
mod peers;
mod policy;
mod random;
mod recount;
mod request;
mod run;
mod waiting;

use counts::Counts;
use run::Run;

/// The end of a reservation without an end.
const FOREVER: u64 = u64::MAX;

/// No reservation begins or ends further ahead, in microseconds. Few enough that every moment can be counted.
const HORIZON: u64 = 48;

#[test]
fn the_ledger_agrees_with_a_full_recount() {
    const OPERATIONS_OF_A_RUN: u64 = 2000;
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (operations, seed) = (number("GQOS_MODEL_OPERATIONS", 60_000), number("GQOS_MODEL_SEED", 1));
    let mut all = Counts::default();
    for run in 0..operations.div_ceil(OPERATIONS_OF_A_RUN) {
        all.add(&Run::new(seed + run).operations(OPERATIONS_OF_A_RUN));
    }
    println!("{operations} operations from seed {seed}: {all:?}");
    all.check(operations);
}
