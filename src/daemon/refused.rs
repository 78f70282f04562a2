//! The users whose requests were refused last.
//!
//! A refused id is free again, often before a stream has read the event of the refusal.

use std::collections::{HashMap, VecDeque};

/// How many refusals are remembered: as many as there are events that wait for a stream.
const MOST_REFUSED: usize = crate::engine::MOST_WAITING_EVENTS;

/// The ids of the last refused requests, with the users that made them.
#[derive(Debug, Default)]
pub(super) struct RefusedIds {
    /// The user of each id, and the number of its last refusal.
    users: HashMap<String, (u32, u64)>,
    /// The ids by the numbers of their refusals, the oldest first.
    order: VecDeque<(u64, String)>,
    last: u64,
}

impl RefusedIds {
    /// A request of a user has come to nothing.
    pub(super) fn note(&mut self, id: &str, uid: u32) {
        self.last += 1;
        self.users.insert(id.to_owned(), (uid, self.last));
        self.order.push_back((self.last, id.to_owned()));
        if self.order.len() > MOST_REFUSED
            && let Some((number, id)) = self.order.pop_front()
            && self.users.get(&id).is_some_and(|(_, last)| *last == number)
        {
            self.users.remove(&id);
        }
    }

    /// The user whose request for an id was refused last.
    pub(super) fn user(&self, id: &str) -> Option<u32> {
        self.users.get(id).map(|(uid, _)| *uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_refusals_have_their_users() {
        let mut refused = RefusedIds::default();
        refused.note("a", 1);
        refused.note("b", 2);
        refused.note("a", 3);
        assert_eq!((refused.user("a"), refused.user("b"), refused.user("c")), (Some(3), Some(2), None));
        (0..MOST_REFUSED - 1).for_each(|number| refused.note(&number.to_string(), 4));
        assert_eq!((refused.user("a"), refused.user("b")), (Some(3), None), "the second refusal of a counts");
        refused.note("c", 5);
        assert_eq!((refused.user("a"), refused.user("c")), (None, Some(5)));
        assert_eq!((refused.users.len(), refused.order.len()), (MOST_REFUSED, MOST_REFUSED));
    }
}
