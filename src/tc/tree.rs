//! The desired tree of an interface.
//!
//! ```text
//! 6771: htb root
//!  └ 6771:1     the link: rate = ceil = 99 % of the capacity
//!     ├ 6771:2     everything without a reservation: borrows what is unused, never more
//!     ├ 6771:10…   one class for each policy class, for flows beyond the bound
//!     └ 6771:100…  one class for each admitted flow
//! ```
//!
//! A leaf with tokens of its own goes before every leaf that borrows, so a reserved flow never waits
//! for bulk traffic longer than one packet takes. The parents do not protect the leaves: that the
//! leaves' rates stay within the link is the admission's business.

use std::collections::BTreeMap;

use flowspec::{Bytes, Micros, Peak, Rate, Ratio, TSpec};

use super::change::{Change, Op};
use super::fifo::Bfifo;
use super::handle::Handle;
use super::htb::{HtbClass, HtbRoot};

/// Our mark: `gq` in ASCII. A root qdisc with this handle is ours, any other is not.
pub const MAJOR: u16 = 0x6771;

/// Minor number of the class that stands for the link.
pub const ROOT_CLASS: u16 = 1;

/// Minor number of the class for what has no reservation.
pub const DEFAULT: u16 = 2;

/// First minor number of the classes that flows share.
pub const SHARED: u16 = 0x10;

/// First minor number of the flows' own classes.
pub const FLOWS: u16 = 0x100;

/// How many flows of an interface have a class of their own. Adding a class costs the kernel time in
/// proportion to the classes there are: with this many it stays below a tenth of a millisecond.
pub const LARGEST_FLOW_CLASSES: u16 = 1_000;

/// What HTB counts besides the IP datagram: the Ethernet header.
pub const LINK_HEADER: Bytes = Bytes::new(14);

/// The largest part that link headers add to what is promised: on packets of the default
/// `minimum_policed_size`.
pub(super) const LARGEST_OVERHEAD: (u64, u64) = (64, 64 + 14);

/// The part of the capacity that the tree sends: a little less than the link carries, so that queues
/// are here, where they are in order, and one that a burst has made behind the link drains again.
pub(super) const LINK_PART: (u64, u64) = (99, 100);

/// A bucket holds at least this much time of its rate, in microseconds: what a late kernel timer
/// costs is made good from it.
const LEAST_BURST_MICROS: u64 = 1_000;

/// How long what has no reservation may queue at the link's full rate, in microseconds.
const DEFAULT_QUEUE_MICROS: u64 = 50_000;

/// The largest packet the stack builds: an aggregate that is cut into segments below the qdisc.
pub(super) const LARGEST_AGGREGATE: u64 = 64 << 10;

/// The kernel warns outside these bounds.
const QUANTUM_BOUNDS: (u64, u64) = (1_000, 200_000);

/// Borrowing order: reserved flows' own rates never borrow, so only what has no reservation does.
const DEFAULT_PRIO: u32 = 7;

/// What a tree is built for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Shape {
    /// What the link carries.
    pub capacity: Rate,
    /// The part of it that may be promised.
    pub budget: Rate,
    /// The largest IP datagram.
    pub mtu: Bytes,
    /// D, where delays are promised: how long a leaf may have to wait and keep its tokens.
    pub wait: Micros,
}

/// A flow's traffic with its headers: what its class has to carry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Framed {
    /// r with the link header on every packet.
    pub rate: Rate,
    /// p likewise; nothing where it is infinite.
    pub peak: Option<Rate>,
    /// b likewise.
    pub bucket: Bytes,
    /// M with its link header.
    pub packet: Bytes,
}

/// The desired tree of one interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tree {
    shape: Shape,
    leaves: BTreeMap<u16, HtbClass>,
}

impl Framed {
    /// The link's view of a flow: each packet is larger by the link header, and m bounds how much
    /// that is. It is served at least at what was reserved for it, which a delay may make more than r.
    pub fn new(tspec: &TSpec, reserved: Rate) -> Self {
        let minimum = tspec.minimum_policed_size().get();
        let with_header = |value: Rate| {
            value.scale_up(Ratio { numerator: minimum + LINK_HEADER.get(), denominator: minimum })
        };
        let rate = with_header(tspec.token_rate().max(reserved));
        let peak = match tspec.peak_bandwidth() {
            Peak::Infinite => None,
            Peak::Finite(peak) => Some(with_header(peak)),
        };
        let bucket = with_header(Rate::new(tspec.token_bucket_size().get()));
        Self {
            rate,
            peak,
            bucket: Bytes::new(bucket.get()),
            packet: tspec.max_sdu_size().saturating_add(LINK_HEADER),
        }
    }
}

/// The class of a flow by its number, which is below [`LARGEST_FLOW_CLASSES`].
pub const fn flow_class(number: u16) -> Handle {
    Handle::new(MAJOR, FLOWS + number)
}

/// The class that flows of a policy class share, by the policy class's number.
pub fn shared_class(number: usize) -> Handle {
    let most = FLOWS - SHARED - 1;
    // More policy classes than minors: the last ones share a class, which isolates them less.
    Handle::new(MAJOR, SHARED + u16::try_from(number).unwrap_or(most).min(most))
}

impl Tree {
    /// The tree without flows.
    pub const fn new(shape: Shape) -> Self {
        Self { shape, leaves: BTreeMap::new() }
    }

    /// The root qdisc.
    pub const fn root(&self) -> HtbRoot {
        HtbRoot { handle: Handle::new(MAJOR, 0), default: DEFAULT, direct_packets: 0 }
    }

    /// The link and the default class, parents first.
    pub fn trunk(&self) -> [HtbClass; 2] {
        let Shape { capacity, budget, mtu, wait: _ } = self.shape;
        let (kept, whole) = LINK_PART;
        let capacity = capacity.scale_down(Ratio { numerator: kept, denominator: whole }).max(Rate::new(1));
        let frame = mtu.saturating_add(LINK_HEADER);
        let burst = burst_for(capacity, frame);
        let link = HtbClass {
            handle: Handle::new(MAJOR, ROOT_CLASS),
            parent: Handle::new(MAJOR, 0),
            rate: capacity,
            ceil: capacity,
            burst,
            cburst: burst,
            quantum: quantum_for(capacity, frame),
            prio: 0,
        };
        // The leaves' own rates together stay within the link, or the link would be sent more than it
        // carries: the default's is what the whole budget leaves with the largest headers on it. At
        // least a hundredth, so that control traffic is never shut out; the rest it borrows.
        let (payload, framed) = LARGEST_OVERHEAD;
        let promised = budget.scale_up(Ratio { numerator: framed, denominator: payload });
        let least = capacity.scale_down(Ratio::percent(1)).max(Rate::new(1000));
        let rate = capacity.saturating_sub(promised).max(least).min(capacity);
        let default = HtbClass {
            handle: Handle::new(MAJOR, DEFAULT),
            parent: link.handle,
            rate,
            ceil: capacity,
            burst: burst_for(rate, frame),
            cburst: burst,
            quantum: quantum_for(rate, frame),
            prio: DEFAULT_PRIO,
        };
        [link, default]
    }

    /// The queue of the default class: short enough to keep delay down, long enough for one sender.
    pub fn default_queue(&self) -> (Handle, Bfifo) {
        let room = self.shape.capacity.bytes_in(Micros::new(DEFAULT_QUEUE_MICROS));
        let least = Bytes::new(4 * LARGEST_AGGREGATE);
        (Handle::new(MAJOR, DEFAULT), Bfifo { limit: room.max(least) })
    }

    /// The flows' classes.
    pub fn leaves(&self) -> impl Iterator<Item = &HtbClass> {
        self.leaves.values()
    }

    /// What a leaf that carries these flows looks like; nothing where there are none.
    ///
    /// One flow: its rate, ceil at its peak, burst so deep that what leaves stays within b and one
    /// packet (HTB overdraws by one). Several: their rates and buckets added up.
    pub fn leaf_for(&self, handle: Handle, flows: impl IntoIterator<Item = Framed>) -> Option<HtbClass> {
        let together = flows.into_iter().reduce(|a, b| Framed {
            rate: a.rate.checked_add(b.rate).unwrap_or(a.rate),
            peak: None,
            bucket: a.bucket.saturating_add(b.bucket),
            packet: a.packet.max(b.packet),
        })?;
        Some(self.leaf(handle, together))
    }

    /// The same for flows that share one reservation: as large as the largest of them.
    pub fn largest_leaf_for(
        &self,
        handle: Handle,
        flows: impl IntoIterator<Item = Framed>,
    ) -> Option<HtbClass> {
        let largest = flows.into_iter().reduce(|a, b| Framed {
            rate: a.rate.max(b.rate),
            peak: a.peak.zip(b.peak).map(|(a, b)| a.max(b)),
            bucket: a.bucket.max(b.bucket),
            packet: a.packet.max(b.packet),
        })?;
        Some(self.leaf(handle, largest))
    }

    fn leaf(&self, handle: Handle, framed: Framed) -> HtbClass {
        let Framed { rate, peak, bucket, packet } = framed;
        // What it may not lose while it waits.
        let kept = |rate: Rate| burst_for(rate, packet).max(rate.bytes_in(self.shape.wait));
        let least = kept(rate);
        let burst = bucket.saturating_sub(packet).max(least);
        // Without a finite peak a leaf sends its bucket at the link's speed: ceil is then no limit,
        // and equal to the rate so that nothing is borrowed.
        let ceil = peak.unwrap_or(rate).min(self.shape.capacity).max(rate);
        let cburst = if peak.is_some() { kept(ceil) } else { burst };
        HtbClass {
            handle,
            parent: Handle::new(MAJOR, ROOT_CLASS),
            rate,
            ceil,
            burst,
            cburst,
            quantum: quantum_for(rate, packet),
            prio: 0,
        }
    }

    /// The link carries something else from now on: what has to be changed of the trunk. Nothing where nothing
    /// is left of it: what is still to leave is not held back on top of that.
    pub fn reshape(&mut self, capacity: Rate, budget: Rate, wait: Micros) -> Change {
        if capacity == Rate::ZERO {
            return Change::default();
        }
        let before = self.trunk();
        self.shape = Shape { capacity, budget, wait, ..self.shape };
        let changed = before.into_iter().zip(self.trunk()).filter(|(from, to)| from != to);
        Change { ops: changed.map(|(from, to)| Op::ChangeClass { to, from }).collect() }
    }

    /// Puts a leaf in its place, or takes it away: what stood there before.
    pub fn set_leaf(&mut self, handle: Handle, leaf: Option<HtbClass>) -> Option<HtbClass> {
        match leaf {
            Some(leaf) => self.leaves.insert(handle.minor(), leaf),
            None => self.leaves.remove(&handle.minor()),
        }
    }
}

/// Two packets or a millisecond of the rate, whichever is more: with less, HTB loses rate.
fn burst_for(rate: Rate, packet: Bytes) -> Bytes {
    let two = Bytes::new(packet.get().saturating_mul(2));
    rate.bytes_in(Micros::new(LEAST_BURST_MICROS)).max(two)
}

/// An eightieth of a second's bytes, at least a packet, within what the kernel likes.
fn quantum_for(rate: Rate, packet: Bytes) -> Bytes {
    let (least, most) = QUANTUM_BOUNDS;
    Bytes::new((rate.get() / 80).min(60_000).max(packet.get()).clamp(least, most))
}
