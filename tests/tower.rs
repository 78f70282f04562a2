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
use hyper::body::{Body, Bytes, Frame};
use hyper::{Request, Response, StatusCode};
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
    let (host, [first, second], _clients) = two_connections().await;
    let layer = ReserveLayer::new(ask).retry_after(Duration::from_millis(2_500));
    let [first, second] = [&first, &second].map(|one| layer.clone().on(one.flow()).layer(service_fn(answer)));
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
    assert_eq!(reserved(&host).await, Rate::from_mbit(60), "the body has ended");
    drop(hd);
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
    let (host, [first, _second], _clients) = two_connections().await;
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
    assert_eq!(reserved(&host).await, Rate::ZERO);
    host.stop().await;
}
