//! The sockets that send to classes of flows, from the moment they are marked to their ends.
//!
//! A socket keeps its mark when its reservation ends, and its owner need not take it off. As long as it has the mark, the
//! class is no other flow's.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::holdings::Reservations;
use super::sockets::HostSockets;
use crate::engine::LocalEngine;
use crate::failure::KernelFailure;
use crate::tc::{ClassBlock, Handle};

/// The sockets that were marked.
pub(super) struct Marks {
    engine: Arc<LocalEngine>,
    /// By their cookies. Bounded by the sockets of the host.
    marked: Mutex<Marked>,
}

#[derive(Default)]
struct Marked {
    sockets: BTreeMap<u64, Mark>,
    last: u64,
}

#[derive(Clone, Copy)]
struct Mark {
    class: Handle,
    /// Whether the kernel has listed the socket. From then on, the kernel lists it until it ends.
    is_listed: bool,
    /// Counts the marks that this table was given: a later mark has a larger number.
    number: u64,
}

/// How often marked sockets without a reservation are looked for.
const STEP: Duration = Duration::from_secs(1);

/// After how many of these steps the sockets that still had their marks are looked at again.
const AGAIN: u32 = 10;

/// Sockets of the daemon's network namespace that send to classes of flows already, since a daemon or a program before this
/// one has marked them.
///
/// - **Errors**: the kernel's.
pub(super) async fn listed(sockets: &dyn HostSockets) -> Result<Vec<(u64, Handle)>, KernelFailure> {
    let priorities = sockets.priorities().await?.into_iter();
    let classes = priorities.map(|(socket, priority)| (socket, Handle::from_u32(priority)));
    Ok(classes.filter(|(_, class)| ClassBlock::of(*class).is_some()).collect())
}

impl Marks {
    pub(super) fn new(engine: Arc<LocalEngine>) -> Self {
        Self { engine, marked: Mutex::default() }
    }

    /// The sockets that send to classes already are those that the engine has begun with.
    pub(super) fn begin(&self, listed: &[(u64, Handle)]) {
        let mut marked = self.lock();
        for (socket, class) in listed {
            marked.insert(*socket, *class, true);
        }
    }

    /// Marks a socket for a flow: from before `mark` on, the class is no other flow's. Where that fails, the socket has the mark
    /// that it had.
    pub(super) fn mark<T, E>(
        &self,
        (socket, class): (u64, Handle),
        (flow, is_listed): (&str, bool),
        mark: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        // Held meanwhile: a socket is marked by one call at a time.
        let mut marked = self.lock();
        self.engine.socket_marked(socket, class, Some(flow));
        let result = mark();
        let before = marked.sockets.get(&socket).copied();
        if result.is_ok() {
            let was_listed = before.is_some_and(|before| before.is_listed);
            marked.insert(socket, class, is_listed || was_listed);
            if let Some(before) = before.filter(|before| before.class != class) {
                self.engine.socket_unmarked(socket, before.class);
            }
        } else if before.is_none_or(|before| before.class != class) {
            self.engine.socket_unmarked(socket, class);
        }
        result
    }

    /// Sockets have ended.
    pub(super) fn ended(&self, sockets: &[u64]) {
        let mut marked = self.lock();
        for socket in sockets {
            self.forget(&mut marked, *socket);
        }
    }

    pub(super) fn cookies(&self) -> HashSet<u64> {
        self.lock().sockets.keys().copied().collect()
    }

    /// Forgets the sockets that have ended: those in `known`, which were marked before the kernel listed the `live` ones, and
    /// are not among them. A socket that the kernel has never listed is kept, since it lists none before it is bound or
    /// connected.
    pub(super) fn keep_live(&self, known: &HashSet<u64>, live: &HashSet<u64>) {
        let mut marked = self.lock();
        let mut ended = Vec::new();
        for (socket, mark) in marked.sockets.iter_mut().filter(|(socket, _)| known.contains(socket)) {
            match live.contains(socket) {
                true => mark.is_listed = true,
                false if mark.is_listed => ended.push(*socket),
                false => {}
            }
        }
        for socket in ended {
            self.forget(&mut marked, socket);
        }
    }

    /// Finds out which sockets without a reservation have no mark any more, for ever: the library takes it off.
    pub(super) async fn follow(&self, sockets: &dyn HostSockets, holdings: &Reservations) {
        let (mut looked, mut steps) = (BTreeMap::new(), 0);
        loop {
            tokio::time::sleep(STEP).await;
            steps += 1;
            let held = holdings.cookies();
            let left: BTreeMap<u64, u64> = {
                let marked = self.lock();
                let left = marked.sockets.iter().filter(|(socket, _)| !held.contains(socket));
                left.map(|(socket, mark)| (*socket, mark.number)).collect()
            };
            let is_new = left.iter().any(|(socket, number)| looked.get(socket) != Some(number));
            if left.is_empty() || !is_new && steps < AGAIN {
                continue;
            }
            steps = 0;
            if let Ok(priorities) = sockets.priorities().await {
                self.forget_unmarked(&left, &priorities);
            }
            looked = left;
        }
    }

    fn forget_unmarked(&self, left: &BTreeMap<u64, u64>, priorities: &BTreeMap<u64, u32>) {
        let mut marked = self.lock();
        let mut unmarked = BTreeSet::new();
        for (socket, number) in left {
            if let (Some(mark), Some(priority)) = (marked.sockets.get_mut(socket), priorities.get(socket))
                // Otherwise it was marked since.
                && mark.number == *number
            {
                mark.is_listed = true;
                if mark.class != Handle::from_u32(*priority) {
                    unmarked.insert(*socket);
                }
            }
        }
        for socket in unmarked {
            self.forget(&mut marked, socket);
        }
    }

    fn forget(&self, marked: &mut Marked, socket: u64) {
        if let Some(mark) = marked.sockets.remove(&socket) {
            self.engine.socket_unmarked(socket, mark.class);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Marked> {
        // It is whole between any two statements that can panic.
        self.marked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Marked {
    fn insert(&mut self, socket: u64, class: Handle, is_listed: bool) {
        self.last += 1;
        self.sockets.insert(socket, Mark { class, is_listed, number: self.last });
    }
}
