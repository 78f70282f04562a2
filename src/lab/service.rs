//! A media service: sends a stream in a loop to every viewer that requests one, over TCP or UDP.
//!
//! The protocol is one line: `PLAY <id> <rendition>`. The answer is `OK` and the stream, or `NO` and the decision as JSON.
//! Over UDP the stream is sent in RTP datagrams of seven packets.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::media::{Looped, Media, PACKET};
use crate::connect::{Ask, ConnectError, Connection, Host, Listener};
use crate::linux::socket;

/// The congestion control of every TCP sender in the lab, so that results do not depend on the machine's default.
pub const CONGESTION_CONTROL: &str = "cubic";

/// Stream packets in a datagram. Source: RFC 3551, MP2T.
pub const PACKETS_PER_DATAGRAM: usize = 7;

/// The size of an RTP header without contributing sources. Source: RFC 3550.
pub const RTP_HEADER: usize = 12;

/// The payload of one datagram: 1328 bytes.
pub const DATAGRAM: usize = RTP_HEADER + PACKETS_PER_DATAGRAM * PACKET;

/// The longest request line, in bytes.
const LONGEST_REQUEST: u64 = 1024;

/// A stream and what is requested for it.
#[derive(Clone)]
pub struct MediaRendition {
    /// What its viewers get, in a loop.
    pub media: Media,
    /// The reservation that the service requests for each viewer.
    pub ask: Ask,
}

/// An HTTP server that sends each viewer the rendition it requests.
pub struct MediaService {
    /// By the name that viewers request.
    pub renditions: BTreeMap<String, MediaRendition>,
    /// The host that reserves; `None` in the unmanaged phase.
    pub host: Option<Host>,
}

/// A service with an open port, which accepts when it runs.
pub struct ListeningService {
    service: Arc<MediaService>,
    tcp: TcpSide,
    udp: Arc<UdpSocket>,
}

enum TcpSide {
    Managed(Box<Listener>),
    Plain(TcpListener),
}

enum Accepted {
    Managed(Connection),
    Plain(TcpStream),
}

impl MediaService {
    /// Listens on this address, for TCP and UDP.
    ///
    /// - **Errors**: `bind`.
    pub async fn listen(self, address: SocketAddr) -> Result<ListeningService, ConnectError> {
        let failed = |cause: std::io::Error| ConnectError::socket("bind", address, cause);
        let tcp = match &self.host {
            Some(host) => TcpSide::Managed(Box::new(host.listen(address, Ask::default()).await?)),
            None => TcpSide::Plain(TcpListener::bind(address).await.map_err(failed)?),
        };
        let udp = Arc::new(UdpSocket::bind(address).await.map_err(failed)?);
        Ok(ListeningService { service: Arc::new(self), tcp, udp })
    }

    async fn managed(&self, mut connection: Connection) -> std::io::Result<()> {
        use_congestion_control(connection.socket());
        let Some((id, rendition)) = self.read_request(&mut connection).await? else { return Ok(()) };
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
        use_congestion_control(&connection);
        let Some((_, rendition)) = self.read_request(&mut connection).await? else { return Ok(()) };
        connection.write_all(b"OK\n").await?;
        stream(&mut connection, rendition.media.looped()).await
    }

    async fn read_request(
        &self,
        connection: &mut (impl AsyncRead + Unpin),
    ) -> std::io::Result<Option<(String, &MediaRendition)>> {
        let mut line = String::new();
        let limited = connection.take(LONGEST_REQUEST);
        BufReader::new(limited).read_line(&mut line).await?;
        Ok(self.parse(&line))
    }

    fn parse(&self, line: &str) -> Option<(String, &MediaRendition)> {
        let mut words = line.split_whitespace();
        let (play, id, name) = (words.next()?, words.next()?, words.next()?);
        (play == "PLAY").then(|| Some((id.to_owned(), self.renditions.get(name)?))).flatten()
    }

    /// Sends a rendition in datagrams until the viewer is gone; returns the refusal, if the request is refused.
    async fn datagrams(&self, id: String, rendition: &MediaRendition, viewer: SocketAddr) -> Option<String> {
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
                let socket = UdpSocket::bind(unspecified(viewer)).await.ok()?;
                socket.connect(viewer).await.ok()?;
                let (started, rate) = (Instant::now(), rendition.media.mean_rate().get());
                let mut sent = 0u64;
                // An RTP sender without a reservation sends at the stream's own rate.
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

impl ListeningService {
    /// Serves viewers until the future is dropped.
    pub async fn serve(self) {
        let mut viewers = JoinSet::new();
        let mut buf = [0; 1024];
        loop {
            let service = Arc::clone(&self.service);
            tokio::select! {
                Some(_) = viewers.join_next() => {}
                connection = self.tcp.accept() => match connection {
                    // The result is in the viewer's record.
                    Some(Accepted::Managed(connection)) => {
                        viewers.spawn(async move { drop(service.managed(connection).await) });
                    }
                    Some(Accepted::Plain(stream)) => {
                        viewers.spawn(async move { drop(service.unmanaged(stream).await) });
                    }
                    None => {}
                },
                Ok((length, viewer)) = self.udp.recv_from(&mut buf) => {
                    let line = String::from_utf8_lossy(&buf[..length]).into_owned();
                    let socket = Arc::clone(&self.udp);
                    viewers.spawn(async move {
                        let Some((id, rendition)) = service.parse(&line) else { return };
                        let Some(answer) = service.datagrams(id, rendition, viewer).await else { return };
                        // The viewer may have gone.
                        let _ = socket.send_to(format!("NO {answer}").as_bytes(), viewer).await;
                    });
                }
            }
        }
    }
}

impl TcpSide {
    /// The next viewer; `None` if it disconnected before it was accepted.
    async fn accept(&self) -> Option<Accepted> {
        match self {
            Self::Managed(listener) => listener.accept_free().await.ok().map(Accepted::Managed),
            Self::Plain(listener) => listener.accept().await.ok().map(|(stream, _)| Accepted::Plain(stream)),
        }
    }
}

/// A stream in an endless loop, in RTP datagrams.
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

/// Sends a stream until the viewer disconnects.
async fn stream(to: &mut (impl AsyncWrite + Unpin), mut looped: Looped) -> std::io::Result<()> {
    let mut buffer = vec![0; PACKET * 64];
    loop {
        looped.fill(&mut buffer);
        to.write_all(&buffer).await?;
    }
}

fn use_congestion_control(stream: &TcpStream) {
    // A kernel without cubic keeps its default.
    let _ = socket::set_congestion_control(stream, CONGESTION_CONTROL);
}

/// The address to bind a socket to that is connected to this peer.
pub(super) fn unspecified(peer: SocketAddr) -> SocketAddr {
    match peer {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

fn refusal(error: &ConnectError) -> String {
    match error {
        ConnectError::Refused(decision) => serde_json::to_string(decision).unwrap_or_default(),
        error => serde_json::json!({ "ok": false, "message": error.to_string() }).to_string(),
    }
}

/// Sends as much as the network takes on each connection, until the future is dropped.
pub async fn send_bulk(listener: TcpListener) {
    let mut senders = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = senders.join_next() => {}
            Ok((mut connection, _)) = listener.accept() => {
                use_congestion_control(&connection);
                senders.spawn(async move {
                    let zeroes = vec![0; 64 << 10];
                    while connection.write_all(&zeroes).await.is_ok() {}
                });
            }
        }
    }
}
