//! A datagram socket that is held to its flowspec.

use std::future::poll_fn;
use std::io;

use flowspec::Direction;
use tokio::net::UdpSocket;

use crate::clock;
use crate::control::Control;
use crate::lane::Acquired;
use crate::plan::Plan;
use crate::timer::{Timer, Wait};

/// A connected UDP socket whose sends take tokens from a [`Control`].
pub struct Datagram {
    socket: UdpSocket,
    control: Control,
}

impl Datagram {
    /// A socket that `control` shapes.
    pub const fn new(socket: UdpSocket, control: Control) -> Self {
        Self { socket, control }
    }

    /// Sends one datagram, once there are tokens for it.
    ///
    /// A future that is dropped before it completes has sent nothing and costs no tokens.
    ///
    /// - **Errors**: `InvalidInput` for a datagram that is larger than `max_sdu_size` without its headers, of which
    ///   nothing is sent; the errors of `send`.
    pub async fn send(&self, payload: &[u8]) -> io::Result<usize> {
        let mut timer = Timer::default();
        loop {
            let acquired = {
                let mut lane = self.control.lane(Direction::Sending);
                if let Some(largest) = lane.plan().map(Plan::largest_datagram)
                    && payload.len() as u64 > largest
                {
                    return Err(too_large(payload.len(), largest));
                }
                lane.acquire(clock::now(), payload.len())
            };
            let granted = match acquired {
                Acquired::Wait(wait) => {
                    self.wait(&mut timer, wait).await?;
                    continue;
                }
                Acquired::Granted(granted) => granted,
            };
            let result = self.socket.try_send(payload);
            let sent = result.as_ref().ok().copied();
            self.control.lane(Direction::Sending).complete(clock::now(), granted, sent);
            match result {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.socket.writable().await?,
                result => return result,
            }
        }
    }

    /// Receives one datagram from the peer.
    ///
    /// Receiving is not shaped: a datagram that has arrived cannot be delayed for the sender.
    ///
    /// - **Errors**: those of `recv`.
    pub async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        let received = self.socket.recv(buf).await?;
        self.control.lane(Direction::Receiving).complete(clock::now(), 0, Some(received));
        Ok(received)
    }

    /// The inner socket.
    pub const fn get_ref(&self) -> &UdpSocket {
        &self.socket
    }

    /// The handle on the shaping.
    pub const fn control(&self) -> &Control {
        &self.control
    }

    /// The inner socket, without the shaping.
    pub fn into_inner(self) -> UdpSocket {
        self.socket
    }

    /// Waits for a time, or until a plan changes.
    async fn wait(&self, timer: &mut Timer, wait: Wait) -> io::Result<()> {
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
