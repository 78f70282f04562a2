//! Guaranteed-bandwidth connections for Linux.
//!
//! A flowspec goes in with the connect call; it is admitted against a per-interface budget or refused
//! at once, with the whole sum; what is admitted is enforced, by token buckets in user space and by
//! `tc` classes in the kernel. Calls, codes and semantics are those of Winsock's `WSPConnect`.

pub mod admission;
pub mod connect;
pub mod engine;
pub mod failure;
pub mod lab;
pub mod linux;
pub mod manager;
pub mod policy;
pub mod scenario;
pub mod tc;
pub mod winsock;
