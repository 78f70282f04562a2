//! The routes of admitted flows: what the kernel is asked again once routes have changed.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::error::EngineError;
use crate::failure::KernelFailure;
use crate::linux::{Link, RouteQuery};
use crate::manager::Answer;
use crate::ordered::{OrderedMap, OrderedSet};

/// The packets of each flow whose route is looked up again. Bounded by the reservations.
#[derive(Default)]
pub(super) struct FlowRoutes(OrderedMap<String, FlowRoute>);

struct FlowRoute {
    query: RouteQuery,
    /// Since when the kernel has had no route for them.
    without_since: Option<Instant>,
}

/// Where a client learns what became of its flow: `None` where the flow could not be requested on another interface at that
/// moment, and the kernel is asked again.
pub(super) type RerouteReply = oneshot::Sender<Result<Option<Answer>, EngineError>>;

/// What a look-up of the flows' routes has found.
pub(super) struct FoundRoutes {
    /// The links, with what was asked and the flows whose packets leave by them.
    pub(super) links: Vec<(RouteQuery, Vec<String>, Result<Link, KernelFailure>)>,
    /// The links that carried nothing any more when the look-up began, by number.
    pub(super) down: OrderedSet<u32>,
}

/// How long a flow keeps its reservation without a route: routing daemons and DHCP clients withdraw routes and addresses that
/// they set again at once.
pub(super) const WITHOUT_ROUTE: Duration = Duration::from_secs(5);

impl FlowRoutes {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These are the packets of a flow from now on.
    pub(super) fn follow(&mut self, id: &str, query: RouteQuery) {
        self.0.insert(id.to_owned(), FlowRoute { query, without_since: None });
    }

    /// The flow has ended.
    pub(super) fn forget(&mut self, id: &str) {
        self.0.remove(id);
    }

    /// What is to be asked, with the flows that each answer concerns.
    pub(super) fn queries(&self, with_ports: bool) -> HashMap<RouteQuery, Vec<String>> {
        let mut queries: HashMap<RouteQuery, Vec<String>> = HashMap::new();
        for (id, route) in &self.0 {
            let query = if with_ports { route.query } else { route.query.without_ports() };
            queries.entry(query).or_default().push(id.clone());
        }
        queries
    }

    /// Whether an answer to this query is still about the packets of a flow.
    pub(super) fn is_of(&self, id: &str, asked: &RouteQuery) -> bool {
        self.0.get(id).is_some_and(|route| route.query == *asked || route.query.without_ports() == *asked)
    }

    /// A flow has a route.
    pub(super) fn found(&mut self, id: &str) {
        if let Some(route) = self.0.get_mut(id) {
            route.without_since = None;
        }
    }

    /// A flow has no route. Says whether it has had none for too long.
    pub(super) fn missing(&mut self, id: &str, now: Instant) -> bool {
        let Some(route) = self.0.get_mut(id) else { return false };
        now.duration_since(*route.without_since.get_or_insert(now)) >= WITHOUT_ROUTE
    }
}
