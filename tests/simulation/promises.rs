//! What clients have been promised, as they know it from the daemon's replies.

use std::collections::BTreeMap;

/// A reservation that a reply has granted.
#[derive(Clone, Debug)]
pub(crate) struct Promise {
    pub(crate) uid: u32,
    /// The connection that it was granted or claimed on.
    pub(crate) connection: u32,
    pub(crate) socket: Option<u64>,
    /// A call is under way after which it may live with something else, or be gone.
    pub(crate) is_uncertain: bool,
}

/// By the ids of the flows.
#[derive(Default)]
pub(crate) struct Promises(pub(crate) BTreeMap<String, Promise>);

impl Promises {
    pub(crate) fn granted(&mut self, id: &str, (uid, connection): (u32, u32), socket: Option<u64>) {
        let promise = Promise { uid, connection, socket, is_uncertain: false };
        self.0.insert(id.to_owned(), promise);
    }

    /// Whether it was given on this connection.
    pub(crate) fn is_of(&self, id: &str, connection: u32) -> bool {
        self.0.get(id).is_some_and(|promise| promise.connection == connection)
    }

    pub(crate) fn certain(&mut self, id: &str) {
        if let Some(promise) = self.0.get_mut(id) {
            promise.is_uncertain = false;
        }
    }

    pub(crate) fn doubt(&mut self, id: &str) {
        if let Some(promise) = self.0.get_mut(id) {
            promise.is_uncertain = true;
        }
    }

    /// The same for all that was granted on a connection.
    pub(crate) fn doubt_all(&mut self, connection: u32) {
        let granted = self.0.values_mut().filter(|promise| promise.connection == connection);
        granted.for_each(|promise| promise.is_uncertain = true);
    }

    /// A connection has ended: what it held lives on with its sockets, if the kernel lists these by then.
    pub(crate) fn disconnected(&mut self, connection: u32, is_bound: impl Fn(u64) -> bool) {
        let left = self.0.values_mut().filter(|promise| promise.connection == connection);
        left.for_each(|promise| {
            promise.is_uncertain |= promise.socket.is_some_and(|cookie| !is_bound(cookie))
        });
    }

    pub(crate) fn attached(&mut self, id: &str, cookie: u64) {
        if let Some(promise) = self.0.get_mut(id) {
            promise.socket = Some(cookie);
            promise.is_uncertain = false;
        }
    }

    pub(crate) fn gone(&mut self, id: &str) {
        self.0.remove(id);
    }
}
