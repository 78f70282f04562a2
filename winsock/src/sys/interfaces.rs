//! The addresses of this host's interfaces.

use std::net::SocketAddr;

use flowspec::Errno;
use nix::libc;

use super::errno::{Result, check};
use super::socket::socket_address;

/// The addresses of the interfaces that are up, of both families, in the kernel's order.
///
/// - **Errors**: `getifaddrs`.
pub(crate) fn interface_addresses() -> Result<Vec<SocketAddr>> {
    let mut first: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: `first` is valid for a write of a pointer.
    check(unsafe { libc::getifaddrs(&raw mut first) })?;
    let mut addresses = Vec::new();
    let mut next = first;
    // SAFETY: the list is the C library's, ends with NULL, and is not changed before it is freed.
    while let Some(entry) = unsafe { next.as_ref() } {
        next = entry.ifa_next;
        let is_up = entry.ifa_flags & libc::IFF_UP.unsigned_abs() != 0;
        // SAFETY: an entry's address is NULL, or a sockaddr of its family.
        let family = unsafe { entry.ifa_addr.as_ref() }.map(|address| i32::from(address.sa_family));
        let size = match family {
            Some(libc::AF_INET) => size_of::<libc::sockaddr_in>(),
            Some(libc::AF_INET6) => size_of::<libc::sockaddr_in6>(),
            _ => continue,
        };
        // SAFETY: sockaddr_storage is made of integers, for which all zeroes is a value.
        let mut name: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
        // SAFETY: the address has the size of its family's structure, and `name` is larger than both.
        unsafe { std::ptr::copy_nonoverlapping(entry.ifa_addr.cast::<u8>(), (&raw mut name).cast(), size) };
        let length = libc::socklen_t::try_from(size).map_err(|_| Errno::EINVAL)?;
        addresses.extend(socket_address(&name, length).filter(|_| is_up));
    }
    // SAFETY: the list is getifaddrs' and is not used any more.
    unsafe { libc::freeifaddrs(first) };
    Ok(addresses)
}
