//! Changes of routes, of rules and of addresses, and whether routes depend on ports.

use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use rtnetlink::packet_route::rule::{RuleAttribute, RuleMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::netlink::{Messages, Netlink};
use super::request::{NetlinkRequest, NetlinkRequestKind};
use crate::failure::KernelFailure;

/// Occasions on which the route of any flow may have changed.
pub struct RouteEvents(Pin<Box<dyn Stream<Item = ()> + Send>>);

impl RouteEvents {
    /// The next occasion; `None` once the kernel reports no more.
    pub async fn next(&mut self) -> Option<()> {
        self.0.next().await
    }
}

/// The groups RTNLGRP_IPV4_IFADDR, IPV4_ROUTE, IPV4_RULE, IPV6_IFADDR, IPV6_ROUTE, IPV6_RULE and NEXTHOP, as bits.
///
/// - **Source**: `linux/rtnetlink.h`.
const GROUPS: u32 = bit(5) | bit(7) | bit(8) | bit(9) | bit(11) | bit(19) | bit(32);

const fn bit(group: u32) -> u32 {
    1 << (group - 1)
}

/// The pause before a subscription that has ended is made again.
const PAUSE: Duration = Duration::from_millis(50);

/// By which multipath routes choose among their next hops; not 0 where ports may decide.
///
/// - **Source**: kernel `Documentation/networking/ip-sysctl.rst`, `fib_multipath_hash_policy`.
const HASH_POLICIES: [&str; 2] =
    ["/proc/sys/net/ipv4/fib_multipath_hash_policy", "/proc/sys/net/ipv6/fib_multipath_hash_policy"];

impl Netlink {
    /// Watches routes, rules, addresses and next hops in the namespace of the connection. What the kernel has lost is an
    /// occasion as well.
    ///
    /// - **Errors**: `socket` or `bind`.
    /// - **Source**: rtnetlink(7).
    pub fn watch_routes(&self) -> Result<RouteEvents, KernelFailure> {
        let watch = (self.clone(), Some(self.subscribe(GROUPS)?));
        Ok(RouteEvents(Box::pin(stream::unfold(watch, next))))
    }

    /// Whether the route of a flow may depend on its transport and its ports: multipath routes choose by them, or a rule
    /// matches them. The sysctls are those of the calling thread's namespace.
    ///
    /// - **Errors**: the kernel's.
    pub async fn routes_use_ports(&self) -> Result<bool, KernelFailure> {
        let hashes_ports = |path| std::fs::read_to_string(path).is_ok_and(|policy| policy.trim() != "0");
        if HASH_POLICIES.into_iter().any(hashes_ports) {
            return Ok(true);
        }
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            if self.rules(family).await?.iter().any(matches_ports) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn rules(&self, family: AddressFamily) -> Result<Vec<RuleMessage>, KernelFailure> {
        let mut message = RuleMessage::default();
        message.header.family = family;
        let (object, message) = ("all rules".to_owned(), RouteNetlinkMessage::GetRule(message));
        let request = NetlinkRequest { call: "RTM_GETRULE", object, message, kind: NetlinkRequestKind::Dump };
        let rules = self.request(request).await?.into_iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewRule(rule) => Some(rule),
            _ => None,
        });
        Ok(rules.collect())
    }
}

fn matches_ports(rule: &RuleMessage) -> bool {
    let matches = |attribute: &RuleAttribute| {
        matches!(
            attribute,
            RuleAttribute::IpProtocol(_)
                | RuleAttribute::SourcePortRange(_)
                | RuleAttribute::DestinationPortRange(_)
        )
    };
    rule.attributes.iter().any(matches)
}

/// The next message, whatever it says. A subscription that ends is made again, and something may have been missed.
async fn next(
    (netlink, mut messages): (Netlink, Option<Messages>),
) -> Option<((), (Netlink, Option<Messages>))> {
    loop {
        match &mut messages {
            Some(subscribed) => {
                if subscribed.next().await.is_some() {
                    return Some(((), (netlink, messages)));
                }
                messages = None;
            }
            None => {
                if let Ok(subscribed) = netlink.subscribe(GROUPS) {
                    return Some(((), (netlink, Some(subscribed))));
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
