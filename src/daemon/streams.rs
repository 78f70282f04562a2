//! The answers that are streams of replies.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::calls::CallingPeer;
use super::replies::{Ended, Replies};
use super::requests::value;
use crate::control::limits::MOST_RECORDS_OF_A_REPLY;
use crate::control::{
    ClientNotice, ControlError, EventBatch, FlowBatch, FlowRecord, FlowsCall, Reply, WaitCall,
};
use crate::engine::Engine;
use crate::telemetry::{Event, Recorded};

/// Why a stream has ended.
pub(super) enum StreamEnd {
    /// With its last reply.
    Answered,
    /// With an error in place of a reply.
    Failed(ControlError),
    /// The connection cannot go on.
    Closed,
}

impl CallingPeer {
    /// Streams the caller's flows, some with each reply.
    pub(super) async fn flows(&self, asked: &FlowsCall, replies: &Replies<'_>) -> StreamEnd {
        let only = (!self.peer.is_administrator).then_some(self.peer.uid);
        let (watched, with_traffic) = (&self.server.watched, asked.traffic.unwrap_or(false));
        let table = match asked.most {
            Some(_) => watched.flows().await,
            None => {
                if with_traffic {
                    drop(watched.report_in_time().await);
                }
                Arc::new(watched.flows_now(with_traffic).await)
            }
        };
        let (chosen, matching) = table.chosen(only, asked).await;
        let record = |flow: &FlowRecord| {
            let traffic = flow.traffic.filter(|_| with_traffic);
            FlowRecord { traffic, ..flow.clone() }
        };
        let mut batches = chosen.chunks(MOST_RECORDS_OF_A_REPLY).peekable();
        if batches.peek().is_none() {
            return last(replies, &FlowBatch { flows: Vec::new(), matching }).await;
        }
        while let Some(batch) = batches.next() {
            let flows = batch.iter().map(|flow| record(flow)).collect();
            let reply = FlowBatch { flows, matching };
            if batches.peek().is_none() {
                return last(replies, &reply).await;
            }
            if !next(replies, &reply).await {
                return StreamEnd::Closed;
            }
        }
        StreamEnd::Answered
    }

    /// Streams notices about the flows of the caller's process, until the client closes the connection.
    pub(super) async fn wait(&self, asked: WaitCall, replies: &Replies<'_>, mut ended: Ended) -> StreamEnd {
        if let Some(id) = &asked.id
            && let Err(error) = self.own(id)
        {
            return StreamEnd::Failed(error);
        }
        let mut notices = self.server.notices.subscribe(self.client.process, asked.id);
        if !next(replies, &ClientNotice::Listening {}).await {
            return StreamEnd::Closed;
        }
        if let Some(policy) = self.server.engine.policy_for_clients()
            && !next(replies, &ClientNotice::Degrade { policy: Some(policy) }).await
        {
            return StreamEnd::Closed;
        }
        loop {
            let notice = tokio::select! {
                biased;
                () = ended.wait() => None,
                notice = notices.recv() => notice,
            };
            match notice {
                Some(notice) if next(replies, &notice).await => {}
                // A client that has missed a notice must not take the stream for complete.
                _ => return StreamEnd::Closed,
            }
        }
    }

    /// Streams events, until the client closes the connection.
    pub(super) async fn events(&self, replies: &Replies<'_>, mut ended: Ended) -> StreamEnd {
        let mut events = self.server.engine.events();
        let mut own = HashSet::new();
        let began_us = Some(self.server.engine.began());
        if !next(replies, &EventBatch { began_us, ..EventBatch::default() }).await {
            return StreamEnd::Closed;
        }
        loop {
            let first = tokio::select! {
                biased;
                () = ended.wait() => None,
                event = events.next() => event,
            };
            // The engine has stopped, or the client is gone.
            let Some(first) = first else { return StreamEnd::Closed };
            let more = std::iter::from_fn(|| events.try_next()).take(MOST_RECORDS_OF_A_REPLY - 1);
            let came: Vec<_> = std::iter::once(first).chain(more).collect();
            let shown: Vec<_> = came.iter().filter_map(|event| self.shown(event, &mut own)).collect();
            let batch = EventBatch { events: shown, dropped: events.dropped(), began_us };
            if !batch.events.is_empty() && !next(replies, &batch).await {
                return StreamEnd::Closed;
            }
        }
    }

    /// An event as JSON, unless it is about a flow or a group of another user.
    fn shown(&self, event: &Recorded, own: &mut HashSet<String>) -> Option<Value> {
        if self.peer.is_administrator {
            return value(event).ok();
        }
        let mut event = event.clone();
        if let Event::FlowRefused(refused) = &mut event.event {
            refused.refused.retain_holders(&|id| self.owns(id));
        }
        let json = value(&event).ok()?;
        let Some(id) = json.get("id").and_then(Value::as_str) else { return Some(json) };
        let holdings = &self.server.holdings;
        let owner = holdings.owner(id).or_else(|| holdings.group_owner(id));
        if matches!(event.event, Event::FlowRefused(_)) {
            // Nothing need have the id, now or later.
            let owner = owner.or_else(|| holdings.refused_owner(id));
            return (owner == Some(self.peer.uid)).then_some(json);
        }
        match owner {
            Some(uid) if uid == self.peer.uid => {
                own.insert(id.to_owned());
                Some(json)
            }
            Some(_) => {
                own.remove(id);
                None
            }
            // It has ended just now.
            None => own.remove(id).then_some(json),
        }
    }
}

/// Sends a reply that others follow. `false` where the connection cannot go on.
async fn next(replies: &Replies<'_>, parameters: &impl Serialize) -> bool {
    match Reply::answer(parameters, true) {
        Ok(reply) => replies.send(&reply).await.is_ok(),
        Err(_) => false,
    }
}

async fn last(replies: &Replies<'_>, parameters: &impl Serialize) -> StreamEnd {
    match Reply::answer(parameters, false) {
        Ok(reply) if replies.send(&reply).await.is_ok() => StreamEnd::Answered,
        _ => StreamEnd::Closed,
    }
}
