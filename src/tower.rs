//! Reservations for HTTP requests, as a layer of `tower`: for servers on hyper, axum, tonic and similar libraries.
//!
//! Takes a request and the reservation that it asks for. Returns the response of the inner service, with a
//! reservation that lasts as long as the response's body, or 503 with the decision. Knows no protocol: the server's
//! connections are those of [`connect`](crate::connect), and the [`Flow`] of a request's connection is in the
//! request's extensions or in the layer.
//!
//! ```
//! use gqos::connect::Ask;
//! use gqos::tower::ReserveLayer;
//! use http::Request;
//!
//! // What each request asks for; `None` for those that need nothing reserved.
//! let layer = ReserveLayer::new(|request: &Request<()>| {
//!     let name = request.uri().path().strip_prefix("/vod/")?;
//!     Some(Ask::first_of([name, "480p"]).class("viewer"))
//! });
//! # let _ = layer;
//! ```
//!
//! # A server on hyper
//!
//! A server that accepts connections and serves each with a function needs these changes: it starts a host, passes
//! each stream to [`Host::adopt`](crate::connect::Host::adopt), and puts the layer in front of its function. The
//! crates are `hyper`, `hyper-util` with the features `tokio` and `service`, and `tower` with `util`. A signal that
//! the server does not handle leaves the host's classes in the kernel: [how a host
//! ends](crate::connect::Host#the-end-of-a-host).
//!
//! ```no_run
//! use std::convert::Infallible;
//!
//! use gqos::connect::{Ask, Host};
//! use gqos::policy::Policy;
//! use gqos::tower::ReserveLayer;
//! use http_body_util::Full;
//! use hyper::body::{Bytes, Incoming};
//! use hyper::server::conn::http1;
//! use hyper::{Request, Response};
//! use hyper_util::{rt::TokioIo, service::TowerToHyperService};
//! use tokio::net::TcpListener;
//! use tower::{Layer, service_fn};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let host = Host::start(Policy::from_path("/etc/gqos/policy.toml")?).await?;
//!     let listener = TcpListener::bind("0.0.0.0:8080").await?;
//!     loop {
//!         let connection = host.adopt(listener.accept().await?.0)?;
//!         let ask = |_: &Request<Incoming>| Some(Ask::first_of(["1080p", "720p"]).class("viewer"));
//!         let reserve = ReserveLayer::new(ask).on(connection.flow());
//!         let service = TowerToHyperService::new(reserve.layer(service_fn(answer)));
//!         tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(connection), service));
//!     }
//! }
//!
//! /// The function of the server, as it was.
//! async fn answer(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
//!     Ok(Response::new(Full::from("a segment")))
//! }
//! ```
//!
//! # What a request gets
//!
//! | request | response |
//! | --- | --- |
//! | asks for nothing | the response of the inner service |
//! | is admitted | the response of the inner service, which finds the [`Decision`](crate::admission::Decision) in the request's extensions, and with it the [rendition](crate::admission::Decision::rendition) |
//! | is refused | 503, Retry-After, and the decision as JSON |
//! | comes while another request of its connection holds the reservation (HTTP/2) | 503, and the reason as JSON |
//! | has no flow, or the kernel fails | 500, and the reason as JSON |
//!
//! # HLS and DASH
//!
//! A player fetches one segment after another. This layer holds no reservation between two segments, so that other
//! viewers may take the capacity. Reserve for the connection instead, when it is accepted. Serve refused connections
//! as well, so that their request is read and answered.
//!
//! ```no_run
//! use gqos::connect::{AcceptError, Ask, Host};
//! use http_body_util::Full;
//! use hyper::body::{Bytes, Incoming};
//! use hyper::server::conn::http1;
//! use hyper::service::service_fn;
//! use hyper::{Request, Response};
//! use hyper_util::rt::TokioIo;
//!
//! async fn serve(host: &Host) -> Result<(), Box<dyn std::error::Error>> {
//!     let viewer = Ask::first_of(["1080p", "720p"]).class("viewer");
//!     let listener = host.listen("0.0.0.0:8080".parse()?, viewer).await?;
//!     let http = http1::Builder::new();
//!     // A viewer that tries again connects again.
//!     let refusing = http1::Builder::new().keep_alive(false).clone();
//!     loop {
//!         match listener.accept().await {
//!             Ok(connection) => {
//!                 tokio::spawn(http.serve_connection(TokioIo::new(connection), service_fn(segment)));
//!             }
//!             Err(AcceptError::Refused { stream, .. }) => {
//!                 tokio::spawn(refusing.serve_connection(TokioIo::new(stream), service_fn(busy)));
//!             }
//!             Err(error) => eprintln!("{error}"),
//!         }
//!     }
//! }
//!
//! async fn busy(_: Request<Incoming>) -> http::Result<Response<Full<Bytes>>> {
//!     Response::builder().status(503).header("Retry-After", "5").body(Full::default())
//! }
//!
//! async fn segment(_: Request<Incoming>) -> http::Result<Response<Full<Bytes>>> {
//!     Ok(Response::new(Full::from("a segment")))
//! }
//! ```
//!
//! # HTTP/2
//!
//! A reservation belongs to a connection, and a connection has one reservation at a time. All streams of an HTTP/2
//! connection share one TCP connection, and neither the token bucket nor the kernel can distinguish them. While a
//! response with a reservation is sent, another request of the same connection that asks for a reservation therefore
//! gets 503, even if capacity is available. Requests that ask for nothing share the reserved rate.
//!
//! If a client fetches several reserved responses at once, serve it by HTTP/1.1 on several connections, or reserve
//! for the whole connection when it is accepted ([`Host::listen`](crate::connect::Host::listen)) and do not use the
//! layer.
//!
//! # The end
//!
//! The reservation is released when the body has ended or is dropped, and the connection is flushed. The flush is
//! necessary because the server library may take a whole body at once and write it much later. For the same reason,
//! the layer passes large frames of a body on in pieces. Data that is still queued in the kernel at the release is
//! sent as best effort.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tower_layer::Layer;
use tower_service::Service;

use crate::connect::{Ask, ConnectError, Flow};

/// The most data of a reserved response that is given on at once: the size of a frame of HTTP/2, and a few milliseconds
/// of a stream.
const PIECE: usize = 16_384;

/// The Retry-After of a refusal unless [`ReserveLayer::retry_after`] says otherwise.
const RETRY: Duration = Duration::from_secs(5);

/// Reserves for the requests of a service.
///
/// `F` says what a request asks for: a function from `&Request<B>` to `Option<Ask>`.
#[derive(Clone, Debug)]
pub struct ReserveLayer<F> {
    ask: F,
    flow: Option<Arc<Flow>>,
    retry_after: Duration,
}

/// A service whose requests have reservations: made by [`ReserveLayer`].
#[derive(Clone, Debug)]
pub struct Reserve<S, F> {
    inner: S,
    layer: ReserveLayer<F>,
}

pin_project_lite::pin_project! {
    /// The body of a response: that of the inner service, which holds the reservation, or the text of a refusal.
    pub struct ReservedBody<B> {
        #[pin]
        inner: Option<B>,
        // The text of a refusal, or what is left of the last frame.
        rest: Bytes,
        reserved: Option<ReservedResponse>,
    }
}

/// A reservation that ends when this is dropped.
struct ReservedResponse(Arc<Flow>);

impl<F> ReserveLayer<F> {
    /// Reserves what `ask` says of each request, on the flow in the request's extensions (`Arc<Flow>`), or on the one that
    /// is set by [`on`](Self::on).
    pub const fn new(ask: F) -> Self {
        Self { ask, flow: None, retry_after: RETRY }
    }

    /// The same for the requests of one connection, which have no flow in their extensions.
    #[must_use]
    pub fn on(self, flow: &Arc<Flow>) -> Self {
        Self { flow: Some(Arc::clone(flow)), ..self }
    }

    /// The same, which tells a refused client to wait this long: whole seconds, rounded up.
    #[must_use]
    pub fn retry_after(self, retry_after: Duration) -> Self {
        Self { retry_after, ..self }
    }
}

impl<S, F: Clone> Layer<S> for ReserveLayer<F> {
    type Service = Reserve<S, F>;

    fn layer(&self, inner: S) -> Self::Service {
        Reserve { inner, layer: self.clone() }
    }
}

impl<S, F, B, R> Service<Request<B>> for Reserve<S, F>
where
    S: Service<Request<B>, Response = Response<R>, Future: Send> + Clone + Send + 'static,
    F: Fn(&Request<B>) -> Option<Ask>,
    B: Send + 'static,
    R: Body<Data = Bytes>,
{
    type Response = Response<ReservedBody<R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let asked = (self.layer.ask)(&request);
        let flow = request.extensions().get::<Arc<Flow>>().cloned();
        let (flow, retry_after) = (flow.or_else(|| self.layer.flow.clone()), self.layer.retry_after);
        // The one that is ready serves the request, and its clone becomes ready for the next.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        Box::pin(async move {
            let reserved = match (asked, flow) {
                (None, _) => None,
                (Some(_), None) => return Ok(no_flow()),
                (Some(asked), Some(flow)) => match flow.reserve(&asked).await {
                    Ok(decision) => {
                        request.extensions_mut().insert(decision);
                        Some(ReservedResponse(flow))
                    }
                    Err(error) => return Ok(failed(&error, retry_after)),
                },
            };
            let response = inner.call(request).await?;
            Ok(response.map(|body| ReservedBody { inner: Some(body), rest: Bytes::new(), reserved }))
        })
    }
}

impl Drop for ReservedResponse {
    fn drop(&mut self) {
        // A socket that is closed has nothing to release.
        let _ = self.0.release_when_flushed();
    }
}

impl<B: Body<Data = Bytes>> Body for ReservedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        if !this.rest.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(piece(this.rest)))));
        }
        let Some(inner) = this.inner.as_pin_mut() else { return Poll::Ready(None) };
        let frame = ready!(inner.poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            *this.reserved = None;
        }
        let is_whole = this.reserved.is_none();
        Poll::Ready(frame.map(|frame| {
            frame.map(|frame| {
                frame.map_data(|data| {
                    if is_whole {
                        return data;
                    }
                    *this.rest = data;
                    piece(this.rest)
                })
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let Some(inner) = &self.inner else { return SizeHint::with_exact(rest) };
        let of_inner = inner.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(of_inner.lower().saturating_add(rest));
        if let Some(upper) = of_inner.upper().and_then(|upper| upper.checked_add(rest)) {
            hint.set_upper(upper);
        }
        hint
    }
}

/// Takes the next piece off the front.
fn piece(rest: &mut Bytes) -> Bytes {
    rest.split_to(rest.len().min(PIECE))
}

/// A refusal, with the decision, or a fault.
fn failed<B>(error: &ConnectError, retry_after: Duration) -> Response<ReservedBody<B>> {
    let described =
        serde_json::json!({ "ok": false, "error": error.wsa().name(), "message": error.to_string() });
    let json = error.decision().and_then(|decision| serde_json::to_value(decision).ok()).unwrap_or(described);
    let status = match error {
        ConnectError::Refused(_) | ConnectError::AlreadyReserved | ConnectError::TooManyRequests { .. } => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut response = with_text(status, &json);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn no_flow<B>() -> Response<ReservedBody<B>> {
    let message =
        "the request has no flow: its server sets Arc<Flow> as an extension, or the layer's by `on`";
    with_text(StatusCode::INTERNAL_SERVER_ERROR, &serde_json::json!({ "ok": false, "message": message }))
}

fn with_text<B>(status: StatusCode, json: &serde_json::Value) -> Response<ReservedBody<B>> {
    let rest = Bytes::from(format!("{json}\n"));
    let mut response = Response::new(ReservedBody { inner: None, rest, reserved: None });
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
