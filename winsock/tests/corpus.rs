//! The inputs that fuzzing has kept for the messages of the connect-data handshake, read without a fuzzer.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::path::Path;

#[path = "../../fuzz/winsock.rs"]
mod harness;

#[path = "../../fuzz/replay.rs"]
mod corpus;

#[test]
fn handshake_messages_of_the_corpus_are_read_and_written_back() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    corpus::replay(&fuzz, ("setup", 12), harness::setup);
}
