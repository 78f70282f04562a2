//! Viewers: request a rendition, play it, and record what they receive.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flowspec::Rate;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::Instant;

use super::media::PACKET;
use super::player::{Player, Stalls};
use super::reorder::{Arrived, Reorder};
use super::service::{PACKETS_PER_DATAGRAM, RTP_HEADER, unspecified};
use crate::linux::capture::Transport;

/// A client that requests a stream and plays it.
#[derive(Clone, Debug)]
pub struct Viewer {
    /// The id that it requests a reservation with.
    pub id: String,
    /// The protocol that it uses.
    pub transport: Transport,
    /// A key of the service's `renditions`.
    pub rendition: String,
    /// The mean rate of the rendition.
    pub media_rate: Rate,
}

/// A viewer's record, shared with the code that shows it.
pub type SharedRecord = Arc<Mutex<ViewerRecord>>;

/// What a viewer has received so far.
#[derive(Clone, Debug, Default)]
pub struct ViewerRecord {
    /// Whether the request was admitted, once that is known.
    pub admitted: Option<bool>,
    /// The refusal, as the server sent it.
    pub refusal: Option<Value>,
    /// When the first byte was received.
    pub began: Option<Instant>,
    /// The payload bytes of each second from the first byte on; the last second may not be over.
    pub seconds: Vec<u64>,
    /// Plays what is received, and counts stalls.
    pub player: Player,
    /// Datagrams that were sent and not received.
    pub lost: u64,
}

impl ViewerRecord {
    fn add(&mut self, bytes: usize, now: Instant) {
        let began = *self.began.get_or_insert(now);
        let second = usize::try_from((now - began).as_secs()).unwrap_or(usize::MAX);
        if self.seconds.len() <= second {
            self.seconds.resize(second + 1, 0);
        }
        self.seconds[second] += bytes as u64;
    }

    /// The payload rate of each whole second until now, seconds without any payload included.
    pub fn whole_seconds(&self, now: Instant) -> Vec<Rate> {
        let Some(began) = self.began else { return Vec::new() };
        let whole = usize::try_from((now - began).as_secs()).unwrap_or(0);
        let mut seconds = self.seconds.clone();
        seconds.resize(whole, 0);
        seconds.into_iter().map(Rate::new).collect()
    }

    /// The stalls until now of a viewer that joined at a time. A viewer that was admitted and has shown nothing has
    /// stalled since it joined.
    pub fn stalls(&mut self, now: Instant, joined: Instant) -> Stalls {
        if !self.player.has_started() {
            return Stalls { count: 1, time: now - joined };
        }
        self.began.map_or_else(Stalls::default, |began| self.player.stalls(in_millis(now - began)))
    }

    /// The time since the first byte.
    fn elapsed(&self, now: Instant) -> Duration {
        in_millis(now - self.began.unwrap_or(now))
    }
}

impl Viewer {
    /// Watches until the stream ends or the future is dropped.
    ///
    /// - **Errors**: those of the sockets.
    pub async fn watch(self, server: SocketAddr, record: SharedRecord) -> std::io::Result<()> {
        match self.transport {
            Transport::Tcp => self.by_tcp(server, &record).await,
            Transport::Udp => self.by_udp(server, &record).await,
        }
    }

    fn request(&self) -> String {
        format!("PLAY {} {}\n", self.id, self.rendition)
    }

    async fn by_tcp(&self, server: SocketAddr, record: &SharedRecord) -> std::io::Result<()> {
        let mut stream = TcpStream::connect(server).await?;
        stream.write_all(self.request().as_bytes()).await?;
        let mut answer = Vec::new();
        loop {
            match stream.read_u8().await? {
                b'\n' => break,
                byte => answer.push(byte),
            }
        }
        if !note_answer(&answer, record) {
            return Ok(());
        }
        let mut buf = vec![0; 64 << 10];
        loop {
            let received = stream.read(&mut buf).await?;
            if received == 0 {
                return Ok(());
            }
            let now = Instant::now();
            let mut record = lock(record);
            record.add(received, now);
            let at = record.elapsed(now);
            record.player.feed(&buf[..received], at);
        }
    }

    async fn by_udp(&self, server: SocketAddr, record: &SharedRecord) -> std::io::Result<()> {
        let socket = UdpSocket::bind(unspecified(server)).await?;
        socket.send_to(self.request().as_bytes(), server).await?;
        let mut buf = [0; 4096];
        let mut reorder = Reorder::default();
        loop {
            let (received, _) = socket.recv_from(&mut buf).await?;
            if buf.starts_with(b"NO ") {
                note_answer(&buf[..received], record);
                return Ok(());
            }
            if received < RTP_HEADER {
                continue;
            }
            let now = Instant::now();
            let sequence = u16::from_be_bytes([buf[2], buf[3]]);
            let mut record = lock(record);
            record.admitted = Some(true);
            record.add(received, now);
            let at = record.elapsed(now);
            for arrived in reorder.arrive(sequence, &buf[RTP_HEADER..received]) {
                match arrived {
                    Arrived::Payload(payload) => record.player.feed(&payload, at),
                    Arrived::Lost(count) => {
                        record.lost += u64::from(count);
                        let bytes = u64::from(count) * (PACKETS_PER_DATAGRAM * PACKET) as u64;
                        record.player.lose(bytes, self.media_rate, at);
                    }
                }
            }
        }
    }
}

/// Records the server's answer, `OK` or `NO <decision>`; whether the request was admitted.
fn note_answer(answer: &[u8], record: &SharedRecord) -> bool {
    let mut record = lock(record);
    let refusal = answer.strip_prefix(b"NO ");
    record.admitted = Some(refusal.is_none());
    record.refusal = refusal.map(|json| serde_json::from_slice(json).unwrap_or(Value::Null));
    refusal.is_none()
}

/// A time in whole milliseconds, rounded down: the precision of the players.
fn in_millis(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// Locks a viewer's record. A record stays usable if a task has panicked while it held the lock.
pub fn lock(record: &SharedRecord) -> MutexGuard<'_, ViewerRecord> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}
