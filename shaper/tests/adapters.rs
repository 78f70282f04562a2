//! The tokio adapters, in tokio's virtual time.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use flowspec::{Bytes, Direction, Flowspec, Rate, TSpec};
use shaper::{Control, Credit, Datagram, Framing, Plan, Stream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::UdpSocket;
use tokio::time::Instant;

const TCP: Framing = Framing::Stream { header: 52, segment: 1448 };

fn plan(rate: u64, depth: u64, framing: Framing) -> Plan {
    let spec = Flowspec::guaranteed(Rate::new(rate), Bytes::new(depth));
    let tspec = TSpec::new(&spec, Direction::Sending, Bytes::new(1500)).unwrap().unwrap();
    Plan::new(&tspec, framing).unwrap()
}

fn shaped(direction: Direction, plan: Plan) -> Control {
    let control = Control::default();
    control.set(direction, Some(plan));
    control
}

/// Accepts at most `most` bytes a call and records the time and size of each write.
struct Wire {
    most: usize,
    sent: Vec<(Instant, usize)>,
    shut: bool,
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        let size = buf.len().min(self.most);
        self.sent.push((Instant::now(), size));
        Poll::Ready(Ok(size))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.shut = true;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let size = buf.remaining().min(self.most);
        buf.put_slice(&vec![7; size]);
        Poll::Ready(Ok(()))
    }
}

fn wire(most: usize) -> Wire {
    Wire { most, sent: Vec::new(), shut: false }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_always_has_data_gets_its_rate_and_no_more() {
    let plan = plan(750_000, 65_536, TCP);
    let mut stream = Stream::new(wire(usize::MAX), shaped(Direction::Sending, plan));
    let start = Instant::now();
    let data = vec![0; 1448 * 5000];
    stream.write_all(&data).await.unwrap();
    let took = start.elapsed();
    // 5000 packets of 1500 B at 750 kB/s, less a full bucket: 9.91 s, and a timer is never early.
    let exact = Duration::from_micros((5000 * 1500 - 65_536) * 1_000_000 / 750_000);
    assert!(took >= exact - Duration::from_millis(2), "{took:?}, {exact:?}");
    // The last release is up to a period after its tokens, at most half the bucket: 44 ms. A packet takes 2 ms, and timers
    // are late.
    assert!(took <= exact + Duration::from_millis(50), "{took:?}, {exact:?}");
    let sent = &stream.get_ref().sent;
    let (mut most, mut total) = (0, 0);
    for (first, &(from, _)) in sent.iter().enumerate() {
        let bytes: u64 = sent[first..].iter().map(|&(_, size)| plan.charge(size as u64).get()).sum();
        total = total.max(bytes);
        let mut sum: u64 = 0;
        for &(until, size) in &sent[first..] {
            sum += plan.charge(size as u64).get();
            let allowed =
                65_536 + 750_000 * u64::try_from((until - from).as_nanos()).unwrap() / 1_000_000_000;
            most = most.max(sum.saturating_sub(allowed));
        }
    }
    assert!(most <= 1, "a window holds {most} B more than b + r·T");
    assert_eq!(total, 5000 * 1500, "the stream was charged for full segments only");
}

#[tokio::test(start_paused = true)]
async fn a_short_write_is_charged_for_what_it_sent() {
    let mut stream = Stream::new(wire(100), shaped(Direction::Sending, plan(750_000, 65_536, TCP)));
    let start = Instant::now();
    stream.write_all(&[0; 10_000]).await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO, "100 writes of 152 B fit the bucket");
    assert_eq!(stream.control().stats(Direction::Sending).charged, 100 * 152);
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_a_plan_never_waits_and_passes_its_shutdown_on() {
    let mut stream = Stream::new(wire(usize::MAX), Control::default());
    let start = Instant::now();
    stream.write_all(&vec![0; 10_000_000]).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(stream.get_ref().shut);
    assert_eq!(stream.control().stats(Direction::Sending).bytes, 10_000_000);
}

#[tokio::test(start_paused = true)]
async fn reading_is_shaped_too() {
    let mut stream = Stream::new(wire(usize::MAX), shaped(Direction::Receiving, plan(150_000, 15_000, TCP)));
    let start = Instant::now();
    let mut buf = vec![0; 144_800];
    stream.read_exact(&mut buf).await.unwrap();
    // 100 packets of 1500 B, 10 of them at once: 0.9 s, and up to a period of half the bucket until the last release.
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(889) && took <= Duration::from_millis(950), "{took:?}");
    assert!(buf.iter().all(|&byte| byte == 7));
}

#[tokio::test(start_paused = true)]
async fn a_change_of_plan_wakes_a_waiting_task() {
    let control = shaped(Direction::Sending, plan(1_500, 15_000, TCP));
    let mut stream = Stream::new(wire(usize::MAX), control.clone());
    stream.write_all(&[0; 14_480]).await.unwrap();
    let start = Instant::now();
    let writer = tokio::spawn(async move { stream.write_all(&[0; 14_480]).await });
    tokio::time::sleep(Duration::from_millis(10)).await;
    control.set(Direction::Sending, None);
    writer.await.unwrap().unwrap();
    assert!(start.elapsed() < Duration::from_millis(20), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_datagram_above_max_sdu_size_is_refused() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(peer.local_addr().unwrap()).await.unwrap();
    let framing = Framing::Datagram { header: 28 };
    let socket = Datagram::new(socket, shaped(Direction::Sending, plan(750_000, 65_536, framing)));
    assert_eq!(socket.send(&[0; 1472]).await.unwrap(), 1472);
    let error = socket.send(&[0; 1473]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert_eq!(socket.send(&[]).await.unwrap(), 0);
    assert_eq!(
        socket.control().stats(Direction::Sending).charged,
        1500 + 64,
        "an empty datagram is charged m"
    );
}

/// What a source that always has data sends in three seconds, if its plan goes and comes back, by turns one of these,
/// after each write that did not wait.
async fn sent_while_plans_change(plans: &[Plan]) -> u64 {
    let control = Control::default();
    let start = Instant::now();
    for plan in plans.iter().cycle() {
        control.set(Direction::Sending, Some(*plan));
        while let Credit::Granted(granted) = control.acquire(Direction::Sending, 1448) {
            control.complete(Direction::Sending, granted, Some(granted));
        }
        control.set(Direction::Sending, None);
        tokio::time::sleep(Duration::from_millis(7)).await;
        if start.elapsed() >= Duration::from_secs(3) {
            break;
        }
    }
    control.stats(Direction::Sending).charged
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_is_removed_and_set_again_gives_no_second_bucket() {
    let most = |depth: u64| depth + 100_000 * 3 + 1500;
    let sent = sent_while_plans_change(&[plan(100_000, 65_536, TCP)]).await;
    assert!(sent <= most(65_536) && sent > 300_000, "{sent}");
    // While the bucket of one plan fills, what the other one owes is refilled beside it.
    let sent = sent_while_plans_change(&[plan(100_000, 65_536, TCP), plan(100_000, 3000, TCP)]).await;
    assert!(sent <= most(65_536) + 300_000, "{sent}");
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_others_have_emptied_starts_without_their_tokens() {
    let control = Control::default();
    let plan = plan(100_000, 65_536, TCP);
    control.set_owing(Direction::Sending, Some(plan), Bytes::new(60_536));
    assert_eq!(control.owed(Direction::Sending), Bytes::new(60_536));
    assert_eq!(control.acquire(Direction::Sending, 100_000), Credit::Granted(3 * 1448));
    control.complete(Direction::Sending, 3 * 1448, Some(3 * 1448));
    control.set(Direction::Sending, None);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(control.owed(Direction::Sending), Bytes::new(60_536 + 4500 - 10_000));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(control.owed(Direction::Sending), Bytes::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_transfer_that_began_without_a_plan_is_refunded_no_tokens() {
    let control = Control::default();
    let granted = 1_000_000;
    assert_eq!(control.acquire(Direction::Sending, granted), Credit::Granted(granted));
    control.set_owing(Direction::Sending, Some(plan(100_000, 65_536, TCP)), Bytes::MAX);
    control.complete(Direction::Sending, granted, Some(1));
    assert_eq!(control.owed(Direction::Sending), Bytes::new(65_536));
}

/// A fast sender: the bucket passes at once, the rest waits in the socket or was dropped.
#[tokio::test(start_paused = true)]
async fn datagrams_are_received_no_faster_than_their_bucket_fills() {
    const UDP: Framing = Framing::Datagram { header: 28 };
    let (near, far) =
        (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    near.connect(far.local_addr().unwrap()).await.unwrap();
    far.connect(near.local_addr().unwrap()).await.unwrap();
    // 6,000 B of tokens are twelve datagrams with their headers.
    let plan = plan(100, 6000, UDP);
    for _ in 0..20 {
        far.send(&[0; 472]).await.unwrap();
    }
    let datagram = Datagram::new(near, shaped(Direction::Receiving, plan));
    let mut buf = [0; 1500];
    let mut received = 0;
    loop {
        let mut next = std::pin::pin!(datagram.recv_conforming(&mut buf));
        // Loopback has delivered everything: a call that is not ready waits for tokens.
        tokio::task::yield_now().await;
        match next.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(size) => received += size.unwrap(),
            Poll::Pending => break,
        }
    }
    assert_eq!(received, 12 * 472);
    assert_eq!(datagram.control().stats(Direction::Receiving).charged, 12 * 500);
}

/// How many tokens a stream that always has data takes too few of its rate in a time, or too many, beyond what a release may
/// come sooner or later. `None` where its waits need a timer of the kernel, which knows no virtual time.
async fn lost(rate: u64, depth: u64) -> Option<u64> {
    let plan = plan(rate, depth, TCP);
    if !plan.tolerates_coarse_timers() {
        return None;
    }
    let mut stream = Stream::new(wire(usize::MAX), shaped(Direction::Sending, plan));
    let control = stream.control().clone();
    let writer = tokio::spawn(async move { while stream.write_all(&[0; 1448 * 40]).await.is_ok() {} });
    let charged = || control.stats(Direction::Sending).charged;
    // Its full bucket goes first.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (before, seconds) = (charged(), (1_000_000 / rate).max(20));
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    writer.abort();
    let (taken, promised) = (charged() - before, rate * seconds);
    Some(taken.abs_diff(promised).saturating_sub(plan.quantum.get() + 1500))
}

#[tokio::test(start_paused = true)]
async fn no_stream_loses_rate_to_a_bucket_that_cannot_hold_the_rest_of_a_segment() {
    let mut losses = Vec::new();
    for depth in [1600, 2000, 3000, 4000, 4096, 4500, 5000, 6000, 16_384, 65_536] {
        for kbit in [8, 16, 48, 64, 96, 100, 128, 192, 200, 256, 384, 512, 1000, 4000] {
            match lost(kbit * 125, depth).await {
                None | Some(0) => {}
                Some(lost) => losses.push((kbit, depth, lost)),
            }
        }
    }
    assert_eq!(losses, [], "kbit/s, bucket, bytes");
}
