//! A client's end of a connection: calls that leave in pieces, and replies.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use gqos::control::limits::MOST_REPLY_BYTES;
use gqos::control::{Call, FrameReader, Reply, encode};
use gqos::linux::send_with_descriptor;
use serde_json::Value;

use crate::random::Random;

/// What a call was for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Asked {
    Reserve {
        id: String,
    },
    Attach {
        id: String,
        cookie: u64,
    },
    Release {
        id: String,
    },
    /// About a flow of another user.
    OfAnother {
        id: String,
    },
    /// A stream of flows.
    Flows,
    /// A stream that does not end.
    Stream,
    Other,
}

/// A connection. Its number is that of its process as the daemon sees it.
pub(crate) struct Connection {
    pub(crate) number: u32,
    stream: UnixStream,
    frames: FrameReader,
    outgoing: VecDeque<Piece>,
    /// The calls that were not answered, oldest first.
    pub(crate) asked: VecDeque<Asked>,
    /// It reads nothing.
    pub(crate) is_deaf: bool,
}

struct Piece {
    bytes: Vec<u8>,
    descriptor: Option<Arc<OwnedFd>>,
}

/// What came of a connection.
pub(crate) enum Came {
    Reply(Asked, Reply),
    /// A reply that no call was for.
    Unasked(Reply),
    Ended,
}

impl Connection {
    pub(crate) fn new(number: u32, stream: UnixStream) -> Self {
        stream.set_nonblocking(true).unwrap();
        Self {
            number,
            stream,
            frames: FrameReader::new(MOST_REPLY_BYTES),
            outgoing: VecDeque::new(),
            asked: VecDeque::new(),
            is_deaf: false,
        }
    }

    /// Queues a call, whole or in pieces; one with a descriptor is whole.
    pub(crate) fn call(
        &mut self,
        random: &mut Random,
        (asked, call): (Asked, &Call),
        with: Option<Arc<OwnedFd>>,
    ) {
        let bytes = encode(call).unwrap();
        self.asked.push_back(asked);
        if with.is_some() || !random.one_in(3) {
            self.outgoing.push_back(Piece { bytes, descriptor: with });
            return;
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(1 + random.index(rest.len()));
            self.outgoing.push_back(Piece { bytes: piece.to_vec(), descriptor: None });
            rest = after;
        }
    }

    /// Queues bytes that are no call.
    pub(crate) fn bytes(&mut self, bytes: Vec<u8>, with: Option<Arc<OwnedFd>>) {
        self.outgoing.push_back(Piece { bytes, descriptor: with });
    }

    /// Leaves off in the middle of a message.
    pub(crate) fn stall(&mut self) {
        self.outgoing.clear();
        self.bytes(b"{\"method\":\"org.gqos.Sta".to_vec(), None);
    }

    /// Sends the next pieces, as far as the buffer takes them.
    pub(crate) fn send(&mut self, pieces: usize) {
        for _ in 0..pieces {
            let Some(Piece { bytes, descriptor }) = self.outgoing.front_mut() else { return };
            let sent = match descriptor {
                Some(with) => send_with_descriptor(&self.stream, bytes, Some(with.as_fd())),
                None => self.stream.write(bytes),
            };
            match sent {
                Ok(sent) if sent == bytes.len() => drop(self.outgoing.pop_front()),
                Ok(sent) => {
                    bytes.drain(..sent);
                    *descriptor = None;
                }
                // The buffer is full, or the connection has ended.
                Err(_) => return,
            }
        }
    }

    /// Everything that the daemon has sent.
    pub(crate) fn receive(&mut self) -> Vec<Came> {
        let mut came = Vec::new();
        if self.is_deaf {
            return came;
        }
        let mut buffer = [0; 16 << 10];
        let ended = loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => break true,
                Ok(bytes) => self.frames.push(&buffer[..bytes]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break false,
                Err(_) => break true,
            }
        };
        while let Some(message) = self.frames.next_message().expect("the daemon keeps to its limits") {
            let reply = Reply::read(&message).expect("a reply");
            came.push(match self.asked.front() {
                None => Came::Unasked(reply),
                Some(asked) => {
                    let asked = asked.clone();
                    if !reply.continues {
                        self.asked.pop_front();
                    }
                    Came::Reply(asked, reply)
                }
            });
        }
        if ended {
            came.push(Came::Ended);
        }
        came
    }
}

/// A call of a method of `org.gqos`.
pub(crate) fn call(method: &str, parameters: Value) -> Call {
    let more = matches!(method, "Flows" | "Wait" | "Events");
    Call {
        method: format!("org.gqos.{method}"),
        parameters: Some(parameters.into()),
        more,
        ..Call::default()
    }
}
