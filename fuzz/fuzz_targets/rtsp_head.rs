//! cargo +nightly fuzz run rtsp_head
#![no_main]

#[path = "../proxy.rs"]
#[allow(dead_code, reason = "each target runs one of the five")]
mod harness;

// The parsers name it by this path.
use gqos::policy;

libfuzzer_sys::fuzz_target!(|input: &[u8]| harness::rtsp_head(input));
