//! Listens for the clients of all proxies of a policy, until it is asked to stop.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::client_connections::ClientConnections;
use super::error::ProxyError;
use super::incoming::Phase;
use super::listening::{Listening, Service, Socket};
use super::record::ConnectionRecord;
use super::session::Served;
use super::workers::Workers;
use crate::connect::Host;
use crate::failure::KernelCall;
use crate::policy::{Proxy, ProxyProtocol};

/// The proxies of a policy, with their open listeners.
#[derive(Debug)]
pub struct Server {
    host: Host,
    clients: Arc<ClientConnections>,
    listening: Vec<Listening>,
    /// Listeners that are open and not served yet.
    new: Vec<Service>,
    /// How many listeners there have been.
    opened: usize,
    workers: Workers,
    requests: mpsc::Receiver<Replace>,
    handle: ServerHandle,
}

/// Gives a server that runs other tables.
#[derive(Clone, Debug)]
pub struct ServerHandle(mpsc::Sender<Replace>);

/// What other tables have changed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Replaced {
    /// The proxies that listen now and did not before, and their addresses.
    pub opened: Vec<(String, SocketAddr)>,
    /// The proxies whose listeners were closed, and their addresses. Their connections may go on for the `drain` time.
    pub closed: Vec<(String, SocketAddr)>,
    /// How many listeners stay; their next clients get the new table.
    pub kept: usize,
}

#[derive(Debug)]
struct Replace {
    proxies: BTreeMap<String, Proxy>,
    answer: oneshot::Sender<Result<Replaced, ProxyError>>,
}

/// The listeners and tables that replace the current ones; none of them is in use yet.
#[derive(Default)]
struct Next {
    /// The place of each listener that stays, and its next table.
    kept: Vec<(usize, Proxy, Page)>,
    new: Vec<(String, Proxy, Page, Socket)>,
}

type Page = (String, Option<Vec<u8>>);

impl Server {
    /// Opens the listeners of these proxies, and reads the pages of their refusals.
    ///
    /// - **Errors**: `bind` or `listen`; a page cannot be read.
    pub fn bind(host: &Host, proxies: &BTreeMap<String, Proxy>) -> Result<Self, ProxyError> {
        let (handle, requests) = mpsc::channel(1);
        let mut server = Self {
            host: host.clone(),
            clients: Arc::default(),
            listening: Vec::new(),
            new: Vec::new(),
            opened: 0,
            workers: Workers::default(),
            requests,
            handle: ServerHandle(handle),
        };
        server.replace(proxies)?;
        Ok(server)
    }

    /// Serves clients in this many threads, each with a runtime of its own; without this call, on the runtime that runs the
    /// server. Clients are given to one thread after another.
    ///
    /// - **Errors**: a thread cannot be started.
    pub fn with_workers(self, count: NonZeroUsize) -> Result<Self, ProxyError> {
        let workers = Workers::start(count);
        let workers =
            workers.map_err(|cause| KernelCall("clone").failed(format!("{count} threads"), cause))?;
        Ok(Self { workers, ..self })
    }

    /// The name of each proxy, and the address that it listens on.
    pub fn addresses(&self) -> impl Iterator<Item = (String, SocketAddr)> {
        self.listening.iter().map(|listening| (listening.name(), listening.address))
    }

    /// The handle that gives it other tables while it runs.
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }

    /// Serves until `ends` completes, and then for as long as connections stand and the policy's `drain` allows.
    ///
    /// `record` gets each connection that has ended. It is called by the threads that serve, and must not block.
    pub async fn run<F>(mut self, record: F, ends: impl Future<Output = ()>)
    where
        F: Fn(&ConnectionRecord) + Send + Sync + 'static,
    {
        let record = Arc::new(record);
        let workers = Arc::new(std::mem::take(&mut self.workers));
        let mut services = JoinSet::new();
        let mut ends = std::pin::pin!(ends);
        loop {
            for service in self.new.drain(..) {
                services.spawn(service.run(Arc::clone(&workers), Arc::clone(&record)));
            }
            tokio::select! {
                () = &mut ends => break,
                // The server holds a handle: there always is a sender.
                Some(Replace { proxies, answer }) = self.requests.recv() => {
                    // A caller that has gone needs no answer.
                    let _ = answer.send(self.replace(&proxies));
                }
                // Those of listeners that were closed.
                Some(_) = services.join_next() => {}
            }
        }
        for listening in &self.listening {
            listening.phase.send_replace(Phase::Draining);
        }
        while services.join_next().await.is_some() {}
    }

    /// Uses these tables from now on, or changes nothing.
    fn replace(&mut self, proxies: &BTreeMap<String, Proxy>) -> Result<Replaced, ProxyError> {
        let next = self.next(proxies)?;
        let mut replaced = Replaced { kept: next.kept.len(), ..Replaced::default() };
        let kept: Vec<_> = next.kept.iter().map(|(at, ..)| *at).collect();
        for (at, proxy, (name, page)) in next.kept {
            if let Some(listening) = self.listening.get(at) {
                let phase = listening.phase.subscribe();
                let served = self.served((name, page), Arc::new(proxy), phase);
                listening.table.send_replace(Arc::new(served));
            }
        }
        let mut at = 0;
        self.listening.retain(|listening| {
            let stays = kept.contains(&at);
            at += 1;
            if !stays {
                listening.phase.send_replace(Phase::Draining);
                replaced.closed.push((listening.name(), listening.address));
            }
            stays
        });
        for (name, proxy, page, socket) in next.new {
            let address = socket.local_addr().unwrap_or(proxy.listen);
            replaced.opened.push((name, address));
            let (phase, subscribed) = watch::channel(Phase::Serving);
            let served = self.served(page, Arc::new(proxy), subscribed);
            let (table, tables) = watch::channel(Arc::new(served));
            self.new.push(Service { socket, table: tables, number: self.opened });
            self.opened += 1;
            self.listening.push(Listening { address, table, phase });
        }
        Ok(replaced)
    }

    fn served(&self, (name, page): Page, proxy: Arc<Proxy>, phase: watch::Receiver<Phase>) -> Served {
        let (host, clients) = (self.host.clone(), Arc::clone(&self.clients));
        Served { host, name, proxy, page, phase, clients }
    }

    /// Finds the listeners that stay, and opens those that are new.
    fn next(&self, proxies: &BTreeMap<String, Proxy>) -> Result<Next, ProxyError> {
        let mut next = Next::default();
        for (name, proxy) in proxies {
            let page = (name.clone(), page(name, proxy)?);
            let at = self.listening.iter().position(|listening| {
                let before = listening.proxy();
                before.listen == proxy.listen
                    && is_udp(&before) == is_udp(proxy)
                    && (proxy.listen.port() != 0 || listening.name() == *name)
            });
            match at {
                Some(at) => next.kept.push((at, proxy.clone(), page)),
                None => {
                    let socket = Socket::open(proxy);
                    let failed = |error| ProxyError::Listen { name: name.clone(), error: Box::new(error) };
                    next.new.push((name.clone(), proxy.clone(), page, socket.map_err(failed)?));
                }
            }
        }
        Ok(next)
    }
}

impl ServerHandle {
    /// Uses these tables for the clients that come from now on; those that are served keep theirs.
    ///
    /// A listener whose address is in the new tables stays open. The others are closed, and their connections drain as at
    /// the end of the server.
    ///
    /// - **Errors**: a listener cannot be opened, or a page cannot be read: nothing is changed then. The server has ended.
    pub async fn replace(&self, proxies: BTreeMap<String, Proxy>) -> Result<Replaced, ProxyError> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Replace { proxies, answer }).await.map_err(|_| ProxyError::Ended)?;
        answered.await.map_err(|_| ProxyError::Ended)?
    }
}

fn page(name: &str, proxy: &Proxy) -> Result<Option<Vec<u8>>, ProxyError> {
    let read =
        |path: &String| std::fs::read(path).map_err(|cause| KernelCall("open").failed(path.clone(), cause));
    let page = proxy.page.as_ref().map(read).transpose();
    page.map_err(|error| ProxyError::Page { name: name.to_owned(), error: Box::new(error) })
}

fn is_udp(proxy: &Proxy) -> bool {
    proxy.protocol == ProxyProtocol::Udp
}
