//! The links by which flows leave, cached for a moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::clock;
use crate::linux::{Link, RouteQuery};

/// The link by which each peer is reached, as the kernel answered a moment ago. Ports are no part of what is asked.
#[derive(Clone, Default)]
pub(super) struct RouteCache(Arc<Mutex<HashMap<RouteQuery, CachedRoute>>>);

struct CachedRoute {
    found: Instant,
    link: Arc<Link>,
}

/// How long an answer of the kernel is used: routes change seldom, and an admitted flow keeps its link anyway.
const LIFETIME: Duration = Duration::from_millis(500);

/// The most routes that are kept. A full cache is emptied, since most of its entries are out of date by then.
const MOST_ROUTES: usize = 4096;

impl RouteCache {
    pub(super) fn get(&self, query: &RouteQuery) -> Option<Arc<Link>> {
        let routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let route = routes.get(query)?;
        (clock::now().duration_since(route.found) < LIFETIME).then(|| Arc::clone(&route.link))
    }

    /// Links have changed: the kernel is asked again.
    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(super) fn keep(&self, query: RouteQuery, link: Arc<Link>) {
        let mut routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if routes.len() >= MOST_ROUTES {
            routes.clear();
        }
        routes.insert(query, CachedRoute { found: clock::now(), link });
    }
}
