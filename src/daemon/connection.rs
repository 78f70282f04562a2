//! One connection: reads calls within their limits, has them answered in their order, and writes the replies.
//!
//! Two loops run beside each other, so that the end of the connection is noticed while a call is answered. What a peer
//! sends or leaves unread delays this connection alone.

use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Sleep, sleep};

use super::calls::CallingPeer;
use super::failed_calls::call_failed;
use super::replies::{Ended, Replies, send_error};
use super::sockets::close_elsewhere;
use super::streams::StreamEnd;
use super::users::Counted;
use crate::control::limits::{MESSAGE_TIMEOUT, MOST_CALL_BYTES, MOST_CALLS_IN_FLIGHT};
use crate::control::{Call, ControlError, FrameReader, MethodCall, Reply};
use crate::linux::{Received, receive_next};

/// A message with the descriptor that came with it.
struct ReceivedMessage {
    bytes: Vec<u8>,
    descriptor: Option<OwnedFd>,
}

/// The descriptors of the messages that are read. One comes with the last bytes of a read, since the kernel ends a read behind
/// it: with those of the message that is incomplete then, or else of the last one.
#[derive(Default)]
struct Descriptors {
    /// Of the message of which a former read has the start.
    earlier: Option<OwnedFd>,
    /// Came with the last read.
    last: Option<OwnedFd>,
}

impl Descriptors {
    /// Takes what came with a read.
    ///
    /// - **Errors**: all of them, where they are too many.
    fn came(&mut self, descriptors: Vec<OwnedFd>, truncated: bool) -> Result<(), Vec<OwnedFd>> {
        if truncated || descriptors.len() > 1 {
            return Err(descriptors);
        }
        self.last = descriptors.into_iter().next();
        Ok(())
    }

    /// That of the next message, behind which another was read in part or whole, or not.
    ///
    /// - **Errors**: both, where it has two.
    fn of_message(&mut self, has_more_behind: bool) -> Result<Option<OwnedFd>, Vec<OwnedFd>> {
        let last = if has_more_behind { None } else { self.last.take() };
        match (self.earlier.take(), last) {
            (Some(earlier), Some(last)) => Err(vec![earlier, last]),
            (earlier, last) => Ok(earlier.or(last)),
        }
    }

    /// The whole messages of a read are taken: what is left came with the start of the next one.
    ///
    /// - **Errors**: both, where that has two.
    fn read_on(&mut self) -> Result<(), Vec<OwnedFd>> {
        if self.earlier.is_some() && self.last.is_some() {
            return Err(self.all());
        }
        self.earlier = self.earlier.take().or(self.last.take());
        Ok(())
    }

    fn all(&mut self) -> Vec<OwnedFd> {
        self.earlier.take().into_iter().chain(self.last.take()).collect()
    }
}

/// How much is read at once.
const READ: usize = 16 << 10;

/// Serves a connection until its client closes it or breaks a rule of the protocol.
pub(super) async fn serve(stream: &UnixStream, caller: &CallingPeer, counted: &Counted) {
    let (calls, queue) = mpsc::channel(MOST_CALLS_IN_FLIGHT);
    let (end, ended) = watch::channel(false);
    let (streaming, is_streaming) = watch::channel(false);
    let read = async {
        read_calls(stream, calls, is_streaming).await;
        // There may be no receiver.
        let _ = end.send(true);
        // What was called before the end is answered.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        () = read => {}
        () = answer_calls(Replies { stream }, caller, counted, (queue, Ended(ended), streaming)) => {}
    }
}

/// Reads calls into the queue, until the end of the stream or a message that breaks the rules.
async fn read_calls(
    stream: &UnixStream,
    calls: mpsc::Sender<Result<ReceivedMessage, ControlError>>,
    mut is_streaming: watch::Receiver<bool>,
) {
    let mut frames = FrameReader::new(MOST_CALL_BYTES);
    let mut buffer = vec![0; READ];
    let mut deadline: Option<Pin<Box<Sleep>>> = None;
    let mut with = Descriptors::default();
    loop {
        let received = tokio::select! {
            biased;
            () = until(&mut deadline) => break,
            received = receive_next(stream, &mut buffer) => received,
        };
        let Ok(Received { bytes, descriptors, truncated }) = received else { break };
        if let Err(too_many) = with.came(descriptors, truncated) {
            let _ = calls.send(Err(refused(too_many))).await;
            break;
        }
        if bytes == 0 {
            break;
        }
        frames.push(&buffer[..bytes]);
        loop {
            let message = match frames.next_message() {
                Ok(Some(message)) => message,
                Ok(None) => break,
                Err(problem) => {
                    let problem = ControlError::InvalidParameter { parameter: problem.to_string() };
                    let _ = calls.send(Err(problem)).await;
                    close_elsewhere(with.all());
                    return;
                }
            };
            deadline = None;
            let call = match with.of_message(frames.is_within_message()) {
                Ok(descriptor) => Ok(ReceivedMessage { bytes: message, descriptor }),
                Err(too_many) => Err(refused(too_many)),
            };
            tokio::select! {
                biased;
                sent = calls.send(call) => if sent.is_err() { return },
                // A stream does not end by itself: what waits behind it may be a queue and no more.
                _ = is_streaming.wait_for(|streaming| *streaming), if calls.capacity() == 0 => return,
            }
        }
        if let Err(too_many) = with.read_on() {
            let _ = calls.send(Err(refused(too_many))).await;
            break;
        }
        if frames.is_within_message() && deadline.is_none() {
            deadline = Some(Box::pin(sleep(MESSAGE_TIMEOUT)));
        }
    }
    close_elsewhere(with.all());
}

/// What a client is told that sends more than one descriptor with a message.
fn refused(descriptors: Vec<OwnedFd>) -> ControlError {
    close_elsewhere(descriptors);
    ControlError::Descriptor { problem: "a message has one descriptor at most".to_owned() }
}

async fn until(deadline: &mut Option<Pin<Box<Sleep>>>) {
    match deadline {
        Some(deadline) => deadline.await,
        None => std::future::pending().await,
    }
}

/// What the two loops of a connection share.
type Shared = (mpsc::Receiver<Result<ReceivedMessage, ControlError>>, Ended, watch::Sender<bool>);

/// Answers the calls of the queue in their order.
async fn answer_calls(replies: Replies<'_>, caller: &CallingPeer, counted: &Counted, shared: Shared) {
    let (mut queue, ended, streaming) = shared;
    while let Some(message) = queue.recv().await {
        let message = match message {
            Ok(message) => message,
            Err(error) => {
                // The connection ends with the error that says why.
                send_error(&replies, &error).await;
                return;
            }
        };
        let Ok(call) = Call::read(&message.bytes) else {
            close_elsewhere(message.descriptor);
            return;
        };
        let result = match counted_call(counted).await.and_then(|()| call.request()) {
            Err(error) => {
                close_elsewhere(message.descriptor);
                Err(error)
            }
            Ok(request) if request.method().streams() => {
                close_elsewhere(message.descriptor);
                let _ = streaming.send(true);
                let end = stream_answer(&replies, caller, request, ended.clone()).await;
                let _ = streaming.send(false);
                match end {
                    StreamEnd::Answered => continue,
                    StreamEnd::Failed(error) => Err(error),
                    StreamEnd::Closed => return,
                }
            }
            Ok(request) => caller.answer(request, message.descriptor).await,
        };
        if let Err(error) = &result {
            call_failed(&caller.server, &call, caller.client.process, error);
        }
        if call.oneway {
            continue;
        }
        let sent = match result {
            Ok(parameters) => replies.send(&Reply::last(parameters)).await.is_ok(),
            Err(error) => send_error(&replies, &error).await,
        };
        if !sent {
            return;
        }
    }
}

async fn stream_answer(
    replies: &Replies<'_>,
    caller: &CallingPeer,
    request: MethodCall,
    ended: Ended,
) -> StreamEnd {
    match request {
        MethodCall::Flows(asked) => caller.flows(&asked, replies).await,
        MethodCall::Wait(asked) => caller.wait(asked, replies, ended).await,
        MethodCall::Events(_) => caller.events(replies, ended).await,
        other => {
            StreamEnd::Failed(ControlError::MethodNotImplemented { method: other.method().name().to_owned() })
        }
    }
}

/// Waits until the user may make another call.
async fn counted_call(counted: &Counted) -> Result<(), ControlError> {
    let delay = counted.call()?;
    if delay > Duration::ZERO {
        sleep(delay).await;
        if counted.call()? > Duration::ZERO {
            return Err(counted.too_many());
        }
    }
    Ok(())
}
