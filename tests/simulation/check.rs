//! What has to hold after each step, and what has to hold once all is quiet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use flowspec::{Direction, Rate};
use gqos::admission::{Holding, Totals};
use gqos::daemon::{AdoptionRefusal, EmbeddedDaemon, EmbeddedFlow};
use gqos::engine::{Engine, EngineSnapshot, Events, FlowSnapshot, GroupSnapshot, LocalEngine};
use gqos::tc::{Handle, flow_number};
use gqos::telemetry::Event;
use tokio::time::Instant;

use crate::clients::SHARED_GROUP;
use crate::kernel::{FakeKernel, Fault, INTERFACES, KernelState, name};
use crate::log::Log;
use crate::policy::GRACE;
use crate::promises::{Promise, Promises};
use crate::sockets::FakeSockets;
use crate::world::Running;

/// How long a reservation may outlive its client or its socket: the latest report of an end, and the documented 100 ms.
const OUTLIVES: Duration = Duration::from_millis(200);

/// The same for a connection that ends before its calls were answered: a call to the kernel is given up after three seconds, for
/// each interface.
const ANSWERS: Duration = Duration::from_secs(10);

/// How long the ledger may hold what no client holds any more: a call to the kernel is given up after three seconds, and a release
/// may wait for one that was under way.
const RELEASES: Duration = Duration::from_secs(10);

pub(crate) struct Checks {
    log: Log,
    events: Option<Events>,
    /// The flows that are admitted, by the events.
    admitted: BTreeMap<String, Holding>,
    /// Flows that were admitted while their interface had no tree: they have no class as long as they live.
    without_class: BTreeSet<String>,
    /// Connections that have ended before every call was answered: they end with the last answer.
    pub(crate) unanswered: BTreeSet<u32>,
    /// Flows that may end by themselves.
    pub(crate) mortal: BTreeSet<String>,
    /// What was reserved at the step before, by what is limited.
    before: BTreeMap<String, Rate>,
    /// The classes that flows had at the step before.
    classes: BTreeMap<String, (u32, Handle)>,
    /// The sockets that send to their flows' classes, by the flows.
    marks: BTreeMap<String, (u64, u32, Handle)>,
    /// Sockets that send to a class, with the flow whose they were, by their cookies.
    left_marked: BTreeMap<u64, (u32, Handle, String)>,
    /// Since when reservations are without their clients, and flows without reservations.
    without_client: BTreeMap<String, Instant>,
    without_holder: BTreeMap<String, Instant>,
    /// What was held when the daemon was killed, and whether the state file says all of it.
    left: Option<(Vec<EmbeddedFlow>, bool)>,
    held: Vec<EmbeddedFlow>,
}

impl Checks {
    pub(crate) fn new(log: Log) -> Self {
        Self {
            log,
            events: None,
            admitted: BTreeMap::new(),
            without_class: BTreeSet::new(),
            unanswered: BTreeSet::new(),
            mortal: BTreeSet::new(),
            before: BTreeMap::new(),
            classes: BTreeMap::new(),
            marks: BTreeMap::new(),
            left_marked: BTreeMap::new(),
            without_client: BTreeMap::new(),
            without_holder: BTreeMap::new(),
            left: None,
            held: Vec::new(),
        }
    }

    /// A daemon has started. What the state file says of living sockets and clients is held.
    pub(crate) fn started(
        &mut self,
        daemon: &EmbeddedDaemon,
        promises: &mut Promises,
        (kernel, sockets): (&FakeKernel, &FakeSockets),
    ) {
        self.without_client.clear();
        self.without_holder.clear();
        // The kernel lists no other sockets to a daemon that starts.
        self.left_marked.retain(|cookie, _| sockets.is_bound(*cookie));
        self.events = Some(daemon.engine().events());
        self.held = daemon.held();
        let refused = daemon.recovered().refused.iter().map(|refused| &refused.id);
        let ids: Vec<String> = self.held.iter().map(|flow| &flow.id).chain(refused).cloned().collect();
        let flows = daemon.engine().flow_snapshots(&ids);
        self.adopted_without_class(&flows, kernel);
        let flows = flows.into_iter();
        self.admitted = flows.map(|flow| (flow.holding.id.clone(), flow.holding)).collect();
        let held: BTreeMap<&str, &EmbeddedFlow> = self.held.iter().map(|flow| (&flow.id[..], flow)).collect();
        match self.left.take() {
            Some((left, true)) => {
                let is_foreign = |index: &u32| kernel.state().tree(*index).foreign;
                let is_anywhere = INTERFACES.iter().any(is_foreign);
                let refused = &daemon.recovered().refused;
                // Where another program has the root, what requires a class is refused.
                let is_due = |why: &AdoptionRefusal| is_anywhere && why.to_string().contains("is left alone");
                for refused in refused.iter().filter(|refused| !is_due(&refused.why)) {
                    self.log.violation(format_args!("{} is not adopted: {}", refused.id, refused.why));
                }
                let left =
                    left.into_iter().filter(|flow| !refused.iter().any(|refused| refused.id == flow.id));
                let lives = |flow: &EmbeddedFlow| {
                    flow.cookie.is_none_or(|cookie| sockets.lives(cookie) && sockets.is_bound(cookie))
                };
                for flow in left.filter(lives).filter(|flow| !held.contains_key(&flow.id[..])) {
                    self.log.violation(format_args!("{} is not adopted, and the state file has it", flow.id));
                }
            }
            // What is granted again may be more than there is: the file has not what was released last.
            _ => self.before = reserved(daemon.engine()),
        }
        promises.0.retain(|id, promise| {
            let Some(flow) = held.get(&id[..]) else { return false };
            promise.socket = flow.cookie;
            promise.is_uncertain |= flow.cookie.is_some_and(|cookie| !sockets.is_bound(cookie));
            true
        });
    }

    /// A flow is adopted without a class only where the one it had is gone.
    fn adopted_without_class(&mut self, flows: &[FlowSnapshot], kernel: &FakeKernel) {
        for flow in flows.iter().filter(|flow| flow.kernel_class.is_none()) {
            let id = &flow.holding.id;
            if let Some((index, class)) = self.classes.get(id)
                && kernel.state().tree(*index).classes.contains_key(class)
            {
                self.log.violation(format_args!("{id} is adopted without class {class}, which is there"));
            }
            self.without_class.insert(id.clone());
        }
    }

    /// The daemon was killed; whether the state file has all that was held.
    pub(crate) fn killed(&mut self, is_whole: bool) {
        let mut left = std::mem::take(&mut self.held);
        left.retain(|flow| self.admitted.contains_key(&flow.id) && !self.mortal.contains(&flow.id));
        self.left = Some((left, is_whole));
        if !is_whole {
            // The file may have what is long past.
            self.classes.clear();
            self.leave_marks();
        }
        self.events = None;
    }

    /// The daemon was asked to end: it leaves no tree where the kernel answers.
    pub(crate) fn stopped(&mut self, kernel: &FakeKernel) {
        self.left = None;
        self.classes.clear();
        self.leave_marks();
        self.before.clear();
        self.events = None;
        let mut state = kernel.state();
        state.deleted.clear();
        for index in INTERFACES {
            let is_quick = state.fault(index) == Fault::Quick;
            if is_quick && !state.disturbed.contains(&index) && state.tree(index).root.is_some() {
                self.log.violation(format_args!("a stopped daemon leaves the tree of eth{index}"));
            }
            state.disturbed.insert(index);
        }
    }

    pub(crate) fn step(
        &mut self,
        running: &Running,
        (kernel, sockets): (&FakeKernel, &FakeSockets),
        open: &[u32],
        promises: &mut Promises,
    ) {
        let engine = running.daemon.engine();
        self.held = running.daemon.held();
        self.follow_events(promises);
        self.budgets(running);
        let lives = |flow: &EmbeddedFlow| match flow.cookie {
            Some(cookie) => sockets.lives(cookie),
            None => flow.pid.is_some_and(|pid| open.contains(&pid)),
        };
        // A report was lost, and the kernel does not list what was not connected when it was passed.
        let is_unknown = |flow: &EmbeddedFlow| {
            flow.pid.is_some_and(|pid| open.contains(&pid))
                && flow.cookie.is_some_and(|cookie| sockets.began_unbound(cookie))
        };
        self.nothing_outlives_its_client(running, |flow| lives(flow) || is_unknown(flow));
        self.nothing_is_lost((promises, sockets), open);
        let ids: Vec<String> = self.admitted.keys().cloned().collect();
        let flows = engine.flow_snapshots(&ids);
        self.classes_are_kept(&flows, kernel);
        self.no_socket_sends_to_another_flow(&flows, sockets);
    }

    /// The class to which a flow's socket sends is no other flow's, also where the flow itself has lost it.
    fn no_socket_sends_to_another_flow(&mut self, flows: &[FlowSnapshot], sockets: &FakeSockets) {
        let owners: BTreeMap<(u32, Handle), &FlowSnapshot> =
            flows.iter().filter_map(|flow| Some((class_of(flow)?, flow))).collect();
        let own: BTreeMap<&str, &FlowSnapshot> =
            flows.iter().map(|flow| (flow.holding.id.as_str(), flow)).collect();
        let mut marks = BTreeMap::new();
        for EmbeddedFlow { id, cookie, .. } in &self.held {
            let (Some(cookie), Some(flow)) = (*cookie, own.get(&id[..])) else { continue };
            let Some(mark) = sockets.mark_of(cookie) else { continue };
            let marked = match (class_of(flow), self.marks.get(id)) {
                (Some((index, class)), _) if class == mark => (cookie, index, class),
                (_, Some(before)) if before.0 == cookie && before.2 == mark => *before,
                _ => continue,
            };
            let owner = owners.get(&(marked.1, mark)).filter(|owner| owner.holding.id != *id);
            if let Some(owner) =
                owner.filter(|owner| owner.holding.group.is_none() && flow_number(mark).is_some())
            {
                let owner = &owner.holding.id;
                self.log.violation(format_args!("the socket of {id} sends to class {mark} of {owner}"));
            }
            marks.insert(id.clone(), marked);
        }
        for (id, before) in std::mem::replace(&mut self.marks, marks) {
            if self.marks.get(&id).is_none_or(|now| now.0 != before.0) {
                self.left_marked.insert(before.0, (before.1, before.2, id));
            }
        }
        self.left_marked.retain(|cookie, (_, class, _)| sockets.mark_of(*cookie) == Some(*class));
        for (cookie, (index, class, of)) in &self.left_marked {
            let owner = owners.get(&(*index, *class)).map(|owner| &owner.holding);
            // The state file may not have the socket of a flow that was adopted.
            let is_its_own = |owner: &&Holding| {
                owner.id == *of
                    || self.held.iter().any(|flow| flow.id == owner.id && flow.cookie == Some(*cookie))
            };
            let Some(owner) = owner.filter(|owner| !is_its_own(owner)) else { continue };
            if owner.group.is_none() && flow_number(*class).is_some() {
                let owner = &owner.id;
                self.log.violation(format_args!("socket {cookie} is left with class {class} of {owner}"));
            }
        }
    }

    /// The daemon ends: which sockets send to which classes stays.
    fn leave_marks(&mut self) {
        let marks = std::mem::take(&mut self.marks).into_iter();
        self.left_marked.extend(marks.map(|(id, (cookie, index, class))| (cookie, (index, class, id))));
    }

    /// Follows what the events say: which flows are admitted, and with what.
    fn follow_events(&mut self, promises: &mut Promises) {
        let Some(mut events) = self.events.take() else { return };
        while let Some(recorded) = events.try_next() {
            let event = recorded.event;
            self.log.line(format_args!("event {}", serde_json::to_string(&event).unwrap()));
            match event {
                Event::FlowAdmitted(admitted) => {
                    if admitted.kernel_class.is_none() {
                        self.without_class.insert(admitted.flow.id.clone());
                    }
                    self.admitted(admitted.flow);
                }
                Event::FlowRenegotiated(changed) => self.renegotiated(changed.flow),
                Event::FlowReleased(ended) => self.ended(&ended.flow.id),
                Event::FlowPreempted(ended) => self.lost(&ended.flow.id, promises),
                Event::FlowShed(ended) => self.lost(&ended.flow.id, promises),
                Event::FlowLinkGone(ended) => self.lost(&ended.flow.id, promises),
                Event::FlowExpired(ended) => self.lost(&ended.flow.id, promises),
                Event::FlowTimedOut(ended) => self.lost(&ended.flow.id, promises),
                Event::FlowNotEnforced(ended) => self.lost(&ended.flow.id, promises),
                Event::ManagerFaulted(faulted) => {
                    self.log.violation(format_args!("the manager panics: {}", faulted.fault));
                }
                _ => {}
            }
        }
        if events.dropped() > 0 {
            self.log.violation(format_args!("events are lost"));
        }
        self.events = Some(events);
    }

    fn admitted(&mut self, flow: Holding) {
        let id = flow.id.clone();
        if self.admitted.insert(id.clone(), flow).is_some() {
            self.log.violation(format_args!("{id} is admitted twice"));
        }
    }

    fn renegotiated(&mut self, flow: Holding) {
        let id = flow.id.clone();
        if self.admitted.insert(id.clone(), flow).is_none() {
            self.log.violation(format_args!("{id} is renegotiated, and was not admitted"));
        }
    }

    fn ended(&mut self, id: &str) {
        // Its id may be another flow's at once.
        self.classes.remove(id);
        self.without_class.remove(id);
        if self.admitted.remove(id).is_none() {
            self.log.violation(format_args!("{id} ends, and was not admitted"));
        }
    }

    fn lost(&mut self, id: &str, promises: &mut Promises) {
        self.ended(id);
        promises.gone(id);
    }

    /// Nothing is admitted beyond a budget. What was within another budget, or was adopted, may stay.
    fn budgets(&mut self, running: &Running) {
        let mut before = std::mem::take(&mut self.before);
        for (limited, direction, Totals { budget, reserved }) in totals(running.daemon.engine()) {
            let key = format!("{limited} {direction:?}");
            let most = before.remove(&key).unwrap_or(Rate::ZERO).max(budget);
            if reserved > most {
                self.log.violation(format_args!("{key}: {reserved} reserved, {most} allowed"));
            }
            self.before.insert(key, reserved);
        }
    }

    /// A reservation ends with its client or its socket, and its flow with the reservation.
    fn nothing_outlives_its_client(&mut self, running: &Running, lives: impl Fn(&EmbeddedFlow) -> bool) {
        let now = Instant::now();
        let mut without_client = BTreeMap::new();
        for flow in self.held.iter().filter(|flow| !lives(flow)) {
            let since = self.without_client.get(&flow.id).copied().unwrap_or(now);
            let is_unclaimed = flow.pid.is_none_or(|pid| pid < running.first_connection);
            let grace = if is_unclaimed { Duration::from_secs(GRACE) } else { Duration::ZERO };
            let is_answered = flow.pid.is_none_or(|pid| !self.unanswered.contains(&pid));
            let outlives = if is_answered { OUTLIVES } else { ANSWERS };
            if now - since > outlives + grace {
                let of = (flow.pid, flow.cookie);
                self.log.violation(format_args!("{} is held without its client or socket: {of:?}", flow.id));
            }
            without_client.insert(flow.id.clone(), since);
        }
        self.without_client = without_client;
        let held: BTreeSet<&str> = self.held.iter().map(|flow| &flow.id[..]).collect();
        let mut without_holder = BTreeMap::new();
        for id in self.admitted.keys().filter(|id| !held.contains(&id[..])) {
            let since = self.without_holder.get(id).copied().unwrap_or(now);
            if now - since > RELEASES {
                self.log.violation(format_args!("{id} is admitted, and nobody holds it"));
            }
            without_holder.insert(id.clone(), since);
        }
        self.without_holder = without_holder;
    }

    /// What was promised is held as long as its client or its socket is there.
    fn nothing_is_lost(&self, (promises, sockets): (&Promises, &FakeSockets), open: &[u32]) {
        let lives = |promise: &Promise| match promise.socket {
            Some(cookie) => sockets.is_bound(cookie),
            None => open.contains(&promise.connection),
        };
        for (id, promise) in promises.0.iter().filter(|(_, promise)| !promise.is_uncertain && lives(promise))
        {
            if !self.held.iter().any(|flow| flow.id == *id) {
                self.log.violation(format_args!("{id} was promised, and is not held: {promise:?}"));
            }
        }
    }

    /// No flow loses its class, or gets another.
    fn classes_are_kept(&mut self, flows: &[FlowSnapshot], kernel: &FakeKernel) {
        let mut state = kernel.state();
        let deleted = std::mem::take(&mut state.deleted);
        let mut classes = BTreeMap::new();
        for FlowSnapshot { holding, kernel_class, .. } in flows {
            let (Some(class), Some(index)) = (kernel_class, index_of(&holding.interface)) else { continue };
            let before = self.classes.get(&holding.id).filter(|(before, _)| *before == index);
            let is_known = !state.disturbed.contains(&index);
            if let Some((_, before)) = before.filter(|_| is_known) {
                if before != class {
                    self.log.violation(format_args!("{} had class {before}, and has {class}", holding.id));
                }
                if deleted.contains(&(index, *class)) {
                    self.log.violation(format_args!("{} has class {class}, which was deleted", holding.id));
                }
            }
            classes.insert(holding.id.clone(), (index, *class));
        }
        self.classes = classes;
    }

    /// All is quiet: ledger, events, holders and the kernel agree.
    pub(crate) fn in_order(&mut self, running: &Running, kernel: &FakeKernel) {
        let engine = running.daemon.engine();
        let ids: Vec<String> = self.held.iter().map(|flow| flow.id.clone()).collect();
        let flows = engine.flow_snapshots(&ids);
        let held: BTreeMap<_, _> =
            flows.iter().map(|flow| (flow.holding.id.clone(), flow.holding.clone())).collect();
        if held != self.admitted || held.len() != ids.len() {
            let admitted = &self.admitted;
            self.log
                .violation(format_args!("held are {ids:?}, in the ledger {held:?}, by events {admitted:?}"));
        }
        let snapshot = engine.snapshot(usize::MAX);
        let mut state = kernel.state();
        for (interface, status) in &snapshot.interfaces {
            let Some(index) = index_of(interface) else { continue };
            if let Err(why) = &status.kernel {
                self.log.violation(format_args!("{interface} has no tree: {why}"));
                continue;
            }
            let on: Vec<&FlowSnapshot> =
                flows.iter().filter(|flow| flow.holding.interface == *interface).collect();
            if status.flows != on.len() {
                let ledger = status.flows;
                self.log.violation(format_args!("{interface}: {ledger} flows, {} of them held", on.len()));
            }
            self.sums(interface, status.totals.sending.reserved, (&on, &snapshot.groups));
            self.classes_of((index, interface), &on, &mut state);
            state.disturbed.remove(&index);
        }
    }

    /// What is reserved is what flows and groups are charged.
    fn sums(&self, interface: &str, reserved: Rate, (flows, groups): (&[&FlowSnapshot], &[GroupSnapshot])) {
        let flows = flows.iter().filter(|flow| flow.holding.group.is_none());
        let charged: u64 = flows.map(|flow| flow.holding.charged.sending.get()).sum();
        let groups = groups.iter().filter(|group| group.interface == interface);
        let groups: u64 = groups.map(|group| group.totals.sending.budget.get()).sum();
        if reserved.get() != charged + groups {
            self.log.violation(format_args!(
                "{interface}: {reserved} reserved, flows {charged}, groups {groups}"
            ));
        }
    }

    /// Each flow has its class, and there are no others.
    fn classes_of(&self, (index, interface): (u32, &str), flows: &[&FlowSnapshot], state: &mut KernelState) {
        let tree = state.tree(index);
        let mut wanted = BTreeSet::new();
        for flow in flows {
            let (id, charged) = (&flow.holding.id, flow.holding.charged.sending);
            let Some(class) = flow.kernel_class else {
                if self.without_class.contains(id) {
                    continue;
                }
                self.log.violation(format_args!("{interface}: {id} has no class"));
                continue;
            };
            wanted.insert(class);
            match tree.classes.get(&class) {
                Some(found) if found.rate < charged && flow.holding.group.is_none() => {
                    let rate = found.rate;
                    self.log.violation(format_args!(
                        "{interface}: {id} is charged {charged}, its class has {rate}"
                    ));
                }
                Some(_) => {}
                None => {
                    self.log.violation(format_args!("{interface}: the kernel lacks class {class} of {id}"))
                }
            }
        }
        for class in tree.leaves().filter(|class| !wanted.contains(&class.handle)) {
            self.log.violation(format_args!("{interface}: the kernel has {class}, which is no flow's"));
        }
    }

    /// No client is left, and nothing of what they held.
    pub(crate) fn nothing_is_held(&self, running: &Running, kernel: &FakeKernel) {
        let snapshot = running.daemon.engine().snapshot(usize::MAX);
        for (interface, status) in &snapshot.interfaces {
            let (reserved, flows) = (status.totals.sending.reserved, status.flows);
            if reserved > Rate::ZERO || flows > 0 {
                self.log.violation(format_args!("{interface}: {reserved} reserved, {flows} flows"));
            }
        }
        let mut state = kernel.state();
        for index in INTERFACES {
            if !state.tree(index).is_bare() {
                self.log.violation(format_args!("eth{index} has more than its trunk"));
            }
        }
    }
}

fn class_of(flow: &FlowSnapshot) -> Option<(u32, Handle)> {
    Some((index_of(&flow.holding.interface)?, flow.kernel_class?))
}

fn index_of(interface: &str) -> Option<u32> {
    INTERFACES.into_iter().find(|index| name(*index) == interface)
}

/// What is limited, in which direction, and by how much.
fn totals(engine: &LocalEngine) -> impl Iterator<Item = (String, Direction, Totals)> {
    let EngineSnapshot { interfaces, classes, groups, .. } = engine.snapshot(usize::MAX);
    let interfaces = interfaces.into_iter().map(|(name, status)| (name, status.totals));
    let classes =
        classes.into_iter().map(|class| (format!("{} class {}", class.interface, class.class), class.totals));
    // The members of a shared group may declare more than it is charged.
    let groups = groups.into_iter().filter(|group| group.id != SHARED_GROUP);
    let groups = groups.map(|group| (format!("{} group {}", group.interface, group.id), group.totals));
    let all = interfaces.chain(classes).chain(groups);
    all.flat_map(|(limited, totals)| {
        Direction::BOTH.map(|direction| (limited.clone(), direction, *totals.get(direction)))
    })
}

fn reserved(engine: &LocalEngine) -> BTreeMap<String, Rate> {
    let totals = totals(engine);
    totals.map(|(limited, direction, totals)| (format!("{limited} {direction:?}"), totals.reserved)).collect()
}
