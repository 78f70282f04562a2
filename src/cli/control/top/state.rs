//! What `gqos top` shows: the last two readings of the daemon, and what the keys have chosen.

use std::cmp::Reverse;
use std::collections::HashMap;

use clap::ValueEnum;
use flowspec::{Both, Rate};
use gqos::control::{FlowRecord, InterfaceRecord, StatusReply};

/// What the daemon has said at a time.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    /// Milliseconds since the start of the command.
    pub(super) at: u64,
    pub(super) status: StatusReply,
    pub(super) flows: Vec<FlowRecord>,
}

/// The order of the flows.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(super) enum Order {
    #[default]
    Rate,
    Used,
    Age,
    Id,
    Class,
    Client,
    Group,
    User,
}

/// A flow as it is shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct TopFlow {
    pub(super) flow: FlowRecord,
    /// What its class has sent in a second; `None` without a class, and before the second reading.
    pub(super) used: Option<Rate>,
    /// Seconds since it was seen first.
    pub(super) age: u64,
}

#[derive(Debug, Default)]
pub(super) struct TopState {
    reading: Option<Reading>,
    used: HashMap<String, Rate>,
    used_of: HashMap<String, Rate>,
    /// When each flow was seen first.
    seen: HashMap<String, u64>,
    pub(super) order: Order,
    /// The text that ids, interfaces, classes, clients or groups are to contain.
    pub(super) filter: String,
    /// Whether keys are letters of the filter.
    pub(super) is_typing: bool,
    pub(super) is_paused: bool,
    pub(super) shows_help: bool,
    /// Whether the classes of the policy are left out.
    pub(super) hides_classes: bool,
    /// The first flow that is shown.
    pub(super) first: usize,
    /// Why nothing new is read.
    pub(super) trouble: Option<String>,
    pub(super) colours: bool,
}

impl Order {
    const ALL: [Self; 8] =
        [Self::Rate, Self::Used, Self::Age, Self::Id, Self::Class, Self::Client, Self::Group, Self::User];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Used => "used",
            Self::Age => "age",
            Self::Id => "id",
            Self::Class => "class",
            Self::Client => "client",
            Self::Group => "group",
            Self::User => "user",
        }
    }

    /// The order after this one.
    pub(super) fn next(self) -> Self {
        let place = Self::ALL.iter().position(|order| *order == self).unwrap_or(0);
        Self::ALL[(place + 1) % Self::ALL.len()]
    }
}

impl TopState {
    /// Nothing was read yet.
    pub(super) fn new(filter: String, colours: bool) -> Self {
        Self { filter, colours, ..Self::default() }
    }

    /// The daemon was read.
    pub(super) fn read(&mut self, reading: Reading) {
        self.trouble = None;
        (self.used, self.used_of) = match &self.reading {
            Some(before) => used(before, &reading),
            None => Default::default(),
        };
        let mut seen = std::mem::take(&mut self.seen);
        self.seen = reading
            .flows
            .iter()
            .map(|flow| (flow.id.clone(), seen.remove(&flow.id).unwrap_or(reading.at)))
            .collect();
        self.reading = Some(reading);
        let rows = self.rows().len();
        self.first = self.first.min(rows.saturating_sub(1));
    }

    pub(super) fn status(&self) -> Option<&StatusReply> {
        self.reading.as_ref().map(|reading| &reading.status)
    }

    /// What the classes of an interface have sent in a second.
    pub(super) fn used_of(&self, interface: &InterfaceRecord) -> Option<Rate> {
        self.used_of.get(&interface.interface).copied()
    }

    /// The flows that pass the filter, in their order.
    pub(super) fn rows(&self) -> Vec<TopFlow> {
        let Some(reading) = &self.reading else { return Vec::new() };
        let filter = self.filter.to_lowercase();
        let contains = |text: &str| text.to_lowercase().contains(&filter);
        let passes = |flow: &&FlowRecord| {
            let names = [&flow.policy_class, &flow.client, &flow.group];
            contains(&flow.id)
                || contains(&flow.interface)
                || names.into_iter().flatten().any(|name| contains(name))
        };
        let row = |flow: &FlowRecord| TopFlow {
            used: self.used.get(&flow.id).copied(),
            age: reading.at.saturating_sub(self.seen.get(&flow.id).copied().unwrap_or(reading.at)) / 1000,
            flow: flow.clone(),
        };
        let mut rows: Vec<_> = reading.flows.iter().filter(passes).map(row).collect();
        rows.sort_by(|a, b| a.flow.id.cmp(&b.flow.id));
        match self.order {
            Order::Id => {}
            Order::Rate => rows.sort_by_key(|row| Reverse(sum(row.flow.charged))),
            Order::Used => rows.sort_by_key(|row| Reverse(row.used)),
            Order::Age => rows.sort_by_key(|row| Reverse(row.age)),
            Order::Class => rows.sort_by(|a, b| a.flow.policy_class.cmp(&b.flow.policy_class)),
            Order::Client => rows.sort_by(|a, b| a.flow.client.cmp(&b.flow.client)),
            Order::Group => rows.sort_by(|a, b| a.flow.group.cmp(&b.flow.group)),
            Order::User => rows.sort_by_key(|row| row.flow.uid),
        }
        rows
    }

    /// Moves the first flow that is shown.
    pub(super) fn scroll(&mut self, down: bool, by: usize) {
        let last = self.rows().len().saturating_sub(1);
        self.first = if down { (self.first + by).min(last) } else { self.first.saturating_sub(by) };
    }
}

fn sum(charged: Both<Rate>) -> Rate {
    Rate::new(charged.sending.get().saturating_add(charged.receiving.get()))
}

/// Bytes per second that flows and interfaces have sent between two readings.
fn used(before: &Reading, now: &Reading) -> (HashMap<String, Rate>, HashMap<String, Rate>) {
    let passed = now.at.saturating_sub(before.at).max(1);
    let mut sent: HashMap<(&str, String), u64> = HashMap::new();
    for interface in &before.status.interfaces {
        for class in interface.classes.iter().flatten() {
            let key = (interface.interface.as_str(), class.class.clone());
            sent.insert(key, class.sent_bytes);
        }
    }
    let (mut flows, mut interfaces) = (HashMap::new(), HashMap::new());
    for interface in &now.status.interfaces {
        let (mut total, mut link) = (0_u64, None);
        for class in interface.classes.iter().flatten() {
            let key = (interface.interface.as_str(), class.class.clone());
            // A class that is new has sent what it has sent since.
            let before = sent.get(&key).copied().unwrap_or(0);
            let bytes = class.sent_bytes.saturating_sub(before);
            let rate = bytes.saturating_mul(1000) / passed;
            // The link's class counts what all others send.
            if class.flow == "link" {
                link = Some(rate);
            }
            total = total.saturating_add(rate);
            flows.insert(class.flow.clone(), Rate::new(rate));
        }
        if interface.not_programmed.is_none() {
            interfaces.insert(interface.interface.clone(), Rate::new(link.unwrap_or(total)));
        }
    }
    (flows, interfaces)
}
