//! Clients: what each identity holds and may request, and how often.

use std::time::Duration;

use flowspec::{Both, Bytes, Direction, Micros, Moment, Rate, TokenBucket};

use crate::admission::account::entry::Entry;
use crate::admission::account::profile::Profile;
use crate::admission::account::window::Window;
use crate::admission::limits::ClientLimit;
use crate::admission::refusal::Refusal;
use crate::policy::Client;

/// What a client holds, and how many requests it may still make.
#[derive(Clone, Debug)]
pub(crate) struct ClientUse {
    flows: Profile,
    charged: Both<Profile>,
    /// The requests that it may make now, one a byte; `None` where there is no limit.
    requests: Option<TokenBucket>,
    /// The moment up to which the bucket has been filled.
    at: Moment,
}

impl ClientUse {
    pub(crate) fn new(policy: &Client, now: Moment) -> Self {
        let requests = policy.requests_per_second;
        let requests = requests.map(|rate| TokenBucket::full(Rate::new(rate), Bytes::new(rate)));
        Self { flows: Profile::default(), charged: Both::default(), requests, at: now }
    }

    /// Counts a request, and refuses it where the client makes too many; a refused request counts as well.
    pub(crate) fn count_request(&mut self, name: &str, policy: &Client, now: Moment) -> Result<(), Refusal> {
        let Some(requests) = &mut self.requests else { return Ok(()) };
        requests.pass(Duration::from_micros(now.saturating_since(self.at).get()));
        self.at = now;
        if requests.missing(Bytes::new(1)) > Bytes::ZERO {
            let limit = ClientLimit::Requests(policy.requests_per_second.unwrap_or_default());
            return Err(Refusal::Client { client: name.to_owned(), limit });
        }
        requests.take(Bytes::new(1));
        Ok(())
    }

    /// Whether a flow fits the limits of the client of this name. `old` is what the flow is charged before.
    pub(crate) fn check(
        &self,
        (name, policy): (&str, &Client),
        entry: &Entry,
        old: Option<Both<Rate>>,
        now: Moment,
    ) -> Result<(), Refusal> {
        let (rate, window) = (entry.rate(), entry.footprint.window);
        let over = |limit| Err(Refusal::Client { client: name.to_owned(), limit });
        let flows = self.flows.highest(window, now);
        if let Some(most) = policy.max_flows
            && old.is_none()
            && flows >= most
        {
            let (_, from) = self.flows.first_highest(window, now);
            return over(ClientLimit::Flows { flows, most, from });
        }
        if let Some(horizon) = policy.horizon
            && old.is_none()
            && window.start.saturating_since(now) > horizon
        {
            return over(ClientLimit::Horizon { ahead: window.start.saturating_since(now), horizon });
        }
        let Some(most) = policy.max_rate else { return Ok(()) };
        for direction in Direction::BOTH {
            let asked = *rate.get(direction);
            let charged = self.charged.get(direction);
            let taken = Rate::new(charged.highest(window, now));
            let worse = old.is_none_or(|old| asked > *old.get(direction)) && asked > Rate::ZERO;
            if worse && taken.checked_add(asked).is_none_or(|sum| sum > most) {
                let (_, from) = charged.first_highest(window, now);
                return over(ClientLimit::Rate { direction, asked, taken, most, from });
            }
        }
        Ok(())
    }

    pub(crate) fn book(&mut self, charged: Both<Rate>, window: Window, now: Moment) {
        self.flows.book(1, window, now);
        for direction in Direction::BOTH {
            self.charged.get_mut(direction).book(charged.get(direction).get(), window, now);
        }
    }

    pub(crate) fn unbook(&mut self, charged: Both<Rate>, window: Window, now: Moment) {
        self.flows.unbook(1, window, now);
        for direction in Direction::BOTH {
            self.charged.get_mut(direction).unbook(charged.get(direction).get(), window, now);
        }
    }

    /// Asserts that what is counted is what these flows take.
    pub(crate) fn invariants(&self, name: &str, flows: &[&Entry], now: Moment) {
        let (mut count, mut charged) = (Profile::default(), Both::<Profile>::default());
        for entry in flows {
            let window = entry.footprint.window;
            count.book(1, window, now);
            for direction in Direction::BOTH {
                charged.get_mut(direction).book(entry.rate().get(direction).get(), window, now);
            }
        }
        assert_eq!(self.flows.over_time(), count.over_time(), "client {name}: its flows");
        for direction in Direction::BOTH {
            let (kept, counted) = (self.charged.get(direction), charged.get(direction));
            assert_eq!(kept.over_time(), counted.over_time(), "client {name} {direction}: its charges");
        }
    }

    /// The first moment after this one, which is not before now, at which something of it begins or ends.
    pub(crate) fn next_change(&self, moment: Moment) -> Option<Moment> {
        let profiles = [&self.flows, &self.charged.sending, &self.charged.receiving];
        profiles.into_iter().filter_map(|profile| profile.next_change(moment)).min()
    }

    pub(crate) fn advance(&mut self, now: Moment) {
        self.flows.advance(now);
        self.charged.sending.advance(now);
        self.charged.receiving.advance(now);
    }

    /// Whether it can be forgotten: nothing is booked, and its bucket of requests is full.
    pub(crate) fn is_idle(&self, now: Moment) -> bool {
        let full =
            self.requests.as_ref().is_none_or(|_| now.saturating_since(self.at) >= Micros::new(1_000_000));
        full && self.flows.is_empty()
    }
}
