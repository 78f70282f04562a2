//! GetAddrInfoEx: getaddrinfo with the larger structure. It answers at once, and knows no name spaces.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use flowspec::Wsa;

use super::Address;
use super::address_info::{AddressQuery, FoundAddresses};
use super::memory::{self, Encoding};
use super::sockaddr::{self, AF_INET, AF_INET6};
use crate::Result;

/// An ADDRINFOEX of a 64-bit program with what it points to: flags and family, type and protocol, the length of the
/// address, the canonical name, the address, data of a name space with its length and provider, the next ADDRINFOEX.
struct AddrInfoExNode {
    words: Box<[u64; 9]>,
    _sockaddr: Box<[u8]>,
    _name: Option<Box<[u8]>>,
}

/// The index of the next ADDRINFOEX's pointer.
const NEXT: usize = 8;

/// The nodes that the program has not freed, by their addresses.
static NODES: Mutex<Option<HashMap<usize, AddrInfoExNode>>> = Mutex::new(None);

fn nodes() -> MutexGuard<'static, Option<HashMap<usize, AddrInfoExNode>>> {
    // The map is consistent between any two statements that can panic.
    NODES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps a linked list of the answer's nodes, and returns the address of the first.
fn keep_list(resolved: FoundAddresses) -> Option<usize> {
    let FoundAddresses { addresses, kinds, mut name } = resolved;
    let mut first = None;
    let mut previous: Option<usize> = None;
    let mut nodes = nodes();
    let known = nodes.get_or_insert_default();
    for address in addresses {
        for (socket_type, protocol) in kinds {
            let sockaddr = sockaddr::bytes_of(address).into_boxed_slice();
            let name = name.take().map(Vec::into_boxed_slice);
            let family = u64::from(if address.is_ipv4() { AF_INET } else { AF_INET6 });
            let mut words = Box::new([0; 9]);
            words[..5].copy_from_slice(&[
                family << 32,
                u64::from(protocol.cast_unsigned()) << 32 | u64::from(socket_type.cast_unsigned()),
                sockaddr.len() as u64,
                name.as_ref().map_or(0, |name| name.as_ptr().expose_provenance() as u64),
                sockaddr.as_ptr().expose_provenance() as u64,
            ]);
            let pointer = words.as_ptr().expose_provenance();
            if let Some(node) = previous.and_then(|previous| known.get_mut(&previous)) {
                node.words[NEXT] = pointer as u64;
            }
            known.insert(pointer, AddrInfoExNode { words, _sockaddr: sockaddr, _name: name });
            first = first.or(Some(pointer));
            previous = Some(pointer);
        }
    }
    first
}

/// The parameters of GetAddrInfoEx that have a meaning here.
struct GetAddrInfoExCall {
    query: AddressQuery,
    /// An overlapped query is not supported.
    overlapped: Address,
}

impl GetAddrInfoExCall {
    fn run(self) -> Result<()> {
        if !self.overlapped.is_null() {
            return Err(Wsa::Eopnotsupp);
        }
        let first = keep_list(self.query.look_up()?).ok_or(Wsa::HostNotFound)?;
        memory::write(self.query.result, &first.to_ne_bytes())
    }
}

c_functions! {
    /// GetAddrInfoExA.
    code gqos_GetAddrInfoExA(
        host: Address, service: Address, _name_space: u32, _provider: Address, hints: Address, result: Address,
        _timeout: Address, overlapped: Address,
    ) => {
        let query = AddressQuery { host, service, hints, result, encoding: Encoding::Narrow };
        GetAddrInfoExCall { query, overlapped }.run()
    };
    /// GetAddrInfoExW.
    code gqos_GetAddrInfoExW(
        host: Address, service: Address, _name_space: u32, _provider: Address, hints: Address, result: Address,
        _timeout: Address, overlapped: Address,
    ) => {
        let query = AddressQuery { host, service, hints, result, encoding: Encoding::Wide };
        GetAddrInfoExCall { query, overlapped }.run()
    };
}

/// FreeAddrInfoEx and FreeAddrInfoExW. A pointer that is not a result of GetAddrInfoEx is ignored.
///
/// # Safety
///
/// See [`abi`](crate::abi#safety). The program does not use the list any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gqos_FreeAddrInfoEx(first: Address) {
    let mut nodes = nodes();
    let Some(known) = nodes.as_mut() else { return };
    let mut next = first.get();
    while let Some(node) = known.remove(&next) {
        next = usize::try_from(node.words[NEXT]).unwrap_or(0);
    }
}
