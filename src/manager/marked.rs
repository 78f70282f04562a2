//! Which sockets send to which classes.

use crate::ordered::OrderedMap;
use crate::tc::Handle;

/// The sockets by their cookies, each with a class that it sends to.
#[derive(Debug, Default)]
pub(super) struct Marks(pub(super) OrderedMap<(u64, Handle), Option<String>>);

impl Marks {
    /// The classes of an interface that sockets send to, once for each socket.
    pub(super) fn on<'a>(&'a self, interface: &'a str) -> impl Iterator<Item = Handle> + 'a {
        let is_there = move |of: &Option<String>| of.as_deref().is_none_or(|name| name == interface);
        self.0.iter().filter(move |(_, of)| is_there(of)).map(|((_, class), _)| *class)
    }
}
