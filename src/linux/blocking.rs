//! Requests without a runtime: the caller blocks until the kernel has answered.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use rtnetlink::packet_core::{NLM_F_DUMP_INTR, NLM_F_ECHO, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};

use super::error;
use super::request::{NetlinkRequest, NetlinkRequestKind};
use crate::failure::{AnswerProblem, Cause, KernelCall, KernelFailure};

/// A socket for what is left to do when no runtime awaits an answer any more. The kernel handles each request while it is
/// sent, so that its answer is there at once.
#[derive(Debug)]
pub(super) struct BlockingNetlink {
    socket: Socket,
    /// The number of the last dump.
    dumps: AtomicU32,
}

/// The largest answer: an acknowledgement with the request in it and an explanation.
const LARGEST_ANSWER: usize = 8 << 10;

/// The largest part of a dump.
const LARGEST_PART: usize = 64 << 10;

/// How often a dump is tried that changes interrupt.
const DUMP_ATTEMPTS: usize = 4;

impl BlockingNetlink {
    /// Opens a socket in the network namespace of this thread.
    ///
    /// - **Errors**: `socket`, `bind` or `connect`.
    pub(super) fn open() -> Result<Self, KernelFailure> {
        let failed = |call| move |cause: io::Error| KernelCall(call).failed("NETLINK_ROUTE", cause);
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(failed("socket"))?;
        socket.bind_auto().map_err(failed("bind"))?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(failed("connect"))?;
        Ok(Self { socket, dumps: AtomicU32::new(0) })
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
        let mut problem = AnswerProblem::Empty;
        for _ in 0..DUMP_ATTEMPTS {
            match self.dumped(message.clone(), kind) {
                Ok(Some(messages)) => return Ok(messages),
                Ok(None) => problem = AnswerProblem::Interrupted,
                Err(Cause::Unexpected { problem: found }) => problem = found,
                Err(cause) => return Err(KernelCall(call).failed(object, cause)),
            }
        }
        Err(KernelCall(call).unexpected(object, problem))
    }

    /// The objects of one dump; `None` where changes have interrupted it.
    fn dumped(
        &self,
        message: RouteNetlinkMessage,
        kind: NetlinkRequestKind,
    ) -> Result<Option<Vec<RouteNetlinkMessage>>, Cause> {
        // Parts of a dump that was not read to its end have another number.
        let number = self.dumps.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let mut request = NetlinkMessage::from(message);
        request.header.flags = kind.flags();
        request.header.sequence_number = number;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let (mut messages, mut is_interrupted) = (Vec::new(), false);
        let mut datagram = Vec::with_capacity(LARGEST_PART);
        loop {
            datagram.clear();
            match self.socket.recv(&mut datagram, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                received => received?,
            };
            let mut rest = &datagram[..];
            while !rest.is_empty() {
                let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest);
                let answer = answer.map_err(AnswerProblem::described)?;
                let length = usize::try_from(answer.header.length).unwrap_or(usize::MAX);
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
                if answer.header.sequence_number != number {
                    continue;
                }
                is_interrupted |= answer.header.flags & NLM_F_DUMP_INTR != 0;
                match answer.payload {
                    NetlinkPayload::InnerMessage(message) => messages.push(message),
                    NetlinkPayload::Error(refusal) => return Err(error::refused(&refusal)),
                    NetlinkPayload::Done(done) if done.code != 0 => return Err(error::failed_dump(&done)),
                    NetlinkPayload::Done(_) => return Ok((!is_interrupted).then_some(messages)),
                    _ => {}
                }
            }
        }
    }

    fn acknowledged(&self, message: RouteNetlinkMessage, kind: NetlinkRequestKind) -> Result<(), Cause> {
        let mut request = NetlinkMessage::from(message);
        // Its only answer is the acknowledgement.
        request.header.flags = kind.flags() & !NLM_F_ECHO;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let mut answer = Vec::with_capacity(LARGEST_ANSWER);
        self.socket.recv(&mut answer, 0)?;
        let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer);
        match answer.map(|answer| answer.payload) {
            Ok(NetlinkPayload::Error(refusal)) if refusal.code.is_some() => Err(error::refused(&refusal)),
            Ok(NetlinkPayload::Error(_)) => Ok(()),
            Ok(other) => Err(AnswerProblem::NotAcknowledged { found: format!("{other:?}") }.into()),
            Err(error) => Err(AnswerProblem::described(error).into()),
        }
    }
}
