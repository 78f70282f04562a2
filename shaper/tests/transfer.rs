//! Transfers by workers, over loopback sockets and in real time.

#![allow(missing_docs, clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests")]

use std::io::{Seek, Write};
use std::num::NonZeroUsize;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use flowspec::{Bytes, Direction, Flowspec, Rate, TSpec};
use shaper::transfer::{Limits, Payload, TransferError, TransferProblem, Workers};
use shaper::{Control, Framing, Plan};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(30);

fn workers(count: usize, transfers: usize) -> Workers {
    Workers::start(Limits { workers: NonZeroUsize::new(count).unwrap(), transfers }).unwrap()
}

fn shaped(rate: u64, depth: u64) -> Control {
    let spec = Flowspec::guaranteed(Rate::new(rate), Bytes::new(depth));
    let tspec = TSpec::new(&spec, Direction::Sending, Bytes::new(1500)).unwrap().unwrap();
    let control = Control::default();
    let plan = Plan::new(&tspec, Framing::Stream { header: 52, segment: 1448 }).unwrap();
    control.set(Direction::Sending, Some(plan));
    control
}

async fn pair() -> (Arc<TcpStream>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connecting = TcpStream::connect(listener.local_addr().unwrap());
    let (peer, accepted) = tokio::join!(connecting, listener.accept());
    (Arc::new(accepted.unwrap().0), peer.unwrap())
}

/// The first bytes of a sequence.
fn pattern(length: usize) -> Vec<u8> {
    static PATTERN: LazyLock<Vec<u8>> =
        LazyLock::new(|| (0..251_u64).map(|at| (at * 31 % 251) as u8).collect::<Vec<_>>().repeat(100_000));
    PATTERN[..length].to_vec()
}

/// A file without a name, with this content.
fn file(content: &[u8]) -> std::fs::File {
    let path = std::env::temp_dir().join(format!("shaper-{}-{:p}", std::process::id(), content));
    let mut options = std::fs::File::options();
    let mut file = options.read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    file.write_all(content).unwrap();
    file.rewind().unwrap();
    file
}

async fn received(mut peer: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    timeout(LONG, peer.read_to_end(&mut bytes)).await.unwrap().unwrap();
    bytes
}

fn is_over<T>(shared: &std::sync::Weak<T>) -> impl Future<Output = ()> + '_ {
    let over = async move {
        while shared.strong_count() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    async { timeout(LONG, over).await.expect("the worker leaves the socket") }
}

#[tokio::test]
async fn what_is_sent_arrives_whole_and_before_the_end() {
    let workers = workers(2, 100);
    for (round, length) in [0, 1, 1447, 1448, 70_001, 3_000_000].into_iter().enumerate() {
        for control in [Control::default(), shaped(40_000_000, 200_000)] {
            let expected = pattern(length);
            let source = file(&expected);
            let (start, end) = (length as u64 / 3, length as u64);
            let payloads = [
                (Payload::bytes(expected.clone()), expected.clone()),
                (Payload::file(source, start..end), expected[length / 3..].to_vec()),
                (
                    Payload::repeated(pattern(999), end),
                    pattern(999).into_iter().cycle().take(length).collect(),
                ),
            ];
            for (payload, expected) in payloads {
                let (socket, peer) = pair().await;
                let reader = tokio::spawn(received(peer));
                let before = control.stats(Direction::Sending).bytes;
                let sent =
                    timeout(LONG, workers.send(socket.clone(), control.clone(), payload)).await.unwrap();
                assert_eq!(sent.unwrap(), expected.len() as u64, "round {round}");
                assert_eq!(control.stats(Direction::Sending).bytes - before, expected.len() as u64);
                // The last handle: its end is the FIN.
                drop(socket);
                assert!(reader.await.unwrap() == expected, "round {round}: bytes were changed");
            }
        }
    }
    assert_eq!(workers.transfers(), [0, 0]);
}

#[tokio::test]
async fn a_slow_receiver_delays_no_other() {
    // More than all buffers between two sockets.
    const LARGE: u64 = 100 << 20;
    let workers = workers(1, 100);
    let control = shaped(400_000_000, 4_000_000);
    let (slow, mut slow_peer) = pair().await;
    let blocked = workers.send(slow, control.clone(), Payload::repeated([1; 100_000], LARGE));
    for _ in 0..3 {
        let (socket, peer) = pair().await;
        let reader = tokio::spawn(received(peer));
        let sent = workers.send(socket, shaped(4_000_000, 200_000), Payload::bytes(pattern(1_000_000)));
        assert_eq!(timeout(LONG, sent).await.unwrap().unwrap(), 1_000_000);
        assert_eq!(reader.await.unwrap().len(), 1_000_000);
    }
    let before = blocked.sent();
    assert!(before < LARGE, "{before} B were accepted by a socket that nobody reads");
    // It goes on as soon as there is space.
    control.set(Direction::Sending, None);
    let mut bytes = vec![0; 1 << 20];
    let read = async {
        let mut read = 0;
        while read < LARGE {
            read += slow_peer.read(&mut bytes).await.unwrap() as u64;
        }
    };
    let (read, sent) = tokio::join!(timeout(LONG, read), timeout(LONG, blocked));
    read.unwrap();
    assert_eq!(sent.unwrap().unwrap(), LARGE);
}

#[tokio::test]
async fn a_change_of_the_plan_wakes_a_transfer_that_waits() {
    let workers = workers(1, 100);
    let control = shaped(1_000, 15_000);
    let (socket, peer) = pair().await;
    let reader = tokio::spawn(received(peer));
    let transfer = workers.send(socket, control.clone(), Payload::bytes(pattern(400_000)));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(transfer.sent() <= 15_000, "{transfer:?}");
    control.set(Direction::Sending, None);
    // At 1 kB/s it would take six minutes.
    assert_eq!(timeout(LONG, transfer).await.unwrap().unwrap(), 400_000);
    assert!(reader.await.unwrap() == pattern(400_000));
}

#[tokio::test]
async fn a_peer_that_leaves_ends_the_transfer_at_once() {
    let workers = workers(1, 100);
    for is_reset in [false, true] {
        let (socket, peer) = pair().await;
        let weak = Arc::downgrade(&socket);
        // A stream that has no tokens for minutes.
        let transfer = workers.send(socket, shaped(10, 15_000), Payload::repeated([1; 100], 1 << 30));
        while transfer.sent() < 10_000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if is_reset {
            peer.set_zero_linger().unwrap();
        }
        // Unread data makes the end a reset too.
        drop(peer);
        let error = timeout(LONG, transfer).await.unwrap().unwrap_err();
        let TransferError { sent, problem: TransferProblem::Socket(cause) } = error else {
            panic!("{error}")
        };
        assert!((10_000..=15_000).contains(&sent), "{sent}");
        assert_eq!(cause.kind(), std::io::ErrorKind::ConnectionReset);
        is_over(&weak).await;
    }
    assert_eq!(workers.transfers(), [0]);
}

#[tokio::test]
async fn a_transfer_that_is_dropped_sends_nothing_more_and_leaves_its_socket() {
    let workers = workers(1, 100);
    for round in 0_u64..60 {
        let (socket, peer) = pair().await;
        let reader = tokio::spawn(received(peer));
        // Unshaped, waiting for tokens, and with a full socket.
        let control = [Control::default(), shaped(100_000, 15_000), shaped(8_000_000, 100_000)];
        let control = &control[usize::try_from(round % 3).unwrap()];
        let payload = Payload::bytes(pattern(20_000_000));
        let transfer = workers.send(socket.clone(), control.clone(), payload);
        for _ in 0..round % 7 {
            tokio::task::yield_now().await;
        }
        if round % 4 == 3 {
            tokio::time::sleep(Duration::from_micros(round * 50)).await;
        }
        drop(transfer);
        let sent = control.stats(Direction::Sending).bytes;
        // The socket is free for its owner at once, also for the same worker.
        let again = workers.send(socket.clone(), Control::default(), Payload::bytes("and a last word"));
        assert_eq!(timeout(LONG, again).await.unwrap().unwrap(), 15, "round {round}");
        let weak = Arc::downgrade(&socket);
        drop(socket);
        is_over(&weak).await;
        let bytes = reader.await.unwrap();
        let (first, last) = bytes.split_at(bytes.len() - 15);
        assert_eq!(last, b"and a last word", "round {round}");
        assert_eq!(first.len() as u64, sent, "round {round}");
        assert!(first == &pattern(first.len())[..], "round {round}: bytes were changed");
    }
    assert_eq!(workers.transfers(), [0]);
}

#[tokio::test]
async fn a_file_that_is_truncated_meanwhile_ends_with_an_error() {
    let workers = workers(1, 100);
    let source = Arc::new(file(&pattern(300_000)));
    let (socket, peer) = pair().await;
    let reader = tokio::spawn(received(peer));
    let control = shaped(1_000_000, 30_000);
    let transfer = workers.send(socket, control, Payload::file(Arc::clone(&source), 0..300_000));
    source.set_len(100_000).unwrap();
    let error = timeout(LONG, transfer).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the source ends before byte 300000 of it, after 100000 B");
    assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::UnexpectedEof);
    assert!(reader.await.unwrap() == pattern(100_000));
}

#[tokio::test]
async fn a_source_that_cannot_be_sent_is_an_error() {
    let workers = workers(1, 100);
    let (socket, _peer) = pair().await;
    let check = async |payload: Payload| {
        let sent = workers.send(socket.clone(), Control::default(), payload);
        timeout(LONG, sent).await.unwrap().unwrap_err().problem
    };
    let nothing = check(Payload::repeated([], 10)).await;
    assert!(matches!(nothing, TransferProblem::SourceEnded { end: 10 }), "{nothing}");
    let beyond = check(Payload::file(file(b"short"), u64::MAX - 1..u64::MAX)).await;
    assert!(matches!(beyond, TransferProblem::Source(_)), "{beyond}");
    let directory = check(Payload::file(std::fs::File::open("/").unwrap(), 0..10)).await;
    assert!(matches!(directory, TransferProblem::Source(_)), "{directory}");
    #[expect(clippy::reversed_empty_ranges, reason = "it is what is tested")]
    let reversed = Payload::file(file(b"short"), 5..2);
    assert_eq!(reversed.remaining(), 0);
}

#[tokio::test]
async fn workers_share_the_transfers_and_take_no_more_than_their_limit() {
    let workers = workers(2, 2);
    let mut held = Vec::new();
    for _ in 0..4 {
        let (socket, peer) = pair().await;
        let endless = Payload::repeated([1; 100], u64::MAX);
        held.push((peer, workers.send(socket, shaped(1_000, 15_000), endless)));
    }
    assert_eq!(workers.transfers(), [2, 2]);
    let (socket, _peer) = pair().await;
    let send = || workers.send(socket.clone(), Control::default(), Payload::bytes("x"));
    let error = send().await.unwrap_err();
    assert!(matches!(error.problem, TransferProblem::Full { most: 2 }), "{error}");
    drop(held.pop());
    // The worker learns of it a little later.
    while workers.transfers() == [2, 2] {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(timeout(LONG, send()).await.unwrap().unwrap(), 1);
}

#[tokio::test]
async fn workers_that_are_dropped_end_their_transfers_and_threads() {
    let workers = workers(2, 100);
    let (socket, mut peer) = pair().await;
    let (other, _peer) = pair().await;
    let weak = Arc::downgrade(&socket);
    let waiting = workers.send(socket, shaped(10, 15_000), Payload::repeated([1; 100], u64::MAX));
    let blocked = workers.send(other, Control::default(), Payload::repeated([1; 100], u64::MAX));
    peer.read_exact(&mut [0; 10_000]).await.unwrap();
    while blocked.sent() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let clone = workers.clone();
    drop(workers);
    assert_eq!(clone.transfers(), [1, 1], "a handle is left");
    drop(clone);
    for transfer in [waiting, blocked] {
        let error = timeout(LONG, transfer).await.unwrap().unwrap_err();
        assert!(matches!(error.problem, TransferProblem::Stopped) && error.sent > 0, "{error}");
    }
    is_over(&weak).await;
    // What was accepted comes, and then the end.
    let mut rest = Vec::new();
    timeout(LONG, peer.read_to_end(&mut rest)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_socket_is_written_by_its_owner_before_and_after() {
    let workers = workers(1, 100);
    let (mut socket, peer) = pair().await;
    let reader = tokio::spawn(received(peer));
    Arc::get_mut(&mut socket).unwrap().write_all(b"head ").await.unwrap();
    let sent = workers.send(socket.clone(), shaped(1_000_000, 30_000), Payload::bytes("body "));
    assert_eq!(timeout(LONG, sent).await.unwrap().unwrap(), 5);
    let socket = Arc::get_mut(&mut socket).expect("the worker has left it");
    socket.write_all(b"tail").await.unwrap();
    socket.shutdown().await.unwrap();
    assert_eq!(reader.await.unwrap(), b"head body tail");
}
