//! Servers of this program: each serves every connection an endless response at one rate, in one thread.

use std::num::NonZeroU32;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::Clock;
use governor::{Quota, RateLimiter};
use gqos::connect::{Ask, Host, ListenOptions};
use gqos::policy::{Policy, Source};
use nix::libc;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::Load;
use crate::floor;
use crate::host::SERVER;
use crate::peers::FILE;

pub(crate) const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n";
/// What is written at once without a limit, so that the end of a buffer seldom divides a release; and where a limiter has a quantum of its own.
const QUANTUM: usize = 16 << 10;
const WRITE: usize = 1 << 20;

pub(crate) static ZEROS: [u8; WRITE] = [0; WRITE];

/// The process: `KIND RATE BUCKET PORT`.
pub(crate) fn run(arguments: &[String]) {
    let [rate, bucket, port] = [1, 2, 3].map(|index| arguments[index].parse::<u64>().unwrap());
    let load = Load { streams: 0, rate, bucket };
    let port = u16::try_from(port).unwrap();
    let floor = match arguments[0].as_str() {
        "floor" => Some(floor::Kind::Write),
        "floor-file" => Some(floor::Kind::File),
        "floor-slots" => Some(floor::Kind::Slots),
        _ => None,
    };
    if let Some(kind) = floor {
        return floor::run(kind, load, port);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        match arguments[0].as_str() {
            kind @ ("gqos" | "gqos-file") => gqos(kind == "gqos-file", load, port).await,
            kind => plain(kind.to_owned(), load, port).await,
        }
    });
}

/// Through the library: its listener reserves for each connection, in user space alone. A response is written by a task of
/// its own, or is a file that the host's threads send.
async fn gqos(is_file: bool, load: Load, port: u16) {
    let text = format!(
        "version = 1\n[interface.eth0]\negress = {{ capacity = \"100 Gbit/s\", reservable = \"90%\" }}\n\
         enforcement = \"user-space\"\n[template.stream]\n\
         sending = {{ service_type = \"guaranteed\", token_rate = \"{} B/s\", token_bucket_size = \"{} B\" }}\n",
        load.token_rate(),
        load.bucket
    );
    let (policy, _) = Policy::parse(&[Source { name: "bench", text: &text }]).unwrap();
    let host = Host::start(Arc::new(policy)).await.unwrap();
    let address = format!("{SERVER}:{port}").parse().unwrap();
    let options = ListenOptions { backlog: 16_384, ..ListenOptions::default() };
    let listener = host.listen_with(address, Ask::template("stream"), options).unwrap();
    let file = tempfile::tempfile().unwrap();
    file.set_len(FILE).unwrap();
    let file = Arc::new(file);
    loop {
        // Whether it listens is tried from its own host, which the policy does not have.
        let Ok(mut connection) = listener.accept().await else { continue };
        let file = Arc::clone(&file);
        tokio::spawn(async move {
            let _ = connection.read(&mut [0; 1024]).await;
            if is_file {
                // The client has left where it fails.
                let _ = connection.write_all(HEAD).await;
                let _ = connection.send_file(file, 0..FILE).await;
            } else {
                endless(&mut connection).await;
            }
        });
    }
}

async fn endless(stream: &mut (impl AsyncWrite + Unpin)) {
    // The client has left where a write fails.
    let _ = stream.write_all(HEAD).await;
    while stream.write_all(&ZEROS).await.is_ok() {}
}

async fn plain(kind: String, load: Load, port: u16) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(format!("{SERVER}:{port}").parse().unwrap()).unwrap();
    let listener = socket.listen(16_384).unwrap();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let kind = kind.clone();
        tokio::spawn(async move {
            let _ = stream.read(&mut [0; 1024]).await;
            match kind.as_str() {
                "governor" => governed(&mut stream, load.rate).await,
                "pacing" => paced(&mut stream, load.rate).await,
                "untimed" => untimed(&mut stream).await,
                kind => panic!("{kind}"),
            }
        });
    }
}

/// A loop around governor's limiter and tokio's timer, with a quantum that is the bucket.
async fn governed(stream: &mut TcpStream, rate: u64) {
    let quantum = NonZeroU32::new(QUANTUM as u32).unwrap();
    let rate = NonZeroU32::new(u32::try_from(rate).unwrap()).unwrap();
    let quota = Quota::per_second(rate).allow_burst(quantum);
    let limiter = RateLimiter::direct_with_clock(quota, Monotonic);
    let _ = stream.write_all(HEAD).await;
    loop {
        match limiter.check_n(quantum).unwrap() {
            Ok(()) => {
                if stream.write_all(&ZEROS[..QUANTUM]).await.is_err() {
                    return;
                }
            }
            Err(not_yet) => tokio::time::sleep(not_yet.wait_time_from(Monotonic.now())).await,
        }
    }
}

/// The monotonic clock, for governor.
#[derive(Clone, Debug, Default)]
struct Monotonic;

impl Clock for Monotonic {
    type Instant = Duration;

    fn now(&self) -> Self::Instant {
        static BEGUN: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        let begun = BEGUN.get_or_init(std::time::Instant::now);
        begun.elapsed()
    }
}

/// The kernel's pacing, with a short queue.
async fn paced(stream: &mut TcpStream, rate: u64) {
    set(stream, (libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE), rate.to_ne_bytes());
    set(stream, (libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT), (32_u32 << 10).to_ne_bytes());
    endless(stream).await;
}

fn set<const N: usize>(stream: &TcpStream, (level, option): (libc::c_int, libc::c_int), value: [u8; N]) {
    let length = N as libc::socklen_t;
    // SAFETY: the value is valid for `length` bytes for the whole call, which only reads it.
    let result =
        unsafe { libc::setsockopt(stream.as_raw_fd(), level, option, value.as_ptr().cast(), length) };
    assert_eq!(result, 0, "setsockopt");
}

/// Without any limit: the floor of what writes of this size cost.
async fn untimed(stream: &mut TcpStream) {
    let _ = stream.write_all(HEAD).await;
    while stream.write_all(&ZEROS[..QUANTUM]).await.is_ok() {
        tokio::task::yield_now().await;
    }
}
