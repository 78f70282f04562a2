//! An existing hyper server with a reservation for each request: the lines that gqos adds are marked.
//!
//! ```text
//! sudo cargo run --release --features tower --example reserve_http -- examples/policies/streaming.toml examples/loopback.toml
//! curl -i --max-time 5 -o /dev/null http://127.0.0.1:8080/720p   # 2.5 Mbit/s, whatever else the link carries
//! curl -i http://127.0.0.1:8080/8k                               # 503, Retry-After and the decision: no such template
//! ```

use std::convert::Infallible;

use futures_util::{StreamExt, stream};
use gqos::connect::{Ask, Host}; // gqos
use gqos::policy::Policy; // gqos
use gqos::tower::ReserveLayer; // gqos
use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tower::{Layer, service_fn};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let policy = Policy::from_paths(std::env::args_os().skip(1))?; // gqos
    let host = Host::start(policy).await?; // gqos
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    let listener = host.listen_on(listener, Ask::default())?; // gqos
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept_free() => accepted,
            _ = tokio::signal::ctrl_c() => return Ok(()), // what gqos has programmed is removed with the runtime
        };
        let Ok(connection) = accepted else { continue };
        let ask = |request: &Request<Incoming>| Some(Ask::template(request.uri().path().trim_matches('/'))); // gqos
        let reserve = ReserveLayer::new(ask).on(connection.flow()); // gqos
        let service = reserve.layer(service_fn(endless)); // gqos
        let service = TowerToHyperService::new(service);
        let http = hyper::server::conn::http1::Builder::new();
        tokio::spawn(http.serve_connection(TokioIo::new(connection), service));
    }
}

async fn endless(_: Request<Incoming>) -> Result<Response<StreamBody<impl Body>>, Infallible> {
    let frames = stream::repeat(Bytes::from_static(&[0x47; 1316])).map(|data| Ok(Frame::data(data)));
    Ok(Response::new(StreamBody::new(frames)))
}

/// A name for the stream's type, which would otherwise be written twice.
trait Body: futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + 'static {}
impl<S: futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + 'static> Body for S {}
