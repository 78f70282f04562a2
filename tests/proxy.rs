//! Proxies in front of origins that know nothing of them, on loopback without a class in the kernel: what passes, what is
//! refused, and what hostile clients get.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[path = "proxy/command.rs"]
mod command;
mod common;
#[path = "proxy/datagrams.rs"]
mod datagrams;
#[path = "proxy/http.rs"]
mod http;
#[path = "proxy/in_turn.rs"]
mod in_turn;
#[path = "proxy/origins.rs"]
mod origins;
#[path = "proxy/reload.rs"]
mod reload;
#[path = "proxy/segments.rs"]
mod segments;
#[path = "proxy/smuggling.rs"]
mod smuggling;
#[path = "proxy/streams.rs"]
mod streams;
#[path = "proxy/transfers.rs"]
mod transfers;
#[path = "proxy/world.rs"]
mod world;
