//! What the state file is to say next: bytes that replace it or are appended to it. Knows neither files nor threads.

use std::collections::BTreeSet;

use super::saved::{StateLine, append, header};

/// What has a line.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Key {
    Flow(String),
    Group(String),
}

impl Key {
    /// The line of what is held no more.
    pub(super) fn ended(&self) -> StateLine {
        match self.clone() {
            Self::Flow(id) => StateLine::FlowEnd { id },
            Self::Group(id) => StateLine::GroupEnd { id },
        }
    }
}

/// What the lines say now.
pub(super) struct Lines {
    /// The line about something; that it has ended, where there is nothing any more.
    pub(super) of: Box<dyn Fn(&Key) -> StateLine + Send>,
    /// Everything that is held.
    pub(super) all: Box<dyn Fn() -> Vec<Key> + Send>,
}

/// A write of the state file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StateWrite {
    /// The file has these bytes alone from now on, or what it had before.
    Replace(Vec<u8>),
    /// These bytes follow what it has. They may be cut short by a kill.
    Append(Vec<u8>),
}

/// What a state file was told to say.
pub(super) struct StateLog {
    system: String,
    lines: Lines,
    /// How many more lines may be appended; `None` where the file is to be written as a whole.
    surplus: Option<usize>,
}

/// How many lines beyond twice those that are needed the file may have.
pub(super) const MOST_SURPLUS: usize = 4096;

impl StateLog {
    /// A log that begins with everything; `system` tells this run of the machine from others.
    pub(super) const fn new(system: String, lines: Lines) -> Self {
        Self { system, lines, surplus: None }
    }

    /// The write after these have changed, or all.
    pub(super) fn next(&mut self, keys: &BTreeSet<Key>, is_all: bool) -> StateWrite {
        match self.surplus.filter(|surplus| !is_all && keys.len() <= *surplus) {
            None => StateWrite::Replace(self.whole()),
            Some(surplus) => {
                self.surplus = Some(surplus - keys.len());
                let mut bytes = Vec::new();
                keys.iter().for_each(|key| append(&(self.lines.of)(key), &mut bytes));
                StateWrite::Append(bytes)
            }
        }
    }

    /// Everything.
    pub(super) fn whole(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        append(&header(&self.system), &mut bytes);
        let keys = (self.lines.all)();
        keys.iter().for_each(|key| append(&(self.lines.of)(key), &mut bytes));
        self.surplus = Some(keys.len() + MOST_SURPLUS);
        bytes
    }

    /// A write has failed: the next is one of everything.
    pub(super) const fn failed(&mut self) {
        self.surplus = None;
    }
}
