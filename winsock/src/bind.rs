//! Binding and listening.

use std::net::SocketAddr;
use std::sync::Arc;

use flowspec::Wsa;

use super::Result;
use super::provider::running;
use super::socket::{Endpoint, Phase, Sharing, others};
use crate::sys::raw::{self, Knob};

impl Endpoint {
    /// Gives the socket its local address; a port of 0 is any that is free.
    ///
    /// - **Errors**: WSAEAFNOSUPPORT; WSAEINVAL where it has one; WSAEADDRNOTAVAIL where the address is not
    ///   this host's; WSAEADDRINUSE and WSAEACCES as Windows' table has them.
    /// - **Source**: WSPBind; "Using SO_REUSEADDR and SO_EXCLUSIVEADDRUSE".
    pub fn bind(self: &Arc<Self>, address: SocketAddr) -> Result<()> {
        running()?;
        self.check_family(address)?;
        let mut state = self.state();
        if state.bound {
            return Err(Wsa::Einval);
        }
        let mut overlapping = Vec::new();
        if address.port() != 0 {
            let same = |other: &Self| {
                !std::ptr::eq(other, &**self) && other.kind == self.kind && other.family == self.family
            };
            for other in others(same) {
                let Ok(taken) = raw::local(&*other.fd) else { continue };
                let sharing = {
                    let other = other.state();
                    if !other.bound
                        || other.phase == Phase::Connected && other.peer.is_some() && self.is_stream()
                    {
                        continue;
                    }
                    other.sharing
                };
                if taken.port() != address.port() {
                    continue;
                }
                let (theirs, ours) = (taken.ip().is_unspecified(), address.ip().is_unspecified());
                if !theirs && !ours && taken.ip() != address.ip() {
                    continue;
                }
                verdict((sharing, theirs), (state.sharing, ours))?;
                overlapping.push(other);
            }
        }
        // What Windows lets share an address, Linux lets only where both say so.
        let ours: &Self = self;
        for endpoint in overlapping.iter().map(|other| &**other).chain([ours]) {
            let knobs: &[Knob] =
                if overlapping.is_empty() { &[] } else { &[Knob::ReuseAddress, Knob::ReusePort] };
            for knob in knobs {
                raw::set(&*endpoint.fd, *knob, 1).map_err(|error| raw::code(&error))?;
            }
        }
        if self.is_stream() && overlapping.is_empty() {
            // A connection that ended a moment ago keeps nobody from its port on Windows.
            raw::set(&*self.fd, Knob::ReuseAddress, 1).map_err(|error| raw::code(&error))?;
        }
        raw::bind(&*self.fd, address).map_err(|error| raw::code(&error))?;
        state.bound = true;
        Ok(())
    }

    /// Takes connections from now on; said again it changes nothing.
    ///
    /// - **Errors**: WSAEINVAL where it has no local address; WSAEISCONN; WSAEOPNOTSUPP for datagrams;
    ///   WSAEADDRINUSE.
    /// - **Source**: WSPListen.
    pub fn listen(self: &Arc<Self>, backlog: i32) -> Result<()> {
        running()?;
        if !self.is_stream() {
            return Err(Wsa::Eopnotsupp);
        }
        let mut state = self.state();
        match state.phase {
            Phase::Connected => return Err(Wsa::Eisconn),
            Phase::Connecting => return Err(Wsa::Einval),
            Phase::Listening => return Ok(()),
            Phase::Idle if !state.bound => return Err(Wsa::Einval),
            Phase::Idle => {}
        }
        raw::listen(&*self.fd, backlog).map_err(|error| raw::code(&error))?;
        if self.with_data {
            state.offered = Some(self.hear_offers()?);
        }
        state.phase = Phase::Listening;
        Ok(())
    }
}

/// Whether a second socket may have a port that a first one has, of the same user: each with its sharing,
/// and whether its address is the wildcard.
fn verdict(first: (Sharing, bool), second: (Sharing, bool)) -> Result<()> {
    use Sharing::{Exclusive, Reuse, Usual};
    let same = first.1 == second.1;
    match (first.0, second.0) {
        (_, Usual) | (Reuse, Exclusive) | (Usual, Exclusive) if same => Err(Wsa::Eaddrinuse),
        (Exclusive, Exclusive) if same => Err(Wsa::Eaddrinuse),
        (Usual | Exclusive, Reuse) if same => Err(Wsa::Eacces),
        (Reuse, Reuse) | (Usual | Reuse, Usual | Reuse) => Ok(()),
        // A specific address that is there keeps an exclusive wildcard away.
        (Usual | Reuse, Exclusive) if second.1 => Err(Wsa::Eaddrinuse),
        (Usual | Reuse, Exclusive) => Ok(()),
        // An exclusive wildcard keeps every specific address away; an exclusive specific address, the
        // exclusive wildcard.
        (Exclusive, _) if first.1 => Err(Wsa::Eacces),
        (Exclusive, Exclusive) => Err(Wsa::Eaddrinuse),
        (Exclusive, Usual | Reuse) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table as Microsoft prints it for sockets of one user: a line for each first socket, a column for
    /// each second one.
    #[test]
    fn the_matrix_is_windows() {
        use Sharing::{Exclusive, Reuse, Usual};
        let kinds = [
            (Usual, true),
            (Usual, false),
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
                assert_eq!(verdict(first, second), expected, "{first:?}, then {second:?}");
            }
        }
    }
}
