//! WSAJoinLeaf and ConnectEx: connecting in other words.

use flowspec::Wsa;

use super::calls::{asked, socket};
use super::{INVALID_SOCKET, address, api, memory, overlapped, spi};
use crate::Result;
use crate::connect::Connecting;
use crate::leaf::Role;
use crate::provider::running;
use crate::sys::raw::Flags;

/// JL_SENDER_ONLY, JL_RECEIVER_ONLY and JL_BOTH.
fn role(flags: u32) -> Result<Role> {
    match flags {
        1 => Ok(Role::Sender),
        2 => Ok(Role::Receiver),
        4 => Ok(Role::Both),
        _ => Err(Wsa::Einval),
    }
}

exported! {
    /// WSAJoinLeaf, WSPJoinLeaf: the session has no root, so that the socket itself is its leaf.
    gqos_WSAJoinLeaf, gqos_WSPJoinLeaf(
        s: usize, name: usize, namelen: i32, caller: usize, callee: usize, sqos: usize, gqos: usize, flags: u32
    ) -> usize, INVALID_SOCKET => {
        let endpoint = socket(s)?;
        let asked = asked(&endpoint, name, namelen, [caller, callee], sqos, gqos)?;
        let role = role(flags)?;
        if asked.nonsense {
            return Err(Wsa::Eopnotsupp);
        }
        endpoint.join_leaf(asked.peer, &asked.connecting(), role)?;
        if callee != 0 {
            // Nothing comes back.
            memory::write_u32(callee, 0)?;
        }
        Ok(s)
    };
}

/// ConnectEx: connects in the background, and sends what is to go first.
///
/// - **Source**: ConnectEx; a pointer to it comes by SIO_GET_EXTENSION_FUNCTION_POINTER.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_ConnectEx(
    s: usize,
    name: usize,
    namelen: i32,
    data: usize,
    length: u32,
    sent: usize,
    overlapped: usize,
) -> i32 {
    api(0, || {
        let endpoint = socket(s)?;
        running()?;
        if overlapped == 0 {
            return Err(Wsa::InvalidParameter);
        }
        let peer = address::read(name, namelen, endpoint.family)?;
        // It does not bind by itself.
        endpoint.local_address()?;
        endpoint.check_connect(peer)?;
        let (buffer, length) = (data, if data == 0 { 0 } else { length });
        let count = overlapped::run(overlapped, move || {
            endpoint.connect(peer, &Connecting::default())?;
            let length = i32::try_from(length).map_err(|_| Wsa::Einval)?;
            if length == 0 {
                return Ok(0);
            }
            let moved = endpoint.send(memory::outgoing(buffer, length)?, Flags::default())?;
            u32::try_from(moved).map_err(|_| Wsa::Enobufs)
        })?;
        memory::write_u32(sent, count)?;
        Ok(1)
    })
}
