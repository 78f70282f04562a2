//! The names and addresses of this host's interfaces.

use std::ffi::CStr;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use flowspec::Errno;
use nix::libc;

use super::errno::{Result, check};
use super::option::MulticastInterface;
use super::socket::socket_address;
use crate::protocol::Family;

/// The addresses of the interfaces that are up, of both families, in the kernel's order.
///
/// - **Errors**: `getifaddrs`.
pub(crate) fn interface_addresses() -> Result<Vec<SocketAddr>> {
    Ok(named_addresses()?.into_iter().map(|(_, address)| address).collect())
}

/// What a value of IP_MULTICAST_IF or IPV6_MULTICAST_IF selects.
pub(crate) fn selected_interface(family: Family, value: i32) -> MulticastInterface {
    let index = match family {
        // An address, or an index in network byte order.
        Family::Inet => u32::from_be_bytes(value.to_ne_bytes()),
        Family::Inet6 => value.cast_unsigned(),
    };
    match index {
        0 => MulticastInterface::Default,
        local if family == Family::Inet && local >> 24 != 0 => {
            MulticastInterface::Address(Ipv4Addr::from_bits(local))
        }
        index => MulticastInterface::Index(index),
    }
}

/// The interface that a value of IP_MULTICAST_IF or IPV6_MULTICAST_IF selects; `None` for 0, and where there is none.
pub(crate) fn multicast_interface(family: Family, value: i32) -> Option<String> {
    let index = match selected_interface(family, value) {
        MulticastInterface::Default => return None,
        MulticastInterface::Index(index) => index,
        MulticastInterface::Address(local) => {
            let local = IpAddr::from(local);
            let known = named_addresses().ok()?;
            return known.into_iter().find(|(_, address)| address.ip() == local).map(|(name, _)| name);
        }
    };
    let mut name = [0_u8; libc::IF_NAMESIZE];
    // SAFETY: `name` is valid for writes of IF_NAMESIZE bytes.
    let found = unsafe { libc::if_indextoname(index, name.as_mut_ptr().cast()) };
    if found.is_null() {
        return None;
    }
    CStr::from_bytes_until_nul(&name).ok()?.to_str().ok().map(str::to_owned)
}

/// Each address with the name of its interface.
fn named_addresses() -> Result<Vec<(String, SocketAddr)>> {
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
        // SAFETY: an entry's name is a text that ends with a zero byte.
        let interface = unsafe { CStr::from_ptr(entry.ifa_name) }.to_string_lossy().into_owned();
        let address = socket_address(&name, length).filter(|_| is_up);
        addresses.extend(address.map(|address| (interface, address)));
    }
    // SAFETY: the list is getifaddrs' and is not used any more.
    unsafe { libc::freeifaddrs(first) };
    Ok(addresses)
}
