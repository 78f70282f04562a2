//! The cost of the provider over plain sockets: `cargo bench --bench winsock`.
//!
//! Compares a connection with a flow specification with `connect(2)`, and round trips of 64 bytes and of 64 KiB on a
//! connection without one with the standard library's. Runs on loopback with the host's congestion control, which
//! makes no difference for 64 KiB at a time.

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

/// The address of a listener that closes each connection at once.
fn accept_and_close() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            drop(stream);
        }
    });
    address
}

/// Page-aligned memory, for every competitor: the alignment of a buffer changes the result by more than the provider.
#[repr(align(4096))]
struct Pages([u8; 65_536]);

impl Pages {
    fn new(byte: u8) -> Box<Self> {
        Box::new(Self([byte; 65_536]))
    }
}

/// The address of a listener that sends back what one connection sends, in blocks of this many bytes.
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
    let peer = accept_and_close();
    group.bench_function("connect(2)", |bencher| bencher.iter(|| TcpStream::connect(peer).unwrap()));
    group.bench_function("without a flow specification", |bencher| {
        bencher.iter(|| {
            let socket = Socket::open(Family::Inet, SocketType::Stream).unwrap();
            socket.connect(peer, &ConnectRequest::default()).unwrap();
            socket
        });
    });
    let qos = Qos::sending(Flowspec::guaranteed(Rate::from_mbit(1), Bytes::new(70_000)));
    group.bench_function("with a flow specification", |bencher| {
        bencher.iter(|| {
            let socket = Socket::open(Family::Inet, SocketType::Stream).unwrap();
            socket.connect(peer, &ConnectRequest { sqos: Some(qos), ..ConnectRequest::default() }).unwrap();
            socket
        });
    });
    group.finish();
    for size in [64_usize, 65_536] {
        let mut group = criterion.benchmark_group(format!("round trip, {size} bytes"));
        group.measurement_time(Duration::from_secs(5));
        group.bench_function("std", |bencher| bencher.iter(with_std(size)));
        group.bench_function("gqos", |bencher| bencher.iter(with_gqos(size)));
        group.finish();
    }
}

/// Median times of two functions that are called alternately, in nanoseconds: both meet the same state of the machine.
fn alternating<'a>(times: usize, one: &'a mut dyn FnMut(), other: &'a mut dyn FnMut()) -> [u128; 2] {
    let mut took = [Vec::with_capacity(times), Vec::with_capacity(times)];
    let functions = [one, other];
    for _ in 0..times {
        for place in [0, 1] {
            let before = Instant::now();
            functions[place]();
            took[place].push(before.elapsed().as_nanos());
        }
    }
    took.map(median)
}

fn median(mut of: Vec<u128>) -> u128 {
    of.sort_unstable();
    of[of.len() / 2]
}

/// Makes a connection of the standard library's; each call is a round trip.
fn with_std(size: usize) -> impl FnMut() {
    let (data, mut back) = (Pages::new(7), Pages::new(0));
    let mut stream = TcpStream::connect(echo(size)).unwrap();
    stream.set_nodelay(true).unwrap();
    move || {
        stream.write_all(&data.0[..size]).unwrap();
        stream.read_exact(&mut back.0[..size]).unwrap();
    }
}

/// The same with a connection of the provider's.
fn with_gqos(size: usize) -> impl FnMut() {
    let (data, mut back) = (Pages::new(7), Pages::new(0));
    let socket = Socket::open(Family::Inet, SocketType::Stream).unwrap();
    socket.connect(echo(size), &ConnectRequest::default()).unwrap();
    socket.set_option(SocketOption::NoDelay, OptionValue::Number(1)).unwrap();
    move || {
        assert_eq!(socket.send(&data.0[..size], MessageFlags::default()), Ok(size));
        let mut received = 0;
        while received < size {
            received += socket.receive(&mut back.0[received..size], MessageFlags::default()).unwrap();
        }
    }
}

/// Means of the medians of many pairs of new connections. Which one is made first, and which one is measured first,
/// alternates: both orders change the result by more than the provider.
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
            alternating(1_000, &mut std, &mut other)
        } else {
            let [other, std] = alternating(1_000, &mut other, &mut std);
            [std, other]
        };
        sums.iter_mut().zip(took).for_each(|(sum, took)| *sum += took);
    }
    sums.map(|sum| sum / ROUNDS as u128)
}

fn paired(_: &mut Criterion) {
    let (policy, _) = Policy::parse(&[Source { name: "bench", text: POLICY }]).unwrap();
    startup_with(Arc::new(policy)).unwrap();
    let peer = accept_and_close();
    let qos = Qos::sending(Flowspec::guaranteed(Rate::from_mbit(1), Bytes::new(70_000)));
    let connect = |sqos| {
        let socket = Socket::open(Family::Inet, SocketType::Stream).unwrap();
        socket.connect(peer, &ConnectRequest { sqos, ..ConnectRequest::default() }).unwrap();
    };
    let mut bare = || drop(TcpStream::connect(peer).unwrap());
    let [plain, with] = alternating(5_000, &mut bare, &mut || connect(Some(qos)));
    println!("connect(2) and close {plain} ns, with a flow specification {with} ns");
    let [without, with] = alternating(5_000, &mut || connect(None), &mut || connect(Some(qos)));
    println!("without a flow specification {without} ns, with {with} ns");
    for size in [64, 65_536] {
        let [std, gqos] = round_trips(size, || Box::new(with_gqos(size)));
        println!("round trip, {size} bytes: std {std} ns, gqos {gqos} ns");
        let [std, again] = round_trips(size, || Box::new(with_std(size)));
        println!("round trip, {size} bytes: std {std} ns, std again {again} ns (the noise)");
    }
}

criterion_group!(all, paired, benches);
criterion_main!(all);
