//! The flows of a ledger, packed: what each holds, by its slot, and its slot by its id.
//!
//! A flow that sends from now on until it is released takes one slot and its id; what few flows have (a window, a
//! group, a client, a receiving reservation) is kept beside the slots.

use std::hash::BuildHasher;
use std::sync::Arc;

use flowspec::{Both, Bytes, Direction, Moment, Rate};
use foldhash::quality::RandomState;
use hashbrown::HashTable;

use super::entry::{Cost, Entry};
use super::footprint::{ClassCounts, Footprint};
use super::rank::ChargedRank;
use super::window::Window;

/// How many slots are allocated together.
const CHUNK: usize = 1 << 10;

/// Every flow, and every group as a holder.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flows {
    index: HashTable<u32>,
    hasher: RandomState,
    chunks: Vec<Vec<Slot>>,
    free: Vec<u32>,
}

/// What is kept of every flow.
#[derive(Clone, Debug)]
struct Slot {
    id: Box<str>,
    order: u64,
    sending: Rate,
    rare: Option<Box<Rare>>,
    /// Bytes; a larger buffer is kept in `rare`.
    buffer: u32,
    interface: u32,
    /// [`NONE`] where it has none.
    class: u32,
    /// [`NEVER`] where it is never preempted or shed.
    holding_priority: u8,
    /// 0 to 7, with [`A_FLOW`] and what is counted of its class.
    class_type: u8,
}

/// What is kept of few flows.
#[derive(Clone, Debug)]
struct Rare {
    window: Window,
    receiving: Rate,
    buffer: Both<Bytes>,
    cost: Option<Box<Cost>>,
    group: Option<Arc<str>>,
    client: Option<Arc<str>>,
    deadline: Option<Moment>,
    peak: Option<Box<Both<Rate>>>,
    declared: Option<Box<Both<Rate>>>,
}

const NONE: u32 = u32::MAX;
const NEVER: u8 = u8::MAX;

/// Bits beside the class type.
const A_FLOW: u8 = 8;
const COUNTED_FLOWS: u8 = 16;
const COUNTED_RATE: u8 = 32;

impl Flows {
    /// How many flows there are, groups not among them.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    pub(crate) fn slot(&self, id: &str) -> Option<u32> {
        self.index.find(self.hasher.hash_one(id), |&slot| &*self.at(slot).id == id).copied()
    }

    pub(crate) fn entry(&self, slot: u32) -> Entry {
        self.at(slot).unpack(slot)
    }

    pub(crate) fn get(&self, id: &str) -> Option<Entry> {
        self.slot(id).map(|slot| self.entry(slot))
    }

    pub(crate) fn id(&self, slot: u32) -> &str {
        &self.at(slot).id
    }

    /// Gives a flow a slot, which is written into its footprint.
    pub(crate) fn insert(&mut self, id: &str, entry: &mut Entry, now: Moment) {
        let slot = self.take(id, entry, now);
        let (hash, hasher) = (self.hasher.hash_one(id), &self.hasher);
        let chunks = &self.chunks;
        self.index.insert_unique(hash, slot, |&slot| hasher.hash_one(&*at(chunks, slot).id));
    }

    /// Gives a group a slot, so that it can be named as a holder like a flow.
    pub(crate) fn insert_group(&mut self, id: &str, footprint: &mut Footprint, now: Moment) {
        let mut entry = entry_of_group(footprint);
        footprint.slot = self.take(id, &mut entry, now);
    }

    /// What a group is charged has changed.
    pub(crate) fn update_group(&mut self, footprint: &Footprint, now: Moment) {
        self.update(&entry_of_group(footprint), now);
    }

    /// Whether a flow or a group still exists with the same charge in the same class.
    pub(crate) fn holds(&self, held: &ChargedRank, class: Option<u32>, direction: Direction) -> Option<u32> {
        let slot = self.at(held.rank.slot());
        let charged = match direction {
            Direction::Sending => slot.sending,
            Direction::Receiving => slot.rare.as_ref().map_or(Rate::ZERO, |rare| rare.receiving),
        };
        let is_same = slot.order == held.rank.order() && slot.class == class.unwrap_or(NONE);
        (is_same && charged == held.charged.0).then_some(slot.interface)
    }

    /// Replaces the flow in a slot.
    pub(crate) fn update(&mut self, entry: &Entry, now: Moment) {
        let slot = self.at_mut(entry.footprint.slot);
        let id = std::mem::take(&mut slot.id);
        *slot = Slot::pack(id, entry, now);
    }

    /// Removes a flow from its slot, and gives what it was.
    pub(crate) fn remove(&mut self, id: &str) -> Option<(Box<str>, Entry)> {
        let hash = self.hasher.hash_one(id);
        let chunks = &self.chunks;
        let found = self.index.find_entry(hash, |&slot| &*at(chunks, slot).id == id).ok()?;
        let (slot, _) = found.remove();
        let entry = self.at(slot).unpack(slot);
        Some((self.give_back(slot), entry))
    }

    /// Removes the flow in a slot, and gives its id and what it was; `None` where no flow is there.
    pub(crate) fn remove_from(&mut self, slot: u32) -> Option<(Box<str>, Entry)> {
        let hash = self.hasher.hash_one(self.id(slot));
        self.index.find_entry(hash, |&other| other == slot).ok()?.remove();
        let entry = self.at(slot).unpack(slot);
        Some((self.give_back(slot), entry))
    }

    pub(crate) fn remove_group(&mut self, slot: u32) {
        self.give_back(slot);
    }

    /// The slots of all flows, in no order.
    pub(crate) fn slots(&self) -> impl Iterator<Item = u32> {
        self.index.iter().copied()
    }

    fn take(&mut self, id: &str, entry: &mut Entry, now: Moment) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
                self.chunks.push(Vec::with_capacity(CHUNK));
            }
            let full = self.chunks.len().saturating_sub(1) * CHUNK;
            let last = self.chunks.last().map_or(0, Vec::len);
            u32::try_from(full + last).expect("the ledger limits its flows and groups")
        });
        entry.footprint.slot = slot;
        let packed = Slot::pack(id.into(), entry, now);
        let (chunk, place) = (slot as usize / CHUNK, slot as usize % CHUNK);
        match self.chunks[chunk].get_mut(place) {
            Some(free) => *free = packed,
            None => self.chunks[chunk].push(packed),
        }
        slot
    }

    fn give_back(&mut self, slot: u32) -> Box<str> {
        self.free.push(slot);
        let slot = self.at_mut(slot);
        slot.rare = None;
        // No flow has this order.
        slot.order = u64::MAX;
        std::mem::take(&mut slot.id)
    }

    fn at(&self, slot: u32) -> &Slot {
        at(&self.chunks, slot)
    }

    fn at_mut(&mut self, slot: u32) -> &mut Slot {
        &mut self.chunks[slot as usize / CHUNK][slot as usize % CHUNK]
    }
}

fn entry_of_group(footprint: &Footprint) -> Entry {
    Entry {
        footprint: footprint.clone(),
        cost: None,
        group: None,
        client: None,
        deadline: None,
        declared: None,
    }
}

fn at(chunks: &[Vec<Slot>], slot: u32) -> &Slot {
    &chunks[slot as usize / CHUNK][slot as usize % CHUNK]
}

impl Slot {
    fn pack(id: Box<str>, entry: &Entry, now: Moment) -> Self {
        let Entry { footprint, cost, group, client, deadline, declared } = entry;
        let Footprint { order, interface, class, class_type, class_counts, charged, buffer, .. } = *footprint;
        let window = footprint.window;
        // A flow that has begun and has no end lasts until it is released: its start matters only where its class is
        // measured.
        let plain = window.start <= now && window.end.is_none() && footprint.peak.is_none();
        let paid =
            cost.is_none() && group.is_none() && client.is_none() && deadline.is_none() && declared.is_none();
        let small = u32::try_from(buffer.sending.get()).ok().filter(|_| buffer.receiving == Bytes::ZERO);
        let rare = !(plain && paid && charged.receiving == Rate::ZERO && small.is_some());
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        Self {
            id,
            order,
            sending: charged.sending,
            buffer: small.unwrap_or(0),
            rare: rare.then(|| {
                Box::new(Rare {
                    window,
                    receiving: charged.receiving,
                    buffer,
                    cost: cost.clone(),
                    group: group.clone(),
                    client: client.clone(),
                    deadline: *deadline,
                    peak: footprint.peak.clone(),
                    declared: declared.clone(),
                })
            }),
            interface,
            class: class.unwrap_or(NONE),
            holding_priority: footprint.holding_priority.unwrap_or(NEVER),
            class_type: class_type
                | flag(footprint.flows > 0, A_FLOW)
                | flag(class_counts.flows, COUNTED_FLOWS)
                | flag(class_counts.rate, COUNTED_RATE),
        }
    }

    fn unpack(&self, slot: u32) -> Entry {
        let rare = self.rare.as_deref();
        let footprint = Footprint {
            slot,
            order: self.order,
            interface: self.interface,
            class: Some(self.class).filter(|&class| class != NONE),
            class_type: self.class_type & 7,
            class_counts: ClassCounts {
                flows: self.class_type & COUNTED_FLOWS != 0,
                rate: self.class_type & COUNTED_RATE != 0,
            },
            charged: Both {
                sending: self.sending,
                receiving: rare.map_or(Rate::ZERO, |rare| rare.receiving),
            },
            buffer: rare.map_or_else(
                || Both { sending: Bytes::new(u64::from(self.buffer)), receiving: Bytes::ZERO },
                |rare| rare.buffer,
            ),
            window: rare.map_or(Window::from(Moment::START), |rare| rare.window),
            flows: u64::from(self.class_type & A_FLOW != 0),
            holding_priority: Some(self.holding_priority).filter(|&priority| priority != NEVER),
            peak: rare.and_then(|rare| rare.peak.clone()),
            // A group keeps its own.
            steps: None,
        };
        Entry {
            footprint,
            cost: rare.and_then(|rare| rare.cost.clone()),
            group: rare.and_then(|rare| rare.group.clone()),
            client: rare.and_then(|rare| rare.client.clone()),
            deadline: rare.and_then(|rare| rare.deadline),
            declared: rare.and_then(|rare| rare.declared.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_small() {
        assert_eq!(size_of::<Slot>(), 56);
    }
}
