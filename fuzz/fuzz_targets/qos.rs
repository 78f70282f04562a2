//! cargo +nightly fuzz run qos
#![no_main]

#[path = "../harness.rs"]
#[allow(dead_code, reason = "each target runs one of the three")]
mod harness;

libfuzzer_sys::fuzz_target!(|input: &[u8]| harness::qos(input));
