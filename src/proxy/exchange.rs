//! Requests that were passed on, and how far the origin has answered them.

use std::collections::VecDeque;

use tokio::sync::watch;

/// How many requests of a connection are passed on before the first of them is answered.
const MOST_UNANSWERED: usize = 32;

/// A request, as far as its response depends on it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct PendingRequest {
    /// Its response has no body, whatever its headers say.
    pub(super) is_head: bool,
    /// The connection may change to another protocol.
    pub(super) upgrades: bool,
}

/// What the two directions of a connection of HTTP know of each other.
#[derive(Debug)]
pub(super) struct Exchange(watch::Sender<State>);

#[derive(Debug, Default)]
struct State {
    /// The requests that are not answered, the oldest first.
    asked: VecDeque<PendingRequest>,
    /// The response to the oldest of them has begun.
    has_begun: bool,
    /// The ends of responses are not known any more.
    is_lost: bool,
    /// The origin has changed to another protocol.
    switched: bool,
}

impl Default for Exchange {
    fn default() -> Self {
        Self(watch::Sender::new(State::default()))
    }
}

impl Exchange {
    /// A request is passed on. Waits while the origin owes too many answers.
    pub(super) async fn note_request(&self, request: PendingRequest) {
        self.wait(|state| state.is_lost || state.asked.len() < MOST_UNANSWERED).await;
        self.0.send_modify(|state| {
            if !state.is_lost {
                state.asked.push_back(request);
            }
        });
    }

    /// The oldest request that is not answered.
    pub(super) fn oldest(&self) -> Option<PendingRequest> {
        self.0.borrow().asked.front().copied()
    }

    /// The response to the oldest request begins to pass.
    pub(super) fn begin(&self) {
        self.0.send_modify(|state| state.has_begun = true);
    }

    /// The oldest request is answered: the whole response has passed.
    pub(super) fn answered(&self) {
        self.0.send_modify(|state| {
            state.asked.pop_front();
            state.has_begun = false;
        });
    }

    /// Responses cannot be followed from here on.
    pub(super) fn lose(&self) {
        self.0.send_modify(|state| {
            state.is_lost = true;
            state.asked.clear();
        });
    }

    /// The origin has changed to another protocol: what passes now are no responses.
    pub(super) fn switch(&self) {
        self.0.send_modify(|state| (state.switched, state.is_lost) = (true, true));
    }

    /// Whether the ends of responses are known.
    pub(super) fn is_followed(&self) -> bool {
        !self.0.borrow().is_lost
    }

    /// Whether every request is known to be answered.
    pub(super) fn is_quiet(&self) -> bool {
        let state = self.0.borrow();
        !state.is_lost && state.asked.is_empty()
    }

    /// Waits until the origin owes no answer but one to `unfinished`, the last request that it has in part: for ever where
    /// that cannot be known. Whether the client waits for an answer to what is not passed on.
    pub(super) async fn owes_nothing(&self, unfinished: bool) -> bool {
        let only_unfinished = |state: &State| unfinished && state.asked.len() == 1 && !state.has_begun;
        self.wait(|state| !state.is_lost && (state.asked.is_empty() || only_unfinished(state))).await;
        !unfinished || only_unfinished(&self.0.borrow())
    }

    /// Waits for the answer to the last request, which proposes another protocol: whether the origin has changed to it.
    pub(super) async fn switched(&self) -> bool {
        self.wait(|state| state.is_lost || state.asked.is_empty()).await;
        self.0.borrow().switched
    }

    async fn wait(&self, condition: impl FnMut(&State) -> bool) {
        // The sender lives as long as this value.
        let _ = self.0.subscribe().wait_for(condition).await;
    }
}
