//! The layer for HTTP servers: what a request's response is, and how long its reservation lasts. On the loopback interface,
//! shaped in user space, so that no privilege is needed.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod common;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use common::policy;
use flowspec::Rate;
use futures_util::stream;
use gqos::admission::Decision;
use gqos::connect::{Ask, Connection, Flow, Host};
use gqos::tower::{Reserve, ReserveLayer, ReservedBody};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::{Layer, Service, ServiceExt, service_fn};

const POLICY: &str = r#"
version = 1
[interface.lo]
enforcement = "user-space"
egress = { capacity = "100 Mbit/s", reservable = "80%" }
[template.hd]
sending = { service_type = "guaranteed", token_rate = "60 Mbit/s" }
[template.sd]
sending = { service_type = "guaranteed", token_rate = "20 Mbit/s" }
"#;

/// Two connections of a host, with the other ends.
async fn two_connections() -> (Host, [Connection; 2], Vec<TcpStream>) {
    let host = Host::start(policy(POLICY)).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut clients = Vec::new();
    let mut connect = async || {
        clients.push(TcpStream::connect(address).await.unwrap());
        host.adopt(listener.accept().await.unwrap().0).unwrap()
    };
    let connections = [connect().await, connect().await];
    (host, connections, clients)
}

async fn reserved(host: &Host) -> Rate {
    host.report().await.unwrap().first().map_or(Rate::ZERO, |report| report.status.totals.sending.reserved)
}

/// What a path asks for: `/` nothing, any other a ladder of its template and `sd`.
fn ask(request: &Request<()>) -> Option<Ask> {
    let name = request.uri().path().trim_matches('/');
    (!name.is_empty()).then(|| Ask::first_of([name, "sd"]))
}

/// Answers with the rendition that was reserved.
async fn answer(request: Request<()>) -> Result<Response<Full<Bytes>>, Infallible> {
    let rendition = request.extensions().get::<Decision>().and_then(Decision::rendition);
    Ok(Response::new(Full::from(rendition.unwrap_or("nothing").to_owned())))
}

fn get(path: &str) -> Request<()> {
    Request::get(path).body(()).unwrap()
}

async fn call<S, F, R>(service: &Reserve<S, F>, request: Request<()>) -> Response<ReservedBody<R>>
where
    Reserve<S, F>: Service<Request<()>, Response = Response<ReservedBody<R>>, Error = Infallible> + Clone,
{
    service.clone().oneshot(request).await.unwrap()
}

async fn text<B: Body<Data = Bytes, Error = Infallible>>(body: B) -> String {
    String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn a_request_is_answered_with_its_rendition_or_with_the_decision() {
    let (host, mut connections, _clients) = two_connections().await;
    let layer = ReserveLayer::new(ask).retry_after(Duration::from_millis(2_500));
    let [first, second] =
        connections.each_ref().map(|one| layer.clone().on(one.flow()).layer(service_fn(answer)));
    assert_eq!(text(call(&first, get("/")).await.into_body()).await, "nothing");
    let hd = call(&first, get("/hd")).await;
    assert_eq!((hd.status(), reserved(&host).await), (StatusCode::OK, Rate::from_mbit(60)));
    let sd = call(&second, get("/hd")).await;
    assert_eq!((sd.status(), reserved(&host).await), (StatusCode::OK, Rate::from_mbit(80)));
    // A request of the same connection while the other one's body is open.
    let shared = call(&first, get("/sd")).await;
    assert_eq!(shared.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(text(shared.into_body()).await.contains("holds a reservation already"));
    assert_eq!(text(sd.into_body()).await, "sd");
    assert_eq!(
        reserved(&host).await,
        Rate::from_mbit(80),
        "what the server has buffered is still to be sent"
    );
    connections[1].flush().await.unwrap();
    assert_eq!(reserved(&host).await, Rate::from_mbit(60), "the body has ended, and is sent");
    drop(hd);
    connections[0].flush().await.unwrap();
    assert_eq!(reserved(&host).await, Rate::ZERO, "the body was dropped");
    let unknown = call(&first, get("/4k")).await;
    assert_eq!(unknown.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(unknown.headers()["retry-after"], "3");
    assert_eq!(unknown.headers()["content-type"], "application/json");
    let decision: serde_json::Value = serde_json::from_str(&text(unknown.into_body()).await).unwrap();
    assert_eq!((&decision["ok"], &decision["reason"]), (&false.into(), &"unknown_template".into()));
    host.stop().await;
}

#[tokio::test]
async fn the_flow_of_a_request_is_the_layers_or_an_extension_of_it() {
    let (host, [first, _second], _clients) = two_connections().await;
    let service = ReserveLayer::new(ask).layer(service_fn(answer));
    let without = call(&service, get("/sd")).await;
    assert_eq!(without.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(text(without.into_body()).await.contains("has no flow"));
    let mut request = get("/sd");
    request.extensions_mut().insert::<Arc<Flow>>(Arc::clone(first.flow()));
    assert_eq!(text(call(&service, request).await.into_body()).await, "sd");
    host.stop().await;
}

#[tokio::test]
async fn a_reservation_lasts_while_its_body_streams() {
    let (host, [mut first, _second], _clients) = two_connections().await;
    let endless = |_: Request<()>| async {
        let frames = stream::repeat_with(|| Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"data"))));
        Ok::<_, Infallible>(Response::new(StreamBody::new(frames)))
    };
    let service = ReserveLayer::new(ask).on(first.flow()).layer(service_fn(endless));
    let mut body = call(&service, get("/hd")).await.into_body();
    for _ in 0..3 {
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "data");
        assert_eq!(reserved(&host).await, Rate::from_mbit(60));
    }
    drop(body);
    first.flush().await.unwrap();
    assert_eq!(reserved(&host).await, Rate::ZERO);
    host.stop().await;
}

/// Serves whole bodies of so many bytes by HTTP/1.1 on a connection with a reservation for each request.
async fn whole_bodies(size: usize) -> (Host, TcpStream) {
    let (host, [connection, _second], mut clients) = two_connections().await;
    let ask = |_: &Request<Incoming>| Some(Ask::template("hd"));
    let whole = move |_: Request<Incoming>| async move {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(vec![0; size]))))
    };
    let service = ReserveLayer::new(ask).on(connection.flow()).layer(service_fn(whole));
    let server = http1::Builder::new();
    tokio::spawn(server.serve_connection(TokioIo::new(connection), TowerToHyperService::new(service)));
    (host, clients.swap_remove(0))
}

#[tokio::test]
async fn a_body_that_the_server_takes_at_once_is_sent_with_its_reservation() {
    // More than the sockets can hold, so that it is not sent before it is read.
    let (host, mut client) = whole_bodies(64 << 20).await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 100_000];
    client.read_exact(&mut first).await.unwrap();
    assert!(first.starts_with(b"HTTP/1.1 200 OK"));
    assert_eq!(reserved(&host).await, Rate::from_mbit(60));
    host.stop().await;
}

#[tokio::test]
async fn the_requests_of_a_connection_reserve_one_after_the_other() {
    const SIZE: usize = 100_000;
    let (host, mut client) = whole_bodies(SIZE).await;
    for _ in 0..3 {
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 200 OK"), "{}", String::from_utf8_lossy(&head));
        client.read_exact(&mut vec![0; SIZE]).await.unwrap();
    }
    // The flush follows the last byte, which the client may have first.
    while reserved(&host).await != Rate::ZERO {
        tokio::task::yield_now().await;
    }
    // Two at once: the second response takes over where the first one ends.
    client.write_all(&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2)).await.unwrap();
    let mut both = Vec::new();
    while both.len() < 2 * SIZE {
        assert_ne!(client.read_buf(&mut both).await.unwrap(), 0);
    }
    let both = String::from_utf8_lossy(&both);
    assert_eq!(both.matches("HTTP/1.1 200 OK").count(), 2);
    host.stop().await;
}
