//! The way to a peer, remembered for a moment.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::linux::Link;

/// By which link peers are reached, as it was found a moment ago.
#[derive(Default)]
pub(crate) struct Ways(Mutex<HashMap<IpAddr, (Instant, Link)>>);

/// How long the kernel's answer is good: routes change seldom, and a flow that has begun keeps its link anyway.
const WAY_LIFETIME: Duration = Duration::from_millis(500);

/// The most that are kept; then all are forgotten.
const MOST_WAYS: usize = 4096;

impl Ways {
    pub(crate) fn get(&self, peer: IpAddr) -> Option<Link> {
        let ways = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ways.get(&peer).filter(|(found, _)| found.elapsed() < WAY_LIFETIME).map(|(_, link)| link.clone())
    }

    pub(crate) fn keep(&self, peer: IpAddr, link: Link) {
        let mut ways = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ways.len() >= MOST_WAYS {
            ways.clear();
        }
        ways.insert(peer, (Instant::now(), link));
    }
}
