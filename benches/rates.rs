//! Measures the payload that flows with reservations carry beside greedy traffic, against what was promised.
//!
//! `cargo bench --bench rates`, or with words that a row has to contain: `cargo bench --bench rates -- udp sending`. Needs
//! root (or CAP_SYS_ADMIN) for two hosts in namespaces of their own. Congestion control is cubic on every socket. Two
//! greedy TCP connections without a reservation run in the same direction as the flow.
//!
//! A promise counts IP datagrams. The promised payload is that of full segments, with timestamps for TCP, or of datagrams
//! with 1400 bytes; the flowspec's minimum policed size is that of these packets. Each row is measured over five seconds, at
//! 64 kbit/s over forty and at 128 and 256 kbit/s over twenty: five seconds of 64 kbit/s have 27 segments, so that one more or
//! less is 4 %. A row ends with `ok` if the payload rate is within 0.2 % of the promise and no packet has bypassed the classes. UDP at 1 Gbit/s is measured once more without
//! a reservation, and without the greedy traffic, right after the row.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    reason = "a bench"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use flowspec::{Bytes, Flowspec, Qos, Rate};
use gqos::connect::{Ask, Connection, DatagramConnection, Host};
use gqos::lab::{CLIENT_V4, CLIENT_V6, LabNetwork, Site};
use gqos::linux::socket;
use gqos::policy::{Policy, Source};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{RcvBufForce, SndBufForce};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const FLOW: u16 = 5000;
const GREEDY: u16 = 5001;
const DATAGRAM: usize = 1400;
const WARM_UP: Duration = Duration::from_millis(1500);

/// The most that the payload rate may differ from the promise, in percent.
const MOST_ERROR: f64 = 0.2;

/// Below this many arrivals, the rate is the slope of a line through them.
const MANY: usize = 2000;

#[derive(Clone, Copy)]
struct Case {
    rate: Rate,
    link: Rate,
    is_tcp: bool,
    is_v6: bool,
    receives: bool,
}

/// Bytes of payload with the moments at which the application had read them.
type Arrivals = Vec<(Instant, usize)>;

fn main() {
    let filters: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    println!(
        "{:<12} {:<4} {:<5} {:<10} {:>16} {:>16} {:>9} {:>7} {:>5}",
        "rate", "", "", "direction", "payload promised", "payload got", "error", "direct", "load"
    );
    let (mut rows, mut kept) = (0, 0);
    let rates = [
        (Rate::new(8_000), 100),
        (Rate::new(16_000), 100),
        (Rate::new(32_000), 100),
        (Rate::from_mbit(1), 100),
        (Rate::from_mbit(8), 100),
        (Rate::from_mbit(100), 1000),
        (Rate::from_mbit(1000), 2000),
    ];
    for (rate, link) in rates {
        for receives in [false, true] {
            for (is_tcp, is_v6) in [(true, false), (true, true), (false, false), (false, true)] {
                let case = Case { rate, link: Rate::from_mbit(link), is_tcp, is_v6, receives };
                let name = case.name();
                if filters.iter().all(|filter| name.contains(filter.as_str())) {
                    rows += 1;
                    kept += usize::from(case.print(&name));
                }
            }
        }
    }
    println!("{kept} of {rows} rows are within {MOST_ERROR} % of the promise");
}

impl Case {
    fn name(&self) -> String {
        format!(
            "{:<12} {:<4} {:<5} {:<10}",
            self.rate.to_string(),
            if self.is_tcp { "tcp" } else { "udp" },
            if self.is_v6 { "ipv6" } else { "ipv4" },
            if self.receives { "receiving" } else { "sending" }
        )
    }

    /// Measures and prints a row: whether the promise is kept.
    fn print(self, name: &str) -> bool {
        let (got, direct) = measure(self);
        let promised = self.rate.get() as f64 * self.payload_share();
        let mbit = |bytes: f64| format!("{:.4} Mbit/s", bytes * 8.0 / 1e6);
        let error = (got / promised - 1.0) * 100.0;
        let is_kept = error.abs() <= MOST_ERROR && direct == 0;
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        println!(
            "{name} {:>16} {:>16} {error:>8.3}% {direct:>7} {:>5} {}",
            mbit(promised),
            mbit(got),
            load.split(' ').next().unwrap_or_default(),
            if is_kept { "ok" } else { "" }
        );
        if !self.is_tcp && self.rate >= Rate::from_mbit(1000) {
            println!("{:<34} the same sender without a reservation: {}", "", mbit(unshaped(self)));
        }
        is_kept
    }

    /// The part of an IP datagram that is payload.
    fn payload_share(&self) -> f64 {
        let ip = if self.is_v6 { 40.0 } else { 20.0 };
        match self.is_tcp {
            // 20 bytes, and 12 of timestamps.
            true => (1500.0 - ip - 32.0) / 1500.0,
            false => DATAGRAM as f64 / (DATAGRAM as f64 + ip + 8.0),
        }
    }

    fn measured(&self) -> Duration {
        Duration::from_secs(match self.rate.get() {
            ..16_000 => 40,
            16_000..125_000 => 20,
            _ => 5,
        })
    }

    fn client(&self) -> IpAddr {
        if self.is_v6 { CLIENT_V6.into() } else { CLIENT_V4.into() }
    }

    fn qos(&self) -> Qos {
        let bucket = Bytes::new((self.rate.get() / 100).max(4096));
        let mut spec = Flowspec::guaranteed(self.rate, bucket);
        let headers = if self.is_v6 { 48 } else { 28 };
        let packet = if self.is_tcp { 1500 } else { DATAGRAM as u64 + headers };
        spec.minimum_policed_size = Some(Bytes::new(packet));
        match self.receives {
            true => Qos { sending: Flowspec::BEST_EFFORT, receiving: spec },
            false => Qos::sending(spec),
        }
    }

    fn policy(&self) -> Arc<Policy> {
        let capacity =
            format!("{{ capacity = \"{} Mbit/s\", reservable = \"80%\" }}", self.link.get() / 125_000);
        let text = format!("version = 1\n[interface.eth0]\negress = {capacity}\ningress = {capacity}\n");
        Arc::new(Policy::parse(&[Source { name: "bench", text: &text }]).unwrap().0)
    }
}

/// Bytes of payload per second, and the packets that bypassed the classes.
fn measure(case: Case) -> (f64, u32) {
    let network = LabNetwork::new(case.link).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let (client, peer) = (case.client(), SocketAddr::new(case.client(), FLOW));
    let far = far_end(&network.client, case, &stop);
    let greedy = greedy(&network, (client, case.receives), &stop);
    let policy = case.policy();
    let near = network.server.run(async move {
        let host = Host::start(policy).await.unwrap();
        let connector = host.connector();
        let ask = Ask::qos(case.qos());
        let mut wire = if case.is_tcp {
            let connection = connector.connect(peer, &ask).await.unwrap();
            socket::set_congestion_control(connection.socket(), "cubic").unwrap();
            Wire::Tcp(Box::new(connection))
        } else {
            let connection = connector.connect_udp(peer, &ask).await.unwrap();
            hold_bursts(connection.socket());
            if case.receives {
                connection.send(b"begin").await.unwrap();
            }
            Wire::Udp(Box::new(connection))
        };
        let until = Instant::now() + WARM_UP + case.measured();
        let arrivals = if case.receives { wire.read(until).await } else { wire.write(until).await };
        let report = host.report().await.unwrap();
        host.stop().await;
        (arrivals, report.iter().map(|report| report.direct_packets).sum::<u32>())
    });
    let (near, direct) = near.unwrap();
    stop.store(true, Ordering::Relaxed);
    let far = far.join().unwrap();
    greedy.into_iter().for_each(|thread| thread.join().unwrap());
    (rate(if case.receives { &near } else { &far }, case.measured()), direct)
}

/// The rate of the same datagrams without a reservation and without traffic beside them.
fn unshaped(case: Case) -> f64 {
    let network = LabNetwork::new(Rate::from_mbit(20_000)).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let peer = SocketAddr::new(case.client(), FLOW);
    let far = far_end(&network.client, case, &stop);
    let work = async move {
        let any = if case.is_v6 { "[::]:0" } else { "0.0.0.0:0" };
        let socket = tokio::net::UdpSocket::bind(any).await.unwrap();
        socket.connect(peer).await.unwrap();
        hold_bursts(&socket);
        if case.receives {
            socket.send(b"begin").await.unwrap();
        }
        let until = Instant::now() + WARM_UP + case.measured();
        let mut wire = Wire::Bare(socket);
        if case.receives { wire.read(until).await } else { wire.write(until).await }
    };
    let near = network.server.run(work).unwrap();
    stop.store(true, Ordering::Relaxed);
    let far = far.join().unwrap();
    rate(if case.receives { &near } else { &far }, case.measured())
}

/// What the application has of the flow.
enum Wire {
    Tcp(Box<Connection>),
    Udp(Box<DatagramConnection>),
    /// Without a reservation.
    Bare(tokio::net::UdpSocket),
}

impl Wire {
    /// Reads until the time is over.
    async fn read(&mut self, until: Instant) -> Arrivals {
        let (mut buf, mut arrivals) = (vec![0; 1 << 18], Vec::new());
        while Instant::now() < until {
            let once = async {
                match self {
                    Self::Tcp(connection) => connection.read(&mut buf).await,
                    Self::Udp(connection) => connection.recv(&mut buf).await,
                    Self::Bare(socket) => socket.recv(&mut buf).await,
                }
            };
            let Ok(count) = tokio::time::timeout(Duration::from_secs(5), once).await else { break };
            arrivals.push((Instant::now(), count.unwrap()));
        }
        arrivals
    }

    /// Sends until the time is over.
    async fn write(&mut self, until: Instant) -> Arrivals {
        let all = async {
            loop {
                match self {
                    Self::Tcp(connection) => connection.write_all(&[0; 64 << 10]).await.unwrap(),
                    Self::Udp(connection) => drop(connection.send(&[0; DATAGRAM]).await.unwrap()),
                    Self::Bare(socket) => drop(socket.send(&[0; DATAGRAM]).await.unwrap()),
                }
            }
        };
        let _ = tokio::time::timeout_at(until.into(), all).await;
        Vec::new()
    }
}

/// Gives a datagram socket a receive buffer of several buckets. The default of 208 KiB holds a millisecond of 1 Gbit/s: of a reader
/// that waits for a core for longer, the socket would drop what the classes have let through.
fn hold_bursts(socket: &impl AsFd) {
    setsockopt(socket, RcvBufForce, &(16 << 20)).unwrap();
}

/// Bytes per second of what arrived in a time after the warm-up: what came after the first arrival.
fn rate(arrivals: &Arrivals, time: Duration) -> f64 {
    let Some((begun, _)) = arrivals.first() else { return 0.0 };
    let mut measured = arrivals.iter().skip_while(|(at, _)| *at - *begun < WARM_UP);
    let Some((first, _)) = measured.next() else { return 0.0 };
    let mut sum = 0.0;
    let points: Vec<_> = measured
        .take_while(|(at, _)| *at - *first <= time)
        .map(|(at, count)| {
            sum += *count as f64;
            ((*at - *first).as_secs_f64(), sum)
        })
        .collect();
    match points.last() {
        None => 0.0,
        Some((last, sum)) if points.len() >= MANY => sum / last,
        Some(_) => slope(&points),
    }
}

/// The slope of the line through points that has the least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |part: fn(&(f64, f64)) -> f64| points.iter().map(part).sum::<f64>() / count;
    let (at, bytes) = (mean(|point| point.0), mean(|point| point.1));
    let of = |part: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(part).sum::<f64>();
    of(&|point| (point.0 - at) * (point.1 - bytes)) / of(&|point| (point.0 - at).powi(2))
}

/// Runs on a thread in a site's namespace, beside the site's own.
fn beside<T: Send + 'static>(site: &Site, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let namespace = site.namespace().duplicate().unwrap();
    std::thread::spawn(move || {
        namespace.enter().unwrap();
        work()
    })
}

/// The flow's other end: a sink, or a source that sends more than was reserved.
fn far_end(site: &Site, case: Case, stop: &Arc<AtomicBool>) -> JoinHandle<Arrivals> {
    let (address, stop) = (SocketAddr::new(case.client(), FLOW), Arc::clone(stop));
    let (ready, bound) = std::sync::mpsc::channel();
    let thread = beside(site, move || {
        if case.is_tcp {
            let listener = TcpListener::bind(address).unwrap();
            socket::set_congestion_control(&listener, "cubic").unwrap();
            ready.send(()).unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
            stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
            return match case.receives {
                true => send(&stop, || write(&mut stream)),
                false => receive(&stop, |buf| stream.read(buf).ok()),
            };
        }
        let socket = UdpSocket::bind(address).unwrap();
        hold_bursts(&socket);
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        ready.send(()).unwrap();
        if !case.receives {
            return receive(&stop, |buf| socket.recv(buf).ok());
        }
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let (_, to) = socket.recv_from(&mut [0; 64]).unwrap();
        socket.connect(to).unwrap();
        let interval = Duration::from_secs_f64(DATAGRAM as f64 / (case.rate.get() as f64 * 1.5));
        // A veth pair charges the sender's buffer with what waits in the receiver's classes.
        setsockopt(&socket, SndBufForce, &(16 << 20)).unwrap();
        let (begun, mut due) = (Instant::now(), Duration::ZERO);
        send(&stop, || {
            while due < begun.elapsed() {
                due += interval;
                let _ = socket.send(&[0; DATAGRAM]);
            }
            pause(due.saturating_sub(begun.elapsed()).max(Duration::from_micros(100)));
            true
        })
    });
    bound.recv().unwrap();
    thread
}

fn send(stop: &AtomicBool, mut once: impl FnMut() -> bool) -> Arrivals {
    while !stop.load(Ordering::Relaxed) && once() {}
    Vec::new()
}

/// Writes what there is space for; `false` where the connection has ended. At a low rate the buffer of the socket may have no
/// space for longer than a write waits.
fn write(stream: &mut TcpStream) -> bool {
    let waited = [ErrorKind::WouldBlock, ErrorKind::TimedOut, ErrorKind::Interrupted];
    stream.write(&[0; 64 << 10]).map_or_else(|error| waited.contains(&error.kind()), |_| true)
}

fn receive(stop: &AtomicBool, mut once: impl FnMut(&mut [u8]) -> Option<usize>) -> Arrivals {
    let (mut buf, mut arrivals) = (vec![0; 1 << 18], Vec::new());
    while !stop.load(Ordering::Relaxed) {
        match once(&mut buf) {
            Some(0) => break,
            Some(count) => arrivals.push((Instant::now(), count)),
            None => {}
        }
    }
    arrivals
}

/// Two connections that send as much as they can, from the server or from the client.
fn greedy(network: &LabNetwork, to: (IpAddr, bool), stop: &Arc<AtomicBool>) -> Vec<JoinHandle<()>> {
    let (client, receives) = to;
    let address = SocketAddr::new(client, GREEDY);
    let (ready, bound) = std::sync::mpsc::channel();
    let listener = beside(&network.client, move || {
        let listener = TcpListener::bind(address).unwrap();
        socket::set_congestion_control(&listener, "cubic").unwrap();
        ready.send(()).unwrap();
        [listener.accept().unwrap().0, listener.accept().unwrap().0]
    });
    bound.recv().unwrap();
    let near = beside(&network.server, move || {
        [(); 2].map(|()| {
            let stream = TcpStream::connect(address).unwrap();
            socket::set_congestion_control(&stream, "cubic").unwrap();
            stream
        })
    });
    let (near, far) = (near.join().unwrap(), listener.join().unwrap());
    let (sources, sinks) = if receives { (far, near) } else { (near, far) };
    let mut threads = Vec::new();
    for (mut source, mut sink) in sources.into_iter().zip(sinks) {
        let (is_over, is_read) = (Arc::clone(stop), Arc::clone(stop));
        source.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
        sink.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        threads.push(std::thread::spawn(move || {
            send(&is_over, || write(&mut source));
        }));
        threads.push(std::thread::spawn(move || {
            let mut buf = vec![0; 1 << 18];
            while !is_read.load(Ordering::Relaxed) && !matches!(sink.read(&mut buf), Ok(0)) {}
        }));
    }
    threads
}

#[expect(clippy::disallowed_methods, reason = "a thread of its own")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
