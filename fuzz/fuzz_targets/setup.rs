//! cargo +nightly fuzz run setup
#![no_main]

#[path = "../winsock.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|input: &[u8]| harness::setup(input));
