//! An HTTP media server with guaranteed renditions.
//!
//! ```text
//! sudo cargo run --release --example media_server -- --policy examples/policies/streaming.toml --policy examples/loopback.toml
//! curl -o /dev/null "http://127.0.0.1:8080/720p.ts?seconds=10"
//! curl http://127.0.0.1:8080/status
//! ```
//!
//! `examples/loopback.toml` lets the policy, which has `eth0` alone, serve viewers on this machine.
//!
//! `GET /<template>.ts` reserves the template's flowspec before the first byte is sent. An admitted stream gets its token
//! rate whatever else the link carries. A refused request is answered with 503, the whole decision as JSON and the best
//! rendition that would fit. `GET /status` shows what is reserved and what the kernel counts.
//!
//! A viewer that never reads, or whose link is down, loses its reservation after the policy's `stalled_after` or
//! `dead_after`; its stream goes on as best effort, or ends. SIGINT and SIGTERM end the server, and what it has programmed is
//! removed.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use futures_util::{StreamExt, stream};
use gqos::connect::{Ask, ConnectError, Flow, Host};
use gqos::lab::media::{Media, PACKET};
use gqos::policy::Policy;
use http_body_util::{Either, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
struct Arguments {
    /// The policy: one template for each rendition, and a class "viewer". Several files merge.
    #[arg(long, required = true)]
    policy: Vec<PathBuf>,
    /// The address and port to listen on.
    #[arg(long, default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// A directory with one transport stream for each template, <template>.ts.
    #[arg(long, default_value = "examples/media")]
    media: PathBuf,
}

struct Server {
    host: Host,
    policy: Arc<Policy>,
    /// The available renditions, best first.
    ladder: Vec<(String, Media)>,
}

/// How long the server waits after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

type Body = Either<Full<Bytes>, StreamBody<stream::BoxStream<'static, Result<Frame<Bytes>, Infallible>>>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let Arguments { policy, listen, media } = Arguments::parse();
    let policy = Arc::new(Policy::from_paths(&policy)?);
    let mut ladder = Vec::new();
    for template in policy.templates.keys() {
        let path = media.join(format!("{template}.ts"));
        if let Ok(bytes) = std::fs::read(&path) {
            let stream = Media::new(bytes).with_context(|| path.display().to_string())?;
            ladder.push((template.clone(), stream));
        }
    }
    ladder.sort_by_key(|(_, media)| std::cmp::Reverse(media.mean_rate()));
    let host = Host::start(Arc::clone(&policy)).await?;
    say_what_is_missing(&host, &ladder, &media).await?;
    let server = Arc::new(Server { host: host.clone(), policy, ladder });
    let listener = host.listen(listen, Ask::default()).await?;
    eprintln!("listening on {}", listener.local_addr()?);
    let mut terminated = signal(SignalKind::terminate())?;
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    loop {
        let connection = tokio::select! {
            connection = listener.accept_free() => connection,
            _ = &mut interrupted => break,
            _ = terminated.recv() => break,
        };
        let connection = match connection {
            Ok(connection) => connection,
            Err(error) => {
                // The viewer has gone, or descriptors are short: then they are not short for ever.
                eprintln!("{error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (server, flow) = (Arc::clone(&server), Arc::clone(connection.flow()));
        let service = service_fn(move |request| {
            let (server, flow) = (Arc::clone(&server), Arc::clone(&flow));
            async move { Ok::<_, Infallible>(server.answer(&request, &flow).await) }
        });
        tokio::spawn(async move {
            let mut http = hyper::server::conn::http1::Builder::new();
            // One stream a connection, so the connection holds the stream's reservation.
            let served = http.keep_alive(false).serve_connection(TokioIo::new(connection), service).await;
            if let Err(error) = served {
                eprintln!("a viewer left: {error}");
            }
        });
    }
    // Removes the qdiscs and classes that the host has programmed.
    host.stop().await;
    Ok(())
}

/// Logs what the server lacks, and what that costs.
async fn say_what_is_missing(host: &Host, ladder: &[(String, Media)], media: &Path) -> anyhow::Result<()> {
    if ladder.is_empty() {
        eprintln!(
            "{}: no <template>.ts of any template of the policy: every request is 404",
            media.display()
        );
    }
    let reports = host.report().await?;
    if reports.is_empty() {
        eprintln!("no interface of the policy exists here: every viewer is refused");
    }
    for report in reports {
        match report.status.kernel {
            Ok(()) => eprintln!("{}: classes in the kernel isolate each stream", report.interface),
            Err(why) => eprintln!(
                "{}: {why}; streams are shaped, and not isolated from other traffic",
                report.interface
            ),
        }
    }
    Ok(())
}

impl Server {
    async fn answer(&self, request: &Request<Incoming>, flow: &Flow) -> Response<Body> {
        let path = request.uri().path().trim_start_matches('/');
        if request.method() != Method::GET {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "GET is all there is\n");
        }
        if path == "status" {
            return self.status().await;
        }
        let name = path.strip_suffix(".ts").unwrap_or(path);
        let Some((template, media)) = self.ladder.iter().find(|(template, _)| template == name) else {
            return plain(StatusCode::NOT_FOUND, "there is no such rendition\n");
        };
        let seconds = request.uri().query().and_then(|query| query.strip_prefix("seconds="));
        let seconds = seconds.and_then(|seconds| seconds.parse().ok()).unwrap_or(10u64);
        match flow.reserve(&Ask::template(template).class("viewer")).await {
            Ok(decision) => {
                eprintln!("{} plays {template}: {}", flow.peer(), decision.message());
                play(media, seconds)
            }
            Err(ConnectError::Refused(decision)) => {
                eprintln!("{} is refused {template}: {}", flow.peer(), decision.message());
                // The largest charge that fits decides which rendition is offered.
                let fits = decision.would_fit().and_then(|available| {
                    self.ladder.iter().map(|(template, _)| template).find(|template| {
                        let requested = self.policy.templates[*template].qos.sending.token_rate;
                        requested.is_some_and(|requested| requested <= available)
                    })
                });
                let body = json!({ "decision": decision, "best_that_fits": fits });
                answer(StatusCode::SERVICE_UNAVAILABLE, &body)
            }
            Err(error) => answer(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "error": error.to_string() })),
        }
    }

    async fn status(&self) -> Response<Body> {
        match self.host.report().await {
            Ok(reports) => {
                let interfaces = reports.iter().map(|report| {
                    json!({
                        "interface": report.interface,
                        "reserved": report.status.totals.map(|totals| totals.reserved),
                        "available": report.status.totals.map(|totals| totals.available()),
                        "kernel": report.status.kernel.as_ref().err().map(ToString::to_string),
                        "direct_packets": report.direct_packets,
                        "classes": report.classes,
                    })
                });
                answer(StatusCode::OK, &interfaces.collect())
            }
            Err(error) => answer(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "error": error.to_string() })),
        }
    }
}

/// A body with this many seconds of a stream, rounded up to whole repetitions of the file. The connection's shaper sets
/// the pace.
fn play(media: &Media, seconds: u64) -> Response<Body> {
    let round = media.packets();
    let wanted = media.mean_rate().get().saturating_mul(seconds) / PACKET as u64;
    let total = wanted.div_ceil(round) * round;
    let chunk = 64;
    let frames = stream::iter(0..total.div_ceil(chunk)).scan(media.looped(), move |looped, index| {
        let packets = usize::try_from((total - index * chunk).min(chunk)).unwrap_or(0);
        let mut buffer = vec![0; packets * PACKET];
        looped.fill(&mut buffer);
        std::future::ready(Some(Ok(Frame::data(Bytes::from(buffer)))))
    });
    let mut response = Response::new(Either::Right(StreamBody::new(frames.boxed())));
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("video/mp2t"));
    response
}

fn answer(status: StatusCode, body: &serde_json::Value) -> Response<Body> {
    let mut response = plain(status, &format!("{body}\n"));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, hyper::header::HeaderValue::from_static("5"));
    }
    response
}

fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::from(text.to_owned())));
    *response.status_mut() = status;
    response
}
