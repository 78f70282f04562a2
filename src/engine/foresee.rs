//! What a reservation would be answered, for those that ask without reserving: an interface that nothing has been reserved on
//! is judged as its first flow would be.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::core::lock;
use super::error::EngineError;
use super::handle::Engine;
use super::local::LocalEngine;
use crate::admission::{Decision, Operation, Refusal, Request};
use crate::manager::DryRun;
use crate::ordered::OrderedSet;
use crate::policy::Policy;

/// What a request would be answered.
pub(crate) struct Foreseen {
    /// The decision of a query: when the flow fits first.
    pub(crate) query: Decision,
    /// Why it does not fit now without preemption.
    pub(crate) refusal: Option<Refusal>,
}

/// The name that the kernel gives the loopback interface of each namespace.
const LOOPBACK: &str = "lo";

/// Addresses of no host (RFC 5737, RFC 3849), so that the route to them is the default route.
const ELSEWHERE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];

impl LocalEngine {
    /// What a request would be answered now; its owner is one that meets the conditions of its class. Nothing is reserved, and
    /// an interface that has not been looked at is not prepared. `None` if there is no link of its name.
    ///
    /// - **Errors**: the kernel's, or the engine has ended.
    pub(crate) async fn foresee(&self, mut request: Request) -> Result<Option<Foreseen>, EngineError> {
        let (policy, is_seen) = {
            let core = lock(self.core());
            let manager = &core.manager;
            (Arc::clone(manager.ledger().policy()), manager.index(&request.interface).is_some())
        };
        let class = request.class.as_ref().and_then(|class| policy.classes.get(class));
        if let Some(matches) = class.and_then(|class| class.matches.as_ref()) {
            request.owner = matches.an_owner();
        }
        if is_seen {
            let query = self.submit(query(&request)).await?.decision;
            let refusal = lock(self.core()).manager.consider(&request).err();
            return Ok(Some(Foreseen { query, refusal }));
        }
        self.foresee_first(policy, &request).await
    }

    /// The same as the first flow of an interface would be answered.
    async fn foresee_first(
        &self,
        policy: Arc<Policy>,
        request: &Request,
    ) -> Result<Option<Foreseen>, EngineError> {
        let interface = &request.interface;
        let is_known = policy.interface(interface).is_some();
        let mut dry_run = DryRun::new(policy);
        if is_known {
            let Some(link) = self.kernel.link(interface).await? else { return Ok(None) };
            dry_run.observe_link(interface, (link.mtu, link.speed), false);
        }
        let query = dry_run.decide(query(request), flowspec::Moment::START);
        Ok(Some(Foreseen { query, refusal: dry_run.consider(request).err() }))
    }

    /// The interfaces by which flows leave, as far as is known before there are any: of those that exist, the ones that the
    /// policy names, those that were seen, and those of the default routes; without any, all that carry packets. Loopback
    /// is among them only if the policy names it: nothing leaves by it.
    ///
    /// - **Errors**: the kernel's.
    pub(crate) async fn likely_interfaces(&self) -> Result<OrderedSet<String>, EngineError> {
        let (policy, seen) = {
            let core = lock(self.core());
            (Arc::clone(core.manager.ledger().policy()), core.manager.interfaces())
        };
        let seen = seen.into_iter().map(|(name, _)| name).filter(|name| name != LOOPBACK);
        let mut interfaces: OrderedSet<_> = seen.collect();
        for named in policy.interfaces.keys() {
            if self.kernel.link(named).await?.is_some() {
                interfaces.insert(named.clone());
            }
        }
        if policy.any_interface.is_some() {
            for elsewhere in ELSEWHERE {
                // Without a default route there is none.
                interfaces.extend(self.link(elsewhere.into()).await.ok().map(|link| link.name.clone()));
            }
            if interfaces.is_empty() {
                interfaces.extend(self.kernel.carrying_links().await?);
            }
        }
        Ok(interfaces)
    }
}

fn query(request: &Request) -> Operation {
    Operation::Query { interface: request.interface.clone(), request: Some(Box::new(request.clone())) }
}
