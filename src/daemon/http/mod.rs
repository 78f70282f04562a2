//! The HTTP endpoint: metrics, health and readiness, on a loopback port or a socket of this host.
//!
//! Off unless the policy or the command line turns it on. It reads and changes nothing, so that GET and HEAD are its only
//! methods. It has a thread and a runtime of its own: what a client of it does delays no admission.
//!
//! # How a request is served
//!
//! `endpoint` binds and starts the thread, with its listener from `listener`; `serve` accepts connections with bounds on their number, and `timed`
//! ends those that do not read; `route` checks a request and answers it, with a body of `response`. `facts` reads the daemon's state, at
//! most a bounded part of the time, and `counted` follows its events. `metrics` and `health` make the answers; `process` reads
//! what the process takes of its host.

mod counted;
mod endpoint;
mod facts;
mod health;
mod listener;
mod metrics;
mod process;
mod query;
mod response;
mod route;
mod serve;
mod timed;

pub(super) use endpoint::{BoundEndpoint, HttpEndpoint};
