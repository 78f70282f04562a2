//! SOCKET handles.

use std::sync::Arc;

use flowspec::Wsa;

use crate::Result;
use crate::endpoint::Endpoint;
use crate::provider::check_started;
use crate::socket::Socket;
use crate::socket_table;

/// The socket of a SOCKET.
///
/// - **Errors**: WSANOTINITIALISED, WSAENOTSOCK.
pub(super) fn endpoint(s: usize) -> Result<Arc<Endpoint>> {
    check_started()?;
    socket_table::get(i32::try_from(s).map_err(|_| Wsa::Enotsock)?)
}

/// The SOCKET of a new socket. Programs that this process executes inherit it if `inherit` is set.
///
/// - **Errors**: those of `fcntl`.
pub(super) fn new_handle(socket: Socket, inherit: bool) -> Result<usize> {
    socket.set_inheritable(inherit)?;
    usize::try_from(socket.into_raw()).map_err(|_| Wsa::Enotsock)
}
