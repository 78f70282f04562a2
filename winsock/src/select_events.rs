//! Selecting network events: WSAEventSelect, WSAAsyncSelect and WSAEnumNetworkEvents.

use std::sync::Arc;
use std::time::Duration;

use flowspec::Wsa;
use tokio::io::Interest;

use super::Result;
use super::descriptor::Watched;
use super::endpoint::{ConnectionPhase, Endpoint};
use super::event::EventObject;
use super::network_events::{Callback, EventSet, EventTarget, NetworkEvents};
use super::provider::{check_started, provider};
use crate::sys::{self, Readiness};

impl Endpoint {
    /// Selects the network events that are recorded and signal `event`. The socket does not block from now on. An
    /// empty set ends the selection.
    ///
    /// - **Errors**: WSANOTINITIALISED; WSAEINVAL where events are selected without an event object; WSAEMFILE and
    ///   WSAENOBUFS where the socket cannot be watched: the earlier selection is kept.
    /// - **Source**: WSPEventSelect.
    pub fn select_events(self: &Arc<Self>, event: Option<&EventObject>, selected: EventSet) -> Result<()> {
        self.select_for(event.cloned().map(EventTarget::Event), selected)
    }

    /// Selects the network events for which a function is called. The socket does not block from now on. An empty set
    /// ends the selection. Either kind of selection replaces the other.
    ///
    /// - **Errors**: those of [`select_events`](Self::select_events).
    /// - **Source**: WSPAsyncSelect, with a function in place of a window.
    pub fn select_callback(self: &Arc<Self>, callback: Option<Callback>, selected: EventSet) -> Result<()> {
        self.select_for(callback.map(EventTarget::Callback), selected)
    }

    pub(crate) fn select_for(
        self: &Arc<Self>,
        target: Option<EventTarget>,
        selected: EventSet,
    ) -> Result<()> {
        check_started()?;
        if selected == EventSet::NONE {
            self.events.clear();
            return Ok(());
        }
        let target = target.ok_or(Wsa::Einval)?;
        if matches!(target, EventTarget::Callback(_)) {
            provider()?.start_callbacks()?;
        }
        // What the reactor will need, so that a failure is the call's.
        let mut spare = if self.events.needs_duplicate() { Some(self.duplicate()?) } else { None };
        self.set_nonblocking(true)?;
        // The reactor may stop watching the socket meanwhile, for the end of an earlier selection.
        while !self.events.select(&target, selected, self.number(), &mut spare) {
            spare = Some(self.duplicate()?);
        }
        self.watch().inspect_err(|_| self.events.clear())?;
        if selected.contains(EventSet::QOS) {
            self.announce_other_end();
        }
        self.record_current_state();
        Ok(())
    }

    /// The events that were recorded since the last call. `reset` is reset with them.
    ///
    /// - **Errors**: WSANOTINITIALISED.
    /// - **Source**: WSPEnumNetworkEvents.
    pub fn take_events(&self, reset: Option<&EventObject>) -> Result<NetworkEvents> {
        check_started()?;
        Ok(self.events.take(reset))
    }

    /// Enables an event after the call that re-enables it, and records it if its condition holds already.
    pub(crate) fn enable_event(&self, event: EventSet) {
        if self.events.enable(event) {
            self.record_current_state();
        }
    }

    /// Records the events whose condition holds now, if any event is selected.
    pub(crate) fn record_if_selected(&self) {
        if self.events.is_active() {
            self.record_current_state();
        }
    }

    /// Has the reactor record events of the socket whenever its state changes.
    ///
    /// - **Errors**: WSAENOBUFS.
    pub(crate) fn watch(self: &Arc<Self>) -> Result<()> {
        // To the kernel a stream without a peer is at its end in both directions, all the time.
        if self.is_stream()
            && matches!(self.state().phase, ConnectionPhase::Idle | ConnectionPhase::Connecting)
        {
            return Ok(());
        }
        let Some(duplicate) = self.events.start_watching() else { return Ok(()) };
        let provider = provider()?;
        let watched = {
            let _entered = provider.host.enter();
            duplicate.watch(ALL_STATES).inspect_err(|_| self.events.stop_watching())?
        };
        let this = Arc::clone(self);
        provider.host.spawn(async move { this.record_changes(watched).await });
        Ok(())
    }

    /// [`watch`](Self::watch) once a connection is made. Where that fails, the selected FD_CLOSE reports it.
    pub(crate) fn watch_connection(self: &Arc<Self>) {
        if let Err(code) = self.watch() {
            self.events.record(EventSet::CLOSE, Some(code));
        }
    }

    /// Records events as the state of the descriptor changes, until the selection ends.
    async fn record_changes(&self, watched: Watched) {
        // A direction that has ended stays ready, and is not waited for again.
        let (mut reading, mut writing) = (true, true);
        loop {
            let waited = match (reading, writing) {
                (true, true) => Some(ALL_STATES),
                (true, false) => Some(Interest::READABLE.add(Interest::PRIORITY)),
                (false, true) => Some(Interest::WRITABLE),
                (false, false) => None,
            };
            let ready = async {
                match waited {
                    Some(interest) => watched.ready(interest).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.events.ended.notified() => {}
                guard = ready => match guard {
                    Ok(mut guard) => {
                        reading &= !guard.ready().is_read_closed();
                        writing &= !guard.ready().is_write_closed();
                        guard.clear_ready();
                    }
                    // The reactor ends.
                    Err(_) => return,
                },
            }
            if !self.events.keeps_watching() {
                return;
            }
            // The program may have closed the descriptor by close(2).
            if !self.fd.is_same() {
                return self.events.stop_watching();
            }
            self.record_current_state();
        }
    }

    /// Records the events whose condition holds now.
    pub(crate) fn record_current_state(&self) {
        let phase = self.state().phase;
        let all = Readiness { readable: true, urgent: true, writable: true, failed: true, peer_closed: true };
        let mut watched = [(self.number(), all)];
        if sys::poll(&mut watched, Some(Duration::ZERO)).is_err() {
            return;
        }
        let found = watched[0].1;
        match phase {
            ConnectionPhase::Listening => {
                let offers = self.state().offers.clone();
                if offers.map_or(found.readable, |offers| !offers.is_empty()) {
                    self.events.record(EventSet::ACCEPT, None);
                }
            }
            ConnectionPhase::Connected => self.record_connected_state(found),
            ConnectionPhase::Idle if !self.is_stream() => {
                if found.readable {
                    self.events.record(EventSet::READ, None);
                }
                // Recorded for an event object once the socket has an address; a function is called at once.
                if found.writable && (self.state().bound || self.events.calls_back()) {
                    self.events.record(EventSet::WRITE, None);
                }
            }
            ConnectionPhase::Idle | ConnectionPhase::Connecting => {}
        }
    }

    fn record_connected_state(&self, found: Readiness) {
        if found.urgent {
            self.events.record(EventSet::OOB, None);
        }
        let has_data = sys::available(&self.fd).unwrap_or(0) > 0;
        // The end of a stream is readable too, but is FD_CLOSE.
        if found.readable && (has_data || !self.is_stream()) {
            self.events.record(EventSet::READ, None);
        }
        if found.writable && !found.failed {
            self.events.record(EventSet::WRITE, None);
        }
        if self.is_stream() && !has_data && self.has_ended(found) {
            self.events.record(EventSet::CLOSE, self.reset_code(found));
        }
    }

    /// Whether the peer of a stream has closed the connection, or it was reset.
    pub(crate) fn has_ended(&self, found: Readiness) -> bool {
        // To the kernel a direction that this end has shut down is closed as well.
        let is_shut = self.state().receiving_ended;
        (found.peer_closed || found.failed) && (!is_shut || sys::peer_has_closed(&self.fd))
    }

    /// The code of a connection that was reset; `None` after an orderly close. The kernel reports it once, and this end
    /// from now on.
    pub(crate) fn reset_code(&self, found: Readiness) -> Option<Wsa> {
        let mut state = self.state();
        if state.reset.is_none()
            && found.failed
            && let Ok(Some(error)) = sys::take_error(&self.fd)
        {
            state.reset = Some(error.wsa());
        }
        state.reset
    }
}

/// Everything that the reactor can watch for.
const ALL_STATES: Interest = Interest::READABLE.add(Interest::WRITABLE).add(Interest::PRIORITY);
