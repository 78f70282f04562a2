//! Copies both directions of a connection, each at its own pace, until both have ended.

use std::io;
use std::pin::pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::sleep;

use super::clock::duration;
use super::incoming::Phase;
use super::progress::{Progress, UpEnd};
use super::requests::Requests;
use crate::connect::Connection;
use crate::policy::ProxyLimits;

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
    /// Nothing more came after a request that was not passed on.
    Stopped(UpEnd),
    Idle,
    Drained,
}

/// What is read of the origin at once, and of a client whose requests are not read.
const DOWN: usize = 32_768;
const UP: usize = 8192;

/// How long nothing may come after the last request that is passed on.
const QUIET: Duration = Duration::from_secs(1);

/// How long the client of a connection of requests may send after the origin has closed: nothing answers it.
const AFTER_ORIGIN: Duration = Duration::from_secs(2);

/// Copies until both directions have ended, or one has failed. The sockets are returned, to be closed as the end demands.
pub(super) async fn relay(
    client: Connection,
    mut origin: TcpStream,
    upward: &mut Upward,
    limits: &ProxyLimits,
    phase: watch::Receiver<Phase>,
) -> (Connection, TcpStream, RelayEnd) {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let end = {
        let (mut from_origin, mut to_origin) = origin.split();
        let progress = Progress::default();
        let has_requests = matches!(upward, Upward::Requests(_));
        let up = up(upward, &mut from_client, &mut to_origin, &progress);
        let down = down(&mut from_origin, &mut to_client, &progress);
        both(up, down, &progress, &Terms { limits, phase, has_requests }).await
    };
    (from_client.unsplit(to_client), origin, end)
}

struct Terms<'a> {
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
    terms: &Terms<'_>,
) -> RelayEnd {
    let (mut up, mut down) = (pin!(up), pin!(down));
    let mut phase = terms.phase.clone();
    let mut drained = pin!(async {
        // The sender lives as long as the server.
        let _ = phase.wait_for(|phase| *phase == Phase::Draining).await;
    });
    let mut drain_ends = pin!(async {
        let mut phase = terms.phase.clone();
        let _ = phase.wait_for(|phase| *phase == Phase::Draining).await;
        sleep(duration(terms.limits.drain)).await;
    });
    let mut state = Waiting::default();
    loop {
        let before = progress.passed();
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
            () = &mut drained, if !state.draining => state.draining = true,
            () = &mut drain_ends => return RelayEnd::Drained,
            () = sleep(state.patience(terms)) => {
                if progress.passed() == before
                    && let Some(end) = state.after_silence(progress, terms)
                {
                    return end;
                }
            }
        }
        if state.down_ended && matches!(state.up, Some(UpEnd::Finished | UpEnd::OriginFailed)) {
            return RelayEnd::Closed;
        }
    }
}

impl Waiting {
    fn is_stopped(&self) -> bool {
        matches!(self.up, Some(UpEnd::Refused(_) | UpEnd::BadRequest(_)))
    }

    /// How long nothing may pass.
    fn patience(&self, terms: &Terms<'_>) -> Duration {
        if self.is_stopped() || self.draining && terms.has_requests {
            QUIET
        } else if self.down_ended && terms.has_requests {
            AFTER_ORIGIN
        } else {
            duration(terms.limits.idle)
        }
    }

    /// How the relay ends after that time; `None` where it goes on.
    fn after_silence(&mut self, progress: &Progress, terms: &Terms<'_>) -> Option<RelayEnd> {
        if self.is_stopped() {
            return self.up.take().map(RelayEnd::Stopped);
        }
        if terms.has_requests && self.down_ended {
            return Some(RelayEnd::Closed);
        }
        if terms.has_requests && self.draining {
            return progress.is_between_requests().then_some(RelayEnd::Closed);
        }
        Some(RelayEnd::Idle)
    }
}

async fn up(
    upward: &mut Upward,
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    progress: &Progress,
) -> UpEnd {
    let first = match upward {
        Upward::Requests(requests) => return requests.pump(from, to, progress).await,
        Upward::Raw(first) => first,
    };
    let mut buffer = std::mem::take(first);
    let mut filled = buffer.len();
    buffer.resize(filled.max(UP), 0);
    loop {
        if to.write_all(&buffer[..filled]).await.is_err() {
            return UpEnd::OriginFailed;
        }
        progress.add_up(filled);
        match from.read(&mut buffer).await {
            Ok(0) => break,
            Ok(read) => filled = read,
            Err(error) => return UpEnd::ClientFailed(error),
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
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    progress: &Progress,
) -> Result<(), DownFailed> {
    let mut buffer = vec![0; DOWN];
    loop {
        let read = from.read(&mut buffer).await.map_err(DownFailed::Origin)?;
        if read == 0 {
            return to.shutdown().await.map_err(DownFailed::Client);
        }
        let mut rest = &buffer[..read];
        while !rest.is_empty() {
            let written = to.write(rest).await.map_err(DownFailed::Client)?;
            if written == 0 {
                return Err(DownFailed::Client(io::ErrorKind::WriteZero.into()));
            }
            // Each write counts: a client that reads slowly is not idle.
            progress.add_down(written);
            rest = &rest[written..];
        }
    }
}
