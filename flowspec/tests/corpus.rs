//! Every input that fuzzing has kept, once more: what must hold, without a fuzzer.

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
fn qos() {
    replay("qos", harness::qos);
}

#[test]
fn rsvp() {
    replay("rsvp", harness::rsvp);
}

#[test]
fn text() {
    replay("text", harness::text);
}
