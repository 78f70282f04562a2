//! What gqos programs and what iproute2's `tc` programs for the same numbers: the kernel dumps the same bytes.
//!
//! `GQOS_DIFFERENTIAL_TUPLES` sets how many random tuples each test tries.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use flowspec::{Bytes, Rate};
use gqos::lab::{LabNetwork, Site};
use gqos::linux::{Netlink, NewQdisc};
use gqos::tc::{Bfifo, Change, Handle, HtbClass, HtbRoot, Op, TICK_NANOS, Tbf};
use rtnetlink::sys::{Socket, protocols::NETLINK_ROUTE};

use super::common::{inside, lab_with};

pub(super) const ROOT: Handle = Handle::qdisc(0x10);
const PARENT: Handle = ROOT.class(1);

/// How many objects are in the kernel at once.
pub(super) const AT_ONCE: u64 = 500;

/// iproute2 computes buckets in microseconds, each of which is 15.625 ticks.
const MICROSECOND_TICKS: u32 = 16;

/// Numbers that look random and are the same in each run: splitmix64.
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    /// A number from 1 with at most this many bits, each length as likely as any other.
    pub(super) fn up_to_bits(&mut self, bits: u64) -> u64 {
        let bits = 1 + self.next() % bits;
        (self.next() >> (64 - bits)).max(1)
    }
}

pub(super) fn tuples() -> u64 {
    let count = std::env::var("GQOS_DIFFERENTIAL_TUPLES").ok();
    count.map_or(2_000, |count| count.parse().expect("GQOS_DIFFERENTIAL_TUPLES is a number"))
}

/// Objects of one kind that the kernel dumps.
#[derive(Clone, Copy)]
pub(super) enum Objects {
    Qdiscs,
    Classes,
    Filters,
}

/// TCA_OPTIONS of the objects of one kind on an interface: of classes and filters by their handle, of qdiscs by their
/// parent.
pub(super) fn dump(site: &Site, objects: Objects, kind: &'static str) -> BTreeMap<u32, Vec<u8>> {
    site.run(async move {
        let netlink = Netlink::open().unwrap();
        let index = netlink.link_by_name("eth0").await.unwrap().index;
        let (get, new) = match objects {
            Objects::Qdiscs => (38_u16, 36_u16),
            Objects::Classes => (42, 40),
            Objects::Filters => (46, 44),
        };
        let socket = Socket::new(NETLINK_ROUTE).unwrap();
        // struct nlmsghdr with NLM_F_REQUEST | NLM_F_DUMP, then struct tcmsg.
        let mut request = Vec::new();
        request.extend(36_u32.to_ne_bytes());
        request.extend(get.to_ne_bytes());
        request.extend(0x301_u16.to_ne_bytes());
        request.extend([0; 12]);
        request.extend(index.to_ne_bytes());
        request.extend([0; 12]);
        assert_eq!(socket.send(&request, 0).unwrap(), request.len());
        let mut found = BTreeMap::new();
        loop {
            let (bytes, _) = socket.recv_from_full().unwrap();
            let mut rest = &bytes[..];
            while rest.len() >= 16 {
                let length = word(rest, 0) as usize;
                let kind_of_message = u16::from_ne_bytes([rest[4], rest[5]]);
                let message = &rest[16..length];
                rest = &rest[length.next_multiple_of(4).min(rest.len())..];
                match kind_of_message {
                    // NLMSG_DONE
                    3 => return found,
                    message_kind if message_kind == new && word(message, 4) == index => {
                        let attributes = attributes(&message[20..]);
                        let name = attributes.get(&1).expect("TCA_KIND");
                        if name.strip_suffix(&[0]) == Some(kind.as_bytes()) {
                            let place = match objects {
                                Objects::Qdiscs => word(message, 12),
                                Objects::Classes | Objects::Filters => word(message, 8),
                            };
                            let mut options = attributes.get(&2).cloned().unwrap_or_default();
                            if let Objects::Filters = objects {
                                // The priority and the protocol, as one more attribute.
                                options.extend([8, 0, 0xff, 0x3f]);
                                options.extend(&message[16..20]);
                            }
                            found.insert(place, options);
                        }
                    }
                    message_kind => assert_eq!(message_kind, new, "of another interface"),
                }
            }
        }
    })
    .unwrap()
}

pub(super) fn word(bytes: &[u8], offset: usize) -> u32 {
    u32::from_ne_bytes(bytes[offset..offset + 4].try_into().unwrap())
}

/// The attributes of a message by their numbers, without the bit for nested ones.
pub(super) fn attributes(mut bytes: &[u8]) -> BTreeMap<u16, Vec<u8>> {
    let mut found = BTreeMap::new();
    while bytes.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
        let number = u16::from_ne_bytes([bytes[2], bytes[3]]) & 0x3fff;
        found.insert(number, bytes[4..length].to_vec());
        bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
    }
    found
}

/// Runs commands of `tc` in one process.
pub(super) fn batch(site: &Site, commands: &str) {
    let net = format!("--net={}", site.namespace_path());
    let mut child = Command::new("nsenter");
    let child = child.arg(net).args(["tc", "-batch", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    child.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// An empty root, and classes below it in which queues may be.
fn root(site: &Site, classes: u64) {
    inside(site, &["tc", "qdisc", "replace", "dev", "eth0", "root", "pfifo"]);
    let mut commands = "qdisc replace dev eth0 root handle 10: htb\n".to_owned();
    commands += "class add dev eth0 parent 10: classid 10:1 htb rate 1gbit quantum 1500\n";
    for number in 0..classes {
        let class = leaf(number);
        writeln!(commands, "class add dev eth0 parent 10:1 classid {class} htb rate 1mbit quantum 1500")
            .unwrap();
    }
    batch(site, &commands);
}

fn leaf(number: u64) -> Handle {
    ROOT.class(u16::try_from(number + 0x100).unwrap())
}

/// Applies operations that are not one change: each alone.
fn apply(site: &Site, ops: Vec<Op>) {
    site.run(async move {
        let netlink = Netlink::open().unwrap();
        let index = netlink.link_by_name("eth0").await.unwrap().index;
        for op in ops {
            netlink.apply(index, &Change { ops: vec![op] }).await.unwrap();
        }
    })
    .unwrap();
}

/// Adds a qdisc of this kind to one leaf after another.
fn add_leaf_qdiscs(site: &Site, kind: &'static str, options: Vec<Vec<u8>>) {
    site.run(async move {
        let netlink = Netlink::open().unwrap();
        let index = netlink.link_by_name("eth0").await.unwrap().index;
        for (number, options) in (0..).zip(options) {
            let qdisc = NewQdisc { parent: leaf(number), handle: Handle::default(), kind, options };
            netlink.add_qdisc(index, qdisc).await.unwrap();
        }
    })
    .unwrap();
}

/// A dumped HTB class without its two buckets, and the buckets in ticks.
fn without_buckets(mut options: Vec<u8>) -> (Vec<u8>, [u32; 2]) {
    // TCA_HTB_PARMS is found by its header: length 48, number 1.
    let header = [48_u16.to_ne_bytes(), 1_u16.to_ne_bytes()].concat();
    let start = options.windows(4).position(|found| found == header).expect("TCA_HTB_PARMS") + 4;
    let buckets = [start + 24, start + 28].map(|offset| {
        let ticks = word(&options, offset);
        options[offset..offset + 4].fill(0);
        ticks
    });
    (options, buckets)
}

/// How long a bucket lasts at its rate.
fn ticks(size: Bytes, rate: Rate) -> u128 {
    u128::from(size.get()) * 1_000_000_000 / u128::from(rate.get()) / u128::from(TICK_NANOS)
}

pub(super) fn network() -> Option<LabNetwork> {
    lab_with(100, &["tc"])
}

#[test]
fn classes_of_tc_and_of_gqos_are_the_same_bytes() {
    let Some(network) = network() else { return };
    let site = &network.server;
    let mut numbers = Numbers(1);
    let (mut compared, mut refused) = (0, 0);
    while compared < tuples() {
        let mut classes = Vec::new();
        while (classes.len() as u64) < AT_ONCE.min(tuples() - compared) {
            let class = HtbClass {
                handle: leaf(classes.len() as u64),
                parent: PARENT,
                rate: Rate::new(numbers.up_to_bits(40)),
                ceil: Rate::new(numbers.up_to_bits(40)),
                burst: Bytes::new(numbers.up_to_bits(31)),
                cburst: Bytes::new(numbers.up_to_bits(31)),
                quantum: Bytes::new(numbers.up_to_bits(31)),
                prio: u32::try_from(numbers.next() % 8).unwrap(),
            };
            let longest = ticks(class.burst, class.rate).max(ticks(class.cburst, class.ceil));
            assert_eq!(class.options().is_err(), longest > u128::from(u32::MAX), "{class}");
            // Such a bucket wraps in tc.
            if class.options().is_err() {
                refused += 1;
                continue;
            }
            classes.push(class);
        }
        root(site, 0);
        let mut commands = String::new();
        for class in &classes {
            let HtbClass { handle, rate, ceil, burst, cburst, quantum, prio, .. } = class;
            writeln!(
                commands,
                "class add dev eth0 parent 10:1 classid {handle} htb rate {}bit ceil {}bit burst {}b cburst {}b quantum {} prio {prio}",
                rate.get() * 8, ceil.get() * 8, burst.get(), cburst.get(), quantum.get()
            )
            .unwrap();
        }
        batch(site, &commands);
        let theirs = dump(site, Objects::Classes, HtbRoot::KIND);
        root(site, 0);
        apply(site, classes.iter().copied().map(Op::AddClass).collect());
        let mut ours = dump(site, Objects::Classes, HtbRoot::KIND);
        assert_eq!(theirs.len(), classes.len() + 1);
        for class in &classes {
            let (theirs, their_buckets) = without_buckets(theirs[&class.handle.to_u32()].clone());
            let (ours, our_buckets) = without_buckets(ours.remove(&class.handle.to_u32()).unwrap());
            assert_eq!(ours, theirs, "{class}");
            for (ours, theirs) in our_buckets.into_iter().zip(their_buckets) {
                assert!(ours.abs_diff(theirs) <= MICROSECOND_TICKS, "{class}: {ours} ticks, of tc {theirs}");
            }
        }
        assert_eq!(ours.len(), 1, "the parent alone is left");
        compared += classes.len() as u64;
    }
    println!("{compared} classes are the same, {refused} more are refused since tc wraps their buckets");
}

#[test]
fn token_bucket_filters_of_tc_and_of_gqos_are_the_same_bytes() {
    let Some(network) = network() else { return };
    let site = &network.server;
    let mut numbers = Numbers(2);
    let (mut compared, mut refused) = (0, 0);
    while compared < tuples() {
        let count = AT_ONCE.min(tuples() - compared);
        let mut filters = Vec::new();
        while (filters.len() as u64) < count {
            let filter = Tbf {
                rate: Rate::new(numbers.up_to_bits(40)),
                // The kernel requires space for a packet of the device.
                burst: Bytes::new(1_600 + numbers.up_to_bits(31)),
                limit: Bytes::new(1_600 + numbers.up_to_bits(31)),
            };
            let is_refused = ticks(filter.burst, filter.rate) > u128::from(u32::MAX);
            assert_eq!(filter.options().is_err(), is_refused, "{filter:?}");
            match is_refused {
                true => refused += 1,
                false => filters.push(filter),
            }
        }
        root(site, count);
        let mut commands = String::new();
        for (number, Tbf { rate, burst, limit }) in (0..).zip(&filters) {
            let (class, rate) = (leaf(number), rate.get() * 8);
            writeln!(
                commands,
                "qdisc add dev eth0 parent {class} tbf rate {rate}bit burst {}b limit {}b",
                burst.get(),
                limit.get()
            )
            .unwrap();
        }
        batch(site, &commands);
        let theirs = dump(site, Objects::Qdiscs, Tbf::KIND);
        root(site, count);
        add_leaf_qdiscs(site, Tbf::KIND, filters.iter().map(|filter| filter.options().unwrap()).collect());
        let ours = dump(site, Objects::Qdiscs, Tbf::KIND);
        assert_eq!(theirs.len(), filters.len());
        for (number, filter) in (0..).zip(&filters) {
            let class = leaf(number).to_u32();
            assert_eq!(ours[&class], theirs[&class], "{filter:?}");
        }
        compared += count;
    }
    println!(
        "{compared} token bucket filters are the same, {refused} more are refused since their buckets wrap"
    );
}

#[test]
fn queues_of_tc_and_of_gqos_are_the_same_bytes() {
    let Some(network) = network() else { return };
    let site = &network.server;
    let mut numbers = Numbers(3);
    for (kind, unit) in [(Bfifo::KIND, "b"), ("pfifo", "")] {
        let mut compared = 0;
        while compared < tuples() {
            let count = AT_ONCE.min(tuples() - compared);
            let limits: Vec<_> = (0..count).map(|_| numbers.up_to_bits(32)).collect();
            root(site, count);
            let mut commands = String::new();
            for (number, limit) in (0..).zip(&limits) {
                let class = leaf(number);
                writeln!(commands, "qdisc add dev eth0 parent {class} {kind} limit {limit}{unit}").unwrap();
            }
            batch(site, &commands);
            let theirs = dump(site, Objects::Qdiscs, kind);
            root(site, count);
            // A pfifo has the structure of a bfifo, for packets.
            let options = limits.iter().map(|limit| Bfifo { limit: Bytes::new(*limit) }.options().unwrap());
            add_leaf_qdiscs(site, kind, options.collect());
            let ours = dump(site, Objects::Qdiscs, kind);
            for (number, limit) in (0..).zip(&limits) {
                let class = leaf(number).to_u32();
                assert_eq!(ours[&class], theirs[&class], "{kind} limit {limit}");
            }
            compared += count;
        }
        println!("{compared} queues of the kind {kind} are the same");
    }
}
