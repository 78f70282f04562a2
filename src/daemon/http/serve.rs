//! Connections of the endpoint, within their bounds.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use super::listener::HttpListener;
use super::live::Live;
use super::route::{Origin, answer};
use super::timed::Timed;

/// The most connections at a time.
const MOST_CONNECTIONS: usize = 64;

/// How long a request's head may take, and how long a connection may wait for its next request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes and lines of a request's head.
const MOST_HEAD_BYTES: usize = 16 << 10;
const MOST_HEADERS: usize = 64;

/// The pause after a connection that could not be accepted, since descriptors are exhausted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a client gets while there are as many connections as there may be.
const BUSY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Serves until the sender of `stopped` is dropped. Connections that are open end with it.
pub(super) async fn serve(listener: HttpListener, live: Arc<Live>, mut stopped: watch::Receiver<()>) {
    let serving = async {
        match listener {
            HttpListener::Port(listener, _) => {
                let Ok(listener) = TcpListener::from_std(listener) else { return };
                accept(live, Origin::Network, async || listener.accept().await.map(|(stream, _)| stream))
                    .await;
            }
            // The file goes with the listener.
            HttpListener::Socket(listener, _file) => {
                let Ok(listener) = UnixListener::from_std(listener) else { return };
                accept(live, Origin::Host, async || listener.accept().await.map(|(stream, _)| stream)).await;
            }
        }
    };
    tokio::select! {
        () = serving => {}
        _ = stopped.changed() => {}
    }
}

/// Accepts connections, for ever.
async fn accept<S>(live: Arc<Live>, origin: Origin, next: impl AsyncFn() -> io::Result<S>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (places, mut connections) = (Arc::new(Semaphore::new(MOST_CONNECTIONS)), JoinSet::new());
    loop {
        tokio::select! {
            accepted = next() => match (accepted, Arc::clone(&places).try_acquire_owned()) {
                (Ok(stream), Ok(place)) => {
                    drop(connections.spawn(connection(stream, place, (Arc::clone(&live), origin))));
                }
                // The send buffer of a new connection is empty.
                (Ok(mut stream), Err(_)) => drop(tokio::time::timeout(ACCEPT_PAUSE, stream.write_all(BUSY)).await),
                // EMFILE and the like end with a connection.
                (Err(_), _) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn connection<S>(stream: S, place: OwnedSemaphorePermit, (live, origin): (Arc<Live>, Origin))
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| {
        let live = Arc::clone(&live);
        async move { Ok::<_, Infallible>(answer(&live, origin, &request).await) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    server.max_buf_size(MOST_HEAD_BYTES).max_headers(MOST_HEADERS);
    // A peer that breaks the protocol, or does not read, gets no answer.
    let _ = server.serve_connection(TokioIo::new(Timed::new(stream)), service).await;
    drop(place);
}
