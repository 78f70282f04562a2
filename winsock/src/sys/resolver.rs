//! The C library's resolver, for what the standard library does not offer.

use std::ffi::CStr;
use std::net::{IpAddr, SocketAddr};

use flowspec::Errno;
use nix::libc;
use nix::sys::socket::{SockaddrLike, SockaddrStorage};

use super::errno::{Result, from_nix};

/// The host name of an address; `None` where the resolver knows none.
pub(crate) fn name_of(address: IpAddr) -> Option<String> {
    // NI_MAXHOST.
    let mut host = [0_u8; 1025];
    let capacity = libc::socklen_t::try_from(host.len()).ok()?;
    let name = SockaddrStorage::from(SocketAddr::new(address, 0));
    // SAFETY: `name` is valid for reads of its length and `host` for writes of `capacity`. No service is asked for.
    let error = unsafe {
        libc::getnameinfo(
            name.as_ptr(),
            name.len(),
            host.as_mut_ptr().cast(),
            capacity,
            std::ptr::null_mut(),
            0,
            libc::NI_NAMEREQD,
        )
    };
    if error != 0 {
        return None;
    }
    CStr::from_bytes_until_nul(&host).ok()?.to_str().ok().map(str::to_owned)
}

/// The name of this host.
///
/// - **Errors**: `gethostname`; EINVAL where the name is not UTF-8.
pub(crate) fn host_name() -> Result<String> {
    let name = nix::unistd::gethostname().map_err(from_nix)?;
    name.into_string().map_err(|_| Errno::EINVAL)
}
