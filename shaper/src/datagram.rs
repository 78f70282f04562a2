//! A datagram socket that is shaped to its flowspec.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use flowspec::Direction;
use tokio::net::UdpSocket;

use crate::clock;
use crate::control::Control;
use crate::direction_state::Acquired;
use crate::plan::{Plan, Segments};
use crate::sys::{self, Batch};
use crate::timer::{TimedWait, Timer};

/// A UDP socket whose sends take tokens from a [`Control`]. Several may share a socket, each with a control of its own.
pub struct Datagram {
    socket: Arc<UdpSocket>,
    control: Control,
}

impl Datagram {
    /// Shapes every datagram that is sent through it; `control` may be that of other sockets too.
    pub fn new(socket: impl Into<Arc<UdpSocket>>, control: Control) -> Self {
        Self { socket: socket.into(), control }
    }

    /// Sends one datagram to the peer of a connected socket, once there are tokens for it.
    ///
    /// A future that is dropped before it completes has sent nothing and costs no tokens.
    ///
    /// - **Errors**: `InvalidInput` for a datagram that is larger than `max_sdu_size` without its headers, of which
    ///   nothing is sent; the errors of `send`.
    pub async fn send(&self, payload: &[u8]) -> io::Result<usize> {
        self.send_by(payload.len(), |socket| socket.try_send(payload)).await
    }

    /// Sends one datagram of this payload by a call that does not block, once there are tokens for it: by
    /// `try_send_to`, for one. The call is made again once the socket can take more, where it answers `WouldBlock`.
    ///
    /// - **Errors**: as [`send`](Self::send); those of the call.
    pub async fn send_by(
        &self,
        payload: usize,
        send: impl Fn(&UdpSocket) -> io::Result<usize>,
    ) -> io::Result<usize> {
        // A sender that never waits still lets the other tasks of its thread run: calls that do not block use no budget.
        tokio::task::coop::consume_budget().await;
        let mut timer = Timer::default();
        loop {
            let acquired = {
                let mut state = self.control.state(Direction::Sending);
                if let Some(largest) = state.plan().map(Plan::largest_datagram)
                    && payload as u64 > largest
                {
                    return Err(too_large(payload, largest));
                }
                state.acquire(clock::now(), payload)
            };
            let granted = match acquired {
                Acquired::Wait(wait) => {
                    self.wait(&mut timer, wait).await?;
                    continue;
                }
                Acquired::Granted(granted) => granted,
            };
            let result = send(&self.socket);
            let sent = result.as_ref().ok().copied();
            self.control.state(Direction::Sending).complete(clock::now(), granted, sent);
            match result {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.socket.writable().await?,
                result => return result,
            }
        }
    }

    /// Sends a payload to the peer of a connected socket as datagrams of `segment` bytes each, the last with the rest. As many
    /// as cost half of the bucket leave with one system call, once there are tokens for them.
    ///
    /// A future that is dropped before it completes has sent some of the datagrams, and paid for these.
    ///
    /// - **Errors**: `InvalidInput` for a `segment` of zero, or larger than `max_sdu_size` without its headers; those of
    ///   `sendmsg`, after the datagrams before.
    /// - **Source**: udp(7), UDP_SEGMENT. Where a route does not offer it, each datagram has a call of its own.
    pub async fn send_segments(&self, payload: &[u8], segment: usize) -> io::Result<usize> {
        self.send_segments_by(payload, segment, |socket, batch| sys::try_send_segments(socket, batch, None))
            .await
    }

    /// The same by a call that does not block and sends a batch whole or not at all: [`sys::try_send_segments`], for one.
    ///
    /// - **Errors**: as [`send_segments`](Self::send_segments); those of the call.
    pub async fn send_segments_by(
        &self,
        payload: &[u8],
        segment: usize,
        send: impl Fn(&UdpSocket, Batch<'_>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if segment == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "datagrams without payload cannot be cut from one",
            ));
        }
        let mut timer = Timer::default();
        let (mut left, mut most) = (payload, sys::most_segments(segment));
        while !left.is_empty() {
            // As in `send_by`.
            tokio::task::coop::consume_budget().await;
            let wanted = Segments { payload: left.len() as u64, segment: segment as u64 };
            let acquired = {
                let mut state = self.control.state(Direction::Sending);
                if let Some(largest) = state.plan().map(Plan::largest_datagram)
                    && wanted.segment.min(wanted.payload) > largest
                {
                    return Err(too_large(segment.min(left.len()), largest));
                }
                state.acquire_segments(clock::now(), wanted.first(most))
            };
            let granted = match acquired {
                Acquired::Wait(wait) => {
                    self.wait(&mut timer, wait).await?;
                    continue;
                }
                Acquired::Granted(granted) => granted,
            };
            let (batch, rest) = left.split_at(granted.min(left.len()));
            let result = send(&self.socket, Batch { payload: batch, segment });
            let batch = Segments { payload: batch.len() as u64, ..wanted };
            self.control.state(Direction::Sending).complete_segments(clock::now(), batch, result.is_ok());
            match result {
                Ok(_) => left = rest,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.socket.writable().await?,
                Err(error) if batch.payload > batch.segment && sys::refuses_segments(&error) => most = 1,
                Err(error) => return Err(error),
            }
        }
        Ok(payload.len())
    }

    /// Receives one datagram from the peer.
    ///
    /// Receiving is not shaped: a datagram that has arrived cannot be delayed for the sender. See
    /// [`recv_conforming`](Self::recv_conforming).
    ///
    /// - **Errors**: those of `recv`.
    pub async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        let received = self.socket.recv(buf).await?;
        self.control.state(Direction::Receiving).complete(clock::now(), 0, Some(received));
        Ok(received)
    }

    /// Receives one datagram from the peer, once there are tokens for it.
    ///
    /// What arrives faster waits in the socket's buffer, and the kernel drops what does not fit:
    /// [`assist_receiving`](crate::sys::assist_receiving) keeps the buffer small. A datagram that is larger than the plan's
    /// largest one takes the tokens of that. A future that is dropped before it completes has received nothing and costs no
    /// tokens.
    ///
    /// - **Errors**: those of `recv`.
    pub async fn recv_conforming(&self, buf: &mut [u8]) -> io::Result<usize> {
        let mut timer = Timer::default();
        loop {
            // The tokens of a datagram as large as it is: a deep bucket then makes up for timers that are late.
            let arrived = self.socket.peek(buf).await?;
            let acquired = {
                let mut state = self.control.state(Direction::Receiving);
                let largest = state.plan().map(|plan| usize::try_from(plan.largest_datagram()));
                let largest = largest.map_or(arrived, |largest| largest.unwrap_or(usize::MAX));
                state.acquire(clock::now(), arrived.min(largest))
            };
            let granted = match acquired {
                Acquired::Wait(wait) => {
                    self.wait(&mut timer, wait).await?;
                    continue;
                }
                Acquired::Granted(granted) => granted,
            };
            let result = self.socket.try_recv(buf);
            let received = result.as_ref().ok().copied();
            self.control.state(Direction::Receiving).complete(clock::now(), granted, received);
            match result {
                // Another reader has it.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }

    /// Not shaped: what is sent through it directly takes no tokens.
    pub fn get_ref(&self) -> &UdpSocket {
        &self.socket
    }

    /// The handle on the shaping.
    pub const fn control(&self) -> &Control {
        &self.control
    }

    /// The inner socket, without the shaping.
    pub fn into_inner(self) -> Arc<UdpSocket> {
        self.socket
    }

    /// Waits for a time, or until a plan changes.
    async fn wait(&self, timer: &mut Timer, wait: TimedWait) -> io::Result<()> {
        tokio::select! {
            result = poll_fn(|cx| timer.poll(cx, wait)) => result,
            () = self.control.plan_changed().notified() => Ok(()),
        }
    }
}

fn too_large(payload: usize, largest: u64) -> io::Error {
    let message =
        format!("a datagram of {payload} B of payload is above the {largest} B that max_sdu_size leaves");
    io::Error::new(io::ErrorKind::InvalidInput, message)
}
