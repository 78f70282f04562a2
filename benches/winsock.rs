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
use gqos::linux::raw::Flags;
use gqos::policy::{Policy, Source};
use gqos::winsock::{Connecting, Family, Kind, Socket, startup_with};

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

/// Sends back what it gets, so much at a time.
fn echo(size: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut buffer = vec![0; size];
            while stream.read_exact(&mut buffer).is_ok() && stream.write_all(&buffer).is_ok() {}
        }
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
            let socket = Socket::open(Family::Inet, Kind::Stream).unwrap();
            socket.connect(peer, &Connecting::default()).unwrap();
            socket
        });
    });
    let qos = Qos::sending(Flowspec::guaranteed(Rate::from_mbit(1), Bytes::new(70_000)));
    group.bench_function("with one", |bencher| {
        bencher.iter(|| {
            let socket = Socket::open(Family::Inet, Kind::Stream).unwrap();
            socket.connect(peer, &Connecting { sqos: Some(qos), ..Connecting::default() }).unwrap();
            socket
        });
    });
    group.finish();
    for size in [64_usize, 65_536] {
        let mut group = criterion.benchmark_group(format!("there and back, {size} bytes"));
        group.measurement_time(Duration::from_secs(5));
        let peer = echo(size);
        let data = vec![7; size];
        let mut back = vec![0; size];
        let mut plain = TcpStream::connect(peer).unwrap();
        plain.set_nodelay(true).unwrap();
        group.bench_function("std", |bencher| {
            bencher.iter(|| {
                plain.write_all(&data).unwrap();
                plain.read_exact(&mut back).unwrap();
            });
        });
        drop(plain);
        let socket = Socket::open(Family::Inet, Kind::Stream).unwrap();
        socket.connect(peer, &Connecting::default()).unwrap();
        group.bench_function("gqos", |bencher| {
            bencher.iter(|| {
                assert_eq!(socket.send(&data, Flags::default()), Ok(size));
                let mut came = 0;
                while came < size {
                    came += socket.receive(&mut back[came..], Flags::default()).unwrap();
                }
            });
        });
        group.finish();
    }
}

/// Medians of what is done by turns, so that both meet the same machine: nanoseconds.
fn by_turns(times: usize, mut one: impl FnMut(), mut other: impl FnMut()) -> [u128; 2] {
    let mut took = [Vec::with_capacity(times), Vec::with_capacity(times)];
    for _ in 0..times {
        for (took, work) in took.iter_mut().zip([&mut one as &mut dyn FnMut(), &mut other]) {
            let before = Instant::now();
            work();
            took.push(before.elapsed().as_nanos());
        }
    }
    took.map(|mut took| {
        took.sort_unstable();
        took[times / 2]
    })
}

fn paired(_: &mut Criterion) {
    let (policy, _) = Policy::parse(&[Source { name: "bench", text: POLICY }]).unwrap();
    startup_with(Arc::new(policy)).unwrap();
    let peer = door();
    let qos = Qos::sending(Flowspec::guaranteed(Rate::from_mbit(1), Bytes::new(70_000)));
    let connect = |sqos| {
        let socket = Socket::open(Family::Inet, Kind::Stream).unwrap();
        socket.connect(peer, &Connecting { sqos, ..Connecting::default() }).unwrap();
    };
    let [plain, with] = by_turns(5_000, || drop(TcpStream::connect(peer).unwrap()), || connect(Some(qos)));
    println!("connect(2) and close {plain} ns, with a flow specification {with} ns");
    let [without, with] = by_turns(5_000, || connect(None), || connect(Some(qos)));
    println!("without a flow specification {without} ns, with one {with} ns");
    for size in [64_usize, 65_536] {
        // One each, since an echo serves one after the other.
        let [peer, other] = [echo(size), echo(size)];
        let (data, mut back, mut again) = (vec![7; size], vec![0; size], vec![0; size]);
        let mut plain = TcpStream::connect(peer).unwrap();
        plain.set_nodelay(true).unwrap();
        let socket = Socket::open(Family::Inet, Kind::Stream).unwrap();
        socket.connect(other, &Connecting::default()).unwrap();
        let std = || {
            plain.write_all(&data).unwrap();
            plain.read_exact(&mut back).unwrap();
        };
        let gqos = || {
            assert_eq!(socket.send(&data, Flags::default()), Ok(size));
            let mut came = 0;
            while came < size {
                came += socket.receive(&mut again[came..], Flags::default()).unwrap();
            }
        };
        let [std, gqos] = by_turns(20_000, std, gqos);
        println!("there and back, {size} bytes: std {std} ns, gqos {gqos} ns");
    }
}

criterion_group!(all, paired, benches);
criterion_main!(all);
