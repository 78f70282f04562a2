//! Requests without a runtime: the caller blocks until the kernel has answered.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use flowspec::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike as _};
use rtnetlink::packet_core::{NLM_F_DUMP_INTR, NLM_F_ECHO, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};

use super::error;
use super::request::{NetlinkRequest, NetlinkRequestKind};
use crate::failure::{AnswerProblem, Cause, KernelCall, KernelFailure};

/// A socket for dumps, and for what is left to do when no runtime awaits an answer any more. The kernel handles each request
/// while it is sent, so that its answer is there at once.
#[derive(Debug)]
pub(super) struct BlockingNetlink {
    socket: Socket,
    /// The number of the last request.
    requests: AtomicU32,
}

/// Why a dump has not shown everything.
enum Incomplete {
    /// The kernel says why.
    Refused(Cause),
    /// Another attempt may.
    Again(Cause),
}

/// The largest answer: an acknowledgement with the request in it and an explanation.
const LARGEST_ANSWER: usize = 8 << 10;

/// The largest part of a dump.
const LARGEST_PART: usize = 64 << 10;

/// How often a dump is tried that changes interrupt, or whose answer is lost.
const DUMP_ATTEMPTS: usize = 4;

/// How many seconds the kernel may take for an answer: one that comes later was lost.
const PATIENCE: u32 = 1;

impl BlockingNetlink {
    /// Opens a socket in the network namespace of this thread.
    ///
    /// - **Errors**: `socket`, `bind`, `connect` or `setsockopt`.
    pub(super) fn open() -> Result<Self, KernelFailure> {
        let failed = |call| move |cause: io::Error| KernelCall(call).failed("NETLINK_ROUTE", cause);
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(failed("socket"))?;
        socket.bind_auto().map_err(failed("bind"))?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(failed("connect"))?;
        let patience = TimeVal::seconds(PATIENCE.into());
        setsockopt(&socket, sockopt::ReceiveTimeout, &patience)
            .map_err(|errno| failed("setsockopt(SO_RCVTIMEO)")(errno.into()))?;
        Ok(Self { socket, requests: AtomicU32::new(0) })
    }

    /// Sends a request that the kernel acknowledges.
    ///
    /// - **Errors**: the kernel's.
    pub(super) fn request(&self, request: NetlinkRequest) -> Result<(), KernelFailure> {
        let NetlinkRequest { call, object, message, kind } = request;
        self.acknowledged(message, kind).map_err(|cause| KernelCall(call).failed(object, cause))
    }

    /// Dumps objects.
    ///
    /// - **Errors**: the kernel's, or an answer that is not complete.
    pub(super) fn dump(&self, request: NetlinkRequest) -> Result<Vec<RouteNetlinkMessage>, KernelFailure> {
        let NetlinkRequest { call, object, message, kind } = request;
        let mut cause = Cause::from(AnswerProblem::Empty);
        for _ in 0..DUMP_ATTEMPTS {
            match self.dumped(message.clone(), kind) {
                Ok(messages) => return Ok(messages),
                Err(Incomplete::Again(again)) => cause = again,
                Err(Incomplete::Refused(refused)) => return Err(KernelCall(call).failed(object, refused)),
            }
        }
        Err(KernelCall(call).failed(object, cause))
    }

    /// Sends a request under a number of its own.
    fn send(&self, message: RouteNetlinkMessage, flags: u16) -> io::Result<u32> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let mut request = NetlinkMessage::from(message);
        request.header.flags = flags;
        request.header.sequence_number = number;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        Ok(number)
    }

    /// Receives the next datagram.
    fn receive(&self, datagram: &mut Vec<u8>) -> Result<(), Cause> {
        loop {
            datagram.clear();
            match self.socket.recv(datagram, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(Cause::Timeout { after: Duration::from_secs(PATIENCE.into()) });
                }
                received => return Ok(received.map(drop)?),
            }
        }
    }

    /// The objects of one dump.
    fn dumped(
        &self,
        message: RouteNetlinkMessage,
        kind: NetlinkRequestKind,
    ) -> Result<Vec<RouteNetlinkMessage>, Incomplete> {
        let again = |problem: AnswerProblem| Incomplete::Again(problem.into());
        let number =
            self.send(message, kind.flags()).map_err(|error| Incomplete::Again(Cause::from(error)))?;
        let (mut messages, mut is_interrupted) = (Vec::new(), false);
        let mut datagram = Vec::with_capacity(LARGEST_PART);
        loop {
            self.receive(&mut datagram).map_err(Incomplete::Again)?;
            let mut rest = &datagram[..];
            while !rest.is_empty() {
                let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest);
                let answer = answer.map_err(|error| again(AnswerProblem::described(error)))?;
                let length = usize::try_from(answer.header.length).unwrap_or(usize::MAX);
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
                // Parts of a dump that was not read to its end have another number.
                if answer.header.sequence_number != number {
                    continue;
                }
                is_interrupted |= answer.header.flags & NLM_F_DUMP_INTR != 0;
                match answer.payload {
                    NetlinkPayload::InnerMessage(message) => messages.push(message),
                    NetlinkPayload::Error(refusal) => return Err(refused(error::refused(&refusal))),
                    NetlinkPayload::Done(done) if done.code != 0 => {
                        return Err(refused(error::failed_dump(&done)));
                    }
                    NetlinkPayload::Done(_) if is_interrupted => {
                        return Err(again(AnswerProblem::Interrupted));
                    }
                    NetlinkPayload::Done(_) => return Ok(messages),
                    _ => {}
                }
            }
        }
    }

    fn acknowledged(&self, message: RouteNetlinkMessage, kind: NetlinkRequestKind) -> Result<(), Cause> {
        // Its only answer is the acknowledgement.
        let number = self.send(message, kind.flags() & !NLM_F_ECHO)?;
        let mut datagram = Vec::with_capacity(LARGEST_ANSWER);
        loop {
            self.receive(&mut datagram)?;
            let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&datagram);
            let answer = answer.map_err(AnswerProblem::described)?;
            return match answer.payload {
                // The answer to an earlier request, which came too late.
                _ if answer.header.sequence_number != number => continue,
                NetlinkPayload::Error(refusal) if refusal.code.is_some() => Err(error::refused(&refusal)),
                NetlinkPayload::Error(_) => Ok(()),
                _ => {
                    let found = format!("a message of type {}", answer.header.message_type);
                    Err(AnswerProblem::NotAcknowledged { found }.into())
                }
            };
        }
    }
}

/// Why the kernel has refused a dump. An earlier one that was not read to its end is under way.
fn refused(cause: Cause) -> Incomplete {
    match cause {
        Cause::Errno { errno: Errno::EBUSY, .. } => Incomplete::Again(cause),
        cause => Incomplete::Refused(cause),
    }
}
