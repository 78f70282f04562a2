//! The manager of this process: one loop that feeds it inputs and carries out its effects.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flowspec::{Qos, Rate};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::connector::Connector;
use super::error::ConnectError;
use super::flow::{Granted, Reservation};
use super::lingering::Lingering;
use super::listener::Listener;
use crate::admission::{Decision, Ladder, Operation, Refusal, Request};
use crate::linux::{Claim, ClassState, Link, LinuxError, Netlink, RootQdisc};
use crate::manager::{Admitted, Answer, Effect, Input, Manager, Root, Seen, Status, Ticket};
use crate::policy::{Enforcement, Owner, Policy, Protocol, Subject};
use crate::tc::{DEFAULT, HtbRoot, MAJOR, ROOT_CLASS};

/// The manager of this process. Cheap to clone; ends with [`Host::stop`] or its last clone.
///
/// Belongs to the network namespace of the thread that started it, and to its tokio runtime.
#[derive(Clone)]
pub struct Host {
    commands: mpsc::UnboundedSender<Command>,
    netlink: Netlink,
    names: Arc<AtomicU64>,
    ways: Arc<Ways>,
}

/// By which link peers are reached, as it was found a moment ago.
#[derive(Default)]
struct Ways(Mutex<HashMap<IpAddr, (Instant, Link)>>);

/// How long the kernel's answer is good: routes change seldom, and a flow that has begun keeps its link anyway.
const WAY_LIFETIME: Duration = Duration::from_millis(500);

/// The most that are kept; then all are forgotten.
const MOST_WAYS: usize = 4096;

impl Ways {
    fn get(&self, peer: IpAddr) -> Option<Link> {
        let ways = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ways.get(&peer).filter(|(found, _)| found.elapsed() < WAY_LIFETIME).map(|(_, link)| link.clone())
    }

    fn keep(&self, peer: IpAddr, link: Link) {
        let mut ways = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ways.len() >= MOST_WAYS {
            ways.clear();
        }
        ways.insert(peer, (Instant::now(), link));
    }
}

/// What to ask for.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// What the flow is called; a name of its own where nothing is given.
    pub id: Option<String>,
    /// Its class; the rule's, where a rule decides.
    pub class: Option<String>,
    /// What it is to get.
    pub what: What,
}

/// What a flow is to get.
#[derive(Clone, Debug, Default)]
pub enum What {
    /// What the first rule of the policy that matches says; best effort where none does.
    #[default]
    ByRule,
    /// This template of the policy.
    Template(String),
    /// This.
    Qos(Box<Qos>),
}

/// How an interface stands, with what the kernel counts.
#[derive(Clone, Debug)]
pub struct InterfaceReport {
    /// Its name.
    pub interface: String,
    /// Budget, reserved, and whether the kernel helps.
    pub status: Status,
    /// Packets that bypassed every class.
    pub direct_packets: u32,
    /// The kernel's classes.
    pub classes: Vec<ClassReport>,
}

/// A kernel class.
#[derive(Clone, Debug, Serialize)]
pub struct ClassReport {
    /// As `tc` writes it.
    pub class: String,
    /// The flow it carries; `link` and `default` for the trunk.
    pub flow: String,
    /// Its rate, link headers included.
    pub rate: Rate,
    /// What the kernel counted, link headers included.
    pub sent_bytes: u64,
    /// Packets it dropped.
    pub dropped: u32,
}

/// What the loop is told.
pub(super) enum Command {
    Reserve { asked: Box<Asked>, reply: oneshot::Sender<Reply> },
    Ask { operation: Box<Operation>, reply: oneshot::Sender<Answer> },
    Connected { id: String },
    Closed { id: String, lingering: Lingering },
    Drained { id: String },
    Report { reply: oneshot::Sender<Result<Vec<InterfaceReport>, LinuxError>> },
    Stop { reply: oneshot::Sender<()> },
}

/// Who waits for an answer.
enum Caller {
    Reserves(oneshot::Sender<Reply>),
    Asks(oneshot::Sender<Answer>),
}

/// What the caller of a reservation is told.
pub(super) type Reply = Result<Granted, Box<Decision>>;

/// A request as it comes from a socket: what is asked, and where it leaves.
pub(super) struct Asked {
    pub(super) id: String,
    pub(super) ask: Ask,
    pub(super) link: Link,
    pub(super) subject: Subject,
}

impl Host {
    /// Starts a manager under this policy, in this thread's network namespace.
    ///
    /// Interfaces that the policy names are prepared at once: their tree is programmed, unless a qdisc
    /// that is not ours stands there. Others follow with their first flow.
    ///
    /// - **Errors**: netlink cannot be opened. That an interface cannot be programmed is not an error
    ///   here: [`report`](Self::report) and every decision say so.
    pub async fn start(policy: Arc<Policy>) -> Result<Self, LinuxError> {
        if let Some(what) = policy.beyond_a_host() {
            let cause = std::io::Error::new(std::io::ErrorKind::Unsupported, what);
            return Err(LinuxError::call("start", "the policy", cause));
        }
        let netlink = Netlink::open()?;
        let (commands, inbox) = mpsc::unbounded_channel();
        let mut driver = Driver {
            manager: Manager::new(Arc::clone(&policy)),
            netlink: netlink.clone(),
            started: Instant::now(),
            callers: BTreeMap::new(),
            claims: Vec::new(),
            next_ticket: 0,
            commands: commands.downgrade(),
        };
        for name in policy.interfaces.keys() {
            let looked = match netlink.link_by_name(name).await {
                Ok(link) => driver.look_at(&link).await,
                // Not there yet: it is looked at when its first flow comes.
                Err(error) if error.is_absent() => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = looked {
                // All or nothing: the trees of the interfaces before this one go again.
                driver.feed(Input::Stop).await;
                return Err(error);
            }
        }
        tokio::spawn(driver.run(inbox));
        Ok(Self { commands, netlink, names: Arc::default(), ways: Arc::default() })
    }

    /// Makes connections.
    pub fn connector(&self) -> Connector {
        Connector::new(self.clone())
    }

    /// Accepts connections, each asking for the same.
    ///
    /// - **Errors**: `bind` or `listen`.
    pub async fn listen(&self, address: SocketAddr, ask: Ask) -> Result<Listener, ConnectError> {
        Listener::bind(self.clone(), address, ask).await
    }

    /// How every interface stands that has been seen.
    ///
    /// - **Errors**: the kernel's; the manager has stopped.
    pub async fn report(&self) -> Result<Vec<InterfaceReport>, ConnectError> {
        let (reply, answer) = oneshot::channel();
        self.tell(Command::Report { reply });
        Ok(answer.await.map_err(|_| ConnectError::Stopped)??)
    }

    /// Ends the manager: what it programmed is taken back, and the kernel's defaults return.
    pub async fn stop(self) {
        let (reply, done) = oneshot::channel();
        self.tell(Command::Stop { reply });
        // An error means that it has stopped already.
        let _ = done.await;
    }

    /// Asks for something else for a flow that has a reservation.
    pub(crate) async fn renegotiate(&self, id: String, qos: Qos) -> Result<Admitted, ConnectError> {
        let operation = Operation::Renegotiate { id, asked: Box::new(qos.map(Some)) };
        let Answer { decision, admitted } = self.asked(operation).await?;
        admitted.ok_or_else(|| ConnectError::Refused(Box::new(decision)))
    }

    /// Asks the manager something: a group, another capacity, what is free. Flows are better asked for by their
    /// connections, which give them back.
    ///
    /// - **Errors**: the manager has stopped. A refusal is a decision.
    pub async fn ask(&self, operation: Operation) -> Result<Decision, ConnectError> {
        self.asked(operation).await.map(|answer| answer.decision)
    }

    async fn asked(&self, operation: Operation) -> Result<Answer, ConnectError> {
        let (reply, answer) = oneshot::channel();
        self.tell(Command::Ask { operation: Box::new(operation), reply });
        answer.await.map_err(|_| ConnectError::Stopped)
    }

    pub(super) fn tell(&self, command: Command) {
        // A manager that has stopped has given everything back.
        let _ = self.commands.send(command);
    }

    /// Finds the way to the peer and asks for the reservation.
    pub(crate) async fn reserve(
        &self,
        ask: &Ask,
        peer: IpAddr,
        protocol: Protocol,
        local_port: u16,
    ) -> Result<Granted, ConnectError> {
        let link = match self.ways.get(peer) {
            Some(link) => link,
            None => {
                let route = self.netlink.route(peer).await?;
                let link = self.netlink.link(route.index).await?;
                self.ways.keep(peer, link.clone());
                link
            }
        };
        let number = || self.names.fetch_add(1, Ordering::Relaxed) + 1;
        let id = ask.id.clone().unwrap_or_else(|| format!("flow-{}", number()));
        let subject = Subject { protocol, local_port, peer };
        let asked = Box::new(Asked { id, ask: ask.clone(), link, subject });
        let (reply, answer) = oneshot::channel();
        self.tell(Command::Reserve { asked, reply });
        answer.await.map_err(|_| ConnectError::Stopped)?.map_err(ConnectError::Refused)
    }
}

impl Ask {
    /// This template of the policy.
    pub fn template(name: impl Into<String>) -> Self {
        Self { what: What::Template(name.into()), ..Self::default() }
    }

    /// Exactly this.
    pub fn qos(qos: Qos) -> Self {
        Self { what: What::Qos(Box::new(qos)), ..Self::default() }
    }

    /// The same in this class.
    #[must_use]
    pub fn class(self, class: impl Into<String>) -> Self {
        Self { class: Some(class.into()), ..self }
    }

    /// The same under this name.
    #[must_use]
    pub fn id(self, id: impl Into<String>) -> Self {
        Self { id: Some(id.into()), ..self }
    }
}

/// The loop's state. It has no rule of its own.
struct Driver {
    manager: Manager,
    netlink: Netlink,
    started: Instant,
    callers: BTreeMap<Ticket, Caller>,
    claims: Vec<Claim>,
    next_ticket: u64,
    /// To hear of drained sockets without keeping the loop alive.
    commands: mpsc::WeakUnboundedSender<Command>,
}

/// How long a class may hold packets of a flow that has ended.
const DRAIN: Duration = Duration::from_secs(1);

/// How often it is looked at meanwhile.
const DRAIN_STEP: Duration = Duration::from_millis(5);

impl Driver {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Command>) {
        while let Some(command) = inbox.recv().await {
            match command {
                Command::Reserve { asked, reply } => self.reserve(*asked, reply).await,
                Command::Ask { operation, reply } => self.ask(operation, Caller::Asks(reply)).await,
                Command::Connected { id } => self.feed(Input::Connected { id }).await,
                Command::Closed { id, lingering } => self.drain(id, lingering),
                Command::Drained { id } => self.feed(Input::Closed { id }).await,
                Command::Report { reply } => {
                    let report = self.report().await;
                    // Who asked may have gone.
                    let _ = reply.send(report);
                }
                Command::Stop { reply } => {
                    self.feed(Input::Stop).await;
                    let _ = reply.send(());
                    return;
                }
            }
        }
        self.feed(Input::Stop).await;
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Feeds one input and carries out what follows, in order, to the end.
    async fn feed(&mut self, input: Input) {
        let mut effects = VecDeque::from(self.manager.handle(input, self.now_us()));
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Apply { ticket, index, change } => {
                    let result = self.netlink.apply(index, &change).await;
                    let result = result.map_err(|error| error.to_string());
                    let input = Input::Applied { ticket, result };
                    effects.extend(self.manager.handle(input, self.now_us()));
                }
                Effect::Answer { ticket, answer } => self.answer(ticket, answer),
                Effect::Tell(_) => {}
            }
        }
    }

    fn answer(&mut self, ticket: Ticket, Answer { decision, admitted }: Answer) {
        let (Some(caller), Some(commands)) = (self.callers.remove(&ticket), self.commands.upgrade()) else {
            return;
        };
        let caller = match caller {
            Caller::Reserves(caller) => caller,
            Caller::Asks(caller) => {
                // Who asked may have gone; it is so all the same.
                let _ = caller.send(Answer { decision, admitted });
                return;
            }
        };
        let reply = match admitted {
            None => Err(Box::new(decision)),
            Some(admitted) => {
                let reservation = Reservation::new(commands, decision.id.clone());
                Ok(Granted { admitted, decision, reservation })
            }
        };
        // The caller may have given up, now or before it looks: what it was granted then gives itself
        // back, as the reservation is dropped.
        let _ = caller.send(reply);
    }

    async fn ask(&mut self, operation: Box<Operation>, caller: Caller) {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.callers.insert(ticket, caller);
        self.feed(Input::Ask { ticket, operation }).await;
    }

    async fn reserve(&mut self, asked: Asked, reply: oneshot::Sender<Reply>) {
        if reply.is_closed() {
            return;
        }
        let looked = match self.manager.knows(&asked.link.name) {
            true => Ok(()),
            false => self.look_at(&asked.link).await,
        };
        let request = match looked {
            Ok(()) => resolve(self.manager.ledger().policy(), &asked),
            Err(error) => {
                let interface = asked.link.name.clone();
                Err(Refusal::TrafficControl { interface, cause: error.to_string() })
            }
        };
        match request {
            Ok(request) => {
                let operation = Box::new(Operation::Reserve(Box::new(Ladder::from(request))));
                self.ask(operation, Caller::Reserves(reply)).await;
            }
            Err(refusal) => {
                let ledger = self.manager.ledger();
                let decision =
                    Decision::refused(self.now_us(), &asked.id, &asked.link.name, &refusal, ledger);
                // Who asked may have gone.
                let _ = reply.send(Err(Box::new(decision)));
            }
        }
    }

    /// Looks at an interface and lets the manager prepare it.
    async fn look_at(&mut self, link: &Link) -> Result<(), LinuxError> {
        let name = &link.name;
        let enforcement = self.manager.ledger().policy().interface(name).map(|policy| policy.enforcement);
        let root = match enforcement {
            // What the policy does not know, or keeps in user space, is left to whoever programs it.
            None => return Ok(()),
            Some(Enforcement::UserSpace) => Root::Default,
            Some(Enforcement::Auto | Enforcement::Kernel) => self.claim(link.index).await?,
        };
        let Link { index, mtu, speed, .. } = *link;
        self.feed(Input::Seen(Seen { interface: name.clone(), index, mtu, speed, root })).await;
        Ok(())
    }

    /// Claims an interface's root and says what stands there.
    async fn claim(&mut self, index: u32) -> Result<Root, LinuxError> {
        Ok(match (Claim::interface(index)?, self.netlink.root(index).await?) {
            (None, _) => Root::Taken(format!("it holds the name @{}", Claim::name(index))),
            (Some(claim), root) => {
                self.claims.push(claim);
                match root {
                    RootQdisc::Default => Root::Default,
                    RootQdisc::Htb(root) if root.handle.major() == MAJOR => Root::Ours(root),
                    RootQdisc::Htb(root) => Root::Foreign(format!("{} {}", HtbRoot::KIND, root.handle)),
                    RootQdisc::Other(kind, handle) => Root::Foreign(format!("{kind} {handle}")),
                }
            }
        })
    }

    /// Lets a flow that ended finish sending before its class goes.
    fn drain(&self, id: String, lingering: Lingering) {
        let Some(commands) = self.commands.upgrade() else { return };
        let (netlink, class) = (self.netlink.clone(), self.manager.class(&id));
        tokio::spawn(async move {
            lingering.finish().await;
            let deadline = Instant::now() + DRAIN;
            while let Some((index, class)) = class {
                // A class that cannot be read is not waited for.
                let queued = netlink.class(index, class).await.ok().flatten();
                if queued.is_none_or(|state: ClassState| state.queued == 0) || Instant::now() >= deadline {
                    break;
                }
                tokio::time::sleep(DRAIN_STEP).await;
            }
            // A loop that has ended has given everything back.
            let _ = commands.send(Command::Drained { id });
        });
    }

    async fn report(&self) -> Result<Vec<InterfaceReport>, LinuxError> {
        let mut reports = Vec::new();
        for (interface, index) in self.manager.interfaces() {
            let Some(status) = self.manager.status(&interface) else { continue };
            let (mut direct_packets, mut classes) = (0, Vec::new());
            if status.kernel.is_ok() {
                if let RootQdisc::Htb(root) = self.netlink.root(index).await? {
                    direct_packets = root.direct_packets;
                }
                let flows = self.manager.classes(&interface);
                let mut states = self.netlink.classes(index).await?;
                states.sort_by_key(|state| state.class.handle);
                classes = states.iter().map(|state| class_report(state, &flows)).collect();
            }
            reports.push(InterfaceReport { interface, status, direct_packets, classes });
        }
        Ok(reports)
    }
}

fn class_report(state: &ClassState, flows: &BTreeMap<crate::tc::Handle, String>) -> ClassReport {
    let handle = state.class.handle;
    let flow = match handle.minor() {
        ROOT_CLASS => "link".to_owned(),
        DEFAULT => "default".to_owned(),
        _ => flows.get(&handle).cloned().unwrap_or_default(),
    };
    ClassReport {
        class: handle.to_string(),
        flow,
        rate: state.class.rate,
        sent_bytes: state.sent_bytes,
        dropped: state.dropped,
    }
}

/// Turns what is asked into a request, by the policy's templates and rules.
fn resolve(policy: &Policy, asked: &Asked) -> Result<Request, Refusal> {
    let Asked { id, ask, link, subject } = asked;
    let template = |name: &str| match policy.templates.get(name) {
        Some(template) => Ok(template.qos),
        None => Err(Refusal::UnknownTemplate { template: name.to_owned() }),
    };
    let mut class = ask.class.clone();
    let qos = match &ask.what {
        What::Qos(qos) => **qos,
        What::Template(name) => template(name)?,
        What::ByRule => match policy.rule_for(subject) {
            None => Qos::BEST_EFFORT,
            Some(rule) => {
                class = class.or_else(|| rule.class.clone());
                template(&rule.template)?
            }
        },
    };
    // Only asked where somebody wants to know.
    let owner = match policy.classes.values().any(|class| class.matches.is_some()) {
        false => Owner::default(),
        true => {
            let (uid, gid, cgroup) = crate::linux::owner();
            Owner { uid: Some(uid), gid: Some(gid), cgroup }
        }
    };
    Ok(Request { class, owner, ..Request::new(id.clone(), link.name.clone(), qos) })
}
