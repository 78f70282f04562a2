//! The requests of a connection of HTTP, on their way to the origin.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::admission::{ProxyAdmission, RequestSubject};
use super::bad_start::BadStart;
use super::body::Body;
use super::clock::{duration, now};
use super::exchange::PendingRequest;
use super::http::{Head, Upgrade};
use super::progress::{Progress, UpEnd};
use crate::policy::ProxyLimits;

/// The requests of a connection: what was read of them, and where the current one ends.
pub(super) struct Requests {
    admission: ProxyAdmission,
    limits: ProxyLimits,
    /// The first head, as the origin gets it.
    first: (PendingRequest, Vec<u8>),
    /// What was read and is not passed on.
    buffer: Vec<u8>,
    /// What is left of the current request.
    body: Body,
    /// The last request proposes another protocol, and the origin's answer is not known.
    upgrades: bool,
    /// When the head that is being read has to be whole.
    deadline: Option<Instant>,
    /// How many heads were passed on.
    passed_on: u64,
}

/// How much is read at once.
const PIECE: usize = 8192;

impl Requests {
    /// The requests from a first head on that was admitted: `buffer` is what was read beyond it.
    pub(super) fn from(
        (head, rendition): (&Head, Option<&str>),
        buffer: Vec<u8>,
        admission: ProxyAdmission,
        limits: ProxyLimits,
    ) -> Self {
        let first = (asked(head), head.with_rendition(rendition, Upgrade::Allowed));
        let (body, upgrades) = (head.body, head.upgrades);
        Self { admission, limits, first, buffer, body, upgrades, deadline: None, passed_on: 1 }
    }

    pub(super) fn passed_on(&self) -> u64 {
        self.passed_on
    }

    /// Passes requests on until the client has sent its last one.
    pub(super) async fn pump(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        progress: &Progress,
    ) -> UpEnd {
        let (asked, first) = std::mem::take(&mut self.first);
        progress.exchange.note_request(asked).await;
        let mut first = Some(first);
        loop {
            let ready = match first.take() {
                None => self.next_part(progress).await,
                first => Ok(first),
            };
            let ready = match ready {
                Ok(ready) => ready,
                Err(end) => return end,
            };
            if let Some(part) = ready {
                if let Err(error) = to.write_all(&part).await {
                    progress.note_origin(&error);
                    return UpEnd::OriginFailed;
                }
                progress.add_up(part.len());
                continue;
            }
            progress.set_between_requests(self.body == Body::Done && self.buffer.is_empty());
            let was_empty = self.buffer.is_empty();
            self.buffer.reserve(PIECE);
            let read = from.read_buf(&mut self.buffer);
            let read = match self.deadline.filter(|_| self.body == Body::Done && !was_empty) {
                Some(deadline) => match timeout_at(deadline, read).await {
                    Ok(read) => read,
                    Err(_) => return UpEnd::BadRequest(BadStart::TimedOut),
                },
                None => read.await,
            };
            match read {
                Ok(0) => {
                    // What the client does not complete is no request.
                    return match to.shutdown().await {
                        Ok(()) => UpEnd::Finished,
                        Err(_) => UpEnd::OriginFailed,
                    };
                }
                Ok(_) if was_empty => self.deadline = Some(now() + duration(self.limits.head_time)),
                Ok(_) => {}
                Err(error) => return UpEnd::ClientFailed(error),
            }
        }
    }

    /// What of the buffer may be passed on; `None` where more has to be read first.
    async fn next_part(&mut self, progress: &Progress) -> Result<Option<Vec<u8>>, UpEnd> {
        if self.buffer.is_empty() {
            return Ok(None);
        }
        if self.upgrades && self.body == Body::Done {
            // What follows is a request, or of the other protocol: as the origin answers.
            progress.set_between_requests(false);
            self.upgrades = false;
            if progress.exchange.switched().await {
                self.body = Body::Tunnel;
            } else {
                self.deadline = Some(now() + duration(self.limits.head_time));
            }
        }
        if self.body != Body::Done {
            let taken =
                self.body.take(&self.buffer).map_err(|malformed| UpEnd::BadRequest(malformed.into()))?;
            let rest = self.buffer.split_off(taken);
            let part = std::mem::replace(&mut self.buffer, rest);
            if self.body == Body::Done && !self.buffer.is_empty() {
                self.deadline = Some(now() + duration(self.limits.head_time));
            }
            return Ok(Some(part));
        }
        let most = usize::try_from(self.limits.head.get()).unwrap_or(usize::MAX);
        let parsed = Head::parse(&self.buffer, most).map_err(|bad| UpEnd::BadRequest(bad.into()))?;
        let Some((head, length)) = parsed else { return Ok(None) };
        let shown = RequestSubject { host: head.host.as_deref(), path: Some(&head.path), sni: None };
        let rendition = self.admission.admit(shown).await;
        let rendition = rendition.map_err(|error| {
            let (error, method) = (Box::new(error), head.method.clone());
            UpEnd::Refused { error, method }
        })?;
        self.buffer.drain(..length);
        // Where the answer to it could not be told, it proposes nothing.
        let upgrade = match progress.exchange.is_followed() {
            true => Upgrade::Allowed,
            false => Upgrade::Removed,
        };
        (self.body, self.upgrades) = (head.body, head.upgrades && upgrade == Upgrade::Allowed);
        progress.exchange.note_request(PendingRequest { upgrades: self.upgrades, ..asked(&head) }).await;
        self.passed_on += 1;
        self.deadline = None;
        Ok(Some(head.with_rendition(rendition.as_deref(), upgrade)))
    }
}

fn asked(head: &Head) -> PendingRequest {
    PendingRequest { is_head: head.method == "HEAD", upgrades: head.upgrades }
}
