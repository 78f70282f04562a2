//! The daemon as its clients see it: calls, authority, limits and lifetimes. Each test has a daemon and a network of its
//! own.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    dead_code,
    reason = "tests, which share what each uses a part of"
)]
#![allow(clippy::disallowed_methods, reason = "waits for other processes and for a daemon in another thread")]

mod audited;
mod browser;
mod calls;
mod client;
#[path = "../common/mod.rs"]
mod common;
mod confined;
mod hostile;
mod http;
mod killed;
mod killed_host;
mod lifetimes;
mod logged;
mod page;
mod page_use;
mod program;
mod recovery;
mod refused;
mod service;
mod slices;
mod soak;
mod threats;
#[path = "../syscalls/tracer.rs"]
mod tracer;
mod users;
