//! A byte stream that is shaped to its flowspec, with back-pressure.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use flowspec::Direction;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::clock;
use crate::control::Control;
use crate::timer::Timer;
use crate::tokens::poll_tokens;

/// A stream whose writes and reads take tokens from a [`Control`].
///
/// The adapter buffers nothing: every byte that a write accepted is in the inner stream, so that a shutdown sends its
/// FIN after all of them. A short write costs the tokens of the bytes that it wrote. A read or write without tokens
/// is pending until there are some.
pub struct Stream<S> {
    inner: S,
    control: Control,
    write_timer: Timer,
    read_timer: Timer,
}

impl<S> Stream<S> {
    /// A stream that `control` shapes.
    pub fn new(inner: S, control: Control) -> Self {
        Self { inner, control, write_timer: Timer::default(), read_timer: Timer::default() }
    }

    /// The inner stream.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The handle on the shaping.
    pub const fn control(&self) -> &Control {
        &self.control
    }

    /// The inner stream, without the shaping.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

/// A vectored write takes at most this many of its buffers.
const MOST_PARTS: usize = 64;

/// The buffers of one write: as if the empty ones were not there.
fn filled<'b, 's>(bufs: &'b [IoSlice<'s>]) -> impl Iterator<Item = &'b IoSlice<'s>> {
    bufs.iter().filter(|buf| !buf.is_empty()).take(MOST_PARTS)
}

/// The first bytes of some buffers, in at most [`MOST_PARTS`] parts.
fn first_bytes<'b, 'p>(
    bufs: &'b [IoSlice<'_>],
    bytes: usize,
    parts: &'p mut [IoSlice<'b>; MOST_PARTS],
) -> &'p [IoSlice<'b>] {
    let (mut left, mut count) = (bytes, 0);
    for (part, buf) in parts.iter_mut().zip(filled(bufs)) {
        if left == 0 {
            break;
        }
        let taken = left.min(buf.len());
        *part = IoSlice::new(&buf[..taken]);
        left -= taken;
        count += 1;
    }
    &parts[..count]
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let direction = Direction::Sending;
        let granted = ready!(poll_tokens(&this.control, direction, &mut this.write_timer, cx, buf.len()))?;
        let result = Pin::new(&mut this.inner).poll_write(cx, &buf[..granted]);
        let sent = if let Poll::Ready(Ok(sent)) = &result { Some(*sent) } else { None };
        this.control.state(direction).complete(clock::now(), granted, sent);
        result
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let direction = Direction::Sending;
        let wanted = filled(bufs).fold(0, |sum: usize, buf| sum.saturating_add(buf.len()));
        let granted = ready!(poll_tokens(&this.control, direction, &mut this.write_timer, cx, wanted))?;
        let mut parts = [IoSlice::new(&[]); MOST_PARTS];
        let parts = first_bytes(bufs, granted, &mut parts);
        let result = Pin::new(&mut this.inner).poll_write_vectored(cx, parts);
        let sent = if let Poll::Ready(Ok(sent)) = &result { Some(*sent) } else { None };
        this.control.state(direction).complete(clock::now(), granted, sent);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let direction = Direction::Receiving;
        let wanted = buf.remaining();
        let granted = ready!(poll_tokens(&this.control, direction, &mut this.read_timer, cx, wanted))?;
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(granted));
        let result = Pin::new(&mut this.inner).poll_read(cx, &mut part);
        let received = part.filled().len();
        buf.advance(received);
        this.control.state(direction).complete(clock::now(), granted, Some(received));
        result
    }
}
