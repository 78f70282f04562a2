//! cargo +nightly fuzz run mix
#![no_main]

#[path = "../mix.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|input: &[u8]| harness::mix(input));
