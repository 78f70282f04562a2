//! The HTTP endpoint: metrics, health, readiness and a page for people, on a loopback port or a socket of this host.
//!
//! Off unless the policy or the command line turns it on. It reads and changes nothing, so that GET and HEAD are its only
//! methods. It has a thread and a runtime of its own, so that its clients cannot delay admission.
//!
//! # How a request is served
//!
//! `endpoint` binds and starts the thread, with its listener from `listener`; `serve` accepts connections with bounds on their number, and `timed`
//! ends those that do not read; `route` checks a request and answers it, with a body of `response`. `facts` reads the daemon's state, at
//! most a bounded part of the time, and `counted` follows its events. `metrics` and `health` make the answers; `process` reads
//! what the process takes of its host.
//!
//! `live` follows the daemon by the second, with `rates` from the kernel's counters and the `history` of the last ten minutes. The `page` shows a
//! `view` of it with `pictures`; its changing parts are a `frame`, which is also what the stream of changes sends.

mod counted;
mod endpoint;
mod facts;
mod frame;
mod health;
mod history;
mod listener;
mod live;
mod metrics;
mod page;
mod pictures;
mod process;
mod query;
mod rates;
mod response;
mod route;
mod serve;
mod timed;
mod view;

pub(super) use endpoint::{BoundEndpoint, HttpEndpoint};
