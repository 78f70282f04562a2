//! cargo +nightly fuzz run shaper
#![no_main]

#[path = "../shaper.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|input: &[u8]| harness::limiters(input));
