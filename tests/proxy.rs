//! Proxies in front of origins that know nothing of them, on loopback without a class in the kernel: what passes, what is
//! refused, and what hostile clients get.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "proxy/datagrams.rs"]
mod datagrams;
#[path = "proxy/http.rs"]
mod http;
#[path = "proxy/origins.rs"]
mod origins;
#[path = "proxy/streams.rs"]
mod streams;
#[path = "proxy/world.rs"]
mod world;
