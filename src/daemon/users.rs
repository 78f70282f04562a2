//! What one user may take of the daemon: connections and calls a second.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flowspec::{Bytes, Rate};
use shaper::plan::Tokens;
use shaper::{Due, Framing, Governed, Limiter, Plan, clock};

use crate::control::ControlError;

/// The limits of one user. Administrators have those of the whole daemon alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct UserLimits {
    pub(super) connections: usize,
    pub(super) flows: usize,
    pub(super) calls_a_second: u32,
    /// How many connections there may be of all users together.
    pub(super) all_connections: usize,
}

/// The users that have connections.
pub(super) struct Users {
    state: Mutex<State>,
    limits: UserLimits,
}

#[derive(Default)]
struct State {
    users: HashMap<u32, User>,
    connections: usize,
}

struct User {
    connections: usize,
    /// A token for each call.
    calls: Option<Governed>,
}

/// A connection that counts. Dropped, it counts no more.
pub(super) struct Counted {
    users: Arc<Users>,
    uid: u32,
}

/// How long a call of a user with too many waits at most before it is answered with an error.
const MOST_DELAY: Duration = Duration::from_secs(1);

impl Users {
    pub(super) fn new(limits: UserLimits) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), limits })
    }

    pub(super) const fn limits(&self) -> UserLimits {
        self.limits
    }

    /// How many connections there are.
    pub(super) fn connections(&self) -> usize {
        self.state().connections
    }

    /// Counts a connection of a user.
    ///
    /// - **Errors**: there are as many as there may be, of this user or of all.
    pub(super) fn connect(self: &Arc<Self>, uid: u32, is_limited: bool) -> Result<Counted, ControlError> {
        let mut state = self.state();
        let State { users, connections } = &mut *state;
        if *connections >= self.limits.all_connections {
            return Err(ControlError::TooManyConnections { connections: *connections });
        }
        let own = users.get(&uid).map_or(0, |user| user.connections);
        if is_limited && own >= self.limits.connections {
            return Err(ControlError::TooManyConnections { connections: own });
        }
        let calls = self.limits.calls_a_second;
        users.entry(uid).or_insert_with(|| User { connections: 0, calls: limiter(calls) }).connections += 1;
        *connections += 1;
        Ok(Counted { users: Arc::clone(self), uid })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The counts are whole between any two statements that can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    /// Counts a call: how long it has to wait first.
    ///
    /// - **Errors**: it would have to wait for too long. It does not count then.
    pub(super) fn call(&self) -> Result<Duration, ControlError> {
        const CALL: Bytes = Bytes::new(1);
        let mut state = self.users.state();
        let Some(limiter) = state.users.get_mut(&self.uid).and_then(|user| user.calls.as_mut()) else {
            return Ok(Duration::ZERO);
        };
        let now = clock::now();
        if limiter.take(now, CALL) {
            return Ok(Duration::ZERO);
        }
        let due = match limiter.due(now, CALL) {
            Due::Now => now,
            Due::At(due) => due,
            Due::Never => return Ok(MOST_DELAY),
        };
        Ok(Duration::from_nanos(due.as_nanos().saturating_sub(now.as_nanos())).min(MOST_DELAY))
    }

    /// The error for a call that has waited and is still too early.
    pub(super) fn too_many(&self) -> ControlError {
        let most_a_second = self.users.limits.calls_a_second;
        let retry_after_us = u64::try_from(MOST_DELAY.as_micros()).unwrap_or(u64::MAX);
        ControlError::TooManyCalls { uid: self.uid, most_a_second, retry_after_us }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut state = self.users.state();
        state.connections -= 1;
        if let Some(user) = state.users.get_mut(&self.uid) {
            user.connections -= 1;
            // The user's bucket of calls is dropped with its last connection: a user that reconnects gets a full bucket,
            // which the limit of its connections bounds.
            if user.connections == 0 {
                state.users.remove(&self.uid);
            }
        }
    }
}

/// A bucket of calls that holds what is earned in a tenth of a second; `None` for a rate of zero, which limits nothing.
fn limiter(calls_a_second: u32) -> Option<Governed> {
    let (rate, depth) =
        (Rate::new(calls_a_second.into()), Bytes::new((u64::from(calls_a_second) / 10).max(1)));
    let one = Bytes::new(1);
    let plan = Plan {
        sustained: Tokens { rate, depth },
        peak: None,
        minimum_policed_size: one,
        max_sdu_size: one,
        framing: Framing::Datagram { header: 0 },
        quantum: one,
        period: None,
    };
    (calls_a_second > 0).then(|| Governed::new(&plan, clock::now()).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(connections: usize, all_connections: usize) -> Arc<Users> {
        Users::new(UserLimits { connections, flows: 1, calls_a_second: 20, all_connections })
    }

    #[test]
    fn connections_are_counted_for_each_user_and_for_all() {
        let users = users(2, 3);
        let full = |connections| Some(ControlError::TooManyConnections { connections });
        let first = users.connect(1, true).ok().unwrap();
        let _second = users.connect(1, true).ok().unwrap();
        assert_eq!(users.connect(1, true).err(), full(2));
        let _other = users.connect(2, true).ok().unwrap();
        assert_eq!(users.connect(2, true).err(), full(3), "three of all");
        assert_eq!(users.connect(0, false).err(), full(3), "an administrator's as well");
        drop(first);
        assert!(users.connect(1, true).is_ok());
        assert_eq!(users.connections(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_wait_once_the_bucket_is_empty_and_users_do_not_share_one() {
        let users = users(2, 4);
        let [one, same] = [(); 2].map(|()| users.connect(1, true).ok().unwrap());
        let other = users.connect(2, true).ok().unwrap();
        assert_eq!([one.call().unwrap(), same.call().unwrap()], [Duration::ZERO; 2]);
        // 20 a second, of which two may come at once.
        assert_eq!(one.call(), Ok(Duration::from_millis(50)));
        assert_eq!(other.call(), Ok(Duration::ZERO));
        tokio::time::advance(Duration::from_millis(50)).await;
        assert_eq!(same.call(), Ok(Duration::ZERO));
        assert_eq!(same.call(), Ok(Duration::from_millis(50)));
    }
}
