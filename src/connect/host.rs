//! The manager of this process, as its connections see it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use flowspec::{Direction, Qos, Rate};
use tokio::sync::{Notify, oneshot};

use super::connector::Connector;
use super::error::ConnectError;
use super::listener::Listener;
use crate::admission::{Decision, GroupRequest, Operation};
use crate::engine::ask::{Ask, Asked, resolve};
use crate::engine::command::{Command, Commands, Reply};
use crate::engine::core::{Caller, Core, Rooms, lock};
use crate::engine::driver::Driver;
use crate::engine::routes::Ways;
use crate::engine::{Granted, InterfaceReport, Lingering};
use crate::failure::KernelFailure;
use crate::linux::{Link, Netlink};
use crate::manager::{Admitted, Answer, Input};
use crate::policy::{GroupMode, Policy, Protocol, Subject};

/// The manager of this process. Cheap to clone; ends with [`Host::stop`] or its last clone.
///
/// Belongs to the network namespace of the thread that started it, and to its tokio runtime.
#[derive(Clone)]
pub struct Host {
    core: Arc<Mutex<Core>>,
    commands: Commands,
    netlink: Netlink,
    names: Arc<AtomicU64>,
    ways: Arc<Ways>,
    rooms: Rooms,
}

impl Host {
    /// Starts a manager under this policy, in this thread's network namespace.
    ///
    /// Interfaces that the policy names are prepared at once: their tree is programmed, unless a qdisc
    /// that is not ours stands there. Others follow with their first flow.
    ///
    /// - **Errors**: netlink cannot be opened. That an interface cannot be programmed is not an error
    ///   here: [`report`](Self::report) and every decision say so.
    pub async fn start(policy: Arc<Policy>) -> Result<Self, KernelFailure> {
        if let Some(what) = policy.beyond_a_host() {
            let cause = std::io::Error::new(std::io::ErrorKind::Unsupported, what);
            return Err(KernelFailure::new("start", "the policy", cause));
        }
        let netlink = Netlink::open()?;
        let (commands, inbox) = Commands::new();
        let rooms = Rooms::default();
        let core = Arc::new_cyclic(|me| {
            Mutex::new(Core::new(&policy, commands.downgrade(), Arc::clone(&rooms), Weak::clone(me)))
        });
        let mut driver = Driver::new(Arc::clone(&core), netlink.clone(), commands.downgrade());
        // Before they are looked at, so that nothing is missed; a kernel that tells nobody is one whose links do
        // nothing.
        let links = netlink.watch_links().ok();
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
        tokio::spawn(driver.run(inbox, links));
        Ok(Self { core, commands, netlink, names: Arc::default(), ways: Arc::default(), rooms })
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
    pub async fn renegotiate(&self, id: String, qos: Qos) -> Result<(Admitted, Decision), ConnectError> {
        let operation = Operation::Renegotiate { id, asked: Box::new(qos.map(Some)) };
        let Answer { decision, admitted } = self.asked(operation).await?;
        match admitted {
            Some(admitted) => Ok((admitted, decision)),
            None => Err(ConnectError::Refused(Box::new(decision))),
        }
    }

    /// The name of the interface by which packets to the peer leave.
    ///
    /// - **Errors**: no route, or the kernel's.
    pub async fn interface(&self, peer: IpAddr) -> Result<String, ConnectError> {
        self.way(peer).await.map(|link| link.name)
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

    /// Has something told whenever more is promised of an interface than it carries, and when that is over.
    pub fn on_strain(&self, tell: impl Fn(&str, bool) + Send + Sync + 'static) {
        lock(&self.core).on_strain(Arc::new(tell));
    }

    /// Asks for what a group is to get on the way to a peer, an envelope that its members stay within: by which
    /// interface that is.
    pub async fn group(&self, id: String, qos: Qos, peer: IpAddr) -> Result<String, ConnectError> {
        let interface = self.interface(peer).await?;
        let by = interface.clone();
        let mode = GroupMode::Envelope;
        let request = GroupRequest { id, interface, class: None, mode, qos };
        let decision = self.ask(Operation::Group(Box::new(request))).await?;
        if decision.ok { Ok(by) } else { Err(ConnectError::Refused(Box::new(decision))) }
    }

    /// Ends a group, once its last member has gone.
    pub fn end_group(&self, id: String) {
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
        self.commands.send(command);
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

    /// What the link carries by which packets to the peer leave, as far as that is known.
    ///
    /// - **Errors**: no route, or the kernel's.
    pub async fn line_rate(&self, peer: IpAddr) -> Result<Option<Rate>, ConnectError> {
        let interface = self.interface(peer).await?;
        Ok(lock(&self.core).manager.ledger().capacity(&interface, Direction::Sending))
    }

    /// Finds the way to the peer and asks for the reservation.
    pub async fn reserve(
        &self,
        ask: &Ask,
        peer: IpAddr,
        protocol: Protocol,
        local_port: u16,
    ) -> Result<Granted, ConnectError> {
        let link = self.way(peer).await?;
        let asked = self.asked_by(ask, link, Subject { protocol, local_port, peer });
        let waits = self.make_room_for(&asked);
        let answer = self.begin(asked);
        self.finish(waits, answer.await.map_err(|_| ConnectError::Stopped)?)
    }

    /// The same on the caller's own thread, where the way is known and nothing is asked of the kernel. Should the
    /// answer not be there at once, `block` waits for it.
    pub fn reserve_now(
        &self,
        ask: &Ask,
        peer: IpAddr,
        protocol: Protocol,
        local_port: u16,
        block: impl FnOnce(oneshot::Receiver<Reply>) -> Option<Reply>,
    ) -> Option<Result<Granted, ConnectError>> {
        let link = self.ways.get(peer)?;
        if !self.commands.are_done() || !lock(&self.core).manager.is_in_user_space(&link.name) {
            return None;
        }
        let asked = self.asked_by(ask, link, Subject { protocol, local_port, peer });
        let waits = self.make_room_for(&asked);
        let mut answer = self.begin(asked);
        // Somebody else's class may have to go first, by the loop.
        let answered = answer.try_recv().ok().or_else(|| block(answer));
        Some(answered.ok_or(ConnectError::Stopped).and_then(|answer| self.finish(waits, answer)))
    }

    fn asked_by(&self, ask: &Ask, link: Link, subject: Subject) -> Box<Asked> {
        let number = || self.names.fetch_add(1, Ordering::Relaxed) + 1;
        let id = ask.id.clone().unwrap_or_else(|| format!("flow-{}", number()));
        Box::new(Asked { id, ask: ask.clone(), link, subject })
    }

    /// A place for one who may have to wait: before he asks, so that nothing is missed.
    fn make_room_for(&self, asked: &Asked) -> Option<String> {
        let id = asked.ask.wait.then(|| asked.id.clone())?;
        self.rooms().entry(id.clone()).or_default();
        Some(id)
    }

    /// Asks: at once where nothing is asked of the kernel and nobody is before, else in the loop.
    fn begin(&self, asked: Box<Asked>) -> oneshot::Receiver<Reply> {
        let (reply, answer) = oneshot::channel();
        let mut core = lock(&self.core);
        let ladder = match self.commands.are_done() && core.manager.is_in_user_space(&asked.link.name) {
            true => resolve(core.manager.ledger().policy(), &asked).ok(),
            false => None,
        };
        let Some(ladder) = ladder else {
            drop(core);
            self.tell(Command::Reserve { asked, reply });
            return answer;
        };
        let operation = Box::new(Operation::Reserve(Box::new(ladder)));
        let effects = core.ask(operation, Caller::Reserves(reply));
        core.settle_here(effects).finish(&self.commands, core);
        answer
    }

    fn finish(&self, waits: Option<String>, answered: Reply) -> Result<Granted, ConnectError> {
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
