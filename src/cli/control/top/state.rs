//! What `gqos top` shows: the last reading of the daemon, and what the keys have chosen.

use gqos::control::{FlowRecord, FlowsCall, StatusReply};

use super::super::flows::SortKey;

/// What the daemon has said.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) status: StatusReply,
    /// Those that are shown, from `TopState::first` on.
    pub(super) flows: Vec<FlowRecord>,
    /// How many flows pass the filter.
    pub(super) matching: usize,
}

#[derive(Debug, Default)]
pub(super) struct TopState {
    reading: Option<Reading>,
    pub(super) order: SortKey,
    /// The text that ids, interfaces, classes, clients or groups are to contain.
    pub(super) filter: String,
    /// Whether keys are letters of the filter.
    pub(super) is_typing: bool,
    pub(super) is_paused: bool,
    pub(super) shows_help: bool,
    /// The first line of the help that is shown.
    pub(super) help_first: u16,
    /// Whether the classes of the policy and the groups are left out.
    pub(super) hides_classes: bool,
    /// The first flow that is shown.
    pub(super) first: usize,
    /// The first line of interfaces that is shown where they do not all fit.
    pub(super) first_sum: usize,
    /// Why nothing new is read.
    pub(super) trouble: Option<String>,
    pub(super) colours: bool,
}

/// The orders that the key `s` goes through.
const ORDERS: [SortKey; 11] = [
    SortKey::Rate,
    SortKey::Used,
    SortKey::Delayed,
    SortKey::Dropped,
    SortKey::Below,
    SortKey::Age,
    SortKey::Id,
    SortKey::Class,
    SortKey::Client,
    SortKey::Group,
    SortKey::User,
];

/// The longest filter in bytes.
const MOST_FILTER: usize = 256;

impl TopState {
    /// Nothing was read yet.
    pub(super) fn new(filter: String, colours: bool) -> Self {
        Self { filter, colours, ..Self::default() }
    }

    /// The flows that are to be read for a terminal of this many lines.
    pub(super) fn wanted(&self, lines: u16) -> FlowsCall {
        FlowsCall {
            contains: Some(self.filter.clone()),
            sort: Some(self.order.order()),
            first: Some(self.first),
            most: Some(usize::from(lines)),
            traffic: Some(true),
            ..FlowsCall::default()
        }
    }

    /// The daemon was read.
    pub(super) fn read(&mut self, reading: Reading) {
        self.trouble = None;
        self.first = self.first.min(reading.matching.saturating_sub(1));
        self.reading = Some(reading);
    }

    pub(super) fn status(&self) -> Option<&StatusReply> {
        self.reading.as_ref().map(|reading| &reading.status)
    }

    /// The flows that pass the filter, in their order, from the first that is shown on.
    pub(super) fn rows(&self) -> &[FlowRecord] {
        self.reading.as_ref().map_or(&[], |reading| &reading.flows)
    }

    /// How many flows pass the filter.
    pub(super) fn matching(&self) -> usize {
        self.reading.as_ref().map_or(0, |reading| reading.matching)
    }

    /// Another letter of the filter. What passes another filter is shown from its first flow on.
    pub(super) fn push_filter(&mut self, letter: char) {
        if self.filter.len() < MOST_FILTER {
            self.filter.push(letter);
            self.first = 0;
        }
    }

    /// The last letter of the filter goes.
    pub(super) fn pop_filter(&mut self) {
        self.filter.pop();
        self.first = 0;
    }

    pub(super) fn clear_filter(&mut self) {
        self.filter.clear();
        self.first = 0;
    }

    /// Goes to the next order.
    pub(super) fn sort(&mut self) {
        let place = ORDERS.iter().position(|order| *order == self.order).map_or(0, |place| place + 1);
        self.order = ORDERS[place % ORDERS.len()];
    }

    /// Moves the first of so many lines of interfaces.
    pub(super) fn scroll_sums(&mut self, down: bool, lines: usize) {
        let last = lines.saturating_sub(1);
        self.first_sum =
            if down { (self.first_sum + 1).min(last) } else { self.first_sum.min(last).saturating_sub(1) };
    }

    /// Moves the first flow that is shown, or the first line of the help.
    pub(super) fn scroll(&mut self, down: bool, by: usize) {
        if self.shows_help {
            let by = u16::try_from(by).unwrap_or(u16::MAX);
            self.help_first =
                if down { self.help_first.saturating_add(by) } else { self.help_first.saturating_sub(by) };
            return;
        }
        let last = self.matching().saturating_sub(1);
        self.first = if down { (self.first + by).min(last) } else { self.first.saturating_sub(by) };
    }
}
