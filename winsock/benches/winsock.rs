//! What the provider adds to plain sockets: `cargo bench --bench winsock`.
//!
//! A connection with a flow specification against `connect(2)`, and a round trip of 64 bytes and of 64 KiB on a
//! connection without one against the standard library's; on loopback, congestion control as the host has it,
//! which 64 KiB at a time do not notice.

#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use flowspec::{Bytes, Flowspec, Qos, Rate};
use gqos::policy::{Policy, Source};
use gqos_winsock::MessageFlags;
use gqos_winsock::{ConnectRequest, Family, OptionValue, Socket, SocketOption, SocketType, startup_with};

const POLICY: &str = r#"
version = 1
[interface.lo]
egress = { capacity = "100 Gbit/s", reservable = "80%" }
enforcement = "user-space"
"#;

/// Accepts and drops.
fn door() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            drop(stream);
        }
    });
    address
}

/// Memory at the beginning of a page, for everybody: where it lies is worth more than what is measured.
#[repr(align(4096))]
struct Pages([u8; 65_536]);

impl Pages {
    fn new(byte: u8) -> Box<Self> {
        Box::new(Self([byte; 65_536]))
    }
}

/// Sends one connection back what it gets, so much at a time.
fn echo(size: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let mut buffer = Pages::new(0);
        let buffer = &mut buffer.0[..size];
        while stream.read_exact(buffer).is_ok() && stream.write_all(buffer).is_ok() {}
    });
    address
}

fn benches(criterion: &mut Criterion) {
    let (policy, _) = Policy::parse(&[Source { name: "bench", text: POLICY }]).unwrap();
    startup_with(Arc::new(policy)).unwrap();
    let mut group = criterion.benchmark_group("connect and close");
    group.measurement_time(Duration::from_secs(3));
    let peer = door();
    group.bench_function("connect(2)", |bencher| bencher.iter(|| TcpStream::connect(peer).unwrap()));
    group.bench_function("without a flow specification", |bencher| {
        bencher.iter(|| {
            let socket = Socket::open(Family::Inet, SocketType::Stream).unwrap();
            socket.connect(peer, &ConnectRequest::default()).unwrap();
            socket
        });
    });
    let qos = Qos::sending(Flowspec::guaranteed(Rate::from_mbit(1), Bytes::new(70_000)));
    group.bench_function("with one", |bencher| {
        bencher.iter(|| {
            let socket = Socket::open(Family::Inet, SocketType::Stream).unwrap();
            socket.connect(peer, &ConnectRequest { sqos: Some(qos), ..ConnectRequest::default() }).unwrap();
            socket
        });
    });
    group.finish();
    for size in [64_usize, 65_536] {
        let mut group = criterion.benchmark_group(format!("there and back, {size} bytes"));
        group.measurement_time(Duration::from_secs(5));
        group.bench_function("std", |bencher| bencher.iter(with_std(size)));
        group.bench_function("gqos", |bencher| bencher.iter(with_gqos(size)));
        group.finish();
    }
}

/// Medians of what is done by turns, so that both meet the same machine: nanoseconds.
fn by_turns<'a>(times: usize, one: &'a mut dyn FnMut(), other: &'a mut dyn FnMut()) -> [u128; 2] {
    let mut took = [Vec::with_capacity(times), Vec::with_capacity(times)];
    let works = [one, other];
    for _ in 0..times {
        for place in [0, 1] {
            let before = Instant::now();
            works[place]();
            took[place].push(before.elapsed().as_nanos());
        }
    }
    took.map(median)
}

fn median(mut of: Vec<u128>) -> u128 {
    of.sort_unstable();
    of[of.len() / 2]
}

/// There and back once, on a new connection of the standard library's.
fn with_std(size: usize) -> impl FnMut() {
    let (data, mut back) = (Pages::new(7), Pages::new(0));
    let mut stream = TcpStream::connect(echo(size)).unwrap();
    stream.set_nodelay(true).unwrap();
    move || {
        stream.write_all(&data.0[..size]).unwrap();
        stream.read_exact(&mut back.0[..size]).unwrap();
    }
}

/// The same of the provider's.
fn with_gqos(size: usize) -> impl FnMut() {
    let (data, mut back) = (Pages::new(7), Pages::new(0));
    let socket = Socket::open(Family::Inet, SocketType::Stream).unwrap();
    socket.connect(echo(size), &ConnectRequest::default()).unwrap();
    socket.set_option(SocketOption::NoDelay, OptionValue::Number(1)).unwrap();
    move || {
        assert_eq!(socket.send(&data.0[..size], MessageFlags::default()), Ok(size));
        let mut came = 0;
        while came < size {
            came += socket.receive(&mut back.0[came..size], MessageFlags::default()).unwrap();
        }
    }
}

/// Means of the medians of many pairs of new connections, either made first, and either first by turn, every other
/// time: such things are worth more than what is measured.
fn round_trips(size: usize, other: impl Fn() -> Box<dyn FnMut()>) -> [u128; 2] {
    const ROUNDS: usize = 40;
    let mut sums = [0; 2];
    for round in 0..ROUNDS {
        let (mut std, mut other) = if round % 2 == 0 {
            let std = with_std(size);
            (std, other())
        } else {
            let other = other();
            (with_std(size), other)
        };
        let took = if round % 4 < 2 {
            by_turns(1_000, &mut std, &mut other)
        } else {
            let [other, std] = by_turns(1_000, &mut other, &mut std);
            [std, other]
        };
        sums.iter_mut().zip(took).for_each(|(sum, took)| *sum += took);
    }
    sums.map(|sum| sum / ROUNDS as u128)
}

fn paired(_: &mut Criterion) {
    let (policy, _) = Policy::parse(&[Source { name: "bench", text: POLICY }]).unwrap();
    startup_with(Arc::new(policy)).unwrap();
    let peer = door();
    let qos = Qos::sending(Flowspec::guaranteed(Rate::from_mbit(1), Bytes::new(70_000)));
    let connect = |sqos| {
        let socket = Socket::open(Family::Inet, SocketType::Stream).unwrap();
        socket.connect(peer, &ConnectRequest { sqos, ..ConnectRequest::default() }).unwrap();
    };
    let mut bare = || drop(TcpStream::connect(peer).unwrap());
    let [plain, with] = by_turns(5_000, &mut bare, &mut || connect(Some(qos)));
    println!("connect(2) and close {plain} ns, with a flow specification {with} ns");
    let [without, with] = by_turns(5_000, &mut || connect(None), &mut || connect(Some(qos)));
    println!("without a flow specification {without} ns, with one {with} ns");
    for size in [64, 65_536] {
        let [std, gqos] = round_trips(size, || Box::new(with_gqos(size)));
        println!("there and back, {size} bytes: std {std} ns, gqos {gqos} ns");
        let [std, again] = round_trips(size, || Box::new(with_std(size)));
        println!("there and back, {size} bytes: std {std} ns, std again {again} ns (the noise)");
    }
}

criterion_group!(all, paired, benches);
criterion_main!(all);
