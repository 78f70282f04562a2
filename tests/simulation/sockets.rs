//! The sockets of clients: what the daemon is passed, and the reports of their ends, which come late, in another order, or are
//! lost.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::File;
use std::io::PipeReader;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use gqos::daemon::HostSockets;
use gqos::engine::KernelFuture;
use gqos::failure::KernelFailure;
use gqos::linux::socket::SocketMark;
use gqos::linux::{EndedSockets, NotASocket, PassedSocket};
use gqos::tc::Handle;
use shaper::headers::IpVersion;
use tokio::sync::mpsc;

use crate::log::Log;
use crate::random::Random;

/// What a descriptor is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// A socket that may be used, and whether the kernel lists it.
    Socket {
        is_bound: bool,
    },
    File,
    Listening,
    OtherNamespace,
}

pub(crate) struct FakeSockets {
    state: Mutex<SocketState>,
    log: Log,
}

pub(crate) struct SocketState {
    random: Random,
    last_cookie: u64,
    pub(crate) sockets: BTreeMap<u64, FakeSocket>,
    /// Those that the kernel did not list at first.
    began_unbound: BTreeSet<u64>,
    /// The daemon that listens.
    reports: Option<mpsc::UnboundedSender<EndedSockets>>,
}

pub(crate) struct FakeSocket {
    kind: Kind,
    /// The class that its packets are sent to.
    pub(crate) mark: Option<Handle>,
    /// How many processes have it.
    pub(crate) holders: u32,
    /// Stands for it: a pipe, by whose inode it is found.
    descriptor: Arc<OwnedFd>,
    inode: u64,
}

/// The longest that the report of an end takes, and that of a lost report.
const LATEST_REPORT_US: u64 = 80_000;

impl FakeSockets {
    pub(crate) fn new(random: Random, log: Log) -> Arc<Self> {
        let state = SocketState {
            random,
            last_cookie: 100,
            sockets: BTreeMap::new(),
            began_unbound: BTreeSet::new(),
            reports: None,
        };
        Arc::new(Self { state: Mutex::new(state), log })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, SocketState> {
        self.state.lock().unwrap()
    }

    /// The sockets as the next daemon sees them.
    pub(crate) fn start(self: &Arc<Self>) -> Arc<dyn HostSockets> {
        let (reports, reported) = mpsc::unbounded_channel();
        self.state().reports = Some(reports);
        let reported = Arc::new(tokio::sync::Mutex::new(reported));
        Arc::new(DaemonSockets { sockets: Arc::clone(self), reported })
    }

    pub(crate) fn kill(&self) {
        self.state().reports = None;
    }

    /// Makes a socket that one process has.
    pub(crate) fn open(&self, kind: Kind) -> u64 {
        let (reader, _): (PipeReader, _) = std::io::pipe().unwrap();
        let descriptor = OwnedFd::from(reader);
        let inode = inode(&descriptor);
        let mut state = self.state();
        state.last_cookie += 1;
        let cookie = state.last_cookie;
        let socket = FakeSocket { kind, mark: None, holders: 1, descriptor: Arc::new(descriptor), inode };
        state.sockets.insert(cookie, socket);
        if kind == (Kind::Socket { is_bound: false }) {
            state.began_unbound.insert(cookie);
        }
        cookie
    }

    pub(crate) fn descriptor(&self, cookie: u64) -> Option<Arc<OwnedFd>> {
        self.state().sockets.get(&cookie).map(|socket| Arc::clone(&socket.descriptor))
    }

    /// The class that a socket's packets are sent to.
    pub(crate) fn mark_of(&self, cookie: u64) -> Option<Handle> {
        self.state().sockets.get(&cookie)?.mark
    }

    pub(crate) fn lives(&self, cookie: u64) -> bool {
        self.state().sockets.contains_key(&cookie)
    }

    /// It ends, and the kernel says only that it has lost reports.
    pub(crate) fn end_unseen(&self, cookie: u64) {
        let mut state = self.state();
        state.sockets.remove(&cookie);
        if let Some(reports) = &state.reports {
            reports.send(EndedSockets::Overrun).unwrap();
        }
    }

    /// Every process ends.
    pub(crate) fn close_all(&self) {
        let cookies: Vec<u64> = self.state().sockets.keys().copied().collect();
        for cookie in cookies {
            while self.lives(cookie) {
                self.close(cookie);
            }
        }
    }

    pub(crate) fn began_unbound(&self, cookie: u64) -> bool {
        self.state().began_unbound.contains(&cookie)
    }

    /// Some socket.
    pub(crate) fn any(&self, random: &mut Random) -> Option<u64> {
        let cookies: Vec<u64> = self.state().sockets.keys().copied().collect();
        (!cookies.is_empty()).then(|| random.pick(&cookies))
    }

    /// Whether the kernel lists it.
    pub(crate) fn is_bound(&self, cookie: u64) -> bool {
        let state = self.state();
        state.sockets.get(&cookie).is_some_and(|socket| socket.kind == Kind::Socket { is_bound: true })
    }

    /// It is connected: the kernel lists it from now on.
    pub(crate) fn bind(&self, cookie: u64) {
        if let Some(FakeSocket { kind: Kind::Socket { is_bound }, .. }) =
            self.state().sockets.get_mut(&cookie)
        {
            *is_bound = true;
            self.log.line(format_args!("sockets: {cookie} is bound"));
        }
    }

    /// A child has a copy.
    pub(crate) fn fork(&self, cookie: u64) {
        if let Some(socket) = self.state().sockets.get_mut(&cookie) {
            socket.holders += 1;
        }
    }

    /// A process closes it. With the last one it ends, which is reported later, or that reports were lost.
    pub(crate) fn close(&self, cookie: u64) {
        let mut state = self.state();
        let Some(socket) = state.sockets.get_mut(&cookie) else { return };
        socket.holders -= 1;
        if socket.holders > 0 {
            return;
        }
        state.sockets.remove(&cookie);
        let Some(reports) = state.reports.clone() else { return };
        let delay = Duration::from_micros(state.random.below(LATEST_REPORT_US));
        let report = match state.random.one_in(6) {
            true => EndedSockets::Overrun,
            false => EndedSockets::Cookies(vec![cookie]),
        };
        self.log.line(format_args!("sockets: {cookie} ends, {report:?} in {} us", delay.as_micros()));
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            // The daemon may have been killed.
            let _ = reports.send(report);
        });
    }
}

fn inode(descriptor: &OwnedFd) -> u64 {
    File::from(descriptor.try_clone().unwrap()).metadata().unwrap().ino()
}

struct DaemonSockets {
    sockets: Arc<FakeSockets>,
    reported: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<EndedSockets>>>,
}

impl HostSockets for DaemonSockets {
    fn inspect(&self, descriptor: &OwnedFd) -> Result<PassedSocket, NotASocket> {
        let inode = inode(descriptor);
        let state = self.sockets.state();
        let Some((cookie, socket)) = state.sockets.iter().find(|(_, socket)| socket.inode == inode) else {
            return Err(NotASocket::File);
        };
        match socket.kind {
            Kind::File => Err(NotASocket::File),
            Kind::Listening => Err(NotASocket::Listening),
            Kind::OtherNamespace => Err(NotASocket::Namespace),
            Kind::Socket { is_bound } => {
                Ok(PassedSocket { cookie: *cookie, version: IpVersion::V4, is_bound })
            }
        }
    }

    fn mark(&self, (socket, _): (PassedSocket, &OwnedFd), mark: SocketMark) -> Result<(), KernelFailure> {
        if let Some(socket) = self.sockets.state().sockets.get_mut(&socket.cookie) {
            socket.mark = mark.class;
        }
        Ok(())
    }

    fn live(&self) -> KernelFuture<HashSet<u64>> {
        let sockets = Arc::clone(&self.sockets);
        Box::pin(async move {
            let listed = |(cookie, socket): (&u64, &FakeSocket)| {
                (socket.kind == Kind::Socket { is_bound: true }).then_some(*cookie)
            };
            let live = sockets.state().sockets.iter().filter_map(listed).collect();
            // What ends while the answer is on its way is in it.
            tokio::task::yield_now().await;
            Ok(live)
        })
    }

    fn priorities(&self) -> KernelFuture<BTreeMap<u64, u32>> {
        let sockets = Arc::clone(&self.sockets);
        Box::pin(async move {
            let listed = |(cookie, socket): (&u64, &FakeSocket)| {
                let priority = socket.mark.map_or(0, Handle::to_u32);
                (socket.kind == Kind::Socket { is_bound: true }).then_some((*cookie, priority))
            };
            let priorities = sockets.state().sockets.iter().filter_map(listed).collect();
            tokio::task::yield_now().await;
            Ok(priorities)
        })
    }

    fn ended(&self) -> KernelFuture<EndedSockets> {
        let reported = Arc::clone(&self.reported);
        Box::pin(async move {
            match reported.lock().await.recv().await {
                Some(report) => Ok(report),
                None => std::future::pending().await,
            }
        })
    }
}
