//! u32 filters of iproute2's `tc` and of gqos: the kernel dumps the same bytes.

#![expect(clippy::cast_possible_truncation, reason = "random numbers are cut to their fields")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use gqos::lab::Site;
use gqos::linux::Netlink;
use gqos::tc::{
    Arriving, Filter, Handle, PlacedFilter, ROOT_QDISC, ReceivingChange, Redirect, Target, U32Key,
    flow_class, flow_tables,
};

use super::common::inside;
use super::differential::{AT_ONCE, Numbers, Objects, ROOT, attributes, batch, dump, network, tuples};

/// A filter that gqos adds, and the command of `tc` for the same one.
struct Pair {
    command: String,
    filter: PlacedFilter,
}

/// The number of nodes in a hash bucket.
const NODES: u64 = 0xfff;

/// What the kernel counts, and the number that it gives to an action.
const COUNTED: u16 = 9;
const ACTIONS: u16 = 7;

/// Dumped options without counters: those of an action are its kind, and its settings without the number and the count
/// of the filters that use it.
fn settings(options: &[u8]) -> BTreeMap<u16, Vec<u8>> {
    let mut settings = attributes(options);
    settings.remove(&COUNTED);
    if let Some(actions) = settings.get_mut(&ACTIONS) {
        let action = attributes(&attributes(actions)[&1]);
        let mirred = &attributes(&action[&2])[&2];
        *actions = [&action[&1][..], &mirred[8..12], &mirred[20..]].concat();
    }
    settings
}

/// An empty HTB at the root.
fn root(site: &Site, handle: Handle) {
    inside(site, &["tc", "qdisc", "replace", "dev", "eth0", "root", "pfifo"]);
    inside(site, &["tc", "qdisc", "replace", "dev", "eth0", "root", "handle", &handle.to_string(), "htb"]);
}

/// Adds the filters by `tc` and by gqos, each below an empty root, and compares what the kernel has.
fn compare(site: &Site, root_handle: Handle, pairs: Vec<Pair>) {
    root(site, root_handle);
    batch(site, &pairs.iter().map(|pair| format!("{}\n", pair.command)).collect::<String>());
    let theirs = dump(site, Objects::Filters, "u32");
    root(site, root_handle);
    let with = pairs.iter().map(|pair| pair.filter.clone()).collect();
    site.run(async move {
        let netlink = Netlink::open().unwrap();
        let index = netlink.link_by_name("eth0").await.unwrap().index;
        let change = ReceivingChange { with, ..ReceivingChange::default() };
        netlink.apply_receiving(index, &change).await.unwrap();
    })
    .unwrap();
    let mut ours = dump(site, Objects::Filters, "u32");
    assert!(theirs.len() > pairs.len(), "the filters and their hash tables");
    for (handle, theirs) in &theirs {
        let ours = ours.remove(handle).unwrap_or_else(|| panic!("gqos has no filter {handle:x}"));
        let command = || pairs.iter().find(|pair| pair.filter.handle == *handle).map(|pair| &pair.command);
        assert_eq!(settings(&ours), settings(theirs), "{:?}", command());
    }
    assert!(ours.is_empty(), "{:x?}", ours.keys());
}

/// A filter with random words, and a class, a device or both.
fn random(numbers: &mut Numbers, node: u32, device: u32) -> Pair {
    let mut keys = Vec::new();
    let mut command =
        format!("filter add dev eth0 parent {ROOT} protocol ip prio 7 handle 800::{node:x} u32");
    // A command in a batch has at most a hundred words.
    let count = 1 + numbers.next() % if numbers.next().is_multiple_of(50) { 14 } else { 8 };
    // Two words at one place are one word for tc.
    let mut offset = -40;
    for _ in 0..count {
        offset += 4 * (1 + (numbers.next() % 16) as i32);
        let (mask, value) = (numbers.up_to_bits(32) as u32, numbers.next() as u32);
        keys.push(U32Key { offset, mask, value });
        write!(command, " match u32 {value:#x} {mask:#x} at {offset}").unwrap();
    }
    let class = (!numbers.next().is_multiple_of(4)).then(|| ROOT.class(1 + (numbers.next() % 0xffff) as u16));
    let is_redirected = class.is_none() || numbers.next().is_multiple_of(4);
    if let Some(class) = class {
        write!(command, " classid {class}").unwrap();
    }
    if is_redirected {
        command += " action mirred egress redirect dev lo";
    }
    let target = Target { class, redirect: is_redirected.then_some(Redirect { index: device }) };
    let options = Filter::U32 { target, keys }.options().unwrap();
    let filter =
        PlacedFilter { parent: ROOT, priority: 7, protocol: 0x0800, handle: 0x8000_0000 | node, options };
    Pair { command, filter }
}

/// The tables of what arrives, as `tc` makes them.
fn tables() -> Vec<Pair> {
    let place = |version: &str, priority| {
        format!("filter add dev eth0 parent {ROOT_QDISC} protocol {version} prio {priority}")
    };
    let (v4, v6) = (place("ip", 26481), place("ipv6", 26482));
    let commands = [
        format!("{v4} handle 1: u32 divisor 256"),
        format!(
            "{v4} u32 match u32 0x05000000 0x0f000000 at 0 match u32 0 0x1fff at 4 link 1: hashkey mask 0x000000ff at 20"
        ),
        format!("{v6} handle 2: u32 divisor 256"),
        format!("{v6} u32 match u32 0 0 at 0 link 2: hashkey mask 0x000000ff at 40"),
    ];
    let pairs = commands.into_iter().zip(flow_tables().unwrap());
    pairs.map(|(command, filter)| Pair { command, filter }).collect()
}

/// The filter of a flow with random addresses and ports.
fn arriving(numbers: &mut Numbers, number: u16) -> Pair {
    let (protocol, is_v4) = ([6, 17][(numbers.next() % 2) as usize], numbers.next().is_multiple_of(2));
    let (far, near) = (numbers.next() as u16, numbers.next() as u16);
    let bits = u128::from(numbers.next()) << 64 | u128::from(numbers.next());
    let address = match is_v4 {
        true => IpAddr::V4(Ipv4Addr::from_bits(bits as u32)),
        // Of 2000::/3.
        false => IpAddr::V6(Ipv6Addr::from_bits(bits >> 3 | 1 << 125)),
    };
    let class = flow_class(number);
    let filter = Arriving { protocol, peer: SocketAddr::new(address, far), local_port: near };
    let filter = filter.filter(class).unwrap().unwrap();
    let (version, priority, table, ip, length) =
        if is_v4 { ("ip", 26481, 1, "ip", 32) } else { ("ipv6", 26482, 2, "ip6", 128) };
    let (bucket, node) = (near & 0xff, number + 1);
    let command = format!(
        "filter add dev eth0 parent {ROOT_QDISC} protocol {version} prio {priority} handle {table}:{bucket:x}:{node:x} u32 ht {table}:{bucket:x}: \
         match {ip} sport {far} 0xffff match {ip} dport {near} 0xffff match {ip} src {address}/{length} match {ip} protocol {protocol} 0xff classid {class}"
    );
    Pair { command, filter }
}

#[test]
fn filters_of_tc_and_of_gqos_are_the_same_bytes() {
    let Some(network) = network() else { return };
    let site = &network.server;
    let index = async { Netlink::open().unwrap().link_by_name("lo").await.unwrap().index };
    let device = site.run(index).unwrap();
    let mut numbers = Numbers(4);
    let mut compared = 0;
    while compared < tuples() {
        let count = AT_ONCE.min(tuples() - compared).min(NODES);
        compare(site, ROOT, (1..=count).map(|node| random(&mut numbers, node as u32, device)).collect());
        compared += count;
    }
    println!("{compared} filters are the same");
}

#[test]
fn filters_of_flows_that_receive_and_those_of_tc_are_the_same_bytes() {
    let Some(network) = network() else { return };
    let mut numbers = Numbers(5);
    let mut compared = 0;
    while compared < tuples() {
        let count = AT_ONCE.min(tuples() - compared);
        let flows = (0..count).map(|number| arriving(&mut numbers, number as u16));
        compare(&network.server, ROOT_QDISC, tables().into_iter().chain(flows).collect());
        compared += count;
    }
    println!("{compared} filters of flows are the same");
}
