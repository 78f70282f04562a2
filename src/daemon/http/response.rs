//! Responses: their headers, and their bodies.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use serde::Serialize;

pub(super) const JSON: &str = "application/json";
pub(super) const TEXT: &str = "text/plain; charset=utf-8";

/// Nothing but what this server sends, and no page of another in a frame around it.
const CONTENT_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
    img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The body of a response.
pub(super) enum HttpBody {
    /// `None` once it was sent.
    Whole(Option<Bytes>),
    /// A stream of events, which ends with its connection.
    Events(Pin<Box<dyn Stream<Item = Bytes> + Send>>),
}

/// A response with its status, media type and body.
pub(super) fn response(
    status: StatusCode,
    media: &'static str,
    body: impl Into<Bytes>,
) -> Response<HttpBody> {
    with_body(status, media, HttpBody::Whole(Some(body.into())))
}

pub(super) fn with_body(status: StatusCode, media: &'static str, body: HttpBody) -> Response<HttpBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers: [(HeaderName, &'static str); 5] = [
        (CONTENT_TYPE, media),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CONTENT_SECURITY_POLICY, CONTENT_POLICY),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A value as JSON, on a line of its own.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response<HttpBody> {
    // What is shown has no keys but texts.
    let text = serde_json::to_string(value).unwrap_or_else(|_| "{}".to_owned());
    response(status, JSON, text + "\n")
}

/// A response that says when to ask again, in seconds.
pub(super) fn retry_after(mut response: Response<HttpBody>, seconds: u64) -> Response<HttpBody> {
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// The response to a method that there is not.
pub(super) fn method_not_allowed() -> Response<HttpBody> {
    let mut response = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET and HEAD are the methods here\n");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

impl Body for HttpBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Events(events) => {
                events.as_mut().poll_next(context).map(|event| event.map(|event| Ok(Frame::data(event))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Events(_) => SizeHint::default(),
        }
    }
}
