//! Checks the properties of the fuzz targets on the inputs that fuzzing has kept.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::path::Path;

#[path = "../fuzz/admission.rs"]
mod harness;

#[path = "../fuzz/replay.rs"]
mod corpus;

#[track_caller]
fn replay(target: &str, run: fn(&[u8])) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    corpus::replay(&fuzz, (target, 12), run);
}

#[test]
fn policies() {
    replay("policy", harness::policy);
}

#[test]
fn traces() {
    replay("trace", harness::trace);
}
