//! One listener: accepts the clients of a proxy by its table of the moment.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::datagrams::serve_datagrams;
use super::incoming::Phase;
use super::record::{ConnectionEnd, ConnectionRecord};
use super::session::{Served, serve, turned_away};
use super::workers::{Turns, Workers};
use crate::connect::{Adopt, ConnectError};
use crate::policy::{Proxy, ProxyProtocol};

/// An open listener, and the table that its next client gets.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) address: SocketAddr,
    pub(super) table: watch::Sender<Arc<Served>>,
    pub(super) phase: watch::Sender<Phase>,
}

/// The socket of a listener, until it is served.
#[derive(Debug)]
pub(super) enum Socket {
    Streams(TcpListener),
    Datagrams(std::net::UdpSocket),
}

/// What serves a listener.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) socket: Socket,
    pub(super) table: watch::Receiver<Arc<Served>>,
    /// Tells it from others.
    pub(super) number: usize,
}

/// How long a proxy waits after a failed accept: descriptors or memory are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The most connections that wait to be accepted; the kernel takes no more than `net.core.somaxconn`.
const BACKLOG: u32 = 65_535;

impl Listening {
    pub(super) fn proxy(&self) -> Arc<Proxy> {
        Arc::clone(&self.table.borrow().proxy)
    }

    pub(super) fn name(&self) -> String {
        self.table.borrow().name.clone()
    }
}

impl Socket {
    /// - **Errors**: `setsockopt`, `bind` or `listen`.
    pub(super) fn open(proxy: &Proxy) -> Result<Self, ConnectError> {
        let address = proxy.listen;
        let failed = |call| move |cause: std::io::Error| ConnectError::socket(call, address, cause);
        if proxy.protocol == ProxyProtocol::Udp {
            return std::net::UdpSocket::bind(address).map(Self::Datagrams).map_err(failed("bind"));
        }
        let made = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let socket = made.map_err(failed("socket"))?;
        socket.set_reuseaddr(true).map_err(failed("setsockopt(SO_REUSEADDR)"))?;
        socket.bind(address).map_err(failed("bind"))?;
        socket.listen(BACKLOG).map(Self::Streams).map_err(failed("listen"))
    }

    pub(super) fn local_addr(&self) -> std::io::Result<SocketAddr> {
        match self {
            Self::Streams(listener) => listener.local_addr(),
            Self::Datagrams(socket) => socket.local_addr(),
        }
    }
}

impl Service {
    /// Serves clients until the listener drains, and then those that it has.
    pub(super) async fn run<F>(self, workers: Arc<Workers>, record: Arc<F>)
    where
        F: Fn(&ConnectionRecord) + Send + Sync + 'static,
    {
        let mut turns = Turns::new(self.number);
        match self.socket {
            Socket::Streams(listener) => accept(listener, self.table, (workers, turns), record).await,
            Socket::Datagrams(socket) => {
                // The socket belongs to the runtime that serves it.
                let mut service = JoinSet::new();
                let table = self.table;
                let serving = async move {
                    let host = table.borrow().host.clone();
                    if let Ok(socket) = host.share_udp(socket) {
                        serve_datagrams(Arc::new(socket), table, record).await;
                    }
                };
                match workers.next(&mut turns, None) {
                    Some(runtime) => service.spawn_on(serving, runtime),
                    None => service.spawn(serving),
                };
                service.join_next().await;
            }
        }
    }
}

async fn accept<F>(
    listener: TcpListener,
    table: watch::Receiver<Arc<Served>>,
    (workers, mut turns): (Arc<Workers>, Turns),
    record: Arc<F>,
) where
    F: Fn(&ConnectionRecord) + Send + Sync + 'static,
{
    let mut draining = table.borrow().phase.clone();
    let mut sessions = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = draining.wait_for(|phase| *phase == Phase::Draining) => break,
        };
        // Those that have ended.
        while sessions.try_join_next().is_some() {}
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            // The client has gone before it was accepted.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => continue,
            Err(_) => {
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (served, record) = (Arc::clone(&table.borrow()), Arc::clone(&record));
        let most = usize::try_from(served.proxy.limits.connections).unwrap_or(usize::MAX);
        if sessions.len() >= most {
            record(&turned_away(&served, peer));
            // Without the option it is closed in the usual way.
            let _ = stream.set_zero_linger();
            continue;
        }
        match workers.next(&mut turns, served.proxy.workers) {
            None => drop(sessions.spawn(attend(stream, peer, served, record))),
            Some(runtime) => {
                // It fails for a socket that is closed, which this one is not.
                let Ok(stream) = stream.into_std() else { continue };
                sessions.spawn_on(attend(stream, peer, served, record), runtime);
            }
        }
    }
    drop(listener);
    while sessions.join_next().await.is_some() {}
}

/// Serves a connection on the runtime that runs this, and logs it.
async fn attend<S, F>(stream: S, peer: SocketAddr, served: Arc<Served>, record: Arc<F>)
where
    S: Adopt<Adopted = crate::connect::Connection>,
    F: Fn(&ConnectionRecord) + Send + Sync,
{
    let adopted = served.host.adopt(stream).and_then(|connection| {
        let set = connection.socket().set_nodelay(true);
        set.map(|()| connection).map_err(|cause| ConnectError::socket("setsockopt(TCP_NODELAY)", peer, cause))
    });
    match adopted {
        Ok(connection) => record(&serve(&served, connection).await),
        // It has gone since it was accepted.
        Err(error) => {
            let detail = Some(error.to_string());
            let end = ConnectionEnd::ClientFailed;
            record(&ConnectionRecord { end, detail, ..turned_away(&served, peer) });
        }
    }
}
