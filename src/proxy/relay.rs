//! Moves both directions of a connection, each at its own pace, until both have ended.

use std::io;
use std::pin::pin;
use std::time::Duration;

use flowspec::Direction;
use shaper::relay::{DataPath, Ends, Relay, RelayError};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::WriteHalf;
use tokio::sync::watch;
use tokio::time::sleep;

use super::bad_start::BadStart;
use super::clock::duration;
use super::incoming::Phase;
use super::progress::{Progress, Quiet, UpEnd};
use super::requests::Requests;
use super::responses::Responses;
use crate::connect::Connection;
use crate::policy::{Proxy, ProxyLimits};

/// The way from the client to the origin.
pub(super) enum Upward {
    /// Everything, these bytes first.
    Raw(Vec<u8>),
    Requests(Box<Requests>),
}

/// How a relay ended.
#[derive(Debug)]
pub(super) enum RelayEnd {
    Closed,
    ClientFailed(io::Error),
    OriginFailed(io::Error),
    /// A request is not passed on, and those before it are answered, or the origin has ended.
    Stopped {
        why: UpEnd,
        may_answer: bool,
    },
    Idle,
    Drained,
}

/// How long nothing may come between two requests of a connection that is to end.
const QUIET: Duration = Duration::from_secs(1);

/// How long the client of a connection of requests may send after the origin has closed: nothing answers it.
const AFTER_ORIGIN: Duration = Duration::from_secs(2);

/// Moves data until both directions have ended, or one has failed. The caller closes the sockets as the end demands.
pub(super) async fn relay(
    client: &Connection,
    origin: &mut TcpStream,
    upward: &mut Upward,
    proxy: &Proxy,
    phase: watch::Receiver<Phase>,
) -> RelayEnd {
    let (from_origin, mut to_origin) = origin.split();
    let progress = Progress::default();
    let has_requests = matches!(upward, Upward::Requests(_));
    let responses = has_requests.then(Responses::default);
    let path = if proxy.splice { DataPath::Splice } else { DataPath::Copy };
    let up = up(upward, client, &mut to_origin, &progress, path);
    let down = down(from_origin.as_ref(), (client, responses), &progress, path);
    both(up, down, &progress, &RelayContext { limits: &proxy.limits, phase, has_requests }).await
}

/// What both directions of a relay depend on.
struct RelayContext<'a> {
    limits: &'a ProxyLimits,
    phase: watch::Receiver<Phase>,
    has_requests: bool,
}

/// Why the relay ends once nothing passes.
#[derive(Default)]
struct Waiting {
    up: Option<UpEnd>,
    down_ended: bool,
    draining: bool,
}

async fn both(
    up: impl Future<Output = UpEnd>,
    down: impl Future<Output = Result<(), DownFailed>>,
    progress: &Progress,
    context: &RelayContext<'_>,
) -> RelayEnd {
    let (mut up, mut down) = (pin!(up), pin!(down));
    let mut phase = context.phase.clone();
    let mut drained = pin!(async {
        // The sender lives as long as the server.
        let _ = phase.wait_for(|phase| *phase == Phase::Draining).await;
    });
    let mut drain_ends = pin!(async {
        let mut phase = context.phase.clone();
        let _ = phase.wait_for(|phase| *phase == Phase::Draining).await;
        sleep(duration(context.limits.drain)).await;
    });
    let mut state = Waiting::default();
    let mut quiet = Quiet::default();
    loop {
        let patience = state.patience(context);
        tokio::select! {
            // What has come is passed on before its end is acted on.
            biased;
            end = &mut down, if !state.down_ended => match end {
                Ok(()) => state.down_ended = true,
                Err(DownFailed::Client(error)) => return RelayEnd::ClientFailed(error),
                Err(DownFailed::Origin(error)) => return RelayEnd::OriginFailed(error),
            },
            end = &mut up, if state.up.is_none() => match end {
                UpEnd::ClientFailed(error) => return RelayEnd::ClientFailed(error),
                end => state.up = Some(end),
            },
            may_answer = progress.exchange.owes_nothing(state.has_unfinished()), if state.is_stopped() => {
                if let Some(why) = state.up.take() {
                    return RelayEnd::Stopped { why, may_answer };
                }
            }
            () = &mut drained, if !state.draining => state.draining = true,
            () = &mut drain_ends => return RelayEnd::Drained,
            () = sleep(Quiet::step(patience)) => {
                if quiet.lasts(progress.passed(), patience)
                    && let Some(end) = state.after_silence(progress, context)
                {
                    return end;
                }
            }
        }
        match state.up.take() {
            Some(UpEnd::Finished | UpEnd::OriginFailed) if state.down_ended => return RelayEnd::Closed,
            // The client knows that no answer follows.
            Some(why @ (UpEnd::Refused { .. } | UpEnd::BadRequest(_))) if state.down_ended => {
                return RelayEnd::Stopped { why, may_answer: false };
            }
            up => state.up = up,
        }
    }
}

impl Waiting {
    fn is_stopped(&self) -> bool {
        matches!(self.up, Some(UpEnd::Refused { .. } | UpEnd::BadRequest(_)))
    }

    /// Whether the origin has a part of the request that is not passed on.
    fn has_unfinished(&self) -> bool {
        matches!(self.up, Some(UpEnd::BadRequest(BadStart::Chunk(_))))
    }

    /// How long nothing may pass.
    fn patience(&self, context: &RelayContext<'_>) -> Duration {
        if self.draining && context.has_requests {
            QUIET
        } else if self.down_ended && context.has_requests {
            AFTER_ORIGIN
        } else {
            duration(context.limits.idle)
        }
    }

    /// How the relay ends after that time; `None` where it goes on.
    fn after_silence(&mut self, progress: &Progress, context: &RelayContext<'_>) -> Option<RelayEnd> {
        if context.has_requests && self.down_ended {
            return Some(RelayEnd::Closed);
        }
        if context.has_requests && self.draining {
            return progress.is_between_requests().then_some(RelayEnd::Closed);
        }
        Some(RelayEnd::Idle)
    }
}

async fn up(
    upward: &mut Upward,
    client: &Connection,
    to: &mut WriteHalf<'_>,
    progress: &Progress,
    path: DataPath,
) -> UpEnd {
    let first = match upward {
        Upward::Requests(requests) => return requests.pump(&mut client.reader(), to, progress).await,
        Upward::Raw(first) => std::mem::take(first),
    };
    if let Err(error) = to.write_all(&first).await {
        progress.note_origin(&error);
        return UpEnd::OriginFailed;
    }
    progress.add_up(first.len());
    drop(first);
    let ends = Ends { from: client.socket(), to: to.as_ref() };
    let mut relay = Relay::new(ends, client.flow().control(), Direction::Receiving, path);
    loop {
        match relay.pass().await {
            Ok(0) => break,
            Ok(passed) => progress.add_up(passed),
            Err(RelayError::From(error)) => {
                client.note_error(&error);
                return UpEnd::ClientFailed(error);
            }
            Err(RelayError::To(error)) => {
                progress.note_origin(&error);
                return UpEnd::OriginFailed;
            }
        }
    }
    match to.shutdown().await {
        Ok(()) => UpEnd::Finished,
        Err(_) => UpEnd::OriginFailed,
    }
}

enum DownFailed {
    Client(io::Error),
    Origin(io::Error),
}

async fn down(
    from: &TcpStream,
    (client, mut responses): (&Connection, Option<Responses>),
    progress: &Progress,
    path: DataPath,
) -> Result<(), DownFailed> {
    let ends = Ends { from, to: client.socket() };
    let mut relay = Relay::new(ends, client.flow().control(), Direction::Sending, path);
    loop {
        let known = match &mut responses {
            Some(responses) => responses.known(from, &progress.exchange).await,
            None => u64::MAX,
        };
        let passed = relay.pass_at_most(usize::try_from(known).unwrap_or(usize::MAX)).await;
        if let (Some(responses), Ok(passed)) = (&mut responses, &passed) {
            responses.passed(*passed, &progress.exchange);
        }
        match passed {
            Ok(0) => match progress.hidden_reset() {
                Some(error) => return Err(DownFailed::Origin(error)),
                None => return client.end_sending().map_err(DownFailed::Client),
            },
            // Each transfer counts: a client that reads slowly is not idle.
            Ok(passed) => progress.add_down(passed),
            Err(RelayError::From(error)) => return Err(DownFailed::Origin(error)),
            Err(RelayError::To(error)) => {
                client.note_error(&error);
                return Err(DownFailed::Client(error));
            }
        }
    }
}
