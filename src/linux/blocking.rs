//! Requests without a runtime: the caller blocks until the kernel has answered.

use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};

use super::error;
use super::request::{NetlinkRequest, NetlinkRequestKind};
use crate::failure::{AnswerProblem, Cause, KernelCall, KernelFailure};

/// A socket for what is left to do when no runtime awaits an answer any more. The kernel handles each request while it is
/// sent, so that its answer is there at once.
#[derive(Debug)]
pub(super) struct BlockingNetlink(Socket);

/// The largest answer: an acknowledgement with the request in it and an explanation.
const LARGEST_ANSWER: usize = 8 << 10;

impl BlockingNetlink {
    /// Opens a socket in the network namespace of this thread.
    ///
    /// - **Errors**: `socket`, `bind` or `connect`.
    pub(super) fn open() -> Result<Self, KernelFailure> {
        let failed = |call| move |cause: std::io::Error| KernelCall(call).failed("NETLINK_ROUTE", cause);
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(failed("socket"))?;
        socket.bind_auto().map_err(failed("bind"))?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(failed("connect"))?;
        Ok(Self(socket))
    }

    /// Sends a request that the kernel acknowledges.
    ///
    /// - **Errors**: the kernel's.
    pub(super) fn request(&self, request: NetlinkRequest) -> Result<(), KernelFailure> {
        let NetlinkRequest { call, object, message, kind } = request;
        self.acknowledged(message, kind).map_err(|cause| KernelCall(call).failed(object, cause))
    }

    fn acknowledged(&self, message: RouteNetlinkMessage, kind: NetlinkRequestKind) -> Result<(), Cause> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = kind.flags();
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.0.send(&bytes, 0)?;
        let mut answer = Vec::with_capacity(LARGEST_ANSWER);
        self.0.recv(&mut answer, 0)?;
        let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer);
        match answer.map(|answer| answer.payload) {
            Ok(NetlinkPayload::Error(refusal)) if refusal.code.is_some() => Err(error::refused(&refusal)),
            Ok(NetlinkPayload::Error(_)) => Ok(()),
            Ok(other) => Err(AnswerProblem::NotAcknowledged { found: format!("{other:?}") }.into()),
            Err(error) => Err(AnswerProblem::described(error).into()),
        }
    }
}
