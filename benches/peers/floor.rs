//! The least that streams of a load cost: their releases, sent to all of them in turn by one thread without a limiter.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use flowspec::{Bytes, Direction, Flowspec, Rate, TSpec};
use shaper::{Framing, Plan};

use crate::Load;
use crate::host::SERVER;
use crate::peers::FILE;
use crate::servers::{HEAD, ZEROS};

/// How the floor is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// By write, all streams one after another.
    Write,
    /// The same by sendfile.
    File,
    /// By sendfile, a part of the streams every five milliseconds.
    Slots,
}

const SLOT: Duration = Duration::from_millis(5);

/// The process: each stream is sent a release in each round, and an absolute clock begins the rounds.
pub(crate) fn run(kind: Kind, load: Load, port: u16) {
    let listener = TcpListener::bind((SERVER, port)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let file = tempfile::tempfile().unwrap();
    file.set_len(FILE).unwrap();
    let plan = plan(load);
    let round = plan.period.map_or(Duration::ZERO, |period| Duration::from_micros(period.get()));
    let slots = if kind == Kind::Slots { (round.as_nanos() / SLOT.as_nanos()).max(1) } else { 1 } as usize;
    // The streams of each slot, each with what was sent.
    let mut streams: Vec<Vec<(TcpStream, i64)>> = std::iter::repeat_with(Vec::new).take(slots).collect();
    let (begun, mut accepted) = (Instant::now(), 0);
    // In tokens: what the rounds are due, and what they have sent.
    let (mut due, mut spent) = (0, 0);
    loop {
        due += plan.quantum.get();
        let payload = plan.payload_within(Bytes::new(due - spent));
        spent += plan.charge(payload).get();
        for slot in 0..slots {
            while let Ok((stream, _)) = listener.accept() {
                streams[accepted % slots].push((begin(stream), 0));
                accepted += 1;
            }
            streams[slot].retain_mut(|stream| send(kind, stream, (&file, payload as usize)));
            let tokens = u128::from(due - plan.quantum.get()) * slots as u128
                + u128::from(plan.quantum.get()) * (slot as u128 + 1);
            let nanos = tokens * 1_000_000_000 / slots as u128 / u128::from(load.token_rate());
            wait_until(begun + Duration::from_nanos(nanos as u64));
        }
    }
}

/// The plan by which gqos shapes the streams.
fn plan(load: Load) -> Plan {
    let spec = Flowspec::guaranteed(Rate::new(load.token_rate()), Bytes::new(load.bucket));
    let tspec = TSpec::new(&spec, Direction::Sending, Bytes::new(1500)).unwrap().unwrap();
    Plan::new(&tspec, Framing::Stream { header: 52, segment: 1448 }).unwrap()
}

/// Whether the stream is still there.
fn send(kind: Kind, (stream, sent): &mut (TcpStream, i64), (file, payload): (&File, usize)) -> bool {
    let result = match kind {
        Kind::Write => stream.write(&ZEROS[..payload]),
        Kind::File | Kind::Slots => {
            nix::sys::sendfile::sendfile64(&*stream, file, Some(sent), payload).map_err(io::Error::from)
        }
    };
    match result {
        Ok(count) => count > 0,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

/// A connection that has its request and the head of its response.
fn begin(mut stream: TcpStream) -> TcpStream {
    let _ = stream.read(&mut [0; 1024]);
    stream.set_nodelay(true).unwrap();
    stream.set_nonblocking(true).unwrap();
    // The client has left where it fails.
    let _ = stream.write_all(HEAD);
    stream
}

#[expect(clippy::disallowed_methods, reason = "no runtime")]
fn wait_until(due: Instant) {
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
}
