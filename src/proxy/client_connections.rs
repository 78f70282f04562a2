//! The connections of each client that hold reservations: whether one of them is about to end.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::clock::now;
use crate::connect::Flow;

/// The connections that all proxies of a server have admitted, by their clients.
#[derive(Debug, Default)]
pub(super) struct ClientConnections(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    /// Those that are served, the newest last.
    open: HashMap<IpAddr, Vec<(u64, Weak<Flow>)>>,
    /// Those that have ended within [`RELEASE`], the newest last.
    ended: VecDeque<(Instant, IpAddr)>,
    last: u64,
}

/// A connection that is served. Dropped after its connection, it leaves the release of the reservation to the engine.
#[derive(Debug)]
pub(super) struct ClientConnection {
    all: Arc<ClientConnections>,
    client: IpAddr,
    number: u64,
}

/// How long a reservation may take to be released: the data in its class leaves first.
pub(super) const RELEASE: Duration = Duration::from_millis(200);

/// How many connections of a client are looked at, the newest first. Many clients may have one address, that of a load
/// balancer, and each look is a system call.
const MOST_LOOKED_AT: usize = 256;

impl ClientConnections {
    /// A connection of this client was admitted.
    pub(super) fn enter(self: &Arc<Self>, client: IpAddr, flow: &Arc<Flow>) -> ClientConnection {
        let client = client.to_canonical();
        let mut table = self.lock();
        table.last += 1;
        let number = table.last;
        table.open.entry(client).or_default().push((number, Arc::downgrade(flow)));
        ClientConnection { all: Arc::clone(self), client, number }
    }

    /// Whether a reservation of this client ends soon: a side has closed the connection, or it has just ended.
    pub(super) fn is_one_about_to_end(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        let mut table = self.lock();
        table.forget_released();
        if table.ended.iter().any(|(_, ended)| *ended == client) {
            return true;
        }
        let flows: Vec<_> = table.open.get(&client).map_or_else(Vec::new, |open| {
            open.iter().rev().take(MOST_LOOKED_AT).map(|(_, flow)| Weak::clone(flow)).collect()
        });
        // A look at a socket does not hold up other connections.
        drop(table);
        flows.iter().any(|flow| flow.upgrade().is_none_or(|flow| flow.is_about_to_end()))
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // The table is whole between any two statements that can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn forget_released(&mut self) {
        let now = now();
        while self.ended.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > RELEASE) {
            self.ended.pop_front();
        }
    }
}

impl Drop for ClientConnection {
    fn drop(&mut self) {
        let mut table = self.all.lock();
        table.forget_released();
        table.ended.push_back((now(), self.client));
        if let Some(open) = table.open.get_mut(&self.client) {
            open.retain(|(number, _)| *number != self.number);
            if open.is_empty() {
                table.open.remove(&self.client);
            }
        }
    }
}
