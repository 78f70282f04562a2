//! cargo +nightly fuzz run policy
#![no_main]

#[path = "../admission.rs"]
#[allow(dead_code, reason = "each target runs one of the two")]
mod harness;

libfuzzer_sys::fuzz_target!(|input: &[u8]| harness::policy(input));
