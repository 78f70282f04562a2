//! The C library's resolver, for what the standard library does not ask it.

use std::ffi::CStr;
use std::net::{IpAddr, SocketAddr};

use nix::libc;
use nix::sys::socket::{SockaddrLike, SockaddrStorage};

/// The name of an address; nothing where nobody knows one.
pub(crate) fn name_of(address: IpAddr) -> Option<String> {
    let mut host = [0_u8; 1025];
    let room = libc::socklen_t::try_from(host.len()).ok()?;
    let name = SockaddrStorage::from(SocketAddr::new(address, 0));
    // SAFETY: `name` is valid for reads of its length, `host` for writes of `room`, and no service is asked for.
    let answer = unsafe {
        libc::getnameinfo(
            name.as_ptr(),
            name.len(),
            host.as_mut_ptr().cast(),
            room,
            std::ptr::null_mut(),
            0,
            libc::NI_NAMEREQD,
        )
    };
    if answer != 0 {
        return None;
    }
    CStr::from_bytes_until_nul(&host).ok()?.to_str().ok().map(str::to_owned)
}

/// The name of this host.
///
/// - **Errors**: `gethostname`.
pub(crate) fn host_name() -> std::io::Result<String> {
    let name = nix::unistd::gethostname()?;
    name.into_string().map_err(|_| std::io::ErrorKind::InvalidData.into())
}
