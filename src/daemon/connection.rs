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
    let mut descriptor: Option<OwnedFd> = None;
    loop {
        let received = tokio::select! {
            biased;
            () = until(&mut deadline) => break,
            received = receive_next(stream, &mut buffer) => received,
        };
        let Ok(Received { bytes, descriptors, truncated }) = received else { break };
        let is_too_many = truncated || descriptors.len() + usize::from(descriptor.is_some()) > 1;
        if is_too_many {
            close_elsewhere(descriptors);
            let problem = "a message has one descriptor at most".to_owned();
            let _ = calls.send(Err(ControlError::Descriptor { problem })).await;
            break;
        }
        if bytes == 0 {
            break;
        }
        descriptor = descriptor.or_else(|| descriptors.into_iter().next());
        frames.push(&buffer[..bytes]);
        loop {
            let message = match frames.next_message() {
                Ok(Some(message)) => message,
                Ok(None) => break,
                Err(problem) => {
                    let problem = ControlError::InvalidParameter { parameter: problem.to_string() };
                    let _ = calls.send(Err(problem)).await;
                    close_elsewhere(descriptor);
                    return;
                }
            };
            deadline = None;
            // A descriptor came with the last bytes that were read: those of the message that is still incomplete, if one is.
            let own = if frames.is_within_message() { None } else { descriptor.take() };
            let call = Ok(ReceivedMessage { bytes: message, descriptor: own });
            tokio::select! {
                biased;
                sent = calls.send(call) => if sent.is_err() { return },
                // A stream does not end by itself: what waits behind it may be a queue and no more.
                _ = is_streaming.wait_for(|streaming| *streaming), if calls.capacity() == 0 => return,
            }
        }
        if frames.is_within_message() && deadline.is_none() {
            deadline = Some(Box::pin(sleep(MESSAGE_TIMEOUT)));
        }
    }
    close_elsewhere(descriptor);
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
