//! Checks the properties of the fuzz targets on the inputs that fuzzing has kept.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::path::Path;

#[path = "../fuzz/admission.rs"]
mod harness;

#[track_caller]
fn replay(target: &str, run: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut inputs = 0;
    for entry in std::fs::read_dir(&corpus).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        run(&std::fs::read(path).unwrap());
        inputs += 1;
    }
    assert!(inputs >= 12, "{target} has {inputs} inputs");
}

#[test]
fn policies() {
    replay("policy", harness::policy);
}

#[test]
fn traces() {
    replay("trace", harness::trace);
}
