//! What a connection reserves, request by request.

use std::net::IpAddr;
use std::sync::Arc;

use super::header::Addresses;
use crate::connect::{Ask, ConnectError, Flow};
use crate::policy::{Proxy, ProxySubject};

/// The reservation of a connection, by the rules of its proxy.
pub(super) struct ProxyAdmission {
    proxy: Arc<Proxy>,
    flow: Arc<Flow>,
    addresses: Addresses,
    /// The rule of the last request that was admitted; `None` before.
    rule: Option<Option<usize>>,
}

/// What a request or a connection shows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shown<'a> {
    pub(super) host: Option<&'a str>,
    pub(super) path: Option<&'a str>,
    pub(super) sni: Option<&'a str>,
}

impl ProxyAdmission {
    pub(super) fn new(proxy: Arc<Proxy>, flow: Arc<Flow>, addresses: Addresses) -> Self {
        Self { proxy, flow, addresses, rule: None }
    }

    /// Reserves what the rules say, and gives the rendition that is reserved.
    ///
    /// A request of the same rule as the one before, or of no rule, keeps what is reserved while that lasts.
    pub(super) async fn admit(&mut self, shown: Shown<'_>) -> Result<Option<String>, ConnectError> {
        let Shown { host, path, sni } = shown;
        let (peer, port) = (self.addresses.client.ip(), self.addresses.server.port());
        let rule = self.proxy.rule_for(&ProxySubject { peer, port, host, path, sni });
        let ask = ask(&self.proxy, rule, peer);
        match self.rule {
            None => drop(self.flow.reserve(&ask).await?),
            Some(_) if self.flow.decision().is_none() => drop(self.flow.reserve(&ask).await?),
            Some(before) if before == rule || rule.is_none() => return Ok(self.flow.rendition()),
            Some(before) if class(&self.proxy, before) == class(&self.proxy, rule) => {
                drop(self.flow.renegotiate(&ask).await?);
            }
            Some(_) => {
                self.flow.release()?;
                self.flow.reserve(&ask).await?;
            }
        }
        self.rule = Some(rule);
        Ok(self.flow.rendition())
    }
}

fn class(proxy: &Proxy, rule: Option<usize>) -> Option<&str> {
    let own = rule.and_then(|rule| proxy.rules.get(rule)?.class.as_deref());
    own.or(proxy.class.as_deref())
}

/// What a connection of this rule asks for, counted for the client by its address.
pub(super) fn ask(proxy: &Proxy, rule: Option<usize>, client: IpAddr) -> Ask {
    let templates =
        rule.and_then(|rule| proxy.rules.get(rule)).map_or(&proxy.templates, |rule| &rule.templates);
    let ask = match &templates[..] {
        [] => Ask::default(),
        [only] => Ask::template(only),
        ladder => Ask::first_of(ladder),
    };
    let ask = ask.client(client.to_canonical().to_string());
    match class(proxy, rule) {
        Some(class) => ask.class(class),
        None => ask,
    }
}
