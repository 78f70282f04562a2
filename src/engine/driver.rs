//! The loop: it feeds the manager inputs and carries out its effects.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use flowspec::{Both, Direction, Micros, Rate};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::clock;
use super::command::{Command, WeakCommands};
use super::core::{Caller, Core, Told, lock};
use super::lingering::Lingering;
use super::meter::Meter;
use super::report::{InterfaceReport, class_report};
use super::request::Submission;
use super::reservation::Reply;
use crate::admission::{Operation, Refusal};
use crate::failure::KernelFailure;
use crate::linux::{Claim, Link, LinkEvent, LinkEvents, Netlink};
use crate::manager::{Effect, Input, Root, Seen};
use crate::policy::Enforcement;
use crate::tc::ForeignRoot;

/// The loop's state. It has no rule of its own.
pub(super) struct Driver {
    core: Arc<Mutex<Core>>,
    netlink: Netlink,
    claims: Vec<Claim>,
    /// To hear of drained sockets without keeping the loop alive.
    commands: WeakCommands,
    /// Interfaces that are down, with what they carried before.
    down: BTreeMap<String, Both<Option<Rate>>>,
    /// What the classes of interfaces have sent, where something is measured.
    meters: BTreeMap<String, Meter>,
}

/// How long a class may hold packets of a flow that has ended.
const DRAIN: Duration = Duration::from_secs(1);

/// How often it is looked at meanwhile.
const DRAIN_STEP: Duration = Duration::from_millis(5);

/// How often measured classes are measured.
const MEASURE: Duration = Duration::from_secs(1);

impl Driver {
    pub(super) fn new(core: Arc<Mutex<Core>>, netlink: Netlink, commands: WeakCommands) -> Self {
        let (claims, down, meters) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        Self { core, netlink, claims, commands, down, meters }
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        lock(&self.core)
    }

    pub(super) async fn run(
        mut self,
        mut inbox: mpsc::UnboundedReceiver<Command>,
        mut links: Option<LinkEvents>,
    ) {
        let measures = self.core().manager.ledger().policy().has_measured_class();
        let mut next_measure = clock::now() + MEASURE;
        loop {
            let due = {
                let core = self.core();
                core.manager.due().map(|due| core.clock.instant(due))
            };
            tokio::select! {
                biased;
                command = inbox.recv() => match command {
                    None => break,
                    Some(Command::Stop { reply }) => {
                        self.feed(Input::Stop).await;
                        let _ = reply.send(());
                        return;
                    }
                    Some(command) => {
                        let counted = command.may_make_room();
                        self.obey(command).await;
                        if counted {
                            self.commands.obeyed();
                        }
                    }
                },
                event = next(&mut links) => self.link_changed(event).await,
                () = sleep_until(next_measure), if measures => {
                    self.measure().await;
                    next_measure = clock::now() + MEASURE;
                }
                () = until(due) => self.set(Operation::Tick).await,
            }
        }
        self.feed(Input::Stop).await;
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Reserve { submission, reply } => self.reserve(*submission, reply).await,
            Command::Submit { operation, reply } => self.ask(operation, Caller::Asks(reply)).await,
            Command::Settle(told, effects) => {
                told.into_iter().for_each(Told::tell);
                self.carry_out(effects).await;
            }
            Command::Connected { id } => self.feed(Input::Connected { id }).await,
            // Nothing is on its way any more, neither in a socket nor in a class.
            Command::Closed { id, lingering: Lingering::Nothing }
                if self.core().manager.class(&id).is_none() =>
            {
                self.feed(Input::Closed { id }).await;
            }
            Command::Closed { id, lingering } => self.drain(id, lingering),
            Command::Drained { id, sent } => {
                let measured = self.core().manager.measured_class(&id);
                if let Some((interface, class, handle)) = measured
                    && let Some(meter) = self.meters.get_mut(&interface)
                {
                    meter.ended(&class, handle, sent);
                }
                self.feed(Input::Closed { id }).await;
            }
            Command::Report { reply } => {
                let report = self.report().await;
                // Who asked may have gone.
                let _ = reply.send(report);
            }
            // The loop itself ends.
            Command::Stop { .. } => {}
        }
    }

    /// Feeds one input and carries out what follows.
    pub(super) async fn feed(&self, input: Input) {
        let effects = self.core().handle(input);
        self.carry_out(effects).await;
    }

    /// Carries out effects in order, to the end.
    async fn carry_out(&self, mut effects: Vec<Effect>) {
        loop {
            let (told, rest) = self.core().settle(effects);
            told.into_iter().for_each(Told::tell);
            let mut rest = rest.into_iter();
            let Some(Effect::Apply { id, index, change }) = rest.next() else { return };
            let result = self.netlink.apply(index, &change).await;
            effects = rest.collect();
            effects.extend(self.core().handle(Input::Applied { id, result }));
        }
    }

    /// A link has changed: what it carries now counts, nothing where it is down.
    async fn link_changed(&mut self, event: LinkEvent) {
        let interfaces = self.core().manager.interfaces();
        for (interface, index) in interfaces {
            if index != event.index {
                continue;
            }
            let was = self.down.contains_key(&interface);
            for direction in Direction::BOTH {
                let capacity = self.core().manager.ledger().capacity(&interface, direction);
                let carries = match (event.carries, was) {
                    (false, false) => {
                        let before = self.down.entry(interface.clone()).or_default();
                        *before.get_mut(direction) = capacity;
                        Some(Rate::ZERO)
                    }
                    (true, true) => self.down.get(&interface).and_then(|before| *before.get(direction)),
                    _ => None,
                };
                // Nothing is promised of a link of which nobody knows what it carries.
                if let (Some(carries), Some(_)) = (carries, capacity) {
                    let interface = interface.clone();
                    self.set(Operation::Capacity { interface, direction, capacity: carries }).await;
                }
            }
            if event.carries {
                self.down.remove(&interface);
            }
        }
    }

    /// Something that nobody has asked for.
    async fn set(&self, operation: Operation) {
        self.ask(Box::new(operation), Caller::Nobody).await;
    }

    /// Tells the ledger what the flows of measured classes have sent.
    async fn measure(&mut self) {
        let now = self.core().now().as_micros();
        let interfaces = self.core().manager.interfaces();
        for (interface, index) in interfaces {
            let classes = self.core().manager.measured(&interface);
            if classes.is_empty() {
                self.meters.remove(&interface);
                continue;
            }
            let Ok(states) = self.netlink.classes(index).await else { continue };
            let sent = states.iter().map(|state| (state.class.handle, state.sent_bytes)).collect();
            let meter = self.meters.entry(interface.clone()).or_default();
            for (class, window, rate) in meter.read(&classes, &sent, now) {
                // What comes in passes no class: it counts as declared.
                let rate = Both { sending: rate, receiving: Rate::new(u64::MAX) };
                let interface = interface.clone();
                self.set(Operation::Measure { interface, class, window: Micros::new(window), rate }).await;
            }
        }
    }

    async fn ask(&self, operation: Box<Operation>, caller: Caller) {
        let effects = self.core().ask(operation, caller);
        self.carry_out(effects).await;
    }

    async fn reserve(&mut self, submission: Submission, reply: oneshot::Sender<Reply>) {
        if reply.is_closed() {
            return;
        }
        let Submission { request, placement } = submission;
        let known = self.core().manager.knows(&placement.link.name);
        let looked = match known {
            true => Ok(()),
            false => self.look_at(&placement.link).await,
        };
        let effects = match looked {
            Ok(()) => self.core().reserve(&request, &placement, reply),
            Err(error) => {
                let interface = placement.link.name.clone();
                let refusal = Refusal::TrafficControl { interface, cause: error.into() };
                self.core().refuse(&placement, refusal, reply);
                return;
            }
        };
        self.carry_out(effects).await;
    }

    /// Looks at an interface and lets the manager prepare it.
    pub(super) async fn look_at(&mut self, link: &Link) -> Result<(), KernelFailure> {
        let name = &link.name;
        let policy = Arc::clone(self.core().manager.ledger().policy());
        let enforcement = policy.interface(name).map(|policy| policy.enforcement);
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
    async fn claim(&mut self, index: u32) -> Result<Root, KernelFailure> {
        Ok(match (Claim::interface(index)?, self.netlink.root(index).await?) {
            (None, _) => Root::Taken { holder: format!("@{}", Claim::name(index)) },
            (Some(claim), root) => {
                self.claims.push(claim);
                match root.root.own() {
                    Ok(None) => Root::Default,
                    Ok(Some(root)) => Root::Ours(root),
                    Err(ForeignRoot { kind, handle }) => Root::Foreign { kind, handle },
                }
            }
        })
    }

    /// Lets a flow that ended finish sending before its class goes.
    fn drain(&self, id: String, lingering: Lingering) {
        let Some(commands) = self.commands.upgrade() else { return };
        let (netlink, class) = (self.netlink.clone(), self.core().manager.class(&id));
        let mut sent = None;
        tokio::spawn(async move {
            lingering.finish().await;
            let deadline = clock::now() + DRAIN;
            while let Some((index, class)) = class {
                // A class that cannot be read is not waited for.
                let state = netlink.class(index, class).await.ok().flatten();
                sent = state.map(|state| state.sent_bytes).or(sent);
                if state.is_none_or(|state| state.queued == 0) || clock::now() >= deadline {
                    break;
                }
                tokio::time::sleep(DRAIN_STEP).await;
            }
            commands.send(Command::Drained { id, sent });
        });
    }

    async fn report(&self) -> Result<Vec<InterfaceReport>, KernelFailure> {
        let mut reports = Vec::new();
        let interfaces = self.core().manager.interfaces();
        for (interface, index) in interfaces {
            let status = self.core().manager.status(&interface);
            let Some(status) = status else { continue };
            let (mut direct_packets, mut classes) = (0, Vec::new());
            if status.kernel.is_ok() {
                direct_packets = self.netlink.root(index).await?.direct_packets;
                let flows = self.core().manager.classes(&interface);
                let mut states = self.netlink.classes(index).await?;
                states.sort_by_key(|state| state.class.handle);
                classes = states.iter().map(|state| class_report(state, &flows)).collect();
            }
            reports.push(InterfaceReport { interface, status, direct_packets, classes });
        }
        Ok(reports)
    }
}

async fn next(links: &mut Option<LinkEvents>) -> LinkEvent {
    if let Some(events) = links
        && let Some(event) = events.next().await
    {
        return event;
    }
    *links = None;
    std::future::pending().await
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
