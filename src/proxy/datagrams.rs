//! Datagrams: each client is a session, with a socket of its own to the origin.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flowspec::Direction;
use tokio::net::{UdpSocket, lookup_host};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, sleep, timeout};

use super::admission::ask_by_rule;
use super::clock::{duration, micros, now, since, unix_micros};
use super::datagram_queue::DatagramQueue;
use super::incoming::Phase;
use super::progress::{Progress, Quiet};
use super::record::{ConnectionEnd, ConnectionRecord};
use super::session::{Served, lacking, set_refusal, turned_away};
use crate::connect::{ConnectError, DatagramSocket, Destination, hold_received, lost_received};
use crate::policy::ProxySubject;

/// How many datagrams of a client wait for its session; what comes beyond them is lost.
const MOST_WAITING: usize = 64;

/// What of an origin waits for its tokens: the flow's bucket, within these bytes.
const QUEUES: (usize, usize) = (64 << 10, 4 << 20);

/// After so many datagrams that are sent, those that have come are taken from the socket.
const AT_ONCE: u32 = 8;

/// Sources of datagrams beyond the limit of sessions are logged no more often than this: anyone can write them.
const BETWEEN_RECORDS: std::time::Duration = std::time::Duration::from_secs(1);

/// The largest datagram.
const LARGEST: usize = 65_535;

/// Serves the clients of one socket until the server drains, and then those that have a session.
pub(super) async fn serve_datagrams<F>(
    socket: Arc<DatagramSocket>,
    table: watch::Receiver<Arc<Served>>,
    record: Arc<F>,
) where
    F: Fn(&ConnectionRecord) + Send + Sync + 'static,
{
    let mut clients = HashMap::<SocketAddr, mpsc::Sender<Vec<u8>>>::new();
    let mut sessions = JoinSet::new();
    let mut phase = table.borrow().phase.clone();
    let mut buffer = vec![0; LARGEST];
    let mut logged: Option<Instant> = None;
    loop {
        let draining = *phase.borrow() == Phase::Draining;
        let received = tokio::select! {
            received = socket.recv_from(&mut buffer) => received,
            Some(ended) = sessions.join_next() => {
                // A session that has panicked keeps its place until its client sends again.
                if let Ok(client) = ended {
                    clients.remove(&client);
                }
                continue;
            }
            _ = phase.wait_for(|phase| *phase == Phase::Draining), if !draining => continue,
            () = std::future::ready(()), if draining && clients.is_empty() => return,
        };
        // An error of a socket that is not connected is about a datagram that it has sent.
        let Ok((length, client)) = received else { continue };
        let datagram = buffer[..length].to_vec();
        let datagram = match clients.get(&client).map(|session| session.try_send(datagram.clone())) {
            None | Some(Err(mpsc::error::TrySendError::Closed(_))) => datagram,
            Some(Ok(()) | Err(mpsc::error::TrySendError::Full(_))) => continue,
        };
        if draining {
            continue;
        }
        let served = Arc::clone(&table.borrow());
        let most = usize::try_from(served.proxy.limits.connections).unwrap_or(usize::MAX);
        if clients.len() >= most && !clients.contains_key(&client) {
            if logged.is_none_or(|logged| since(logged) >= BETWEEN_RECORDS) {
                logged = Some(now());
                record(&turned_away(&served, client));
            }
            continue;
        }
        let (session, datagrams) = mpsc::channel(MOST_WAITING);
        // It is empty.
        let _ = session.try_send(datagram);
        clients.insert(client, session);
        let (socket, record) = (Arc::clone(&socket), Arc::clone(&record));
        sessions.spawn(async move {
            serve_session(&socket, &served, (client, datagrams), &*record).await;
            client
        });
    }
}

/// Serves one client until nothing has passed for the policy's time.
async fn serve_session(
    socket: &DatagramSocket,
    served: &Served,
    (client, mut datagrams): (SocketAddr, mpsc::Receiver<Vec<u8>>),
    log: &(impl Fn(&ConnectionRecord) + Sync),
) {
    let (proxy, began) = (&served.proxy, now());
    let mut record = ConnectionRecord::new(&served.name, client);
    let failed = |cause| ConnectError::socket("getsockname", client, cause);
    let admitted = match socket.local_addr().map_err(failed) {
        Ok(local) => {
            let port = local.port();
            let subject = ProxySubject { peer: client.ip(), port, host: None, path: None, sni: None };
            socket.reserve(client, &ask_by_rule(proxy, proxy.rule_for(&subject), client.ip())).await
        }
        Err(error) => Err(error),
    };
    record.admission_us = Some(micros(since(began)));
    match admitted {
        Ok(destination) => {
            let flow = Arc::clone(destination.flow());
            (record.flow, record.rendition) = (flow.id(), flow.rendition());
            record.lacking = lacking(&flow);
            match connect(&proxy.to, duration(proxy.limits.connect_time)).await {
                Ok(origin) => {
                    let counts = DatagramCounts::default();
                    record.end = pass(&destination, &origin, (&mut datagrams, &counts), served).await;
                    counts.note(&mut record);
                }
                Err(error) => {
                    record.end = ConnectionEnd::OriginUnreachable;
                    record.detail = Some(format!("{}: {error}", proxy.to));
                }
            }
            let sent = flow.control().stats(Direction::Sending);
            (record.sent_bytes, record.waits) = (sent.bytes, sent.waits);
            record.lost = flow.lost().map(|lost| lost.to_string());
        }
        Err(error) => set_refusal(&mut record, &error),
    }
    let was_served = record.flow.is_some();
    (record.duration_us, record.unix_us) = (micros(since(began)), unix_micros());
    log(&record);
    if !was_served || record.end == ConnectionEnd::OriginUnreachable {
        // What the client sends meanwhile is dropped, and does not ask again.
        let ignored = async { while datagrams.recv().await.is_some() {} };
        let mut phase = served.phase.clone();
        tokio::select! {
            _ = timeout(duration(proxy.retry_after), ignored) => {}
            _ = phase.wait_for(|phase| *phase == Phase::Draining) => {}
        }
    }
}

/// A socket that sends to the origin and receives from it alone.
async fn connect(to: &str, patience: std::time::Duration) -> io::Result<UdpSocket> {
    let found =
        timeout(patience, lookup_host(to)).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
    let origin = found?.next().ok_or(io::ErrorKind::NotFound)?;
    let any = if origin.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    socket.connect(origin).await?;
    Ok(socket)
}

/// What a session has passed on, and what it has not.
#[derive(Debug, Default)]
struct DatagramCounts {
    /// Payload from the client, in bytes.
    received: AtomicU64,
    /// Datagrams of the origin for which there was no space.
    lost: AtomicU64,
    /// Datagrams of the origin above the flow's `max_sdu_size`.
    too_large: AtomicU64,
}

impl DatagramCounts {
    fn note(&self, record: &mut ConnectionRecord) {
        record.received_bytes = self.received.load(Ordering::Relaxed);
        record.lost_datagrams = self.lost.load(Ordering::Relaxed);
        record.too_large_datagrams = self.too_large.load(Ordering::Relaxed);
    }
}

async fn pass(
    destination: &Destination,
    origin: &UdpSocket,
    (datagrams, counts): (&mut mpsc::Receiver<Vec<u8>>, &DatagramCounts),
    served: &Served,
) -> ConnectionEnd {
    let progress = Progress::default();
    let control = destination.flow().control();
    let bucket = control.plan(Direction::Sending).map_or(0, |plan| plan.sustained.depth.get());
    let most = usize::try_from(bucket).unwrap_or(usize::MAX).clamp(QUEUES.0, QUEUES.1);
    // The queue is what counts.
    hold_received(origin, most);
    let queue = DatagramQueue::new(most);
    let up = async {
        while let Some(datagram) = datagrams.recv().await {
            // Where the origin is not there, the datagram is lost, as it would be without the proxy.
            let _ = origin.send(&datagram).await;
            counts.received.fetch_add(u64::try_from(datagram.len()).unwrap_or(0), Ordering::Relaxed);
            progress.add_up(datagram.len().max(1));
        }
    };
    let takes = async {
        let mut buffer = vec![0; LARGEST];
        loop {
            // An error is about a datagram that was sent to an origin that is not there yet.
            if let Ok(length) = origin.recv(&mut buffer).await {
                queue.push(&buffer[..length]);
            }
        }
    };
    let sends = async {
        for number in 1_u32.. {
            let datagram = queue.next().await;
            let length = u64::try_from(datagram.len()).unwrap_or(u64::MAX);
            let is_too_large =
                control.largest_datagram(Direction::Sending).is_some_and(|largest| length > largest);
            counts.too_large.fetch_add(u64::from(is_too_large), Ordering::Relaxed);
            // The same holds for a datagram that the kernel does not take.
            let _ = destination.send(&datagram).await;
            progress.add_down(datagram.len().max(1));
            if number % AT_ONCE == 0 {
                yield_now().await;
            }
        }
    };
    let end = async {
        let (mut up, mut takes, mut sends) = (pin!(up), pin!(takes), pin!(sends));
        let limits = &served.proxy.limits;
        let mut drained = pin!(drained(served.phase.clone(), duration(limits.drain)));
        let mut quiet = Quiet::default();
        loop {
            tokio::select! {
                () = &mut up => return ConnectionEnd::Drained,
                () = &mut takes => {}
                () = &mut sends => {}
                () = &mut drained => return ConnectionEnd::Drained,
                () = sleep(Quiet::step(duration(limits.idle))) => if quiet.lasts(progress.passed(), duration(limits.idle)) {
                    return ConnectionEnd::Idle;
                },
            }
        }
    };
    let end = end.await;
    let lost = queue.lost().saturating_add(lost_received(origin));
    counts.lost.store(lost, Ordering::Relaxed);
    end
}

/// Completes once the server has drained for this long.
async fn drained(mut phase: watch::Receiver<Phase>, time: std::time::Duration) {
    // The sender lives as long as the server.
    let _ = phase.wait_for(|phase| *phase == Phase::Draining).await;
    sleep(time).await;
}
