//! The connection to rtnetlink: a request goes out, its answers come back or a failure that names it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flowspec::Errno;
use futures_util::{Stream, StreamExt};
use rtnetlink::packet_core::{NLM_F_DUMP_INTR, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::proto::{ConnectionHandle, NetlinkCodec, from_socket_with_codec};
use rtnetlink::sys::{AsyncSocket as _, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE};
use tokio::runtime::Handle as Runtime;
use tokio::sync::oneshot;

use super::blocking::BlockingNetlink;
use super::error;
use super::namespace::Namespace;
use super::request::{NetlinkRequest, NetlinkRequestKind};
use super::serve::{Queued, Serve};
use super::transport::{Faults, RouteSocket};
use crate::failure::{AnswerProblem, Cause, KernelCall, KernelFailure};
use crate::ordered::OrderedMap;

/// A connection to the kernel's routing and traffic control.
///
/// Belongs to the network namespace of the thread that opened it, and is served by the tokio runtime of that thread.
/// Cheap to clone. Calls may run at the same time: each waits for its own answers alone. A connection that ends is
/// opened again in the same namespace.
#[derive(Clone, Debug)]
pub struct Netlink {
    shared: Arc<NetlinkInner>,
}

#[derive(Debug)]
struct NetlinkInner {
    connection: Mutex<ServedSocket>,
    /// Where the connection is opened again; `None` where `/proc` does not show it.
    namespace: Option<Namespace>,
    runtime: Runtime,
    faults: Option<Arc<dyn Faults>>,
    /// The kernel runs one dump for each socket, and refuses a second one with EBUSY.
    dump_turn: tokio::sync::Mutex<()>,
    /// For the time after the runtime.
    blocking: BlockingNetlink,
    /// For dumps, which a thread of their own decodes.
    dumps: Mutex<BlockingNetlink>,
}

/// Messages that nothing has requested.
pub(super) type Messages =
    Pin<Box<dyn Stream<Item = (NetlinkMessage<RouteNetlinkMessage>, SocketAddr)> + Send>>;

#[derive(Clone, Debug)]
struct ServedSocket {
    handle: ConnectionHandle<RouteNetlinkMessage>,
    queued: Queued,
    /// The number of its port, which the kernel's reports of what it changes have.
    port: u32,
    /// How many connections there were before this one.
    number: u64,
}

impl NetlinkRequestKind {
    /// Whether the same request may be sent twice: it changes nothing.
    const fn is_repeatable(self) -> bool {
        matches!(self, Self::Get | Self::Echo | Self::Dump)
    }
}

/// How a request ended without an answer.
enum Unanswered {
    /// The kernel has not carried it out, or says how it failed.
    Failed(Cause),
    /// The answer did not come in time: the kernel may have carried it out.
    Late,
    /// The answer was lost: the kernel may have carried it out.
    Lost(AnswerProblem),
    /// The connection with this number has ended: the kernel may have carried out the request.
    Ended(u64),
    /// Changes interrupted a dump: it may show no state that ever was.
    Interrupted,
}

/// What became of one of several requests.
pub(super) enum RequestOutcome {
    /// It was carried out; the objects that the kernel has answered with.
    Done(Vec<RouteNetlinkMessage>),
    /// The kernel has not carried it out.
    Refused(Cause),
    /// The answer was lost: the kernel may have carried it out.
    Lost,
}

/// How long the kernel may take for an answer. It answers while a request is sent: an answer that comes later was lost,
/// unless this process did not run meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);

/// The pause before a dump is requested again while the kernel is busy with another one.
const DUMP_PAUSE: Duration = Duration::from_millis(5);

/// How often a request is sent that may be sent twice, and on how many connections any other.
const ATTEMPTS: usize = 4;

impl ServedSocket {
    /// Opens a socket in the namespace of the calling thread.
    fn open(runtime: &Runtime, faults: Option<Arc<dyn Faults>>, number: u64) -> Result<Self, KernelFailure> {
        let _entered = runtime.enter();
        let socket = TokioSocket::new(NETLINK_ROUTE)
            .map_err(|error| KernelCall("socket").failed("NETLINK_ROUTE", error))?;
        let (mut connection, handle, _) =
            from_socket_with_codec::<_, _, NetlinkCodec>(RouteSocket::new(socket, faults));
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
        let port = socket.bind_auto().map_err(|error| KernelCall("bind").failed("NETLINK_ROUTE", error))?;
        let (queued, port) = (Queued::default(), port.port_number());
        runtime.spawn(Serve::new(connection, queued.clone()));
        Ok(Self { handle, queued, port, number })
    }
}

impl Netlink {
    /// Opens a connection and lets the current tokio runtime serve it.
    ///
    /// - **Errors**: `socket`.
    pub fn open() -> Result<Self, KernelFailure> {
        Self::open_with(None)
    }

    /// The same with system calls that fail, for tests.
    ///
    /// - **Errors**: `socket`.
    pub fn open_failing(faults: Arc<dyn Faults>) -> Result<Self, KernelFailure> {
        Self::open_with(Some(faults))
    }

    fn open_with(faults: Option<Arc<dyn Faults>>) -> Result<Self, KernelFailure> {
        let runtime = Runtime::current();
        let connection = Mutex::new(ServedSocket::open(&runtime, faults.clone(), 0)?);
        let namespace = Namespace::current().ok();
        let (blocking, dumps) = (BlockingNetlink::open()?, Mutex::new(BlockingNetlink::open()?));
        let dump_turn = tokio::sync::Mutex::new(());
        let inner = NetlinkInner { connection, namespace, runtime, faults, dump_turn, blocking, dumps };
        Ok(Self { shared: Arc::new(inner) })
    }

    fn connection(&self) -> ServedSocket {
        self.shared.connection.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Opens the connection again that has ended with this number, unless another call has done it.
    fn reopen(&self, number: u64) -> Result<(), KernelFailure> {
        let NetlinkInner { connection, namespace, runtime, faults, .. } = &*self.shared;
        let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
        if connection.number != number {
            return Ok(());
        }
        let open = || ServedSocket::open(runtime, faults.clone(), number + 1);
        *connection = match namespace {
            Some(namespace) => namespace.within(open)??,
            None => open()?,
        };
        Ok(())
    }

    /// The number of the connection's namespace.
    ///
    /// - **Errors**: `fstat`, or `open` where `/proc` does not show it.
    pub(super) fn namespace_id(&self) -> Result<u64, KernelFailure> {
        match &self.shared.namespace {
            Some(namespace) => namespace.number(),
            None => Namespace::current()?.number(),
        }
    }

    /// Whether the kernel reports what this connection does under this port.
    pub(super) fn is_own(&self, port: u32) -> bool {
        port == self.connection().port
    }

    /// Subscribes to groups, given as bits, in the namespace of the connection.
    ///
    /// - **Errors**: `socket` or `bind`.
    pub(super) fn subscribe(&self, groups: u32) -> Result<Messages, KernelFailure> {
        let NetlinkInner { namespace, runtime, .. } = &*self.shared;
        let open = || {
            let _entered = runtime.enter();
            let mut socket = TokioSocket::new(NETLINK_ROUTE)
                .map_err(|error| KernelCall("socket").failed("NETLINK_ROUTE", error))?;
            let address = SocketAddr::new(0, groups);
            socket
                .socket_mut()
                .bind(&address)
                .map_err(|error| KernelCall("bind").failed("NETLINK_ROUTE, RTNLGRP_LINK", error))?;
            let (connection, _, messages) =
                from_socket_with_codec::<_, _, NetlinkCodec>(RouteSocket::new(socket, None));
            runtime.spawn(connection);
            Ok(Box::pin(messages) as Messages)
        };
        match namespace {
            Some(namespace) => namespace.within(open)?,
            None => open(),
        }
    }

    /// Sends a request and collects its answers.
    ///
    /// - **Errors**: the kernel's, no answer in time, or an answer that is not complete.
    pub(super) async fn request(
        &self,
        request: NetlinkRequest,
    ) -> Result<Vec<RouteNetlinkMessage>, KernelFailure> {
        let NetlinkRequest { call, object, message, kind } = request;
        let is_dump = kind == NetlinkRequestKind::Dump;
        let _turn = if is_dump { Some(self.shared.dump_turn.lock().await) } else { None };
        let mut cause = Cause::from(AnswerProblem::Empty);
        for _ in 0..ATTEMPTS {
            let answered = tokio::time::timeout(PATIENCE, self.answers(message.clone(), kind)).await;
            cause = match answered.unwrap_or(Err(Unanswered::Late)) {
                Ok(messages) => return Ok(messages),
                // A dump whose caller has gone is read to its end.
                Err(Unanswered::Failed(cause @ Cause::Errno { errno: Errno::EBUSY, .. })) if is_dump => {
                    tokio::time::sleep(DUMP_PAUSE).await;
                    cause
                }
                Err(Unanswered::Failed(cause)) => return Err(KernelCall(call).failed(object, cause)),
                Err(Unanswered::Late) => Cause::Timeout { after: PATIENCE },
                Err(Unanswered::Lost(problem)) => problem.into(),
                Err(Unanswered::Interrupted) => AnswerProblem::Interrupted.into(),
                Err(Unanswered::Ended(number)) => {
                    self.reopen(number)?;
                    AnswerProblem::EndedEarly.into()
                }
            };
            if !kind.is_repeatable() {
                break;
            }
        }
        Err(KernelCall(call).failed(object, cause))
    }

    /// Sends a change that may be sent twice: again where its answer is lost. `is_done` recognises the error of another
    /// attempt that shows that an earlier one was carried out.
    ///
    /// - **Errors**: the kernel's, or every answer was lost.
    pub(super) async fn request_change(
        &self,
        request: NetlinkRequest,
        is_done: impl Fn(&KernelFailure) -> bool,
    ) -> Result<(), KernelFailure> {
        let mut lost = match self.request(request.clone()).await {
            Err(failure) if failure.errno().is_none() => failure,
            answered => return answered.map(drop),
        };
        for _ in 1..ATTEMPTS {
            match self.request(request.clone()).await {
                Err(failure) if failure.errno().is_none() => lost = failure,
                Err(failure) if is_done(&failure) => return Ok(()),
                answered => return answered.map(drop),
            }
        }
        Err(lost)
    }

    /// Sends a request without a runtime, and blocks until it is acknowledged.
    ///
    /// - **Errors**: the kernel's.
    pub(super) fn request_blocking(&self, request: NetlinkRequest) -> Result<(), KernelFailure> {
        self.shared.blocking.request(request)
    }

    /// Dumps objects on a thread of its own, and turns them into others there: a large dump takes milliseconds, in which the
    /// connection serves other requests. A thread of the runtime would keep a forked copy of it from ending.
    ///
    /// - **Errors**: the kernel's, and those of `read`.
    pub(super) async fn dump<T: Send + 'static>(
        &self,
        request: NetlinkRequest,
        read: impl FnOnce(Vec<RouteNetlinkMessage>) -> Result<T, KernelFailure> + Send + 'static,
    ) -> Result<T, KernelFailure> {
        self.dump_each(vec![request], read).await
    }

    /// The same for the answers to several requests together; without a request nothing is read.
    ///
    /// - **Errors**: the first one of the kernel's, and those of `read`.
    pub(super) async fn dump_each<T: Send + 'static>(
        &self,
        requests: Vec<NetlinkRequest>,
        read: impl FnOnce(Vec<RouteNetlinkMessage>) -> Result<T, KernelFailure> + Send + 'static,
    ) -> Result<T, KernelFailure> {
        let Some(NetlinkRequest { call, object, .. }) = requests.first().cloned() else {
            return read(Vec::new());
        };
        let shared = Arc::clone(&self.shared);
        let (reply, dumped) = oneshot::channel();
        let dump = move || {
            let dumps = shared.dumps.lock().unwrap_or_else(PoisonError::into_inner);
            let mut messages = Vec::new();
            let all = requests.into_iter().try_for_each(|request| {
                messages.extend(dumps.dump(request)?);
                Ok(())
            });
            // The caller may have gone.
            let _ = reply.send(all.and_then(|()| read(messages)));
        };
        let thread = std::thread::Builder::new().name("gqos-dump".to_owned()).spawn(dump);
        thread.map_err(|error| KernelCall("clone").failed(object.clone(), error))?;
        let stopped = |_| KernelCall(call).unexpected(object, AnswerProblem::ThreadPanicked);
        dumped.await.map_err(stopped)?
    }

    /// Sends requests in one datagram: what became of each.
    pub(super) async fn request_all(
        &self,
        requests: Vec<(RouteNetlinkMessage, NetlinkRequestKind)>,
    ) -> Vec<RequestOutcome> {
        let count = requests.len();
        let requests: Vec<_> = requests
            .into_iter()
            .map(|(message, kind)| {
                let mut request = NetlinkMessage::from(message);
                request.header.flags = kind.flags();
                request
            })
            .collect();
        let outcomes = tokio::time::timeout(PATIENCE, self.all_answers(requests)).await.unwrap_or_default();
        match outcomes.len() == count {
            true => outcomes,
            // Which answers are missing is not known.
            false => std::iter::repeat_with(|| RequestOutcome::Lost).take(count).collect(),
        }
    }

    /// What became of requests, in their order; less than all of them where the connection has ended.
    async fn all_answers(&self, requests: Vec<NetlinkMessage<RouteNetlinkMessage>>) -> Vec<RequestOutcome> {
        for _ in 0..ATTEMPTS {
            let ServedSocket { handle, queued, number, .. } = self.connection();
            queued.count();
            match handle.request_batch(requests.clone(), SocketAddr::new(0, 0)) {
                Ok(answers) => return collect_all(answers).await,
                // The connection had ended before: nothing was sent.
                Err(_) if self.reopen(number).is_ok() => {}
                Err(_) => break,
            }
        }
        Vec::new()
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
        answer.ok_or_else(|| KernelCall(call).unexpected(object, AnswerProblem::Empty))
    }

    async fn answers(
        &self,
        message: RouteNetlinkMessage,
        kind: NetlinkRequestKind,
    ) -> Result<Vec<RouteNetlinkMessage>, Unanswered> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = kind.flags();
        for _ in 0..ATTEMPTS {
            let ServedSocket { handle, queued, number, .. } = self.connection();
            queued.count();
            match handle.request(request.clone(), SocketAddr::new(0, 0)) {
                Ok(answers) => {
                    return match collect(answers, kind).await {
                        Err(Unanswered::Ended(_)) => Err(Unanswered::Ended(number)),
                        collected => collected,
                    };
                }
                // The connection had ended before: nothing was sent.
                Err(_) => self.reopen(number).map_err(|failure| Unanswered::Failed(failure.cause))?,
            }
        }
        Err(Unanswered::Lost(AnswerProblem::NotSent))
    }
}

/// Collects the answers to a request until the last.
///
/// - **Errors**: the kernel's, and answers that end before the last: 0 stands for the number of the connection.
async fn collect(
    answers: impl Stream<Item = NetlinkMessage<RouteNetlinkMessage>>,
    kind: NetlinkRequestKind,
) -> Result<Vec<RouteNetlinkMessage>, Unanswered> {
    let mut answers = std::pin::pin!(answers);
    let (mut messages, mut is_interrupted, mut is_complete) = (Vec::new(), false, false);
    while let Some(answer) = answers.next().await {
        is_interrupted |= answer.header.flags & NLM_F_DUMP_INTR != 0;
        match answer.payload {
            NetlinkPayload::InnerMessage(message) => {
                messages.push(message);
                is_complete |= kind == NetlinkRequestKind::Get;
            }
            NetlinkPayload::Error(refusal) if refusal.code.is_some() => {
                return Err(Unanswered::Failed(error::refused(&refusal)));
            }
            NetlinkPayload::Done(done) if done.code != 0 => {
                return Err(Unanswered::Failed(error::failed_dump(&done)));
            }
            NetlinkPayload::Overrun(_) => {
                return Err(Unanswered::Lost(AnswerProblem::PartLost));
            }
            NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => is_complete = true,
            _ => {}
        }
    }
    match (is_complete, is_interrupted) {
        (false, _) => Err(Unanswered::Ended(0)),
        (true, true) => Err(Unanswered::Interrupted),
        (true, false) => Ok(messages),
    }
}

/// Collects the answers to requests that are acknowledged: what became of each that has its last answer, in order.
async fn collect_all(
    answers: impl Stream<Item = NetlinkMessage<RouteNetlinkMessage>>,
) -> Vec<RequestOutcome> {
    let mut answers = std::pin::pin!(answers);
    // By number, which grows from one request to the next.
    let (mut objects, mut outcomes) = (OrderedMap::new(), OrderedMap::new());
    while let Some(answer) = answers.next().await {
        let number = answer.header.sequence_number;
        let outcome = match answer.payload {
            NetlinkPayload::InnerMessage(message) => {
                objects.entry(number).or_insert_with(Vec::new).push(message);
                continue;
            }
            NetlinkPayload::Error(refusal) if refusal.code.is_some() => {
                RequestOutcome::Refused(error::refused(&refusal))
            }
            NetlinkPayload::Error(_) => RequestOutcome::Done(objects.remove(&number).unwrap_or_default()),
            NetlinkPayload::Overrun(_) => RequestOutcome::Lost,
            _ => continue,
        };
        outcomes.insert(number, outcome);
    }
    outcomes.into_values().collect()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroI32;

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

    /// What comes of the answers to a request.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Collected {
        Objects(usize),
        Refused(Errno),
        Lost,
        Ended,
        Interrupted,
    }

    #[track_caller]
    fn check(kind: NetlinkRequestKind, flags: u16, answers: Vec<Payload>, expected: Collected) {
        let shown = format!("{kind:?} {answers:?}");
        let answers = answers.into_iter().map(|payload| {
            let mut header = NetlinkHeader::default();
            header.flags = flags;
            NetlinkMessage::new(header, payload)
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let found = match runtime.block_on(collect(futures_util::stream::iter(answers), kind)) {
            Ok(messages) => Collected::Objects(messages.len()),
            Err(Unanswered::Failed(cause)) => {
                Collected::Refused(KernelCall("").failed("", cause).errno().unwrap())
            }
            Err(Unanswered::Lost(_) | Unanswered::Late) => Collected::Lost,
            Err(Unanswered::Ended(_)) => Collected::Ended,
            Err(Unanswered::Interrupted) => Collected::Interrupted,
        };
        assert_eq!(found, expected, "{shown}");
    }

    #[test]
    fn an_answer_is_complete_with_its_last_message_alone() {
        check(NetlinkRequestKind::Get, 0, vec![object()], Collected::Objects(1));
        check(NetlinkRequestKind::Get, 0, vec![], Collected::Ended);
        check(NetlinkRequestKind::Change, 0, vec![acknowledgement(0)], Collected::Objects(0));
        check(NetlinkRequestKind::Change, 0, vec![], Collected::Ended);
        check(NetlinkRequestKind::Echo, 0, vec![object(), acknowledgement(0)], Collected::Objects(1));
        check(NetlinkRequestKind::Echo, 0, vec![object()], Collected::Ended);
        check(NetlinkRequestKind::Dump, 0, vec![object(), object(), done(0)], Collected::Objects(2));
        check(NetlinkRequestKind::Dump, 0, vec![object(), object()], Collected::Ended);
        check(
            NetlinkRequestKind::Dump,
            0,
            vec![object(), NetlinkPayload::Overrun(Vec::new())],
            Collected::Lost,
        );
    }

    #[test]
    fn a_refusal_is_an_error_in_every_kind_of_answer() {
        check(NetlinkRequestKind::Add, 0, vec![acknowledgement(17)], Collected::Refused(Errno::EEXIST));
        check(NetlinkRequestKind::Get, 0, vec![acknowledgement(19)], Collected::Refused(Errno::ENODEV));
        check(NetlinkRequestKind::Dump, 0, vec![object(), done(12)], Collected::Refused(Errno::ENOMEM));
    }

    #[test]
    fn answers_are_told_apart_by_their_numbers() {
        let of = |number: u32, payload: Payload| {
            let mut header = NetlinkHeader::default();
            header.sequence_number = number;
            NetlinkMessage::new(header, payload)
        };
        let overrun = NetlinkPayload::Overrun(Vec::new());
        let answers = [
            of(7, object()),
            of(7, acknowledgement(0)),
            of(9, overrun),
            of(8, acknowledgement(16)),
            of(10, object()),
            of(11, acknowledgement(0)),
        ];
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let outcomes = runtime.block_on(collect_all(futures_util::stream::iter(answers)));
        let shown: Vec<_> = outcomes
            .iter()
            .map(|outcome| match outcome {
                RequestOutcome::Done(objects) => format!("{} objects", objects.len()),
                RequestOutcome::Refused(cause) => {
                    format!("{:?}", KernelCall("").failed("", cause.clone()).errno())
                }
                RequestOutcome::Lost => "lost".to_owned(),
            })
            .collect();
        // The one without a last answer is missing.
        assert_eq!(shown, ["1 objects", &format!("{:?}", Some(Errno::EBUSY)), "lost", "0 objects"]);
    }

    #[test]
    fn an_interrupted_dump_has_no_answer() {
        check(NetlinkRequestKind::Dump, NLM_F_DUMP_INTR, vec![object(), done(0)], Collected::Interrupted);
    }
}
