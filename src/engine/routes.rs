//! The links by which flows leave, cached for a moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::clock;
use super::kernel::Kernel;
use crate::failure::KernelFailure;
use crate::linux::{Link, Netlink, RouteQuery};

/// The link by which each peer is reached, as the kernel answered a moment ago.
#[derive(Clone, Default)]
pub(super) struct RouteCache(Arc<Mutex<CachedRoutes>>);

#[derive(Default)]
struct CachedRoutes {
    routes: HashMap<RouteQuery, CachedRoute>,
    /// Whether routes depend on ports, and when the kernel was asked.
    use_ports: Option<(Instant, bool)>,
}

/// The routes of this thread's network namespace, for a process whose engine is another one's.
pub(super) struct LocalRoutes {
    netlink: Netlink,
    cache: RouteCache,
}

impl LocalRoutes {
    /// - **Errors**: netlink cannot be opened.
    pub(super) fn open() -> Result<Self, KernelFailure> {
        Ok(Self { netlink: Netlink::open()?, cache: RouteCache::default() })
    }

    /// The number of the link by which packets leave.
    ///
    /// - **Errors**: no route; the kernel's.
    pub(super) async fn link(&self, query: RouteQuery) -> Result<u32, KernelFailure> {
        Ok(self.cache.find(&self.netlink, query, |link| link).await?.index)
    }
}

struct CachedRoute {
    found: Instant,
    link: Arc<Link>,
}

/// How long an answer of the kernel is used: routes change seldom, and the kernel reports it.
const LIFETIME: Duration = Duration::from_millis(500);

/// How long the kernel's answer is used whether routes depend on ports. It reports changes of rules, and not of the sysctl.
const USE_OF_PORTS: Duration = Duration::from_secs(5);

/// The most routes that are kept. A full cache is emptied, since most of its entries are out of date by then.
const MOST_ROUTES: usize = 4096;

impl RouteCache {
    /// The query as the kernel is asked: ports are left out where no route depends on them. `None` where that is not known.
    pub(super) fn asked(&self, query: RouteQuery) -> Option<RouteQuery> {
        let (asked, use_ports) = self.lock().use_ports?;
        let is_new = clock::now().duration_since(asked) < USE_OF_PORTS;
        is_new.then(|| if use_ports { query } else { query.without_ports() })
    }

    /// The kernel says whether routes depend on ports.
    pub(super) fn keep_use_of_ports(&self, use_ports: bool) {
        self.lock().use_ports = Some((clock::now(), use_ports));
    }

    /// The link of a query as it is [asked](Self::asked).
    pub(super) fn get(&self, query: &RouteQuery) -> Option<Arc<Link>> {
        let cached = self.lock();
        let route = cached.routes.get(query)?;
        (clock::now().duration_since(route.found) < LIFETIME).then(|| Arc::clone(&route.link))
    }

    /// The link by which packets leave, which the kernel is asked for where that is not known; under a name of the caller's.
    ///
    /// - **Errors**: no route; the kernel's.
    pub(super) async fn find(
        &self,
        kernel: &dyn Kernel,
        query: RouteQuery,
        named: impl Fn(Link) -> Link + Send,
    ) -> Result<Arc<Link>, KernelFailure> {
        let query = match self.asked(query) {
            Some(query) => query,
            None => {
                let use_ports = kernel.routes_use_ports().await?;
                self.keep_use_of_ports(use_ports);
                if use_ports { query } else { query.without_ports() }
            }
        };
        if let Some(link) = self.get(&query) {
            return Ok(link);
        }
        let link = Arc::new(named(kernel.route(query).await?));
        self.keep(query, Arc::clone(&link));
        Ok(link)
    }

    /// Links have changed: the kernel is asked again.
    pub(super) fn clear(&self) {
        *self.lock() = CachedRoutes::default();
    }

    pub(super) fn keep(&self, query: RouteQuery, link: Arc<Link>) {
        let routes = &mut self.lock().routes;
        if routes.len() >= MOST_ROUTES {
            routes.clear();
        }
        routes.insert(query, CachedRoute { found: clock::now(), link });
    }

    fn lock(&self) -> MutexGuard<'_, CachedRoutes> {
        // It is whole between any two statements that can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
