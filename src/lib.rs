//! Guaranteed-bandwidth connections for Linux.
//!
//! A flowspec goes in with the connect call; it is admitted against a per-interface budget or refused
//! at once, with the whole sum; what is admitted is enforced, by token buckets in user space and by
//! `tc` classes in the kernel. Calls, codes and semantics are those of Winsock's `WSPConnect`.
//!
//! # Features
//!
//! - `cli` (default): the command `gqos`; enables `host`.
//! - `host`: connections and the kernel, with tokio and netlink: [`connect`], [`engine`], [`lab`] and [`linux`].
//!   The Winsock provider, the package `gqos-winsock`, builds on it.
//!
//! With neither, the library checks policies, decides requests and replays traces, and opens no socket.

pub mod admission;
#[cfg(feature = "host")]
pub mod connect;
#[cfg(feature = "host")]
pub mod engine;
pub mod failure;
#[cfg(feature = "host")]
pub mod lab;
#[cfg(feature = "host")]
pub mod linux;
pub mod manager;
pub mod policy;
pub mod scenario;
pub mod tc;
pub mod telemetry;
