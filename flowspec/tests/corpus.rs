//! The properties that the fuzz targets check, for every input of the corpus, without a fuzzer.

#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::path::Path;

#[path = "../../fuzz/harness.rs"]
mod harness;

#[path = "../../fuzz/replay.rs"]
mod corpus;

#[track_caller]
fn replay(target: &str, run: fn(&[u8])) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    corpus::replay(&fuzz, (target, 20), run);
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
