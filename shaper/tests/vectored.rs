//! Vectored writes of a shaped stream, in tokio's virtual time.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use flowspec::{Bytes, Direction, Flowspec, Rate, TSpec};
use proptest::prelude::*;
use shaper::{Control, Framing, Plan, Stream};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

/// Takes at most `most` bytes a call, and keeps them.
#[derive(Default)]
struct Wire {
    most: usize,
    vectored: bool,
    sent: Vec<u8>,
    /// How many buffers each vectored write had.
    parts: Vec<usize>,
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let size = buf.len().min(self.most);
        self.sent.extend_from_slice(&buf[..size]);
        Poll::Ready(Ok(size))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.vectored {
            return self.poll_write(cx, bufs.iter().find(|buf| !buf.is_empty()).map_or(&[], |buf| &**buf));
        }
        self.parts.push(bufs.len());
        let mut left = self.most;
        for buf in bufs {
            let size = buf.len().min(left);
            self.sent.extend_from_slice(&buf[..size]);
            left -= size;
        }
        Poll::Ready(Ok(self.most - left))
    }

    fn is_write_vectored(&self) -> bool {
        self.vectored
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn shaped() -> Control {
    let spec = Flowspec::guaranteed(Rate::new(750_000), Bytes::new(65_536));
    let tspec = TSpec::new(&spec, Direction::Sending, Bytes::new(1500)).unwrap().unwrap();
    let control = Control::default();
    let framing = Framing::Stream { header: 52, segment: 1448 };
    control.set(Direction::Sending, Some(Plan::new(&tspec, framing).unwrap()));
    control
}

/// Writes all of these buffers, with vectored writes alone.
async fn write_all(stream: &mut Stream<Wire>, buffers: &[Vec<u8>]) {
    let mut slices: Vec<IoSlice<'_>> = buffers.iter().map(|buffer| IoSlice::new(buffer)).collect();
    let mut left = &mut slices[..];
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        let sent = stream.write_vectored(left).await.unwrap();
        assert!(sent > 0, "a write of bytes sends bytes");
        IoSlice::advance_slices(&mut left, sent);
    }
}

fn in_virtual_time(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(test);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_bytes_of_all_buffers_are_sent_in_their_order_and_charged_once(
        sizes in proptest::collection::vec(0_usize..5_000, 1..200),
        most in 1_000_usize..70_000,
        vectored: bool,
    ) {
        let buffers: Vec<Vec<u8>> =
            (0_u8..=255).cycle().zip(&sizes).map(|(byte, &size)| vec![byte; size]).collect();
        let all = buffers.concat();
        in_virtual_time(async {
            let wire = Wire { most, vectored, ..Wire::default() };
            let mut stream = Stream::new(wire, shaped());
            let start = Instant::now();
            write_all(&mut stream, &buffers).await;
            assert!(stream.get_ref().sent == all);
            let stats = stream.control().stats(Direction::Sending);
            assert_eq!(stats.bytes, all.len() as u64);
            // The rate of what was charged, less a full bucket; a timer is never early.
            let nanos = stats.charged.saturating_sub(65_536) * 1_000_000_000 / 750_000;
            assert!(start.elapsed() >= Duration::from_nanos(nanos));
        });
    }
}

#[tokio::test(start_paused = true)]
async fn empty_buffers_are_no_end() {
    let mut stream = Stream::new(Wire { most: usize::MAX, vectored: true, ..Wire::default() }, shaped());
    let slices: Vec<IoSlice<'_>> =
        std::iter::repeat_n(&b""[..], 200).chain([&b"data"[..]]).map(IoSlice::new).collect();
    assert_eq!(stream.write_vectored(&slices).await.unwrap(), 4);
    assert_eq!(stream.get_ref().parts, [1]);
}

#[tokio::test(start_paused = true)]
async fn many_buffers_are_one_write() {
    let mut stream = Stream::new(Wire { most: usize::MAX, vectored: true, ..Wire::default() }, shaped());
    assert!(stream.is_write_vectored());
    let buffers: Vec<Vec<u8>> = (0..100).map(|byte| vec![byte; 100]).collect();
    write_all(&mut stream, &buffers).await;
    assert_eq!(stream.get_ref().parts, [64, 36]);
    // 6,400 bytes are 5 segments, 3,600 are 3.
    assert_eq!(stream.control().stats(Direction::Sending).charged, 10_000 + 8 * 52);
}
