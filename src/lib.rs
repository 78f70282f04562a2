//! Guaranteed-bandwidth connections for Linux.
//!
//! A connect call states a flowspec. The flowspec is admitted against a per-interface budget or refused at once, with
//! the numbers that decided. Admitted flows are enforced by token buckets in user space and by `tc` classes in the
//! kernel. Calls, codes and semantics are those of Winsock's `WSPConnect`.
//!
//! ```
//! use gqos::connect::{Ask, Host};
//! use gqos::flowspec::Rate;
//! use gqos::policy::Policy;
//! use tokio::io::AsyncWriteExt;
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // Usually a file: Policy::from_path("/etc/gqos/policy.toml")
//!     let policy: Policy = r#"
//!         version = 1
//!         [interface.lo]
//!         egress = { capacity = "10 Mbit/s", reservable = "80%" }
//!         enforcement = "user-space"    # for an example without privileges; "auto" adds classes in the kernel
//!         [template.video]
//!         sending = { service_type = "guaranteed", token_rate = "5 Mbit/s" }
//!     "#
//!     .parse()?;
//!     let host = Host::start(policy).await?;
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//!     let peer = listener.local_addr()?;
//!
//!     // Reserved before the first packet leaves, shaped from the first byte, released with the connection.
//!     let mut first = host.connector().connect(peer, &Ask::template("video")).await?;
//!     first.write_all(b"frames").await?;
//!
//!     // A second one does not fit beside it, and the first keeps what it has.
//!     let refused = host.connector().connect(peer, &Ask::template("video")).await.expect_err("a refusal");
//!     let decision = refused.decision().expect("a refusal has its decision");
//!     assert_eq!(decision.would_fit(), Some(Rate::from_mbit(3)));
//!     println!("{}", decision.message());
//!
//!     host.stop().await;
//!     Ok(())
//! }
//! ```
//!
//! # Where to start
//!
//! - **Your own server or client**: [`connect`]. Its page shows step by step: listening, reserving, ladders of
//!   renditions, renegotiation, lost reservations, waiting for capacity, datagrams, and shutdown.
//! - **An HTTP server on hyper, axum or tonic**: [`tower`](https://docs.rs/gqos/latest/gqos/tower/), a layer (feature `tower`).
//! - **The decisions of a policy, without sockets**: [`manager::DryRun`], which needs no feature.
//! - **Policies**: [`policy`], and [`files`] to read them.
//!
//! # Features
//!
//! - `cli` (default): the command `gqos` and its charts; enables `daemon`, `lab`, `proxy` and `scenario`.
//! - `daemon`: the daemon that shares one budget among the processes of a host, [`daemon`]; enables `host`, which its
//!   clients need.
//! - `host`: connections and the kernel, with tokio and netlink: [`connect`], [`engine`] and [`linux`].
//!   The Winsock provider, the package `gqos-winsock`, builds on it.
//! - `lab`: networks of two hosts on this machine for tests and measurements, [`lab`], and checks of what the machine
//!   offers, [`doctor`]; enables `host`.
//! - `proxy`: the proxy in front of unmodified origins, [`proxy`]; enables `host`.
//! - `scenario`: regression tests and traces of a policy, [`scenario`].
//! - `tower`: the layer for HTTP servers; enables `host`.
//!
//! Without any feature, the library checks policies and decides requests, and opens no socket. A server turns the
//! default feature off: `gqos = { version = "0.1", default-features = false, features = ["host"] }`.
//!
//! # Privileges
//!
//! A class in the kernel needs CAP_NET_ADMIN. Without this capability, and with `enforcement = "auto"`, flows are
//! admitted and shaped in user space; each decision says what is not enforced.

#![deny(missing_docs)]

pub mod admission;
#[cfg(feature = "cli")]
pub mod chart;
#[cfg(feature = "host")]
pub mod connect;
#[cfg(feature = "host")]
pub mod control;
#[cfg(feature = "daemon")]
pub mod daemon;
#[cfg(feature = "lab")]
pub mod doctor;
#[cfg(feature = "host")]
pub mod engine;
pub mod failure;
pub mod files;
pub mod kernel;
#[cfg(feature = "lab")]
pub mod lab;
#[cfg(feature = "host")]
pub mod linux;
pub mod manager;
mod ordered;
pub mod policy;
#[cfg(feature = "proxy")]
pub mod proxy;
#[cfg(feature = "scenario")]
pub mod scenario;
pub mod tc;
pub mod telemetry;
#[cfg(feature = "tower")]
pub mod tower;

pub use flowspec;
pub use shaper;
