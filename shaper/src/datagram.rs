//! A datagram socket that is held to its flowspec.

use std::future::poll_fn;
use std::io;

use flowspec::Direction;
use tokio::net::UdpSocket;

use crate::clock;
use crate::gate::{Control, Verdict};
use crate::timer::{Timer, Wait};

/// A connected UDP socket whose sends take credit from a [`Control`].
pub struct Datagram {
    socket: UdpSocket,
    control: Control,
}

impl Datagram {
    /// A socket that `control` shapes; free until a plan is set.
    pub const fn new(socket: UdpSocket, control: Control) -> Self {
        Self { socket, control }
    }

    /// Sends one datagram, once it conforms.
    ///
    /// Dropping the future before it is done sends and charges nothing.
    ///
    /// - **Errors**: a datagram above `max_sdu_size` less its headers is `InvalidInput` and nothing
    ///   of it is sent; otherwise what `send` answered.
    pub async fn send(&self, payload: &[u8]) -> io::Result<usize> {
        let mut timer = Timer::default();
        loop {
            let verdict = {
                let mut lane = self.control.lane(Direction::Sending);
                if let Some(largest) = lane.largest_datagram()
                    && payload.len() as u64 > largest
                {
                    return Err(too_large(payload.len(), largest));
                }
                lane.ask(clock::now(), payload.len())
            };
            let granted = match verdict {
                Verdict::Wait(wait) => {
                    self.wait(&mut timer, wait).await?;
                    continue;
                }
                Verdict::Go(granted) => granted,
            };
            let result = self.socket.try_send(payload);
            let sent = result.as_ref().ok().copied();
            self.control.lane(Direction::Sending).settle(clock::now(), granted, sent);
            match result {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.socket.writable().await?,
                result => return result,
            }
        }
    }

    /// Receives one datagram from the peer.
    ///
    /// A datagram that has come cannot be held back, so receiving is not shaped.
    ///
    /// - **Errors**: what `recv` answered.
    pub async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        let came = self.socket.recv(buf).await?;
        self.control.lane(Direction::Receiving).settle(clock::now(), 0, Some(came));
        Ok(came)
    }

    /// The socket inside.
    pub const fn get_ref(&self) -> &UdpSocket {
        &self.socket
    }

    /// The handle on the shaping.
    pub const fn control(&self) -> &Control {
        &self.control
    }

    /// The socket inside; the shaping ends.
    pub fn into_inner(self) -> UdpSocket {
        self.socket
    }

    /// Until the moment has come or the plan has changed.
    async fn wait(&self, timer: &mut Timer, wait: Wait) -> io::Result<()> {
        tokio::select! {
            result = poll_fn(|cx| timer.poll(cx, wait)) => result,
            () = self.control.replanned().notified() => Ok(()),
        }
    }
}

fn too_large(payload: usize, largest: u64) -> io::Error {
    let message =
        format!("a datagram of {payload} B of payload is above the {largest} B that max_sdu_size leaves");
    io::Error::new(io::ErrorKind::InvalidInput, message)
}
