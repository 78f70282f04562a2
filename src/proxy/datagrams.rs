//! Datagrams: each client is a session, with a socket of its own to the origin.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;

use flowspec::Direction;
use tokio::net::{UdpSocket, lookup_host};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::admission::ask;
use super::clock::{duration, micros, now, unix_micros};
use super::incoming::Phase;
use super::progress::Progress;
use super::record::{ConnectionEnd, ConnectionRecord};
use super::session::{Served, set_refusal, turned_away};
use crate::connect::{DatagramSocket, Destination};
use crate::policy::ProxySubject;

/// How many datagrams of a client wait for its session; what comes beyond them is lost.
const MOST_WAITING: usize = 64;

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
            record(&turned_away(&served, client));
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
    let subject = ProxySubject { peer: client.ip(), port: client.port(), host: None, path: None, sni: None };
    let admitted = socket.reserve(client, &ask(proxy, proxy.rule_for(&subject), client.ip())).await;
    record.admission_us = Some(micros(began.elapsed()));
    match admitted {
        Ok(destination) => {
            let flow = Arc::clone(destination.flow());
            (record.flow, record.rendition) = (flow.id(), flow.rendition());
            match connect(&proxy.to, duration(proxy.limits.connect_time)).await {
                Ok(origin) => record.end = pass(&destination, &origin, &mut datagrams, served).await,
                Err(error) => {
                    record.end = ConnectionEnd::OriginUnreachable;
                    record.detail = Some(format!("{}: {error}", proxy.to));
                }
            }
            let sent = flow.control().stats(Direction::Sending);
            (record.sent_bytes, record.waits) = (sent.bytes, sent.waits);
            record.received_bytes = flow.control().stats(Direction::Receiving).bytes;
        }
        Err(error) => set_refusal(&mut record, &error),
    }
    let was_served = record.flow.is_some();
    (record.duration_us, record.unix_us) = (micros(began.elapsed()), unix_micros());
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

async fn pass(
    destination: &Destination,
    origin: &UdpSocket,
    datagrams: &mut mpsc::Receiver<Vec<u8>>,
    served: &Served,
) -> ConnectionEnd {
    let progress = Progress::default();
    let up = async {
        while let Some(datagram) = datagrams.recv().await {
            // Where the origin is not there, the datagram is lost, as it would be without the proxy.
            let _ = origin.send(&datagram).await;
            progress.add_up(datagram.len().max(1));
        }
    };
    let down = async {
        let mut buffer = vec![0; LARGEST];
        loop {
            // The same holds for an origin that is not there yet, and for a datagram that is too large to be sent.
            if let Ok(length) = origin.recv(&mut buffer).await {
                let _ = destination.send(&buffer[..length]).await;
                progress.add_down(length.max(1));
            }
        }
    };
    let (mut up, mut down) = (pin!(up), pin!(down));
    let limits = &served.proxy.limits;
    let mut drained = pin!(drained(served.phase.clone(), duration(limits.drain)));
    loop {
        let before = progress.passed();
        tokio::select! {
            () = &mut up => return ConnectionEnd::Drained,
            () = &mut down => {}
            () = &mut drained => return ConnectionEnd::Drained,
            () = sleep(duration(limits.idle)) => if progress.passed() == before {
                return ConnectionEnd::Idle;
            },
        }
    }
}

/// Completes once the server has drained for this long.
async fn drained(mut phase: watch::Receiver<Phase>, time: std::time::Duration) {
    // The sender lives as long as the server.
    let _ = phase.wait_for(|phase| *phase == Phase::Draining).await;
    sleep(time).await;
}
