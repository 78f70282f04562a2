//! The memory of transfers: what each takes, and that a release allocates nothing.

#![allow(missing_docs, clippy::unwrap_used, unsafe_code, reason = "tests; the allocator counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flowspec::{Bytes, Direction, Flowspec, Rate, TSpec};
use shaper::transfer::{Limits, Payload, Workers};
use shaper::{Control, Framing, Plan};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

static HELD: AtomicUsize = AtomicUsize::new(0);

/// Counts what is held, of all threads.
struct Counting;

/// The allocations of a worker's thread: it has no other code than this package's.
static CALLS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static IS_WORKER: std::cell::Cell<Option<bool>> = const { std::cell::Cell::new(None) };
}

fn is_worker() -> bool {
    // A thread that begins or ends has no counter or no name.
    IS_WORKER.try_with(|is_worker| is_worker.get() == Some(true)).unwrap_or(false)
}

// SAFETY: every call is passed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        if is_worker() {
            CALLS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller's contract is that of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Bytes that learn which thread reads them: the worker's.
struct Watched(Vec<u8>);

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        if std::thread::current().name().is_some_and(|name| name.starts_with("shaper-")) {
            IS_WORKER.set(Some(true));
        }
        &self.0
    }
}

fn shaped() -> Control {
    let spec = Flowspec::guaranteed(Rate::new(200_000), Bytes::new(16_384));
    let tspec = TSpec::new(&spec, Direction::Sending, Bytes::new(1500)).unwrap().unwrap();
    let control = Control::default();
    let plan = Plan::new(&tspec, Framing::Stream { header: 52, segment: 1448 }).unwrap();
    control.set(Direction::Sending, Some(plan));
    control
}

#[tokio::test]
async fn a_transfer_takes_less_than_a_kibibyte_and_a_release_allocates_nothing() {
    const TRANSFERS: usize = 200;
    let workers = Workers::start(Limits { workers: NonZeroUsize::MIN, transfers: TRANSFERS }).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut ends = Vec::with_capacity(TRANSFERS);
    for _ in 0..TRANSFERS {
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let (peer, accepted) = tokio::join!(connecting, listener.accept());
        ends.push((peer.unwrap(), Arc::new(accepted.unwrap().0)));
    }
    let bytes: Arc<dyn AsRef<[u8]> + Send + Sync> = Arc::new(Watched(vec![7; 100_000]));
    let mut transfers = Vec::with_capacity(TRANSFERS);
    let sent = |transfers: &[shaper::transfer::Transfer]| transfers.iter().map(|one| one.sent()).sum::<u64>();
    let before = HELD.load(Ordering::Relaxed);
    for (_, socket) in &ends {
        let payload = Payload::repeated(Shared(Arc::clone(&bytes)), u64::MAX);
        transfers.push(workers.send(Arc::clone(socket), shaped(), payload));
    }
    // The first releases, a full bucket each.
    while transfers.iter().any(|transfer| transfer.sent() < 10_000) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let each = (HELD.load(Ordering::Relaxed) - before) / TRANSFERS;
    println!("{each} B for each transfer");
    assert!((100..1024).contains(&each), "{each} B");
    let (calls, begun) = (CALLS.load(Ordering::Relaxed), sent(&transfers));
    let mut buffer = vec![0; 1 << 20];
    while sent(&transfers) < begun + 20_000_000 {
        for (peer, _) in &mut ends {
            let _ = peer.read(&mut buffer).await.unwrap();
        }
    }
    assert_eq!(CALLS.load(Ordering::Relaxed), calls, "allocations of releases");
    assert!(calls > 0, "the allocator counts");
}

#[derive(Clone)]
struct Shared(Arc<dyn AsRef<[u8]> + Send + Sync>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}
