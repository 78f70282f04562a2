//! Binding and listening.

use std::net::SocketAddr;
use std::sync::Arc;

use flowspec::{Errno, Wsa};
use tokio::io::Interest;

use super::Result;
use super::endpoint::{AddressSharing, ConnectionPhase, Endpoint};
use super::handshake::{OfferQueue, receive_offers};
use super::provider::{check_started, provider};
use super::socket_table;
use crate::sys::{self, KernelOption};

impl Endpoint {
    /// Gives the socket its local address. The kernel chooses a port in place of 0.
    ///
    /// - **Errors**: WSAEAFNOSUPPORT; WSAEINVAL where it has an address already, or an AcceptEx waits with it; WSAEADDRNOTAVAIL where the address is
    ///   not one of this host; WSAEADDRINUSE and WSAEACCES by Windows' table of sharing modes.
    /// - **Source**: WSPBind; "Using SO_REUSEADDR and SO_EXCLUSIVEADDRUSE".
    pub fn bind(self: &Arc<Self>, address: SocketAddr) -> Result<()> {
        check_started()?;
        self.check_family(address)?;
        // The state is not held meanwhile, since other sockets' states are looked at.
        let (bound, sharing) = {
            let state = self.state();
            (state.bound || state.awaits_adoption, state.sharing)
        };
        if bound {
            return Err(Wsa::Einval);
        }
        let overlapping = match address.port() {
            0 => Vec::new(),
            _ => self.check_sharing(address, sharing)?,
        };
        if !overlapping.is_empty() {
            // Where Windows lets two sockets share an address, Linux does so only if both have these options.
            for endpoint in overlapping.iter().chain([self]) {
                for option in [KernelOption::ReuseAddress, KernelOption::ReusePort] {
                    sys::set(&endpoint.fd, option, 1).map_err(Errno::wsa)?;
                }
            }
        }
        sys::bind(&self.fd, address).map_err(Errno::wsa)?;
        self.state().bound = true;
        self.record_if_selected();
        self.note_end_in_process();
        Ok(())
    }

    /// The sockets of this process that overlap with an address.
    ///
    /// - **Errors**: that of the table, where one of them excludes this socket.
    fn check_sharing(&self, address: SocketAddr, sharing: AddressSharing) -> Result<Vec<Arc<Self>>> {
        let is_similar = |other: &Self| {
            !std::ptr::eq(other, self) && other.socket_type == self.socket_type && other.family == self.family
        };
        let mut overlapping = Vec::new();
        for other in socket_table::find(is_similar) {
            let Ok(taken) = sys::local_address(&other.fd) else { continue };
            // The program may have closed the descriptor by close(2).
            if !other.fd.is_same() {
                continue;
            }
            let other_sharing = {
                let other = other.state();
                let is_connection =
                    self.is_stream() && other.phase == ConnectionPhase::Connected && other.peer.is_some();
                if !other.bound || is_connection {
                    continue;
                }
                other.sharing
            };
            let (other_is_wildcard, is_wildcard) =
                (taken.ip().is_unspecified(), address.ip().is_unspecified());
            let same_ip = other_is_wildcard || is_wildcard || taken.ip() == address.ip();
            if taken.port() != address.port() || !same_ip {
                continue;
            }
            may_share((other_sharing, other_is_wildcard), (sharing, is_wildcard))?;
            overlapping.push(other);
        }
        Ok(overlapping)
    }

    /// Accepts connections from now on. A repeated call changes nothing.
    ///
    /// - **Errors**: WSAEINVAL where the socket has no local address or is connecting; WSAEISCONN; WSAEOPNOTSUPP for
    ///   datagrams; WSAEADDRINUSE.
    /// - **Source**: WSPListen.
    pub fn listen(self: &Arc<Self>, backlog: i32) -> Result<()> {
        check_started()?;
        if !self.is_stream() {
            return Err(Wsa::Eopnotsupp);
        }
        let mut state = self.state();
        match state.phase {
            ConnectionPhase::Connected => return Err(Wsa::Eisconn),
            ConnectionPhase::Connecting => return Err(Wsa::Einval),
            ConnectionPhase::Listening => return Ok(()),
            ConnectionPhase::Idle if !state.bound => return Err(Wsa::Einval),
            ConnectionPhase::Idle => {}
        }
        sys::listen(&self.fd, backlog).map_err(Errno::wsa)?;
        if self.carries_connect_data() {
            state.offers = Some(self.start_receiving_offers()?);
        }
        state.phase = ConnectionPhase::Listening;
        Ok(())
    }

    /// Has the reactor accept connections and read their offers.
    fn start_receiving_offers(self: &Arc<Self>) -> Result<Arc<OfferQueue>> {
        let offers = Arc::new(OfferQueue::new()?);
        sys::set_nonblocking(&self.fd, true).map_err(Errno::wsa)?;
        let provider = provider()?;
        let watched = {
            let _entered = provider.host.enter();
            self.register(Interest::READABLE)?
        };
        let (listener, queue) = (self.weak(), Arc::clone(&offers));
        let on_offer = move || {
            if let Some(listener) = listener.upgrade() {
                listener.record_current_state();
            }
        };
        let this = Arc::clone(self);
        provider.host.spawn(async move {
            tokio::select! {
                biased;
                () = this.until_closed() => {}
                () = receive_offers(watched, queue, on_offer) => {}
            }
        });
        Ok(offers)
    }
}

/// Whether a second socket of the same user may bind to a port that a first one has. Of each: its sharing mode, and
/// whether its address is the wildcard.
fn may_share(first: (AddressSharing, bool), second: (AddressSharing, bool)) -> Result<()> {
    use AddressSharing::{Default, Exclusive, Reuse};
    let both_or_neither_wildcard = first.1 == second.1;
    match (first.0, second.0) {
        (_, Default) | (Reuse | Default | Exclusive, Exclusive) if both_or_neither_wildcard => {
            Err(Wsa::Eaddrinuse)
        }
        (Default | Exclusive, Reuse) if both_or_neither_wildcard => Err(Wsa::Eacces),
        (Default | Reuse, Default | Reuse) => Ok(()),
        // A specific address excludes an exclusive wildcard after it.
        (Default | Reuse, Exclusive) if second.1 => Err(Wsa::Eaddrinuse),
        (Default | Reuse, Exclusive) => Ok(()),
        // An exclusive wildcard excludes every specific address after it.
        (Exclusive, _) if first.1 => Err(Wsa::Eacces),
        // An exclusive specific address excludes an exclusive wildcard after it.
        (Exclusive, Exclusive) => Err(Wsa::Eaddrinuse),
        (Exclusive, Default | Reuse) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of "Using SO_REUSEADDR and SO_EXCLUSIVEADDRUSE" for sockets of one user: a line for each first socket, a
    /// column for each second one. I is WSAEADDRINUSE, A is WSAEACCES.
    #[test]
    fn sharing_follows_windows_table() {
        use AddressSharing::{Default, Exclusive, Reuse};
        let kinds = [
            (Default, true),
            (Default, false),
            (Reuse, true),
            (Reuse, false),
            (Exclusive, true),
            (Exclusive, false),
        ];
        let table = ["I.A.I.", ".I.AII", "I...I.", ".I..II", "IAAAIA", ".I.AII"];
        for (first, line) in kinds.into_iter().zip(table) {
            for (second, expected) in kinds.into_iter().zip(line.chars()) {
                let expected = match expected {
                    'I' => Err(Wsa::Eaddrinuse),
                    'A' => Err(Wsa::Eacces),
                    _ => Ok(()),
                };
                assert_eq!(may_share(first, second), expected, "{first:?}, then {second:?}");
            }
        }
    }
}
