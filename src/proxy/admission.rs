//! What a connection reserves, request by request.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::client_connections::{ClientConnection, ClientConnections, RELEASE};
use super::clock::now;
use super::header::Addresses;
use crate::connect::{Ask, ConnectError, Flow};
use crate::policy::{Proxy, ProxySubject};

/// The reservation of a connection, by the rules of its proxy.
pub(super) struct ProxyAdmission {
    proxy: Arc<Proxy>,
    flow: Arc<Flow>,
    addresses: Addresses,
    clients: Arc<ClientConnections>,
    /// The rule of the last request that was admitted; `None` before.
    rule: Option<Option<usize>>,
}

/// What a request or a connection shows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RequestSubject<'a> {
    pub(super) host: Option<&'a str>,
    pub(super) path: Option<&'a str>,
    pub(super) sni: Option<&'a str>,
}

impl ProxyAdmission {
    pub(super) fn new(
        (proxy, clients): (&Arc<Proxy>, &Arc<ClientConnections>),
        flow: Arc<Flow>,
        addresses: Addresses,
    ) -> Self {
        Self { proxy: Arc::clone(proxy), flow, addresses, clients: Arc::clone(clients), rule: None }
    }

    /// The connection is served from now on: what its end releases, the client's next one may wait for.
    pub(super) fn enter(&self) -> ClientConnection {
        self.clients.enter(self.addresses.client.ip(), &self.flow)
    }

    /// Reserves what the rules say, and gives the rendition that is reserved.
    ///
    /// A request of the same rule as the one before, or of no rule, keeps what is reserved while that lasts.
    pub(super) async fn admit(&mut self, shown: RequestSubject<'_>) -> Result<Option<String>, ConnectError> {
        let RequestSubject { host, path, sni } = shown;
        let (peer, port) = (self.addresses.client.ip(), self.addresses.server.port());
        let rule = self.proxy.rule_for(&ProxySubject { peer, port, host, path, sni });
        let ask = ask_by_rule(&self.proxy, rule, peer);
        match self.rule {
            None => self.reserve(&ask, rule).await?,
            Some(_) if self.flow.decision().is_none() => self.reserve(&ask, rule).await?,
            Some(before) if before == rule || rule.is_none() => return Ok(self.flow.rendition()),
            Some(before) if class(&self.proxy, before) == class(&self.proxy, rule) => {
                drop(self.flow.renegotiate(&ask).await?);
            }
            Some(_) => {
                self.flow.release()?;
                self.reserve(&ask, rule).await?;
            }
        }
        self.rule = Some(rule);
        Ok(self.flow.rendition())
    }

    /// Reserves. Where that is refused, or gives a lower rendition, although reservations of the same client are about to be
    /// released, it waits for these and asks again: a client that closes a connection before it opens the next one has
    /// closed it for the proxy as well, whichever the proxy hears of first.
    async fn reserve(&self, ask: &Ask, rule: Option<usize>) -> Result<(), ConnectError> {
        let is_ladder = templates(&self.proxy, rule).len() > 1;
        let first = self.flow.reserve(ask).await;
        let is_short = match &first {
            Ok(_) => self.is_below_best(rule),
            Err(error) => error.is_refused(),
        };
        if !is_short || !self.clients.is_one_about_to_end(self.addresses.client.ip()) {
            return first.map(drop);
        }
        match first {
            Err(_) if !is_ladder => self.reserve_once_free(ask).await,
            first => self.climb(ask, rule, first.map(drop)).await,
        }
    }

    /// Asks as soon as capacity is free, within the time that releases take.
    async fn reserve_once_free(&self, ask: &Ask) -> Result<(), ConnectError> {
        let host = self.flow.host();
        let id = host.new_id()?;
        let (ask, until) = (ask.clone().waiting_as(&id), now() + RELEASE);
        let mut pauses = Pauses::default();
        loop {
            let error = match self.flow.reserve(&ask).await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            let is_waiting = error.decision().is_some_and(|decision| decision.is_waiting());
            let left = until.saturating_duration_since(now());
            if !error.is_refused() || left.is_zero() {
                if is_waiting {
                    host.stop_waiting(&id);
                }
                return Err(error);
            }
            // What lacks something else than capacity, such as a flow of the client, is not notified.
            if !is_waiting || matches!(timeout(left, host.wait_for_capacity(&id)).await, Ok(Err(_))) {
                sleep(pauses.next(left)).await;
            }
        }
    }

    /// Asks for a better rendition until the best is reserved, within the time that releases take. What is reserved
    /// meanwhile stays.
    async fn climb(
        &self,
        ask: &Ask,
        rule: Option<usize>,
        first: Result<(), ConnectError>,
    ) -> Result<(), ConnectError> {
        let (mut result, until) = (first, now() + RELEASE);
        let mut pauses = Pauses::default();
        loop {
            let is_short = match &result {
                Ok(()) => self.is_below_best(rule),
                Err(error) => error.is_refused(),
            };
            let left = until.saturating_duration_since(now());
            if !is_short || left.is_zero() {
                return result;
            }
            sleep(pauses.next(left)).await;
            result = match self.flow.decision() {
                None => self.flow.reserve(ask).await.map(drop),
                Some(_) => {
                    // A refusal keeps what is reserved, unless that was lost meanwhile.
                    let better = self.flow.renegotiate(ask).await;
                    if self.flow.decision().is_some() { Ok(()) } else { better.map(drop) }
                }
            };
        }
    }

    fn is_below_best(&self, rule: Option<usize>) -> bool {
        let templates = templates(&self.proxy, rule);
        templates.len() > 1 && self.flow.rendition().as_ref() != templates.first()
    }
}

/// The pauses between requests for which nothing notifies: each is twice the one before.
struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(Duration::from_millis(10))
    }
}

impl Pauses {
    fn next(&mut self, left: Duration) -> Duration {
        let pause = self.0.min(left);
        self.0 *= 2;
        pause
    }
}

fn templates(proxy: &Proxy, rule: Option<usize>) -> &[String] {
    rule.and_then(|rule| proxy.rules.get(rule)).map_or(&proxy.templates, |rule| &rule.templates)
}

fn class(proxy: &Proxy, rule: Option<usize>) -> Option<&str> {
    let own = rule.and_then(|rule| proxy.rules.get(rule)?.class.as_deref());
    own.or(proxy.class.as_deref())
}

/// What a connection of this rule asks for, counted for the client by its address.
pub(super) fn ask_by_rule(proxy: &Proxy, rule: Option<usize>, client: IpAddr) -> Ask {
    let ask = match templates(proxy, rule) {
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
