//! A proxy in front of unmodified origins.
//!
//! Takes the `[proxy.NAME]` tables of a policy; accepts their clients, reserves for each, and passes what the origin sends at
//! the reserved rate. Decides nothing by itself, and does not change what it passes but for one header.
//!
//! ```no_run
//! use gqos::connect::Host;
//! use gqos::policy::Policy;
//! use gqos::proxy::Server;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let policy = Policy::from_path("/etc/gqos/policy.toml")?;
//! let proxies = policy.proxies.clone();
//! let host = Host::start(policy).await?;
//! let server = Server::bind(&host, &proxies)?;
//! server.run(|record| println!("{record}"), async { drop(tokio::signal::ctrl_c().await) }).await;
//! host.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Types
//!
//! - **The server**: [`Server`], and [`ServerHandle`] for what signals ask of it; [`Replaced`] says what a reload changed.
//! - **Each connection**: a [`ConnectionRecord`] with its [`ConnectionEnd`].
//! - **Errors**: [`ProxyError`].
//!
//! # Order of calls
//!
//! [`Server::bind`], then [`Server::run`] until its future `stop` is ready.
//!
//! # One connection
//!
//! 1. A PROXY protocol header is read where the peer is a load balancer of the policy.
//! 2. What the protocol shows is read: the head of an HTTP or RTSP request, the ClientHello of TLS. The bytes, the time and
//!    the number of connections are limited.
//! 3. The first rule that matches gives the templates; [`Flow::reserve`](crate::connect::Flow::reserve) asks for them. A refused client is answered
//!    as the policy says, and the origin gets no connection.
//! 4. The origin is connected, and both directions are copied. At most one buffer of each direction is held: a client that
//!    reads slowly slows its origin down. The end of one direction leaves the other one open; a reset is passed on as one.
//! 5. The [`ConnectionRecord`] says how it went.
//!
//! # Requests after the first
//!
//! A connection of HTTP is followed from one request to the next, by their lengths. Each head is checked as the first one
//! is. One that meets another rule renegotiates the reservation; if that is refused, the request is not passed on, and the
//! client gets the refusal once the requests before it are answered. Of responses only the ends are found, while they are in
//! the origin's socket. Once an origin answers 101 to a request with `Upgrade`, the connection is passed on unread.

mod admission;
mod answer;
mod bad_start;
mod body;
mod client_hello;
mod clock;
mod datagram_queue;
mod datagrams;
mod error;
mod exchange;
mod header;
mod http;
mod incoming;
mod listening;
mod progress;
mod record;
mod relay;
mod requests;
mod responses;
mod rtsp;
mod server;
mod session;
mod workers;

pub use error::ProxyError;
pub use record::{ConnectionEnd, ConnectionRecord};
pub use server::{Replaced, Server, ServerHandle};
