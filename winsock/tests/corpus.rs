//! The inputs that fuzzing has kept for the messages of the connect-data handshake, read without a fuzzer.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::path::Path;

#[path = "../../fuzz/winsock.rs"]
mod harness;

#[test]
fn handshake_messages_of_the_corpus_are_read_and_written_back() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/setup");
    let mut inputs = 0;
    for entry in std::fs::read_dir(&corpus).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        harness::setup(&std::fs::read(path).unwrap());
        inputs += 1;
    }
    assert!(inputs >= 12, "the corpus has {inputs} inputs");
}
