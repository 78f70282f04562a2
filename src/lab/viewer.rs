//! Viewers: ask for a rendition, play it, and note what came when.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::Instant;

use super::media::PACKET;
use super::player::Player;
use super::service::{PACKETS_PER_DATAGRAM, RTP_HEADER};

/// How a viewer is served.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP, by RTP datagrams.
    Udp,
}

/// Somebody who watches.
#[derive(Clone, Debug)]
pub struct Viewer {
    /// The name.
    pub id: String,
    /// How it is served.
    pub transport: Transport,
    /// What it asks for.
    pub rendition: String,
    /// The rendition's own rate, payload bytes per second.
    pub media_rate: u64,
}

/// What a viewer noted, shared with whoever shows it.
pub type Shared = Arc<Mutex<Watched>>;

/// What a viewer noted.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// Whether it was admitted, once that is known.
    pub admitted: Option<bool>,
    /// The refusal, as the server gave it.
    pub refusal: Option<Value>,
    /// The moment of its first byte.
    pub began: Option<Instant>,
    /// Payload by second from the first byte; the last one is not over.
    pub seconds: Vec<u64>,
    /// The player.
    pub player: Player,
    /// Datagrams that never came.
    pub lost: u64,
}

impl Watched {
    fn note(&mut self, bytes: usize, now: Instant) {
        let began = *self.began.get_or_insert(now);
        let second = usize::try_from((now - began).as_secs()).unwrap_or(usize::MAX);
        if self.seconds.len() <= second {
            self.seconds.resize(second + 1, 0);
        }
        self.seconds[second] += bytes as u64;
    }

    /// Payload by whole second, up to now: seconds in which nothing came count too.
    pub fn whole_seconds(&self, now: Instant) -> Vec<u64> {
        let Some(began) = self.began else { return Vec::new() };
        let whole = usize::try_from((now - began).as_secs()).unwrap_or(0);
        let mut seconds = self.seconds.clone();
        seconds.resize(whole, 0);
        seconds
    }

    /// Stalls and their length up to now. One that was admitted and never saw a picture has stalled
    /// all the time.
    pub fn stalls(&mut self, now: Instant, joined: Instant) -> (u64, u64) {
        let millis = |since: Instant| u64::try_from((now - since).as_millis()).unwrap_or(u64::MAX);
        if !self.player.has_started() {
            return (1, millis(joined));
        }
        self.began.map_or((0, 0), |began| self.player.stalls(millis(began)))
    }
}

impl Viewer {
    /// Watches until the stream ends or the task is dropped.
    ///
    /// # Errors
    /// The network's.
    pub async fn watch(self, server: SocketAddr, watched: Shared) -> std::io::Result<()> {
        match self.transport {
            Transport::Tcp => self.by_tcp(server, &watched).await,
            Transport::Udp => self.by_udp(server, &watched).await,
        }
    }

    fn request(&self) -> String {
        format!("PLAY {} {}\n", self.id, self.rendition)
    }

    async fn by_tcp(&self, server: SocketAddr, watched: &Shared) -> std::io::Result<()> {
        let mut stream = TcpStream::connect(server).await?;
        stream.write_all(self.request().as_bytes()).await?;
        let mut answer = Vec::new();
        loop {
            match stream.read_u8().await? {
                b'\n' => break,
                byte => answer.push(byte),
            }
        }
        if !note_answer(&answer, watched) {
            return Ok(());
        }
        let mut buf = vec![0; 64 << 10];
        loop {
            let came = stream.read(&mut buf).await?;
            if came == 0 {
                return Ok(());
            }
            let now = Instant::now();
            let mut watched = lock(watched);
            watched.note(came, now);
            let at = since(&watched, now);
            watched.player.feed(&buf[..came], at);
        }
    }

    async fn by_udp(&self, server: SocketAddr, watched: &Shared) -> std::io::Result<()> {
        let any: SocketAddr = if server.is_ipv4() {
            (std::net::Ipv4Addr::UNSPECIFIED, 0).into()
        } else {
            (std::net::Ipv6Addr::UNSPECIFIED, 0).into()
        };
        let socket = UdpSocket::bind(any).await?;
        socket.send_to(self.request().as_bytes(), server).await?;
        let mut buf = [0; 4096];
        let mut expected: Option<u16> = None;
        loop {
            let (came, _) = socket.recv_from(&mut buf).await?;
            if buf.starts_with(b"NO ") {
                note_answer(&buf[..came], watched);
                return Ok(());
            }
            if came < RTP_HEADER {
                continue;
            }
            let now = Instant::now();
            let sequence = u16::from_be_bytes([buf[2], buf[3]]);
            let mut watched = lock(watched);
            watched.admitted = Some(true);
            watched.note(came, now);
            let at = since(&watched, now);
            let gap = expected.map_or(0, |expected| sequence.wrapping_sub(expected));
            if gap > 0 && gap < 1 << 15 {
                watched.lost += u64::from(gap);
                let bytes = u64::from(gap) * (PACKETS_PER_DATAGRAM * PACKET) as u64;
                watched.player.lose(bytes, self.media_rate, at);
            }
            expected = Some(sequence.wrapping_add(1));
            watched.player.feed(&buf[RTP_HEADER..came], at);
        }
    }
}

/// Notes `OK` or `NO <decision>`: whether it was admitted.
fn note_answer(answer: &[u8], watched: &Shared) -> bool {
    let mut watched = lock(watched);
    let refusal = answer.strip_prefix(b"NO ");
    watched.admitted = Some(refusal.is_none());
    watched.refusal = refusal.map(|json| serde_json::from_slice(json).unwrap_or(Value::Null));
    refusal.is_none()
}

fn since(watched: &Watched, now: Instant) -> u64 {
    let began = watched.began.unwrap_or(now);
    u64::try_from((now - began).as_millis()).unwrap_or(u64::MAX)
}

/// Locks what a viewer noted. Whoever panicked while holding it left it whole.
pub fn lock(watched: &Shared) -> std::sync::MutexGuard<'_, Watched> {
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}
