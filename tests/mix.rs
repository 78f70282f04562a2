//! Any mix of operations, reloads and kernel answers, chosen at random: the property of the fuzz target `mix`.

#![allow(missing_docs, reason = "tests")]

use proptest::prelude::*;

#[path = "../fuzz/mix.rs"]
mod harness;

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn no_mix_of_inputs_stops_ledger_or_manager(input in prop::collection::vec(any::<u8>(), 0..900)) {
        harness::mix(&input);
    }
}
