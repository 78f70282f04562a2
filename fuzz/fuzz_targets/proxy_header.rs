//! cargo +nightly fuzz run proxy_header
#![no_main]

#[path = "../proxy.rs"]
#[allow(dead_code, reason = "each target runs one of the five")]
mod harness;

// The parsers name it by this path.
use gqos::policy;

libfuzzer_sys::fuzz_target!(|input: &[u8]| harness::proxy_header(input));
