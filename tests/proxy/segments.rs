//! A player of HLS: a playlist, its segments, and 503 with Retry-After until there is capacity.

use std::time::{Duration, Instant};

use gqos::proxy::ConnectionEnd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::world::{World, head, pattern, soon};

const TABLE: &str = r#"
protocol = "http"
retry_after = "1 s"
[[proxy.p.rule]]
match = { path = "/live/*" }
template = "hd"
"#;

const SEGMENTS: usize = 4;
const SEGMENT: usize = 150_000;

/// A web server that keeps connections: the playlist and its segments.
async fn serve(listener: &TcpListener) {
    let mut clients = tokio::task::JoinSet::new();
    loop {
        let (mut client, _) = listener.accept().await.unwrap();
        clients.spawn(async move {
            loop {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    // The client has everything that it wants.
                    let Ok(byte) = client.read_u8().await else { return };
                    request.push(byte);
                }
                let request = String::from_utf8(request).unwrap();
                let body = if request.contains(".m3u8") {
                    let segments: String =
                        (0..SEGMENTS).map(|number| format!("#EXTINF:2,\n{number}.ts\n")).collect();
                    format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n{segments}#EXT-X-ENDLIST\n").into_bytes()
                } else {
                    pattern(SEGMENT)
                };
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                client.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
            }
        });
    }
}

/// A player: what it plays, and how often it was told to come again.
struct Player {
    connection: Option<TcpStream>,
    world: std::net::SocketAddr,
    refusals: u32,
}

impl Player {
    async fn get(&mut self, path: &str) -> Vec<u8> {
        loop {
            let mut stream = match self.connection.take() {
                Some(stream) => stream,
                None => TcpStream::connect(self.world).await.unwrap(),
            };
            stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
            let head = head(&mut stream).await;
            let header = |name: &str| {
                let line = head.lines().find_map(|line| line.strip_prefix(name));
                line.unwrap_or_else(|| panic!("no {name} in {head}")).trim().parse::<usize>().unwrap()
            };
            let mut body = vec![0; header("Content-Length:")];
            soon(stream.read_exact(&mut body)).await.unwrap();
            if head.starts_with("HTTP/1.1 200 ") {
                self.connection = Some(stream);
                return body;
            }
            assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
            self.refusals += 1;
            let wait = u64::try_from(header("Retry-After:")).unwrap();
            tokio::time::sleep(Duration::from_secs(wait)).await;
        }
    }

    async fn play(&mut self) {
        let playlist = String::from_utf8(self.get("/live/index.m3u8").await).unwrap();
        let segments: Vec<_> = playlist.lines().filter(|line| line.ends_with(".ts")).collect();
        assert_eq!(segments.len(), SEGMENTS);
        for segment in segments {
            assert!(self.get(&format!("/live/{segment}")).await == pattern(SEGMENT), "{segment}");
        }
    }
}

#[tokio::test]
async fn a_player_that_gets_503_comes_again_and_plays() {
    let world = World::new(TABLE).await;
    let player = || Player { connection: None, world: world.proxy, refusals: 0 };
    let scenario = async {
        // 10 of 16 Mbit/s.
        let mut first = player();
        first.play().await;
        let mut second = player();
        let began = Instant::now();
        let release = async {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            drop(first);
        };
        tokio::join!(second.play(), release);
        assert!(second.refusals >= 2, "it was refused {} times", second.refusals);
        assert!(began.elapsed() >= Duration::from_secs(2), "it did not wait");
        second.refusals
    };
    let refusals = tokio::select! {
        refusals = scenario => refusals,
        () = serve(&world.origin) => unreachable!("the origin serves without end"),
    };
    let count = 2 + usize::try_from(refusals).unwrap();
    let records = world.records(count).await;
    let played: Vec<_> = records.iter().filter(|record| record.end == ConnectionEnd::Closed).collect();
    assert_eq!(played.len(), 2, "{records:?}");
    assert!(played.iter().all(|record| record.requests == 1 + SEGMENTS as u64), "{records:?}");
    let refused = records.iter().filter(|record| record.reason.as_deref() == Some("interface_budget"));
    assert_eq!(refused.count(), usize::try_from(refusals).unwrap(), "{records:?}");
    world.drain().await;
}
