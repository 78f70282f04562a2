//! What a client does while the daemon is not there, and how long it has been so.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flowspec::Moment;

use super::fallback::Fallback;
use crate::policy::Policy;

/// How a client goes on without the daemon, and whether the daemon may be starting again.
pub(super) struct DaemonAbsence {
    /// Whether the client's own policy decides, and not the daemon's.
    is_own: bool,
    state: Mutex<AbsenceState>,
}

#[derive(Default)]
struct AbsenceState {
    fallback: Option<Fallback>,
    contact: Contact,
}

#[derive(Clone, Copy, Default)]
enum Contact {
    /// The daemon was never there.
    #[default]
    Never,
    Connected,
    Ended(Moment),
}

/// How long after its end a daemon may be starting again: requests wait so long for the next one.
const RESTART: Duration = Duration::from_secs(5);

impl DaemonAbsence {
    /// As this policy of the client says; without one, as the daemon says later.
    pub(super) fn of(own: Option<&Policy>) -> Self {
        let fallback = own.and_then(Fallback::of);
        Self { is_own: own.is_some(), state: Mutex::new(AbsenceState { fallback, contact: Contact::Never }) }
    }

    pub(super) fn fallback(&self) -> Option<Fallback> {
        self.lock().fallback.clone()
    }

    /// The daemon has said what its clients may do, by the part of its policy that is for them.
    pub(super) fn told(&self, policy: Option<&str>) {
        if !self.is_own {
            self.lock().fallback = policy.and_then(Fallback::read);
        }
    }

    pub(super) fn connected(&self) {
        self.lock().contact = Contact::Connected;
    }

    /// The connection to the daemon has ended.
    pub(super) fn ended(&self, now: Moment) {
        let mut state = self.lock();
        if matches!(state.contact, Contact::Connected) {
            state.contact = Contact::Ended(now);
        }
    }

    /// Whether the daemon has ended so short a time ago that the next one may be starting.
    pub(super) fn may_restart(&self, now: Moment) -> bool {
        match self.lock().contact {
            Contact::Never => false,
            Contact::Connected => true,
            Contact::Ended(at) => Duration::from_micros(now.saturating_since(at).get()) < RESTART,
        }
    }

    fn lock(&self) -> MutexGuard<'_, AbsenceState> {
        // The state is whole between any two statements that can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use flowspec::Micros;

    use super::*;

    fn policy(degrade: &str) -> Policy {
        format!("version = 1\n[daemon]\ndegrade = \"{degrade}\"\n").parse().expect("a policy")
    }

    #[test]
    fn requests_wait_for_the_next_daemon_for_so_long() {
        let absence = DaemonAbsence::of(None);
        let at = |micros| Moment::START.saturating_add(Micros::new(micros));
        absence.ended(at(1));
        assert!(!absence.may_restart(at(1)), "it was never there");
        absence.connected();
        absence.ended(at(1_000_000));
        // An attempt that has failed meanwhile begins no time anew.
        absence.ended(at(5_000_000));
        assert!(absence.may_restart(at(5_999_999)));
        assert!(!absence.may_restart(at(6_000_000)));
    }

    #[test]
    fn the_client_s_own_policy_counts_and_else_the_last_word_of_the_daemon() {
        let text = policy("best_effort").for_clients().expect("a part for clients").effective();
        let absence = DaemonAbsence::of(None);
        absence.told(Some(&text));
        assert!(absence.fallback().is_some());
        absence.told(None);
        assert!(absence.fallback().is_none(), "the next daemon has clients refuse");
        let refusing = DaemonAbsence::of(Some(&policy("refuse")));
        refusing.told(Some(&text));
        assert!(refusing.fallback().is_none());
    }
}
