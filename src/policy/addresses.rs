//! The addresses of proxies: two that listen on one address, and one whose connections come back to itself.

use core::net::{IpAddr, SocketAddr};

use super::code::Code;
use super::model::Policy;
use super::problem::Problem;
use super::problems::Problems;
use super::proxy::{Proxy, ProxyProtocol};

/// Notes every proxy that cannot listen beside another one, and every one that is its own origin.
pub(super) fn addresses(policy: &Policy, problems: &Problems) {
    for (number, (name, proxy)) in policy.proxies.iter().enumerate() {
        let mut before = policy.proxies.iter().take(number);
        if let Some((first, taken)) = before.find(|(_, before)| is_taken(proxy, before)) {
            let message = format!(
                "proxy.{name}: {} cannot be listened on beside {} of proxy.{first}",
                proxy.listen, taken.listen
            );
            let problem = Problem::new(Code::ListenedTwice, proxy.place.clone(), message);
            problems.add(problem.with_label(taken.place.clone(), "this proxy listens there"));
        }
        if let Some(path) = circle(policy, name, proxy) {
            let message = match path.len() {
                1 => format!("proxy.{name}: its origin {} is the proxy itself", proxy.to),
                _ => format!("proxy.{name}: its origin leads back to it: {} → {name}", path.join(" → ")),
            };
            problems.note(Code::ProxyCircle, proxy.place.clone(), message);
        }
    }
}

fn is_datagrams(proxy: &Proxy) -> bool {
    proxy.protocol == ProxyProtocol::Udp
}

/// Whether the address of one proxy is that of the other, or is among all addresses of the host that the other takes.
fn is_taken(one: &Proxy, other: &Proxy) -> bool {
    let (a, b) = (one.listen, other.listen);
    let is_any = a.ip().is_unspecified() || b.ip().is_unspecified();
    // Whether "::" has the addresses of IPv4 too is a setting of the host.
    let overlap = a.ip() == b.ip() || is_any && a.is_ipv4() == b.is_ipv4();
    is_datagrams(one) == is_datagrams(other) && a.port() == b.port() && a.port() > 0 && overlap
}

/// The names of the proxies that a connection passes before it comes back to the first.
fn circle<'p>(policy: &'p Policy, name: &'p str, start: &Proxy) -> Option<Vec<&'p str>> {
    let mut path = vec![name];
    let mut last = start;
    while path.len() <= policy.proxies.len() {
        if leads_to(last, start) {
            return Some(path);
        }
        let (next, proxy) = policy.proxies.iter().find(|(_, proxy)| leads_to(last, proxy))?;
        path.push(next);
        last = proxy;
    }
    None
}

/// Whether the origin of a proxy is certainly the other proxy.
fn leads_to(from: &Proxy, to: &Proxy) -> bool {
    is_datagrams(from) == is_datagrams(to)
        && origins(&from.to).into_iter().flatten().any(|origin| {
            let (origin_ip, listen_ip) = (origin.ip().to_canonical(), to.listen.ip().to_canonical());
            // What is sent to no address in particular comes to the loopback interface.
            let is_local = origin_ip.is_loopback() || origin_ip.is_unspecified();
            let is_reached =
                listen_ip.is_unspecified() || listen_ip.is_loopback() && origin_ip.is_unspecified();
            origin.port() == to.listen.port()
                && origin_ip.is_ipv4() == listen_ip.is_ipv4()
                && (origin_ip == listen_ip || is_local && is_reached)
        })
}

impl Proxy {
    /// Whether its origin is certainly the proxy itself, so that each connection leads to another one.
    pub fn is_own_origin(&self) -> bool {
        leads_to(self, self)
    }
}

/// The addresses of an origin that are known without a look-up.
fn origins(to: &str) -> [Option<SocketAddr>; 2] {
    match to.rsplit_once(':') {
        Some(("localhost", port)) => {
            [LOOPBACK_V4, LOOPBACK_V6].map(|address| Some(SocketAddr::new(address, port.parse().ok()?)))
        }
        _ => [to.parse().ok(), None],
    }
}

const LOOPBACK_V4: IpAddr = IpAddr::V4(core::net::Ipv4Addr::LOCALHOST);
const LOOPBACK_V6: IpAddr = IpAddr::V6(core::net::Ipv6Addr::LOCALHOST);
