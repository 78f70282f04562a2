//! The properties that the fuzz targets check, for every input of the corpus, without a fuzzer.

#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::path::Path;

#[path = "../../fuzz/harness.rs"]
mod harness;

#[track_caller]
fn replay(target: &str, run: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut inputs = 0;
    for entry in std::fs::read_dir(&corpus).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        run(&std::fs::read(path).unwrap());
        inputs += 1;
    }
    assert!(inputs >= 20, "{target} has {inputs} inputs");
}

#[test]
fn qos_bytes_of_the_corpus() {
    replay("qos", harness::qos);
}

#[test]
fn rsvp_objects_of_the_corpus() {
    replay("rsvp", harness::rsvp);
}

#[test]
fn texts_of_the_corpus() {
    replay("text", harness::text);
}
