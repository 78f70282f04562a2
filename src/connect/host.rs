//! The manager of this process, as its connections see it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flowspec::Qos;
use tokio::sync::{Notify, mpsc, oneshot};

use super::ask::{Ask, Asked};
use super::connector::Connector;
use super::driver::Driver;
use super::error::ConnectError;
use super::lingering::Lingering;
use super::listener::Listener;
use super::promise::Granted;
use super::report::InterfaceReport;
use super::ways::Ways;
use crate::admission::{Decision, GroupRequest, Operation};
use crate::linux::{Link, LinuxError, Netlink};
use crate::manager::{Admitted, Answer, Input};
use crate::policy::{GroupMode, Policy, Protocol, Subject};

/// The manager of this process. Cheap to clone; ends with [`Host::stop`] or its last clone.
///
/// Belongs to the network namespace of the thread that started it, and to its tokio runtime.
#[derive(Clone)]
pub struct Host {
    commands: mpsc::UnboundedSender<Command>,
    netlink: Netlink,
    names: Arc<AtomicU64>,
    ways: Arc<Ways>,
    rooms: Rooms,
}

/// Those who wait for room, and how they are told.
pub(super) type Rooms = Arc<Mutex<HashMap<String, Arc<Notify>>>>;

/// What the loop is told.
pub(super) enum Command {
    Reserve {
        asked: Box<Asked>,
        reply: oneshot::Sender<Reply>,
    },
    Ask {
        operation: Box<Operation>,
        reply: oneshot::Sender<Answer>,
    },
    Connected {
        id: String,
    },
    Closed {
        id: String,
        lingering: Lingering,
    },
    /// With the bytes that its class has sent, if that is known.
    Drained {
        id: String,
        sent: Option<u64>,
    },
    Report {
        reply: oneshot::Sender<Result<Vec<InterfaceReport>, LinuxError>>,
    },
    Stop {
        reply: oneshot::Sender<()>,
    },
}

/// What the caller of a reservation is told.
pub(super) type Reply = Result<Granted, Box<Decision>>;

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
        let rooms = Arc::default();
        let mut driver = Driver::new(&policy, netlink.clone(), commands.downgrade(), Arc::clone(&rooms));
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
        // What links do from now on; a kernel that tells nobody is one whose links do nothing.
        let links = netlink.watch_links().ok();
        tokio::spawn(driver.run(inbox, links));
        Ok(Self { commands, netlink, names: Arc::default(), ways: Arc::default(), rooms })
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

    /// Asks for what a group is to get on the way to a peer: an envelope that its members stay within.
    pub(crate) async fn group(&self, id: String, qos: Qos, peer: IpAddr) -> Result<(), ConnectError> {
        let interface = self.way(peer).await?.name;
        let mode = GroupMode::Envelope;
        let request = GroupRequest { id, interface, class: None, mode, qos };
        let decision = self.ask(Operation::Group(Box::new(request))).await?;
        if decision.ok { Ok(()) } else { Err(ConnectError::Refused(Box::new(decision))) }
    }

    /// Ends a group, once its last member has gone.
    pub(crate) fn end_group(&self, id: String) {
        let (reply, _) = oneshot::channel();
        self.tell(Command::Ask { operation: Box::new(Operation::Ungroup { id }), reply });
    }

    /// Waits until there is room for a flow that was refused, and [waits](Ask::wait). To be told is not to be
    /// promised: whoever asks first gets it, and one who does not ask within five seconds has lost his place.
    ///
    /// - **Errors**: nobody of that name waits.
    pub async fn room(&self, id: &str) -> Result<(), ConnectError> {
        let room = self.rooms().get(id).cloned();
        let room = room.ok_or(ConnectError::State { problem: "nobody of that name waits" })?;
        room.notified().await;
        Ok(())
    }

    /// One who waits does so no longer.
    pub fn give_up(&self, id: &str) {
        if self.rooms().remove(id).is_some() {
            self.tell(Command::Closed { id: id.to_owned(), lingering: Lingering::Nothing });
        }
    }

    fn rooms(&self) -> MutexGuard<'_, HashMap<String, Arc<Notify>>> {
        // Whole between any two statements that can panic.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tell(&self, command: Command) {
        // A manager that has stopped has given everything back.
        let _ = self.commands.send(command);
    }

    /// The link by which packets to the peer leave.
    async fn way(&self, peer: IpAddr) -> Result<Link, ConnectError> {
        if let Some(link) = self.ways.get(peer) {
            return Ok(link);
        }
        let route = self.netlink.route(peer).await?;
        let link = self.netlink.link(route.index).await?;
        self.ways.keep(peer, link.clone());
        Ok(link)
    }

    /// Finds the way to the peer and asks for the reservation.
    pub(crate) async fn reserve(
        &self,
        ask: &Ask,
        peer: IpAddr,
        protocol: Protocol,
        local_port: u16,
    ) -> Result<Granted, ConnectError> {
        let link = self.way(peer).await?;
        let number = || self.names.fetch_add(1, Ordering::Relaxed) + 1;
        let id = ask.id.clone().unwrap_or_else(|| format!("flow-{}", number()));
        let subject = Subject { protocol, local_port, peer };
        let asked = Box::new(Asked { id, ask: ask.clone(), link, subject });
        let waits = ask.wait.then(|| asked.id.clone());
        if let Some(id) = &waits {
            // Before it is asked, so that nothing is missed.
            self.rooms().entry(id.clone()).or_default();
        }
        let (reply, answer) = oneshot::channel();
        self.tell(Command::Reserve { asked, reply });
        let answered = answer.await.map_err(|_| ConnectError::Stopped)?;
        let decision = match &answered {
            Ok(granted) => &granted.decision,
            Err(decision) => decision,
        };
        if let Some(id) = waits.filter(|_| !decision.waiting) {
            self.rooms().remove(&id);
        }
        answered.map_err(ConnectError::Refused)
    }
}
