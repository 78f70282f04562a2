//! A media service: sends a looped stream to every viewer that asks, over TCP or UDP.
//!
//! The protocol is a line: `PLAY <id> <rendition>`. The answer is `OK` and the stream, or `NO` and the
//! decision as JSON. Over UDP the stream is RTP datagrams of seven packets each.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::media::{Looped, Media, PACKET};
use crate::connect::{Ask, ConnectError, Connection, Host, Listener};
use crate::linux::socket;

/// The congestion control of every TCP sender in the lab, so that results do not depend on the
/// host's default.
pub const CONGESTION_CONTROL: &str = "cubic";

/// Stream packets in a datagram. Source: RFC 3551, MP2T.
pub const PACKETS_PER_DATAGRAM: usize = 7;

/// An RTP header without contributing sources. Source: RFC 3550.
pub const RTP_HEADER: usize = 12;

/// Payload of one datagram: 1328 bytes.
pub const DATAGRAM: usize = RTP_HEADER + PACKETS_PER_DATAGRAM * PACKET;

/// What one rendition sends and what it asks for.
#[derive(Clone)]
pub struct Rendition {
    /// The stream.
    pub media: Media,
    /// What is asked of the host for it.
    pub ask: Ask,
}

/// The service: its renditions, and the host that guarantees them, if one does.
pub struct Service {
    /// By name.
    pub renditions: BTreeMap<String, Rendition>,
    /// The manager; nothing in the unmanaged phase.
    pub host: Option<Host>,
}

/// The service's open doors.
pub struct Doors {
    service: Arc<Service>,
    tcp: Door,
    udp: Arc<UdpSocket>,
}

enum Door {
    Managed(Listener),
    Plain(TcpListener),
}

impl Service {
    /// Opens the doors on this port, for TCP and UDP.
    ///
    /// # Errors
    /// `bind`.
    pub async fn open(self, address: SocketAddr) -> Result<Doors, ConnectError> {
        let failed = |cause: std::io::Error| ConnectError::socket("bind", address, cause);
        let tcp = match &self.host {
            Some(host) => Door::Managed(host.listen(address, Ask::default()).await?),
            None => Door::Plain(TcpListener::bind(address).await.map_err(failed)?),
        };
        let udp = Arc::new(UdpSocket::bind(address).await.map_err(failed)?);
        Ok(Doors { service: Arc::new(self), tcp, udp })
    }

    async fn managed(&self, mut connection: Connection) -> std::io::Result<()> {
        steady(connection.socket());
        let Some((id, rendition)) = self.requested(&mut connection).await? else { return Ok(()) };
        match connection.flow().reserve(&rendition.ask.clone().id(id)).await {
            Ok(_) => {
                connection.write_all(b"OK\n").await?;
                stream(&mut connection, rendition.media.looped()).await
            }
            Err(error) => {
                let answer = refusal(&error);
                connection.write_all(format!("NO {answer}\n").as_bytes()).await?;
                connection.shutdown().await
            }
        }
    }

    async fn unmanaged(&self, mut connection: TcpStream) -> std::io::Result<()> {
        steady(&connection);
        let Some((_, rendition)) = self.requested(&mut connection).await? else { return Ok(()) };
        connection.write_all(b"OK\n").await?;
        stream(&mut connection, rendition.media.looped()).await
    }

    /// Reads the request line.
    async fn requested(
        &self,
        connection: &mut (impl AsyncRead + Unpin),
    ) -> std::io::Result<Option<(String, &Rendition)>> {
        let mut line = String::new();
        let limited = tokio::io::AsyncReadExt::take(connection, 1024);
        BufReader::new(limited).read_line(&mut line).await?;
        Ok(self.parse(&line))
    }

    fn parse(&self, line: &str) -> Option<(String, &Rendition)> {
        let mut words = line.split_whitespace();
        let (play, id, name) = (words.next()?, words.next()?, words.next()?);
        (play == "PLAY").then(|| Some((id.to_owned(), self.renditions.get(name)?))).flatten()
    }

    /// Sends a rendition until the viewer is gone; a refusal is returned.
    async fn datagrams(&self, id: String, rendition: &Rendition, viewer: SocketAddr) -> Option<String> {
        let mut packets = Datagrams::new(rendition.media.looped());
        match &self.host {
            Some(host) => {
                let connected = host.connector().connect_udp(viewer, &rendition.ask.clone().id(id)).await;
                match connected {
                    Ok(connection) => while connection.send(packets.next()).await.is_ok() {},
                    Err(error) => return Some(refusal(&error)),
                }
            }
            None => {
                let any: SocketAddr = if viewer.is_ipv4() {
                    (std::net::Ipv4Addr::UNSPECIFIED, 0).into()
                } else {
                    (std::net::Ipv6Addr::UNSPECIFIED, 0).into()
                };
                let socket = UdpSocket::bind(any).await.ok()?;
                socket.connect(viewer).await.ok()?;
                let (started, rate) = (Instant::now(), rendition.media.mean_rate());
                let mut sent = 0u64;
                // As any RTP sender does, by the stream's own clock.
                while socket.send(packets.next()).await.is_ok() {
                    sent += (PACKETS_PER_DATAGRAM * PACKET) as u64;
                    let due = Duration::from_nanos(sent.saturating_mul(1_000_000_000) / rate.max(1));
                    tokio::time::sleep_until(started + due).await;
                }
            }
        }
        None
    }
}

impl Doors {
    /// Serves viewers until dropped; they are dropped with it.
    pub async fn serve(self) {
        let mut viewers = JoinSet::new();
        let mut buf = [0; 1024];
        loop {
            let service = Arc::clone(&self.service);
            tokio::select! {
                Some(_) = viewers.join_next() => {}
                connection = self.tcp.accept() => match connection {
                    // How it went is the viewer's to note.
                    Some(Either::Managed(connection)) => {
                        viewers.spawn(async move { drop(service.managed(connection).await) });
                    }
                    Some(Either::Plain(stream)) => {
                        viewers.spawn(async move { drop(service.unmanaged(stream).await) });
                    }
                    None => {}
                },
                Ok((length, viewer)) = self.udp.recv_from(&mut buf) => {
                    let line = String::from_utf8_lossy(&buf[..length]).into_owned();
                    let door = Arc::clone(&self.udp);
                    viewers.spawn(async move {
                        let Some((id, rendition)) = service.parse(&line) else { return };
                        let Some(answer) = service.datagrams(id, rendition, viewer).await else { return };
                        // A viewer that has gone is told nothing.
                        let _ = door.send_to(format!("NO {answer}").as_bytes(), viewer).await;
                    });
                }
            }
        }
    }
}

enum Either {
    Managed(Connection),
    Plain(TcpStream),
}

impl Door {
    /// The next viewer; nothing where it had gone before it was accepted.
    async fn accept(&self) -> Option<Either> {
        match self {
            Self::Managed(listener) => listener.accept_free().await.ok().map(Either::Managed),
            Self::Plain(listener) => listener.accept().await.ok().map(|(stream, _)| Either::Plain(stream)),
        }
    }
}

/// A looped stream as RTP datagrams.
struct Datagrams {
    looped: Looped,
    sequence: u16,
    datagram: [u8; DATAGRAM],
}

impl Datagrams {
    fn new(looped: Looped) -> Self {
        let mut datagram = [0; DATAGRAM];
        // Version 2, payload type 33 (MP2T).
        datagram[..2].copy_from_slice(&[0x80, 33]);
        Self { looped, sequence: 0, datagram }
    }

    fn next(&mut self) -> &[u8] {
        self.datagram[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        self.sequence = self.sequence.wrapping_add(1);
        self.looped.fill(&mut self.datagram[RTP_HEADER..]);
        &self.datagram
    }
}

/// Sends a stream until the viewer hangs up.
async fn stream(to: &mut (impl AsyncWrite + Unpin), mut looped: Looped) -> std::io::Result<()> {
    let mut buffer = vec![0; PACKET * 64];
    loop {
        looped.fill(&mut buffer);
        to.write_all(&buffer).await?;
    }
}

/// The same congestion control for everybody; the host's default where the kernel has no other.
fn steady(stream: &TcpStream) {
    // A kernel without cubic keeps its default: the results are then told with it.
    let _ = socket::set_congestion_control(stream, CONGESTION_CONTROL);
}

fn refusal(error: &ConnectError) -> String {
    match error {
        ConnectError::Refused(decision) => serde_json::to_string(decision).unwrap_or_default(),
        error => serde_json::json!({ "ok": false, "message": error.to_string() }).to_string(),
    }
}

/// Sends as much as the network takes on each connection, until dropped.
pub async fn bulk(listener: TcpListener) {
    let mut senders = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = senders.join_next() => {}
            Ok((mut connection, _)) = listener.accept() => {
                steady(&connection);
                senders.spawn(async move {
                    let zeroes = vec![0; 64 << 10];
                    while connection.write_all(&zeroes).await.is_ok() {}
                });
            }
        }
    }
}
