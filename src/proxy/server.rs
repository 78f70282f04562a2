//! Listens for the clients of all proxies of a policy, until it is told to end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::datagrams::serve_datagrams;
use super::error::ProxyError;
use super::incoming::{Phase, reset};
use super::record::ConnectionRecord;
use super::session::{Served, serve, turned_away};
use crate::connect::{AcceptError, Ask, ConnectError, DatagramSocket, Host, ListenOptions, Listener};
use crate::failure::KernelCall;
use crate::policy::{Proxy, ProxyProtocol};

/// The proxies of a policy, with their open listeners.
#[derive(Debug)]
pub struct Server {
    listening: Vec<Listening>,
    phase: watch::Sender<Phase>,
}

#[derive(Debug)]
struct Listening {
    name: String,
    socket: Socket,
    proxy: Arc<Proxy>,
    page: Option<Vec<u8>>,
}

#[derive(Debug)]
enum Socket {
    Streams(Box<Listener>),
    Datagrams(Arc<DatagramSocket>),
}

/// How long a proxy waits after a failed accept: descriptors or memory are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The most connections that wait to be accepted; the kernel takes no more than `net.core.somaxconn`.
const BACKLOG: u32 = 65_535;

impl Server {
    /// Opens the listeners of these proxies, and reads the pages of their refusals.
    ///
    /// - **Errors**: `bind` or `listen`; a page cannot be read.
    pub fn bind(host: &Host, proxies: &BTreeMap<String, Proxy>) -> Result<Self, ProxyError> {
        let listen = |(name, proxy): (&String, &Proxy)| {
            let read = |path: &String| {
                std::fs::read(path).map_err(|cause| KernelCall("open").failed(path.clone(), cause))
            };
            let page = proxy.page.as_ref().map(read).transpose();
            let page =
                page.map_err(|error| ProxyError::Page { name: name.clone(), error: Box::new(error) })?;
            let socket = open(host, proxy);
            let socket =
                socket.map_err(|error| ProxyError::Listen { name: name.clone(), error: Box::new(error) })?;
            Ok(Listening { name: name.clone(), socket, proxy: Arc::new(proxy.clone()), page })
        };
        let listening = proxies.iter().map(listen).collect::<Result<_, _>>()?;
        Ok(Self { listening, phase: watch::Sender::new(Phase::Serving) })
    }

    /// The name of each proxy, and the address that it listens on.
    pub fn addresses(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        let address = |listening: &Listening| {
            let bound = match &listening.socket {
                Socket::Streams(listener) => listener.local_addr(),
                Socket::Datagrams(socket) => socket.local_addr(),
            };
            bound.unwrap_or(listening.proxy.listen)
        };
        self.listening.iter().map(move |listening| (listening.name.as_str(), address(listening)))
    }

    /// Serves until `ends` completes, and then for as long as connections stand and the policy's `drain` allows.
    ///
    /// `record` gets each connection that has ended. It is called by the runtime and must not block.
    pub async fn run<F>(self, record: F, ends: impl Future<Output = ()>)
    where
        F: Fn(&ConnectionRecord) + Send + Sync + 'static,
    {
        let (record, mut proxies) = (Arc::new(record), JoinSet::new());
        for Listening { name, socket, proxy, page } in self.listening {
            let (phase, record) = (self.phase.subscribe(), Arc::clone(&record));
            let served = Arc::new(Served { name, proxy, page, phase });
            match socket {
                Socket::Streams(listener) => drop(proxies.spawn(accept(*listener, served, record))),
                Socket::Datagrams(socket) => drop(proxies.spawn(serve_datagrams(socket, served, record))),
            }
        }
        ends.await;
        self.phase.send_replace(Phase::Draining);
        while proxies.join_next().await.is_some() {}
    }
}

fn open(host: &Host, proxy: &Proxy) -> Result<Socket, ConnectError> {
    if proxy.protocol == ProxyProtocol::Udp {
        let bound = std::net::UdpSocket::bind(proxy.listen);
        let bound = bound.map_err(|cause| ConnectError::socket("bind", proxy.listen, cause))?;
        return Ok(Socket::Datagrams(Arc::new(host.share_udp(bound)?)));
    }
    let options = ListenOptions { backlog: BACKLOG, ..ListenOptions::default() };
    host.listen_with(proxy.listen, Ask::default(), options)
        .map(|listener| Socket::Streams(Box::new(listener)))
}

/// Accepts the clients of one proxy until the server drains, and then waits for their ends.
async fn accept<F>(listener: Listener, served: Arc<Served>, record: Arc<F>)
where
    F: Fn(&ConnectionRecord) + Send + Sync + 'static,
{
    let most = usize::try_from(served.proxy.limits.connections).unwrap_or(Semaphore::MAX_PERMITS);
    let open = Arc::new(Semaphore::new(most));
    let mut draining = served.phase.clone();
    let mut sessions = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept_free() => accepted,
            _ = draining.wait_for(|phase| *phase == Phase::Draining) => break,
        };
        // Those that have ended.
        while sessions.try_join_next().is_some() {}
        match accepted {
            Ok(connection) => match Arc::clone(&open).try_acquire_owned() {
                Ok(place) => {
                    let (served, record) = (Arc::clone(&served), Arc::clone(&record));
                    sessions.spawn(async move {
                        record(&serve(&served, connection).await);
                        drop(place);
                    });
                }
                Err(_) => {
                    record(&turned_away(&served, connection.peer()));
                    reset(connection);
                }
            },
            // The client has gone before it was accepted.
            Err(AcceptError::Flow(_) | AcceptError::Refused { .. }) => {}
            Err(AcceptError::Accept(_)) => sleep(ACCEPT_PAUSE).await,
        }
    }
    drop(listener);
    while sessions.join_next().await.is_some() {}
}
