//! Flows without their peers, and the flows that time ends.

use flowspec::Moment;
use gqos::admission::{PeerLoss, PeerState};

use crate::FOREVER;
use crate::recount::{Flow, Recount};

/// The ids of the flows that have ended by themselves, in the order in which they ended.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    pub(crate) expired: Vec<String>,
    pub(crate) dead: Vec<String>,
    pub(crate) stalled: Vec<String>,
}

impl Ended {
    pub(crate) fn push(&mut self, id: String, loss: Option<PeerLoss>) {
        match loss {
            None => self.expired.push(id),
            Some(PeerLoss::Dead) => self.dead.push(id),
            Some(PeerLoss::Stalled) => self.stalled.push(id),
            Some(other) => panic!("the model has no {other:?}"),
        }
    }
}

impl Recount {
    /// Ends what is over by `now`.
    pub(crate) fn advance(&mut self, now: u64) -> Ended {
        self.now = now;
        let mut over = Vec::new();
        for flow in &self.flows {
            let expires = flow.end.min(flow.deadline.unwrap_or(FOREVER));
            let lost = self.peer_end(flow);
            let (at, loss) = match lost {
                Some((at, loss)) if at < expires => (at, Some(loss)),
                _ => (expires, None),
            };
            if at <= now {
                over.push((at, loss.is_some(), flow.order, flow.id.clone(), loss));
            }
        }
        self.end_waits();
        over.sort();
        let mut ended = Ended::default();
        for (.., id, loss) in over {
            self.lose(&id);
            ended.push(id, loss);
        }
        ended
    }

    /// When a flow ends for its peer, and why.
    pub(crate) fn peer_end(&self, flow: &Flow) -> Option<(u64, PeerLoss)> {
        let [dead, stalled] = self.variant.timeouts(flow.class.as_deref(), flow.client.as_deref());
        let dead = flow.silent.zip(dead).map(|(since, time)| (since + time, PeerLoss::Dead));
        let stalled = flow.stalled.zip(stalled).map(|(since, time)| (since + time, PeerLoss::Stalled));
        dead.into_iter().chain(stalled).min()
    }

    /// What is seen of a flow's peer. Returns whether there is such a flow; it may be over then.
    pub(crate) fn peer(&mut self, id: &str, seen: (PeerState, Option<Moment>), ended: &mut Ended) -> bool {
        let now = self.now;
        let Some(flow) = self.flows.iter_mut().find(|flow| flow.id == id) else { return false };
        let (state, given) = seen;
        let since =
            |before: Option<u64>| given.map(|since| since.as_micros().min(now)).or(before).or(Some(now));
        match state {
            PeerState::Active => (flow.silent, flow.stalled) = (None, None),
            PeerState::Silent => flow.silent = since(flow.silent),
            PeerState::Stalled => flow.stalled = since(flow.stalled),
            PeerState::Gone => {}
            other => panic!("the model has no {other:?}"),
        }
        let flow = flow.clone();
        let lost = match state {
            PeerState::Gone => Some(PeerLoss::Dead),
            _ => self.peer_end(&flow).filter(|(at, _)| *at <= now).map(|(_, loss)| loss),
        };
        if lost.is_some() {
            self.lose(id);
            ended.push(id.to_owned(), lost);
        }
        true
    }
}
