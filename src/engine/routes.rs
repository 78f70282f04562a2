//! Routes to peers, cached for a moment.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::clock;
use crate::linux::Link;

/// The link by which each peer is reached, as the kernel answered a moment ago.
#[derive(Clone, Default)]
pub(super) struct RouteCache(Arc<Mutex<HashMap<IpAddr, CachedRoute>>>);

struct CachedRoute {
    found: Instant,
    link: Arc<Link>,
}

/// How long an answer of the kernel is used: routes change seldom, and an admitted flow keeps its link anyway.
const LIFETIME: Duration = Duration::from_millis(500);

/// The most peers that are kept. A full cache is emptied, since most of its entries are out of date by then.
const MOST_ROUTES: usize = 4096;

impl RouteCache {
    pub(super) fn get(&self, peer: IpAddr) -> Option<Arc<Link>> {
        let routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let route = routes.get(&peer)?;
        (clock::now().duration_since(route.found) < LIFETIME).then(|| Arc::clone(&route.link))
    }

    /// Links have changed: the kernel is asked again.
    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(super) fn keep(&self, peer: IpAddr, link: Arc<Link>) {
        let mut routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if routes.len() >= MOST_ROUTES {
            routes.clear();
        }
        routes.insert(peer, CachedRoute { found: clock::now(), link });
    }
}
