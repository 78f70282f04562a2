//! One run: a kernel, its sockets, clients, and a daemon that is killed and started again; each step is chosen by the seed.

use std::future::Future;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use flowspec::Errno;
use gqos::control::{Decided, FlowBatch, Reply};
use gqos::daemon::{DaemonStartError, EmbeddedClient, EmbeddedDaemon, EmbeddedOptions, StateWrite};
use gqos::engine::Engine;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::check::Checks;
use crate::client::{Asked, Came, Connection, call};
use crate::clients::Client;
use crate::kernel::{FakeKernel, Fault, INTERFACES};
use crate::log::Log;
use crate::policy::{self, policy};
use crate::promises::Promises;
use crate::random::Random;
use crate::sockets::FakeSockets;

pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) log: Log,
    pub(crate) kernel: Arc<FakeKernel>,
    pub(crate) sockets: Arc<FakeSockets>,
    pub(crate) clients: Vec<Client>,
    pub(crate) promises: Promises,
    pub(crate) running: Option<Running>,
    pub(crate) checks: Checks,
    policy: u64,
    /// How many daemons there were.
    daemons: u64,
    /// How many connections there were: the number of a connection is that of its process.
    connections: u32,
    state: StateFile,
}

/// A daemon that runs.
pub(crate) struct Running {
    pub(crate) daemon: EmbeddedDaemon,
    /// Its connections, and what it does by itself.
    tasks: JoinSet<()>,
    /// The first connection to it.
    pub(crate) first_connection: u32,
}

/// What is on the disk.
#[derive(Default)]
struct StateFile {
    bytes: Option<Vec<u8>>,
    /// How much of it the last write has appended.
    appended: usize,
}

/// The steps of a run.
pub(crate) const STEPS: u64 = 120;

/// Longer than the daemon may take to put everything in order once the kernel answers: the grace period, and the longest pause
/// between two attempts to repair a tree.
const QUIET: Duration = Duration::from_secs(policy::GRACE + 25);

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let (mut random, log) = (Random::new(seed), Log::start());
        let kernel = FakeKernel::new(random.fork(), log.clone());
        let sockets = FakeSockets::new(random.fork(), log.clone());
        Self {
            random,
            kernel,
            sockets,
            clients: Client::all(),
            promises: Promises::default(),
            running: None,
            checks: Checks::new(log.clone()),
            log,
            policy: 0,
            daemons: 0,
            connections: 0,
            state: StateFile::default(),
        }
    }

    /// Runs the steps, then ends every client and sees that nothing is left.
    pub(crate) async fn run(&mut self) {
        for _ in 0..STEPS {
            self.step().await;
            self.pass_time().await;
            self.exchange();
            self.check();
            if self.log.violated().is_some() {
                return;
            }
        }
        self.end().await;
    }

    async fn step(&mut self) {
        if self.running.is_none() {
            if self.random.one_in(2) {
                self.start().await;
            } else {
                self.outside();
            }
            return;
        }
        let number = self.random.index(self.clients.len());
        match self.random.below(100) {
            0..=54 => {
                self.connect(number);
                self.client_calls(number);
            }
            55..=58 => self.disconnect(number),
            59..=60 => self.client_dies(number),
            61..=73 => self.outside(),
            74..=76 => self.misbehave(number),
            77..=78 => self.listen(number),
            79..=83 => self.fault(),
            84..=85 => self.reload(),
            86..=88 => self.kill(),
            89 => self.stop().await,
            90..=91 => self.quiet().await,
            _ => self.write_state(),
        }
    }

    /// What happens with or without a daemon: sockets begin, end and are shared, and other programs change trees.
    fn outside(&mut self) {
        let number = self.random.index(self.clients.len());
        let sockets: Vec<u64> = self.clients[number].sockets.iter().copied().collect();
        match (self.random.below(10), sockets.is_empty()) {
            (0..=4, false) => {
                let cookie = self.random.pick(&sockets);
                self.clients[number].sockets.remove(&cookie);
                self.log.line(format_args!("client {number}: closes socket {cookie}"));
                self.sockets.close(cookie);
            }
            (5..=6, false) => self.sockets.bind(self.random.pick(&sockets)),
            (7, _) => self.kernel.meddle(self.random.pick(&INTERFACES)),
            (8, _) => {
                let carries = !self.random.one_in(3);
                self.kernel.set_link(self.random.pick(&INTERFACES), carries);
            }
            (9, _) => self.client_dies(number),
            _ => {}
        }
    }

    fn fault(&mut self) {
        let errno = self.random.pick(&[Errno::ENOBUFS, Errno::ENOMEM, Errno::EBUSY]);
        let faults = [
            Fault::Quick,
            Fault::Quick,
            Fault::Slow(2_000),
            Fault::Slow(900_000),
            Fault::Silent,
            Fault::LosesAnswers,
            Fault::Refuses(errno),
        ];
        let fault = self.random.pick(&faults);
        self.kernel.set_fault(self.random.pick(&INTERFACES), fault);
    }

    /// Lets the daemon go on for a moment, a while, or long.
    async fn pass_time(&mut self) {
        match self.random.below(20) {
            0..=7 => {
                for _ in 0..self.random.below(6) {
                    tokio::task::yield_now().await;
                }
            }
            8..=13 => sleep(Duration::from_micros(self.random.below(3_000))).await,
            14..=17 => sleep(Duration::from_micros(self.random.below(200_000))).await,
            _ => sleep(Duration::from_micros(self.random.below(6_000_000))).await,
        }
    }

    pub(crate) async fn start(&mut self) {
        self.daemons += 1;
        let epoch = format!("e{}", self.daemons);
        self.log.line(format_args!("daemon {}: starts", self.daemons));
        let options = EmbeddedOptions {
            policy: policy(self.policy),
            kernel: self.kernel.start(self.daemons),
            sockets: self.sockets.start(),
            epoch,
            system: "boot".into(),
            state: self.state.bytes.clone(),
        };
        // It may be killed while it starts.
        let patience = match self.random.one_in(5) {
            true => Duration::from_micros(self.random.below(3_000)),
            false => Duration::from_secs(600),
        };
        let start: Pin<Box<dyn Future<Output = Result<EmbeddedDaemon, DaemonStartError>>>> =
            Box::pin(EmbeddedDaemon::start(options));
        let mut start = start;
        match timeout(patience, &mut start).await {
            Ok(Ok(daemon)) => self.started(daemon),
            Ok(Err(error)) => {
                self.log.line(format_args!("daemon {}: does not start: {error}", self.daemons));
                self.end_of_daemon();
            }
            Err(_) => {
                self.log.line(format_args!("daemon {}: is killed while it starts", self.daemons));
                self.end_of_daemon();
            }
        }
    }

    fn started(&mut self, daemon: EmbeddedDaemon) {
        let mut tasks = JoinSet::new();
        tasks.spawn(daemon.background());
        self.log.line(format_args!("daemon {}: {:?}", self.daemons, daemon.recovered()));
        let first_connection = self.connections + 1;
        self.checks.started(&daemon, &mut self.promises, (&self.kernel, &self.sockets));
        self.running = Some(Running { daemon, tasks, first_connection });
    }

    /// The daemon ends without warning: its memory is gone, and what it was writing may be torn.
    fn kill(&mut self) {
        let writes_last = self.random.one_in(2);
        if writes_last {
            self.write_state();
        }
        self.log.line(format_args!("daemon {}: is killed", self.daemons));
        let running = self.running.as_mut().unwrap();
        let is_whole = running.daemon.next_write().is_none();
        self.end_of_daemon();
        let mut is_torn = false;
        if let Some(bytes) = self.state.bytes.as_mut().filter(|_| self.random.one_in(4)) {
            let lost = self.random.index(self.state.appended + 1);
            is_torn = lost > 0;
            bytes.truncate(bytes.len() - lost);
            self.log.line(format_args!("state: {lost} bytes are torn off"));
        }
        self.state.appended = 0;
        self.checks.killed(is_whole && !is_torn);
    }

    /// What a daemon leaves when it has ended, in whatever way.
    pub(crate) fn end_of_daemon(&mut self) {
        self.kernel.kill();
        self.sockets.kill();
        self.running = None;
        for client in &mut self.clients {
            client.connection = None;
        }
    }

    /// The daemon is asked to end.
    async fn stop(&mut self) {
        self.log.line(format_args!("daemon {}: stops", self.daemons));
        let running = self.running.as_mut().unwrap();
        running.tasks.abort_all();
        self.kernel.state().is_ending = true;
        running.daemon.engine().stop().await;
        self.state = StateFile::default();
        self.end_of_daemon();
        self.checks.stopped(&self.kernel);
        self.promises = Promises::default();
    }

    pub(crate) fn write_state(&mut self) {
        let Some(write) = self.running.as_mut().and_then(|running| running.daemon.next_write()) else {
            return;
        };
        match write {
            StateWrite::Replace(bytes) => {
                self.log.line(format_args!("state: {} bytes", bytes.len()));
                self.state = StateFile { bytes: Some(bytes), appended: 0 };
            }
            StateWrite::Append(bytes) => {
                self.log.line(format_args!("state: {} more bytes", bytes.len()));
                self.state.appended = bytes.len();
                self.state.bytes.get_or_insert_default().extend(bytes);
            }
        }
    }

    fn reload(&mut self) {
        self.policy = self.random.below(policy::COUNT);
        self.log.line(format_args!("policy {} is used", self.policy));
        let engine = self.running.as_ref().unwrap().daemon.engine();
        if let Err(error) = engine.reload(policy(self.policy)) {
            self.log.violation(format_args!("a valid policy is not used: {error}"));
        }
    }

    fn connected(&mut self, number: usize) -> Connection {
        self.connections += 1;
        let (own, theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let theirs = tokio::net::UnixStream::from_std(theirs).unwrap();
        let Client { uid, is_administrator, .. } = self.clients[number];
        let running = self.running.as_mut().unwrap();
        let client = EmbeddedClient { uid, pid: self.connections, is_administrator };
        running.tasks.spawn(running.daemon.serve(theirs, client));
        self.log.line(format_args!("client {number}: connection {}", self.connections));
        Connection::new(self.connections, own)
    }

    /// Connects a client that is not, and has it claim what it held.
    pub(crate) fn connect(&mut self, number: usize) {
        if self.clients[number].connection.is_some() {
            return;
        }
        self.clients[number].connection = Some(self.connected(number));
        let held: Vec<String> = self.clients[number].flows.keys().cloned().collect();
        for id in held {
            match self.random.one_in(6) {
                true => drop(self.clients[number].flows.remove(&id)),
                false => self.reserve(number, Some(id)),
            }
        }
    }

    pub(crate) fn disconnect(&mut self, number: usize) {
        if let Some(connection) = self.clients[number].connection.take() {
            self.log.line(format_args!("client {number}: disconnects {}", connection.number));
            self.left(&connection);
        }
    }

    /// A connection has ended.
    fn left(&mut self, connection: &Connection) {
        self.promises.disconnected(connection.number, |cookie| self.sockets.is_bound(cookie));
        if !connection.asked.is_empty() {
            self.checks.unanswered.insert(connection.number);
        }
    }

    /// A client's process ends: its sockets close, unless a child has a copy.
    fn client_dies(&mut self, number: usize) {
        self.disconnect(number);
        self.log.line(format_args!("client {number}: dies"));
        self.clients[number].flows.clear();
        for cookie in std::mem::take(&mut self.clients[number].sockets) {
            if self.random.one_in(5) {
                self.sockets.fork(cookie);
                self.clients[number].sockets.insert(cookie);
            }
            self.sockets.close(cookie);
        }
    }

    /// Opens a stream of notices or events on a connection of its own, which ends at some time.
    fn listen(&mut self, number: usize) {
        let mut connection = self.connected(number);
        let method = self.random.pick(&["Wait", "Events"]);
        let call = call(method, serde_json::json!({}));
        connection.call(&mut self.random, (Asked::Stream, &call), None);
        self.clients[number].streams.push(connection);
        if self.clients[number].streams.len() > 2 {
            self.clients[number].streams.remove(0);
        }
    }

    /// Clients send and receive.
    pub(crate) fn exchange(&mut self) {
        for number in 0..self.clients.len() {
            let pieces = 1 + self.random.index(6);
            let Some(mut connection) = self.clients[number].connection.take() else { continue };
            connection.send(pieces);
            let mut has_ended = false;
            for came in connection.receive() {
                match came {
                    Came::Reply(asked, reply) => self.replied((number, connection.number), asked, reply),
                    Came::Unasked(reply) => self.log.line(format_args!("client {number}: {:?}", reply.error)),
                    Came::Ended => has_ended = true,
                }
            }
            match has_ended {
                true => {
                    self.log.line(format_args!("client {number}: {} has ended", connection.number));
                    self.left(&connection);
                }
                false => self.clients[number].connection = Some(connection),
            }
        }
        for client in &mut self.clients {
            client.streams.retain_mut(|stream| {
                stream.send(1);
                !stream.receive().iter().any(|came| matches!(came, Came::Ended))
            });
        }
    }

    fn replied(&mut self, (number, connection): (usize, u32), asked: Asked, reply: Reply) {
        let error = reply.error.clone();
        self.log.line(format_args!("client {number}: {asked:?}: {error:?}"));
        match asked {
            Asked::Reserve { id } => {
                let Ok(decided) = reply.parameters::<Decided>() else { return };
                let is_admitted =
                    decided.decision.as_ref().is_some_and(|decision| decision.value()["ok"] == true);
                self.log.line(format_args!("client {number}: {id} admitted: {is_admitted}"));
                if is_admitted {
                    self.granted((number, connection), &id, decided);
                } else if self
                    .promises
                    .0
                    .get(&id)
                    .is_none_or(|promise| promise.uid != self.clients[number].uid)
                {
                    self.clients[number].flows.remove(&id);
                }
            }
            Asked::Attach { id, cookie } if error.is_none() => self.promises.attached(&id, cookie),
            // What an earlier connection has asked for may not have been answered.
            Asked::Attach { id, .. } if self.promises.is_of(&id, connection) => self.promises.certain(&id),
            Asked::Attach { .. } => {}
            Asked::Release { id } if error.is_none() => {
                self.promises.gone(&id);
                self.clients[number].flows.remove(&id);
            }
            Asked::OfAnother { id } if error.is_none() => {
                self.log.violation(format_args!("client {number} may change {id}, which is another user's"));
            }
            Asked::Flows => {
                let batch = reply.parameters::<FlowBatch>().unwrap_or_default();
                let Client { uid, is_administrator, .. } = self.clients[number];
                for flow in batch.flows.iter().filter(|flow| flow.uid != uid && !is_administrator) {
                    self.log
                        .violation(format_args!("user {uid} sees {}, which is user {}'s", flow.id, flow.uid));
                }
            }
            _ => {}
        }
    }

    fn granted(&mut self, (number, connection): (usize, u32), id: &str, decided: Decided) {
        let flow = self.clients[number].flows.entry(id.to_owned()).or_default();
        flow.epoch = decided.epoch;
        let decision = decided.decision.expect("the call asked for no parts").value();
        if let Some(interface) = decision["interface"].as_str() {
            flow.interface = interface.to_owned();
        }
        let held = self.running.as_ref().and_then(|running| {
            running.daemon.held().into_iter().find(|held| held.id == *id && held.pid == Some(connection))
        });
        match held {
            Some(held) => self.promises.granted(id, (held.uid, connection), held.cookie),
            // It has been lost meanwhile.
            None => self.promises.gone(id),
        }
    }

    /// Nothing happens, and the kernel answers, until all is in order.
    pub(crate) async fn quiet(&mut self) {
        self.log.line(format_args!("quiet"));
        self.kernel.clear_faults();
        for _ in 0..8 {
            self.exchange();
            tokio::task::yield_now().await;
        }
        sleep(QUIET).await;
        self.exchange();
        self.check();
        if let Some(running) = &self.running {
            self.checks.in_order(running, &self.kernel);
        }
    }

    /// Every client ends; nothing is left of what they held.
    async fn end(&mut self) {
        self.kernel.clear_faults();
        while self.running.is_none() && self.log.violated().is_none() {
            self.start().await;
        }
        for number in 0..self.clients.len() {
            self.disconnect(number);
            self.clients[number].streams.clear();
        }
        self.sockets.close_all();
        self.quiet().await;
        self.checks.nothing_is_held(self.running.as_ref().unwrap(), &self.kernel);
        if self.log.violated().is_none() {
            self.stop().await;
        }
    }

    pub(crate) fn check(&mut self) {
        if let Some(running) = &mut self.running {
            let open: Vec<u32> = self.clients.iter().flat_map(Client::open).collect();
            self.checks.step(running, (&self.kernel, &self.sockets), &open, &mut self.promises);
        }
    }
}
