//! A proxy in front of unmodified origins.
//!
//! Takes the `[proxy.NAME]` tables of a policy; accepts clients, reserves for each client, and sends the origin's
//! data at the reserved rate. Makes no decisions itself. It passes data on unchanged, except for the headers
//! `X-Gqos-Rendition` and `Upgrade` of HTTP requests.
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
//! - **The server**: [`Server`]; signal handlers use its [`ServerHandle`]; [`Replaced`] says what a reload changed.
//! - **Each connection**: a [`ConnectionRecord`] with its [`ConnectionEnd`].
//! - **Errors**: [`ProxyError`].
//!
//! # Order of calls
//!
//! [`Server::bind`], then [`Server::run`] until its future `stop` is ready.
//!
//! # One connection
//!
//! 1. If the peer is a load balancer of the policy, the proxy reads a PROXY protocol header.
//! 2. The proxy reads the start of the protocol: the head of an HTTP or RTSP request, or the ClientHello of TLS. The
//!    bytes, the time and the number of connections are limited.
//! 3. The first matching rule determines the templates, and [`Flow::reserve`](crate::connect::Flow::reserve) requests
//!    them. A refused client is answered as the policy says, and the proxy does not connect to the origin.
//! 4. The proxy connects to the origin and copies both directions. It holds at most one buffer for each direction, so
//!    that a client that reads slowly slows down its origin connection. When one direction ends, the other stays
//!    open. A reset on one side resets the other side.
//! 5. The [`ConnectionRecord`] describes the connection after its end.
//!
//! # Requests after the first
//!
//! The proxy parses each request of an HTTP connection. Each head is checked like the first one. A request that
//! matches another rule renegotiates the reservation. If this is refused, the request is not passed on, and the
//! client gets the refusal when the earlier requests have been answered. For responses, the proxy only determines
//! where they end, while they are in the origin's socket. After an origin answers 101 to a request with `Upgrade`,
//! the connection is passed on without parsing.

mod admission;
mod answer;
mod bad_start;
mod body;
mod client_connections;
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
