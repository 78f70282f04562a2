//! The open sockets of the process, by descriptor.

use std::os::fd::RawFd;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard, Weak};

use flowspec::Wsa;

use super::Result;
use super::endpoint::Endpoint;

static TABLE: RwLock<Vec<Option<Arc<Endpoint>>>> = RwLock::new(Vec::new());

fn table() -> RwLockWriteGuard<'static, Vec<Option<Arc<Endpoint>>>> {
    // The table is consistent between any two statements that can panic.
    TABLE.write().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a socket and enters it. A socket of the same number was closed by close(2), and is closed here too.
pub(crate) fn insert(make: impl FnOnce(Weak<Endpoint>) -> Endpoint) -> Arc<Endpoint> {
    let endpoint = Arc::new_cyclic(|me| make(me.clone()));
    let index = usize::try_from(endpoint.number()).unwrap_or(0);
    let before = {
        let mut table = table();
        if table.len() <= index {
            table.resize_with(index + 1, || None);
        }
        table[index].replace(Arc::clone(&endpoint))
    };
    if let Some(before) = before {
        before.close_now();
    }
    endpoint
}

/// The socket with this number.
///
/// - **Errors**: WSAENOTSOCK, also where the program has closed the socket by close(2).
pub(crate) fn get(number: RawFd) -> Result<Arc<Endpoint>> {
    let endpoint = entry(number)?;
    if endpoint.fd.is_same() {
        return Ok(endpoint);
    }
    if remove(&endpoint) {
        endpoint.close_now();
    }
    Err(Wsa::Enotsock)
}

fn entry(number: RawFd) -> Result<Arc<Endpoint>> {
    let index = usize::try_from(number).map_err(|_| Wsa::Enotsock)?;
    let table = TABLE.read().unwrap_or_else(PoisonError::into_inner);
    table.get(index).and_then(Option::as_ref).cloned().ok_or(Wsa::Enotsock)
}

/// Takes a socket out of the table. Returns whether it was there.
pub(crate) fn remove(endpoint: &Arc<Endpoint>) -> bool {
    let index = usize::try_from(endpoint.number()).unwrap_or(usize::MAX);
    let is_there = |entry: &mut Arc<Endpoint>| Arc::ptr_eq(entry, endpoint);
    table().get_mut(index).and_then(|entry| entry.take_if(is_there)).is_some()
}

/// Takes all sockets out of the table.
pub(crate) fn remove_all() -> Vec<Arc<Endpoint>> {
    std::mem::take(&mut *table()).into_iter().flatten().collect()
}

/// The sockets for which `is_wanted` holds.
pub(crate) fn find(is_wanted: impl Fn(&Endpoint) -> bool) -> Vec<Arc<Endpoint>> {
    let table = TABLE.read().unwrap_or_else(PoisonError::into_inner);
    table.iter().flatten().filter(|endpoint| is_wanted(endpoint)).cloned().collect()
}
