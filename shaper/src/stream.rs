//! A byte stream that is held to its flowspec, with back-pressure.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use flowspec::Direction;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::clock;
use crate::gate::{Control, Verdict};
use crate::timer::Timer;

/// A stream whose writes and reads take credit from a [`Control`].
///
/// Keeps no data of its own: what a write accepted has gone to the stream inside, so a shutdown sends
/// its FIN after all of it. A write that the stream inside cuts short is charged for what it took. A
/// reader or writer without credit waits, and whoever feeds it waits with it.
pub struct Stream<S> {
    inner: S,
    control: Control,
    write_timer: Timer,
    read_timer: Timer,
}

impl<S> Stream<S> {
    /// A stream that `control` shapes; free in both directions until a plan is set.
    pub fn new(inner: S, control: Control) -> Self {
        Self { inner, control, write_timer: Timer::default(), read_timer: Timer::default() }
    }

    /// The stream inside.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The handle on the shaping.
    pub const fn control(&self) -> &Control {
        &self.control
    }

    /// The stream inside; the shaping ends.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

/// Waits until the lane lets payload pass: how much.
fn poll_credit(
    control: &Control,
    direction: Direction,
    timer: &mut Timer,
    cx: &mut Context<'_>,
    wanted: usize,
) -> Poll<io::Result<usize>> {
    loop {
        let wait = {
            let mut lane = control.lane(direction);
            match lane.ask(clock::now(), wanted) {
                Verdict::Go(granted) => return Poll::Ready(Ok(granted)),
                Verdict::Wait(wait) => {
                    lane.wait(cx.waker());
                    wait
                }
            }
        };
        ready!(timer.poll(cx, wait))?;
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let direction = Direction::Sending;
        let granted = ready!(poll_credit(&this.control, direction, &mut this.write_timer, cx, buf.len()))?;
        let result = Pin::new(&mut this.inner).poll_write(cx, &buf[..granted]);
        let sent = if let Poll::Ready(Ok(sent)) = &result { Some(*sent) } else { None };
        this.control.lane(direction).settle(clock::now(), granted, sent);
        result
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
        let room = buf.remaining();
        let granted = ready!(poll_credit(&this.control, direction, &mut this.read_timer, cx, room))?;
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(granted));
        let result = Pin::new(&mut this.inner).poll_read(cx, &mut part);
        let came = part.filled().len();
        buf.advance(came);
        this.control.lane(direction).settle(clock::now(), granted, Some(came));
        result
    }
}
