//! Transfers of random sizes that either side ends at random points, by each data path: what arrives is a part of what was
//! sent, and the end of a whole transfer alone is seen as an end.
//!
//! `GQOS_PROXY_TRANSFERS=10000 cargo test --release --test proxy transfers` runs that many.

use std::sync::Arc;

use gqos::proxy::{ConnectionEnd, ConnectionRecord};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::world::{World, pattern, rest, soon};

/// Half of the connections are shaped, so that transfers wait for tokens.
const POLICY: &str = r#"
version = 1
[interface.lo]
egress = { capacity = "100 Gbit/s", reservable = "80%" }
enforcement = "user-space"
[template.shaped]
sending = { service_type = "guaranteed", token_rate = "160 Mbit/s", token_bucket_size = "64 KiB" }
[template.free]
sending = { service_type = "best_effort" }
"#;

/// The most bytes of a transfer in one direction.
const LONGEST: u64 = 120_000;

/// How many transfers are under way at a time.
const TOGETHER: usize = 24;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// Both sides send everything.
    Whole,
    /// The origin resets the connection after a part.
    OriginResets,
    /// The client resets the connection after a part.
    ClientResets,
    /// The client resets it while it sends.
    ClientResetsUpload,
}

/// One transfer; the origin learns of it by the header that the client sends.
#[derive(Clone, Copy, Debug)]
struct Transfer {
    end: End,
    up: u64,
    down: u64,
    /// How much is sent or read before a reset.
    part: u64,
}

const HEADER: usize = 25;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    /// Small transfers more often than large ones.
    fn size(&mut self) -> u64 {
        let most = [1, 100, 3000, 20_000, LONGEST][usize::try_from(self.below(5)).unwrap()];
        self.below(most + 1)
    }

    fn transfer(&mut self) -> Transfer {
        let ends = [End::Whole, End::Whole, End::OriginResets, End::ClientResets, End::ClientResetsUpload];
        let end = ends[usize::try_from(self.below(5)).unwrap()];
        let (up, down) = (self.size(), self.size());
        let of = if end == End::ClientResetsUpload { up } else { down };
        Transfer { end, up, down, part: self.below(of + 1) }
    }
}

impl Transfer {
    fn header(self) -> Vec<u8> {
        let end = u8::from(self.end == End::OriginResets);
        [&[end][..], &self.up.to_be_bytes(), &self.down.to_be_bytes(), &self.part.to_be_bytes()].concat()
    }

    /// The client's side.
    async fn play(self, client: TcpStream, content: &[u8]) {
        let Self { end, up, down, part } = self;
        let bytes = |count: u64| &content[..usize::try_from(count).unwrap()];
        let (mut read, mut write) = client.into_split();
        let upload = async {
            write.write_all(&self.header()).await?;
            if end == End::ClientResetsUpload {
                write.write_all(bytes(part)).await?;
                return Ok(());
            }
            write.write_all(bytes(up)).await?;
            write.shutdown().await
        };
        let download = async {
            let mut received = vec![0; usize::try_from(part).unwrap()];
            match end {
                End::ClientResetsUpload => Ok(Vec::new()),
                End::ClientResets => soon(read.read_exact(&mut received)).await.map(|_| received),
                End::Whole | End::OriginResets => {
                    received.clear();
                    let ended = soon(read.read_to_end(&mut received)).await;
                    let whole = bytes(down);
                    assert!(whole.starts_with(&received), "{self:?}: {} bytes differ", received.len());
                    ended.map(|_| received)
                }
            }
        };
        let (uploaded, downloaded): (std::io::Result<()>, _) = tokio::join!(upload, download);
        match end {
            End::Whole => {
                uploaded.unwrap_or_else(|error| panic!("{self:?}: {error}"));
                let received = downloaded.unwrap_or_else(|error| panic!("{self:?}: {error}"));
                assert!(received == bytes(down), "{self:?}: {} bytes", received.len());
            }
            End::OriginResets => assert!(downloaded.is_err(), "{self:?}: a part looks whole"),
            End::ClientResets => {
                let received = downloaded.unwrap_or_else(|error| panic!("{self:?}: {error}"));
                assert!(received == bytes(part), "{self:?}");
            }
            End::ClientResetsUpload => {}
        }
        let client = read.reunite(write).unwrap();
        if matches!(end, End::ClientResets | End::ClientResetsUpload) {
            client.set_zero_linger().unwrap();
        }
    }
}

/// The origin's side of a transfer.
async fn serve(mut origin: TcpStream, content: Arc<Vec<u8>>) {
    let mut header = [0; HEADER];
    // The client may have gone.
    let Ok(_) = soon(origin.read_exact(&mut header)).await else { return };
    let number = |at: usize| u64::from_be_bytes(header[at..at + 8].try_into().unwrap());
    let (up, down, part) = (number(1), number(9), number(17));
    let bytes = |count: u64| &content[..usize::try_from(count).unwrap()];
    if header[0] == 1 {
        // A client does not wait for it before it has everything.
        let _ = origin.write_all(bytes(part)).await;
        origin.set_zero_linger().unwrap();
        return;
    }
    let (mut read, mut write) = origin.split();
    let download = async {
        // An error that a write gets is not shown to a read: that finds an end.
        let written = write.write_all(bytes(down)).await;
        written.is_ok() && write.shutdown().await.is_ok()
    };
    let mut received = Vec::new();
    let upload = async {
        let ended = soon(read.read_to_end(&mut received)).await;
        assert!(bytes(up).starts_with(&received), "{} bytes differ", received.len());
        ended.is_ok()
    };
    if let (true, true) = tokio::join!(download, upload) {
        assert_eq!(received.len() as u64, up, "a part of an upload looks whole");
    }
}

async fn origin(listener: &TcpListener, content: Arc<Vec<u8>>) {
    let mut served = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => drop(served.spawn(serve(accepted.unwrap().0, Arc::clone(&content)))),
            Some(ended) = served.join_next() => ended.unwrap(),
        }
    }
}

fn count() -> usize {
    std::env::var("GQOS_PROXY_TRANSFERS").map_or(400, |count| count.parse().unwrap())
}

async fn check(table: &str, seed: u64) {
    let world = World::of_policy(POLICY, table).await;
    let content = Arc::new(pattern(usize::try_from(LONGEST).unwrap()));
    let mut random = Random(seed);
    println!("{table:?}: {} transfers from seed {seed:#x}", count());
    let clients = async {
        let mut playing = JoinSet::new();
        for _ in 0..count() {
            if playing.len() >= TOGETHER {
                playing.join_next().await.unwrap().unwrap();
            }
            let (transfer, address) = (random.transfer(), world.proxy);
            let content = Arc::clone(&content);
            playing.spawn(async move {
                let client = TcpStream::connect(address).await.unwrap();
                transfer.play(client, &content).await;
            });
        }
        while let Some(ended) = playing.join_next().await {
            ended.unwrap();
        }
    };
    tokio::select! {
        () = clients => {}
        () = origin(&world.origin, Arc::clone(&content)) => {}
    }
    let records = world.records(count()).await;
    use ConnectionEnd::{ClientFailed, Closed, OriginFailed};
    let was_served = |record: &ConnectionRecord| matches!(record.end, Closed | ClientFailed | OriginFailed);
    let other: Vec<_> = records.iter().filter(|record| !was_served(record)).collect();
    assert!(records.len() == count() && other.is_empty(), "{} records, {other:#?}", records.len());
    world.drain().await;
}

#[tokio::test]
async fn spliced_without_tokens() {
    check("template = \"free\"\nsplice = true", 0x2545_f491_4f6c_dd1d).await;
}

#[tokio::test]
async fn copied_without_tokens() {
    check("template = \"free\"\nsplice = false", 0x2545_f491_4f6c_dd1d).await;
}

#[tokio::test]
async fn spliced_with_tokens() {
    check("template = \"shaped\"\nsplice = true", 0x9e37_79b9_7f4a_7c15).await;
}

#[tokio::test]
async fn copied_with_tokens() {
    check("template = \"shaped\"\nsplice = false", 0x9e37_79b9_7f4a_7c15).await;
}

/// A client that reads slowly keeps its own origin waiting, and nobody else's.
#[tokio::test]
async fn a_slow_client_holds_back_its_own_origin_alone() {
    for splice in [true, false] {
        let world = World::of_policy(POLICY, &format!("template = \"free\"\nsplice = {splice}")).await;
        let mut slow = world.client().await;
        let mut slow_origin = world.accept().await;
        let mut written = 0;
        let piece = vec![5; 1 << 16];
        // Once nothing more is taken for a while, the buffers of the kernel are full.
        let patience = std::time::Duration::from_secs(1);
        while let Ok(more) = tokio::time::timeout(patience, slow_origin.write(&piece)).await {
            written += more.unwrap();
        }
        let mut fast = world.client().await;
        let mut fast_origin = world.accept().await;
        fast_origin.write_all(&pattern(500_000)).await.unwrap();
        drop(fast_origin);
        assert!(rest(&mut fast).await.unwrap() == pattern(500_000));
        drop(fast);
        let drained = async {
            let mut buffer = vec![0; 1 << 16];
            let mut read = 0;
            while let Ok(more @ 1..) = slow.read(&mut buffer).await {
                read += more;
            }
            read
        };
        drop(slow_origin);
        let read = soon(drained).await;
        assert_eq!(read, written, "splice = {splice}");
        drop(slow);
        world.drain().await;
    }
}
