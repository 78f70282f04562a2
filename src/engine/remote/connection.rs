//! A connection to the control socket: calls go out in order, and their replies come in the same order.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};

use super::error::DaemonError;
use crate::control::limits::MOST_REPLY_BYTES;
use crate::control::{Call, FrameReader, MethodCall, Reply, encode};
use crate::failure::{KernelCall, KernelFailure};
use crate::linux::{Received, receive_next, send_with_descriptor};

/// A connection to the control socket. Its calls return at once, on any thread.
pub(super) struct DaemonConnection {
    stream: UnixStream,
    socket: String,
    queues: Mutex<Queues>,
    /// There is something to send, or the connection is closed.
    changed: Notify,
    /// Where the replies of a stream go, of a connection that has one.
    on_stream: Option<Box<dyn Fn(Reply) + Send + Sync>>,
}

#[derive(Default)]
struct Queues {
    /// What is called with the next replies, in the order of the calls.
    waiting: VecDeque<OnReply>,
    /// What the socket has not taken yet, in order.
    unsent: VecDeque<Unsent>,
    /// The socket took no more.
    is_blocked: bool,
    is_closed: bool,
}

impl Queues {
    /// Queues a message: behind the one before, where neither has a descriptor.
    fn append(&mut self, bytes: Vec<u8>, descriptor: Option<OwnedFd>) {
        match self.unsent.back_mut() {
            Some(last) if last.descriptor.is_none() && descriptor.is_none() => last.bytes.extend(bytes),
            _ => self.unsent.push_back(Unsent { bytes, sent: 0, descriptor }),
        }
    }
}

/// A message that was not sent, or in part, or several without a descriptor. The descriptor is there until the first byte is
/// sent.
struct Unsent {
    bytes: Vec<u8>,
    sent: usize,
    descriptor: Option<OwnedFd>,
}

/// Called once, with the reply or why there is none. Must not block.
pub(super) type OnReply = Box<dyn FnOnce(Result<Reply, DaemonError>) + Send>;

/// What is read at once.
const BUFFER: usize = 1 << 16;

impl DaemonConnection {
    /// Connects. [`run`](Self::run) has to be polled for as long as it is used.
    ///
    /// - **Errors**: `socket` or `connect`.
    pub(super) async fn open(
        path: &Path,
        on_stream: Option<Box<dyn Fn(Reply) + Send + Sync>>,
    ) -> Result<Arc<Self>, DaemonError> {
        let socket = path.display().to_string();
        let stream = UnixStream::connect(path).await;
        let stream = stream.map_err(|cause| DaemonError::Unreachable(failure("connect", &socket, cause)))?;
        let (queues, changed) = (Mutex::default(), Notify::new());
        Ok(Arc::new(Self { stream, socket, queues, changed, on_stream }))
    }

    /// Sends a call, whose reply goes to `on_reply`; `None` asks for no reply. A closed connection answers at once.
    ///
    /// A call without a reply that is made in a task is sent with the next call of the task, or when the task gives way: one
    /// that releases a flow to reserve another then wakes the daemon once.
    pub(super) fn call(&self, request: &MethodCall, descriptor: Option<OwnedFd>, on_reply: Option<OnReply>) {
        let call = Call { oneway: on_reply.is_none(), ..Call::new(request) };
        self.send(&call, descriptor, on_reply);
    }

    /// Sends a call now; the future is its reply.
    pub(super) fn asked(
        &self,
        request: &MethodCall,
    ) -> impl Future<Output = Result<Reply, DaemonError>> + Send + 'static {
        let (reply, answer) = oneshot::channel();
        // The caller may have given up.
        self.call(request, None, Some(Box::new(move |answer| drop(reply.send(answer)))));
        let disconnected = self.disconnected();
        async move { answer.await.unwrap_or(Err(disconnected)) }
    }

    /// The same for a call that has its parameters as JSON.
    pub(super) fn send(&self, call: &Call, descriptor: Option<OwnedFd>, on_reply: Option<OnReply>) {
        // A call is made of texts and numbers, for which this does not fail.
        let bytes = encode(call).unwrap_or_default();
        let mut queues = self.lock();
        if queues.is_closed {
            drop(queues);
            if let Some(on_reply) = on_reply {
                on_reply(Err(self.disconnected()));
            }
            return;
        }
        let may_wait = on_reply.is_none() && descriptor.is_none() && Handle::try_current().is_ok();
        queues.waiting.extend(on_reply);
        queues.append(bytes, descriptor);
        // An error closes the connection where it is read.
        if may_wait || queues.is_blocked || self.flush(&mut queues).is_err() {
            self.changed.notify_one();
        }
    }

    /// Sends and receives until the connection ends. What waits for a reply then is answered with an error, as it is where
    /// the future is dropped.
    pub(super) async fn run(self: Arc<Self>) {
        let closing = Closing(&self);
        tokio::select! {
            () = self.receive() => {}
            () = self.send_queued() => {}
        }
        drop(closing);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Ends the connection: the daemon releases what lives with it.
    pub(super) fn close(&self) {
        let waiting = {
            let mut queues = self.lock();
            queues.is_closed = true;
            queues.unsent.clear();
            std::mem::take(&mut queues.waiting)
        };
        self.changed.notify_one();
        for on_reply in waiting {
            on_reply(Err(self.disconnected()));
        }
    }

    pub(super) fn disconnected(&self) -> DaemonError {
        DaemonError::Disconnected { socket: self.socket.clone() }
    }

    async fn send_queued(&self) {
        loop {
            self.changed.notified().await;
            while !self.is_closed() {
                let flushed = self.flush(&mut self.lock());
                match flushed {
                    Ok(()) => break,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        if self.stream.writable().await.is_err() {
                            return;
                        }
                    }
                    Err(_) => return,
                }
            }
            if self.is_closed() {
                return;
            }
        }
    }

    /// Sends what the socket takes. `WouldBlock` where something is left.
    fn flush(&self, queues: &mut Queues) -> io::Result<()> {
        queues.is_blocked = true;
        while let Some(next) = queues.unsent.front_mut() {
            let bytes = next.bytes.get(next.sent..).unwrap_or_default();
            let descriptor = next.descriptor.as_ref().map(AsFd::as_fd);
            // A peer that is gone raises no signal, which would end a program that is not written in Rust.
            let send = || send_with_descriptor(&self.stream, bytes, descriptor);
            let sent = self.stream.try_io(Interest::WRITABLE, send)?;
            next.descriptor = None;
            next.sent += sent;
            if next.sent >= next.bytes.len() {
                queues.unsent.pop_front();
            }
        }
        queues.is_blocked = false;
        Ok(())
    }

    async fn receive(&self) {
        let (mut frames, mut buffer) = (FrameReader::new(MOST_REPLY_BYTES), vec![0; BUFFER]);
        loop {
            // A daemon sends no descriptors; one that does loses them.
            match receive_next(&self.stream, &mut buffer).await {
                Ok(Received { bytes: 0, .. }) | Err(_) => return,
                Ok(Received { bytes, .. }) => frames.push(buffer.get(..bytes).unwrap_or_default()),
            }
            loop {
                let Ok(next) = frames.next_message() else { return };
                let Some(message) = next else { break };
                let Ok(reply) = Reply::read(&message) else { return };
                self.take(reply);
            }
        }
    }

    /// Hands a reply to the call that it answers.
    fn take(&self, reply: Reply) {
        if let Some(on_stream) = &self.on_stream {
            on_stream(reply);
            return;
        }
        let waiting = self.lock().waiting.pop_front();
        if let Some(on_reply) = waiting {
            on_reply(Ok(reply));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        // The queues are whole between any two statements that can panic.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes a connection whose task ends or is dropped.
struct Closing<'a>(&'a DaemonConnection);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

pub(super) fn failure(call: &str, socket: &str, cause: io::Error) -> KernelFailure {
    KernelCall(call).failed(socket, cause)
}
