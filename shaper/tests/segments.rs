//! Payloads that leave as batches of datagrams, on loopback and in tokio's virtual time.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::cell::RefCell;
use std::io::{Error, ErrorKind};
use std::time::Duration;

use flowspec::{Bytes, Direction, Flowspec, Rate, TSpec};
use shaper::{Control, Datagram, Framing, Plan};
use tokio::net::UdpSocket;
use tokio::time::Instant;

/// What IP and UDP add to a datagram.
const HEADERS: u64 = 28;

async fn connected() -> (UdpSocket, UdpSocket) {
    let (near, far) =
        (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    near.connect(far.local_addr().unwrap()).await.unwrap();
    (near, far)
}

fn shaped(socket: UdpSocket, rate: u64, depth: u64) -> Datagram {
    let spec = Flowspec::guaranteed(Rate::new(rate), Bytes::new(depth));
    let tspec = TSpec::new(&spec, Direction::Sending, Bytes::new(1500)).unwrap().unwrap();
    let control = Control::default();
    control.set(Direction::Sending, Some(Plan::new(&tspec, Framing::Datagram { header: HEADERS }).unwrap()));
    Datagram::new(socket, control)
}

fn charged(datagram: &Datagram) -> u64 {
    datagram.control().stats(Direction::Sending).charged
}

#[tokio::test]
async fn every_datagram_arrives_with_its_part_of_the_payload() {
    let (near, far) = connected().await;
    let datagram = shaped(near, 125_000_000, 65_536);
    let payload: Vec<u8> = (0..70_500_u32).map(|number| u8::try_from(number % 251).unwrap()).collect();
    let receiver = async {
        let (mut buf, mut received, mut sizes) = ([0; 2048], Vec::new(), Vec::new());
        while received.len() < 70_500 {
            let size = far.recv(&mut buf).await.unwrap();
            received.extend_from_slice(&buf[..size]);
            sizes.push(size);
        }
        (received, sizes)
    };
    let (sent, (received, sizes)) = tokio::join!(datagram.send_segments(&payload, 1000), receiver);
    assert_eq!(sent.unwrap(), payload.len());
    assert_eq!(received, payload);
    assert_eq!((sizes.len(), sizes.iter().filter(|size| **size == 1000).count()), (71, 70));
    assert_eq!(sizes.last(), Some(&500));
    assert_eq!(charged(&datagram), 70_500 + 71 * HEADERS);
    assert_eq!(datagram.control().stats(Direction::Sending).bytes, 70_500);
}

#[tokio::test(start_paused = true)]
async fn batches_conform_and_lose_no_rate() {
    let datagram = shaped(connected().await.0, 100_000, 8_000);
    let (start, batches) = (Instant::now(), RefCell::new(Vec::new()));
    let send = |_: &UdpSocket, batch: shaper::sys::Batch<'_>| {
        batches.borrow_mut().push((start.elapsed(), batch.payload.len()));
        Ok(batch.payload.len())
    };
    datagram.send_segments_by(&[0; 100 * 1316], 1316, send).await.unwrap();
    let mut sent = 0;
    for (at, payload) in batches.into_inner() {
        assert!(payload <= 2 * 1316, "half of the bucket is two datagrams: {payload}");
        sent += payload as u64 / 1316 * (1316 + HEADERS);
        let allowed = 8_000 + u64::try_from(at.as_millis()).unwrap() * 100;
        assert!(sent <= allowed, "{sent} B after {at:?}");
    }
    assert_eq!(sent, charged(&datagram));
    // 134,400 bytes less the bucket, at 100,000 bytes in a second; a timer is up to a millisecond late.
    let elapsed = start.elapsed();
    assert!(elapsed >= Duration::from_millis(1264) && elapsed < Duration::from_millis(1280), "{elapsed:?}");
}

#[tokio::test]
async fn where_batches_are_refused_each_datagram_is_sent_alone() {
    let datagram = shaped(connected().await.0, 125_000_000, 65_536);
    let sizes = RefCell::new(Vec::new());
    let send = |_: &UdpSocket, batch: shaper::sys::Batch<'_>| {
        if batch.payload.len() > batch.segment {
            return Err(Error::from_raw_os_error(5));
        }
        sizes.borrow_mut().push(batch.payload.len());
        Ok(batch.payload.len())
    };
    assert_eq!(datagram.send_segments_by(&[0; 3500], 1000, send).await.unwrap(), 3500);
    assert_eq!(sizes.into_inner(), [1000, 1000, 1000, 500]);
    assert_eq!(charged(&datagram), 3500 + 4 * HEADERS, "what was refused costs nothing");
}

#[tokio::test]
async fn a_socket_that_takes_nothing_is_waited_for_and_costs_no_tokens() {
    let datagram = shaped(connected().await.0, 1_000, 8_000);
    let calls = RefCell::new(0);
    let send = |_: &UdpSocket, batch: shaper::sys::Batch<'_>| {
        *calls.borrow_mut() += 1;
        match *calls.borrow() {
            1 | 2 => Err(ErrorKind::WouldBlock.into()),
            _ => Ok(batch.payload.len()),
        }
    };
    assert_eq!(datagram.send_segments_by(&[0; 4000], 1000, send).await.unwrap(), 4000);
    assert_eq!(charged(&datagram), 4000 + 4 * HEADERS);
    assert_eq!(datagram.control().owed(Direction::Sending).get(), 4000 + 4 * HEADERS);
}

#[tokio::test]
async fn datagrams_that_cannot_be_cut_are_refused_before_anything_is_sent() {
    let datagram = shaped(connected().await.0, 125_000, 16_384);
    for (segment, named) in [(0, "without payload"), (1473, "max_sdu_size"), (70_000, "max_sdu_size")] {
        let error = datagram.send_segments(&[0; 80_000], segment).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{segment}");
        assert!(error.to_string().contains(named), "{error}");
    }
    assert_eq!(charged(&datagram), 0);
    assert_eq!(datagram.send_segments(&[], 1000).await.unwrap(), 0, "no payload is no datagram");
    assert_eq!(datagram.send_segments(&[0; 10], 5000).await.unwrap(), 10, "one datagram that is shorter");
}
