//! Relays under tokens: what passes when, and what is charged, by both data paths.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::time::{Duration, Instant};

use flowspec::{Bytes, Direction, Flowspec, Rate, TSpec};
use shaper::relay::{DataPath, Ends, Relay};
use shaper::{Control, Framing, Plan};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (one, other) = tokio::join!(TcpStream::connect(address), listener.accept());
    (one.unwrap(), other.unwrap().0)
}

/// r in bytes per second and b in bytes.
fn plan(rate: u64, bucket: u64) -> Plan {
    let spec = Flowspec::guaranteed(Rate::new(rate), Bytes::new(bucket));
    let tspec = TSpec::new(&spec, Direction::Sending, Bytes::new(1500)).unwrap().unwrap();
    Plan::new(&tspec, Framing::Stream { header: 52, segment: 1448 }).unwrap()
}

#[tokio::test]
async fn a_relay_keeps_to_its_bucket_and_charges_what_was_accepted() {
    const SENT: usize = 600_000;
    const RATE: u64 = 1_000_000;
    const BUCKET: u64 = 100_000;
    for direction in Direction::BOTH {
        for path in [DataPath::Splice, DataPath::Copy] {
            let ((mut source, from), (to, mut sink)) = (pair().await, pair().await);
            let control = Control::default();
            let plan = plan(RATE, BUCKET);
            control.set(direction, Some(plan));
            let writes = tokio::spawn(async move { source.write_all(&vec![7; SENT]).await.unwrap() });
            let reads = tokio::spawn(async move {
                let (mut buffer, mut total, began) = (vec![0; 65_536], 0_u64, Instant::now());
                loop {
                    let read = sink.read(&mut buffer).await.unwrap();
                    if read == 0 {
                        return total;
                    }
                    total += read as u64;
                    // What has come by now was sent before; payload is less than its tokens.
                    let elapsed = u64::try_from(began.elapsed().as_micros()).unwrap();
                    let allowed = BUCKET + RATE * (elapsed + 20_000) / 1_000_000;
                    assert!(
                        total <= allowed,
                        "{direction:?} {path:?}: {total} of {allowed} after {elapsed} us"
                    );
                }
            });
            let mut relay = Relay::new(Ends { from: &from, to: &to }, &control, direction, path);
            let began = Instant::now();
            while relay.pass().await.unwrap() > 0 {}
            drop(relay);
            drop(to);
            assert_eq!(reads.await.unwrap(), SENT as u64);
            writes.await.unwrap();
            let stats = control.stats(direction);
            assert_eq!(stats.bytes, SENT as u64, "{direction:?} {path:?}");
            assert!(stats.charged >= plan.charge(SENT as u64).get(), "{direction:?} {path:?}: {stats:?}");
            assert!(began.elapsed() >= Duration::from_millis(400), "{direction:?} {path:?}");
        }
    }
}

#[tokio::test]
async fn the_end_of_a_source_needs_no_tokens() {
    for path in [DataPath::Splice, DataPath::Copy] {
        let ((mut source, from), (to, _sink)) = (pair().await, pair().await);
        let control = Control::default();
        // Two packets at once, and the next after a quarter of an hour.
        control.set(Direction::Sending, Some(plan(2, 3000)));
        let mut relay = Relay::new(Ends { from: &from, to: &to }, &control, Direction::Sending, path);
        source.write_all(&[1; 2896]).await.unwrap();
        let mut passed = 0;
        while passed < 2896 {
            passed += relay.pass().await.unwrap();
        }
        drop(source);
        let end = tokio::time::timeout(Duration::from_secs(10), relay.pass()).await;
        assert_eq!(end.expect("the end waits for tokens").unwrap(), 0);
    }
}
