//! The properties that the fuzz target checks, for every input of the corpus and for random ones, without a fuzzer.

#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::path::Path;

use proptest::prelude::*;

#[path = "../../fuzz/shaper.rs"]
mod harness;

#[test]
fn calls_of_the_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/shaper");
    let mut inputs = 0;
    for entry in std::fs::read_dir(&corpus).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        harness::limiters(&std::fs::read(path).unwrap());
        inputs += 1;
    }
    assert!(inputs >= 4, "the corpus has {inputs} inputs");
}

proptest! {
    #[test]
    fn random_calls(input in prop::collection::vec(any::<u8>(), 0..2000)) {
        harness::limiters(&input);
    }
}
