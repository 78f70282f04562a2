//! The connection to rtnetlink: a request goes out, its answers come back or a failure that names it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use rtnetlink::packet_core::{NLM_F_DUMP_INTR, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::AsyncSocket as _;

use super::blocking::BlockingNetlink;
use super::error;
use super::request::{Kind, NetlinkRequest};
use super::serve::{Queued, Serve};
use crate::failure::{Cause, KernelFailure};

/// A connection to the kernel's routing and traffic control.
///
/// Belongs to the network namespace of the thread that opened it, and is served by the tokio runtime of that thread.
/// Cheap to clone. Calls may run at the same time: each waits for its own answers alone.
#[derive(Clone, Debug)]
pub struct Netlink {
    handle: rtnetlink::Handle,
    queued: Queued,
    /// For the time after the runtime.
    blocking: Arc<BlockingNetlink>,
}

/// How long the kernel may take for an answer: an answer that is lost never comes.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a dump is begun that changes interrupt.
const DUMPS: usize = 3;

impl Netlink {
    /// Opens a connection and lets the current tokio runtime serve it.
    ///
    /// - **Errors**: `socket` or `bind`.
    pub fn open() -> Result<Self, KernelFailure> {
        let (mut connection, handle, _) = rtnetlink::new_connection()
            .map_err(|error| KernelFailure::new("socket", "NETLINK_ROUTE", error))?;
        // The last message of an answer: without it, an answer of a connection that ended would look complete. That of
        // a dump carries its error.
        connection.set_forward_done(true);
        connection.set_forward_ack(true);
        // Explanations follow the repeated request in an acknowledgement, which is only its header by the first of
        // these options. A kernel older than 4.12 explains nothing.
        let socket = connection.socket_mut().socket_mut();
        if socket.set_cap_ack(true).is_ok() {
            let _ = socket.set_ext_ack(true);
        }
        let queued = Queued::default();
        tokio::spawn(Serve::new(connection, queued.clone()));
        Ok(Self { handle, queued, blocking: Arc::new(BlockingNetlink::open()?) })
    }

    /// Sends a request and collects its answers.
    ///
    /// - **Errors**: the kernel's, no answer in time, or an answer that is not complete.
    pub(super) async fn request(
        &self,
        request: NetlinkRequest,
    ) -> Result<Vec<RouteNetlinkMessage>, KernelFailure> {
        let NetlinkRequest { call, object, message, kind } = request;
        let result = tokio::time::timeout(PATIENCE, self.answers(message, kind)).await;
        let result = result.unwrap_or(Err(Cause::Timeout { seconds: PATIENCE.as_secs() }));
        result.map_err(|cause| KernelFailure::new(call, object, cause))
    }

    /// Sends a request without a runtime, and blocks until it is acknowledged.
    ///
    /// - **Errors**: the kernel's.
    pub(super) fn request_blocking(&self, request: NetlinkRequest) -> Result<(), KernelFailure> {
        self.blocking.request(request)
    }

    /// Sends a request for one object.
    ///
    /// - **Errors**: those of [`request`](Self::request), and an answer without an object.
    pub(super) async fn request_one(
        &self,
        request: NetlinkRequest,
    ) -> Result<RouteNetlinkMessage, KernelFailure> {
        let (call, object) = (request.call, request.object.clone());
        let answer = self.request(request).await?.into_iter().next();
        answer.ok_or_else(|| KernelFailure::unexpected(call, object, "no message in the answer"))
    }

    async fn answers(
        &self,
        message: RouteNetlinkMessage,
        kind: Kind,
    ) -> Result<Vec<RouteNetlinkMessage>, Cause> {
        for _ in 0..DUMPS {
            let mut request = NetlinkMessage::from(message.clone());
            request.header.flags = kind.flags();
            self.queued.count();
            let answers = self.handle.clone().request(request).map_err(error::cause)?;
            if let Some(messages) = collect(answers, kind).await? {
                return Ok(messages);
            }
        }
        Err(Cause::Unexpected { problem: format!("changes interrupted the dump {DUMPS} times") })
    }
}

/// Collects the answers to a request until the last. `None` where changes interrupted a dump: it may show no state that
/// ever was.
///
/// - **Errors**: the kernel's, and answers that end before the last.
async fn collect(
    answers: impl Stream<Item = NetlinkMessage<RouteNetlinkMessage>>,
    kind: Kind,
) -> Result<Option<Vec<RouteNetlinkMessage>>, Cause> {
    let mut answers = std::pin::pin!(answers);
    let (mut messages, mut is_interrupted, mut is_complete) = (Vec::new(), false, false);
    while let Some(answer) = answers.next().await {
        is_interrupted |= answer.header.flags & NLM_F_DUMP_INTR != 0;
        match answer.payload {
            NetlinkPayload::InnerMessage(message) => {
                messages.push(message);
                is_complete |= kind == Kind::Get;
            }
            NetlinkPayload::Error(refusal) if refusal.code.is_some() => return Err(error::refused(&refusal)),
            NetlinkPayload::Done(done) if done.code != 0 => return Err(error::failed_dump(&done)),
            NetlinkPayload::Overrun(_) => {
                return Err(Cause::Unexpected { problem: "the kernel lost part of the answer".into() });
            }
            NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => is_complete = true,
            _ => {}
        }
    }
    if !is_complete {
        return Err(Cause::Unexpected { problem: "the answer ended before its last message".into() });
    }
    Ok((!is_interrupted).then_some(messages))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroI32;

    use flowspec::Errno;
    use rtnetlink::packet_core::{DoneMessage, ErrorMessage, NetlinkHeader};
    use rtnetlink::packet_route::link::LinkMessage;

    use super::*;

    type Payload = NetlinkPayload<RouteNetlinkMessage>;

    fn object() -> Payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(LinkMessage::default()))
    }

    fn acknowledgement(number: i32) -> Payload {
        let mut message = ErrorMessage::default();
        message.code = NonZeroI32::new(-number);
        NetlinkPayload::Error(message)
    }

    fn done(number: i32) -> Payload {
        let mut message = DoneMessage::default();
        message.code = -number;
        NetlinkPayload::Done(message)
    }

    /// How many objects the answer to a request has.
    #[track_caller]
    fn check(kind: Kind, flags: u16, answers: Vec<Payload>, expected: Result<Option<usize>, Option<Errno>>) {
        let shown = format!("{kind:?} {answers:?}");
        let answers = answers.into_iter().map(|payload| {
            let mut header = NetlinkHeader::default();
            header.flags = flags;
            NetlinkMessage::new(header, payload)
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let found = runtime.block_on(collect(futures_util::stream::iter(answers), kind));
        let found = found.map(|messages| messages.map(|messages| messages.len()));
        let errno = |cause| KernelFailure::new("", "", cause).errno();
        assert_eq!(found.map_err(errno), expected, "{shown}");
    }

    #[test]
    fn an_answer_is_complete_with_its_last_message_alone() {
        check(Kind::Get, 0, vec![object()], Ok(Some(1)));
        check(Kind::Get, 0, vec![], Err(None));
        check(Kind::Change, 0, vec![acknowledgement(0)], Ok(Some(0)));
        check(Kind::Change, 0, vec![], Err(None));
        check(Kind::Echo, 0, vec![object(), acknowledgement(0)], Ok(Some(1)));
        check(Kind::Echo, 0, vec![object()], Err(None));
        check(Kind::Dump, 0, vec![object(), object(), done(0)], Ok(Some(2)));
        check(Kind::Dump, 0, vec![object(), object()], Err(None));
        check(Kind::Dump, 0, vec![object(), NetlinkPayload::Overrun(Vec::new())], Err(None));
    }

    #[test]
    fn a_refusal_is_an_error_in_every_kind_of_answer() {
        check(Kind::Add, 0, vec![acknowledgement(17)], Err(Some(Errno::EEXIST)));
        check(Kind::Get, 0, vec![acknowledgement(19)], Err(Some(Errno::ENODEV)));
        check(Kind::Dump, 0, vec![object(), done(12)], Err(Some(Errno::ENOMEM)));
    }

    #[test]
    fn an_interrupted_dump_has_no_answer() {
        check(Kind::Dump, NLM_F_DUMP_INTR, vec![object(), done(0)], Ok(None));
    }
}
