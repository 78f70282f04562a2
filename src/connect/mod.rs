//! Connections with reserved bandwidth.
//!
//! Takes a peer and an [`Ask`]; returns a [`Connection`] that is shaped to its flowspec, or the refusal with its
//! numbers. Makes no decisions itself, and does not know whether its [engine](crate::engine) runs in this process.
//!
//! # Listening
//!
//! A program starts one [`Host`] under a policy. The host's [`Listener`] reserves for each connection that it
//! accepts. The error for a refused connection contains its stream, so that the server can answer the peer.
//!
//! ```no_run
//! use gqos::connect::{AcceptError, Ask, Connection, Host};
//! use gqos::policy::Policy;
//! use tokio::io::AsyncWriteExt;
//!
//! async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//!     let host = Host::start(Policy::from_path("/etc/gqos/policy.toml")?).await?;
//!     let listener = host.listen("0.0.0.0:8080".parse()?, Ask::template("720p").class("viewer")).await?;
//!     loop {
//!         match listener.accept().await {
//!             Ok(connection) => drop(tokio::spawn(send(connection))),
//!             Err(AcceptError::Refused { decision, mut stream, .. }) => {
//!                 let head = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close";
//!                 let answer = format!("{head}\r\n\r\n{}\n", decision.message());
//!                 // The socket takes it at once. A peer that is gone is no reason to stop.
//!                 let _ = stream.write_all(answer.as_bytes()).await;
//!             }
//!             Err(error) => eprintln!("{error}"),
//!         }
//!     }
//! }
//!
//! async fn send(mut connection: Connection) -> std::io::Result<()> {
//!     // A write waits whenever the stream is ahead of its token rate: back-pressure for its source.
//!     loop {
//!         connection.write_all(&[0; 1316]).await?;
//!     }
//! }
//! ```
//!
//! An HTTP server should first read the request, then reserve and answer: [below](#reserving-later), or by the layer
//! of `gqos::tower`. If a stream is closed while the peer's request is unread, the connection is reset, and the peer
//! may lose the answer.
//!
//! [`Host::listen_with`] sets a backlog and socket options. [`Host::listen_on`] takes an open listener, and
//! [`Host::adopt`] a socket that another library has accepted or connected. A client connects with a [`Connector`].
//!
//! # Reserving later
//!
//! If the first request determines what to reserve, the server accepts without a reservation, by
//! [`Listener::accept_free`], and reserves later on the connection's [`Flow`]. Each connection has one flow. The flow
//! can be cloned as an `Arc` and kept beside the connection.
//!
//! ```no_run
//! # use gqos::connect::{Ask, Connection, ConnectError};
//! # async fn request(_: &Connection) -> String { "720p".into() }
//! async fn serve(connection: Connection) -> Result<(), ConnectError> {
//!     let rendition = request(&connection).await;
//!     let decision = connection.flow().reserve(&Ask::template(rendition).class("viewer")).await?;
//!     println!("{}", decision.message());
//!     Ok(())
//! }
//! ```
//!
//! # Ladders, renegotiation, and waiting for capacity
//!
//! [`Ask::first_of`] names renditions, best first, and reserves the first that fits. A flow without the best
//! rendition may wait for capacity: [`Ask::waiting_as`] puts it into the waiting queue, and
//! [`Host::wait_for_capacity`] completes when a better rendition would fit. [`Flow::renegotiate`] then requests it on
//! the same connection.
//!
//! ```
//! use gqos::connect::{Ask, Host};
//! use gqos::policy::Policy;
//! use tokio::net::TcpListener;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let policy: Policy = r#"
//!     version = 1
//!     [interface.lo]
//!     egress = { capacity = "10 Mbit/s", reservable = "80%" }
//!     enforcement = "user-space"
//!     [template.hd]
//!     sending = { service_type = "guaranteed", token_rate = "6 Mbit/s" }
//!     [template.sd]
//!     sending = { service_type = "guaranteed", token_rate = "2 Mbit/s" }
//! "#
//! .parse()?;
//! let host = Host::start(policy).await?;
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let (peer, connector) = (listener.local_addr()?, host.connector());
//!
//! let ladder = Ask::first_of(["hd", "sd"]);
//! let first = connector.connect(peer, &ladder).await?;
//! let second = connector.connect(peer, &ladder.clone().waiting_as("second")).await?;
//! assert_eq!(first.flow().rendition().as_deref(), Some("hd"));
//! assert_eq!(second.flow().rendition().as_deref(), Some("sd"));
//!
//! // The first viewer leaves, and the second one gets the better rendition.
//! drop(first);
//! host.wait_for_capacity("second").await?;
//! second.flow().renegotiate(&ladder).await?;
//! assert_eq!(second.flow().rendition().as_deref(), Some("hd"));
//! # host.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Lost reservations
//!
//! A reservation may end before its connection: it is preempted by a more important flow, shed because the link has
//! become slower, or expired, or the peer is dead or stalled ([`Loss`]). The connection continues as best effort, and
//! [`Flow::until_lost`] completes.
//!
//! ```no_run
//! # use gqos::connect::{Ask, Connection};
//! # async fn next_segment(_: &mut Connection) -> std::io::Result<()> { Ok(()) }
//! async fn stream(mut connection: Connection) -> std::io::Result<()> {
//!     let flow = std::sync::Arc::clone(connection.flow());
//!     loop {
//!         tokio::select! {
//!             sent = next_segment(&mut connection) => sent?,
//!             lost = flow.until_lost() => {
//!                 eprintln!("{lost}");
//!                 // A smaller reservation may still be possible; otherwise it goes on without one.
//!                 if flow.reserve(&Ask::template("480p")).await.is_err() {
//!                     break;
//!                 }
//!             }
//!         }
//!     }
//!     next_segment(&mut connection).await
//! }
//! ```
//!
//! # Files
//!
//! A write wakes its task for each release of the shaper. A server with many streams of stored media saves these wakes, and a
//! timer and a buffer for each stream, if it hands its files to the host's threads: [`Connection::send_file`] reads and sends
//! within the kernel, and completes once the socket has accepted everything. [`Connection::send_bytes`] does the same for
//! bytes in memory, and [`Connection::send`] for a [`Payload`](shaper::transfer::Payload), such as a segment that is repeated.
//! Reservations, renegotiation, counters and losses are those of a write.
//!
//! ```
//! use std::io::Write;
//! use gqos::connect::{Ask, Host};
//! use gqos::policy::Policy;
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let policy: Policy = r#"
//!     version = 1
//!     [interface.lo]
//!     egress = { capacity = "1 Gbit/s", reservable = "80%" }
//!     enforcement = "user-space"
//!     [template.hd]
//!     sending = { service_type = "guaranteed", token_rate = "100 Mbit/s" }
//! "#
//! .parse()?;
//! # let mut file = tempfile::tempfile()?;
//! # file.write_all(&[7; 100_000])?;
//! let host = Host::start(policy).await?;
//! let listener = host.listen("127.0.0.1:0".parse()?, Ask::template("hd")).await?;
//! let mut viewer = tokio::net::TcpStream::connect(listener.local_addr()?).await?;
//! let mut connection = listener.accept().await?;
//!
//! connection.write_all(b"HTTP/1.1 206 Partial Content\r\n\r\n").await?;
//! let sent = connection.send_file(file, 20_000..100_000).await?;
//! connection.shutdown().await?;
//! assert_eq!(sent, 80_000);
//!
//! let mut received = Vec::new();
//! viewer.read_to_end(&mut received).await?;
//! assert!(received.ends_with(&[7; 80_000]));
//! # drop(connection);
//! # host.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Datagrams
//!
//! [`Connector::connect_udp`] returns a [`DatagramConnection`], which also has a [`Flow`]. A socket that serves many
//! peers, such as a QUIC endpoint, is a [`DatagramSocket`]: it reserves for each [`Destination`], and other datagrams
//! are best effort. [`DatagramConnection::send_segments`] sends media in datagrams of one size with less CPU.
//!
//! # The end
//!
//! A dropped connection releases its reservation when its data has been sent. [`Host::stop`] removes the trees that
//! the host has programmed in the kernel. So do the drop of the last handle, the end of the runtime, and a panic that
//! unwinds. A signal without a handler kills the process without any of this. A server should therefore wait for
//! SIGINT and SIGTERM beside [`Listener::accept`], as `examples/media_server.rs` does. [`Host`] describes what a
//! killed process leaves behind.
//!
//! # Types
//!
//! - **Start here**: [`Host`], a handle on an engine; [`Ask`] and [`What`], the reservation that a flow requests.
//! - **Make connections**: [`Connector`] reserves, then connects; [`Listener`] accepts, then reserves; [`Adopt`] and
//!   [`IntoSocket`] are for sockets that a host takes over.
//! - **Use connections**: [`Connection`] (TCP, `AsyncRead` and `AsyncWrite`, files), [`DatagramConnection`] and
//!   [`DatagramSocket`] (UDP), and [`Flow`], which reserves, renegotiates, refreshes and releases.
//! - **Events**: [`Host::events`] returns all events, for logs and metrics.
//! - **Answers**: [`ConnectError`] and [`AcceptError`], with the Winsock code; [`InterfaceReport`] and [`ClassReport`].
//! - **For providers that own their sockets**: [`Host::reserve`] with a [`ReservationRequest`], [`plan()`],
//!   [`meter`], [`segment_limit`].

mod adopt;
mod carrier;
mod connection;
mod connector;
mod datagrams;
mod error;
mod flow;
mod host;
mod listener;
mod plan;
mod transfers;

pub use crate::engine::{
    Ask, ClassReport, Events, InterfaceReport, Loss, Lost, ReservationRequest, Slice, SliceRequest, What,
};
pub use adopt::{Adopt, IntoSocket};
pub use connection::{Connection, SharedTcpStream};
pub use connector::Connector;
pub use datagrams::{DatagramConnection, DatagramSocket, Destination};
#[cfg(feature = "proxy")]
pub(crate) use datagrams::{hold_received, lost_received};
pub use error::ConnectError;
pub use flow::Flow;
pub use host::Host;
pub use listener::{AcceptError, ListenOptions, Listener};
pub use plan::{meter, plan, segment_limit};
