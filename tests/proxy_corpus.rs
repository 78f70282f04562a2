//! Checks the properties of the proxy's parsers on the inputs that fuzzing has kept.

#![allow(missing_docs, dead_code, clippy::unwrap_used, reason = "tests")]

use std::path::Path;

#[path = "../fuzz/proxy.rs"]
mod harness;

#[path = "../fuzz/replay.rs"]
mod corpus;

// The parsers name it by this path.
use gqos::policy;

#[track_caller]
fn replay(target: &str, run: fn(&[u8])) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    corpus::replay(&fuzz, (target, 8), run);
}

#[test]
fn http_heads() {
    replay("http_head", harness::http_head);
}

#[test]
fn chunks() {
    replay("chunks", harness::chunks);
}

#[test]
fn client_hellos() {
    replay("client_hello", harness::client_hello);
}

#[test]
fn proxy_headers() {
    replay("proxy_header", harness::proxy_header);
}

#[test]
fn rtsp_heads() {
    replay("rtsp_head", harness::rtsp_head);
}
