//! One manager per interface: a lock that ends with its process, however the process ends.

use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::failure::KernelFailure;

/// The right to program the root qdisc of an interface, until dropped.
///
/// An abstract socket name: its scope is the network namespace, as that of an interface's number is, and the kernel
/// frees it with the process.
#[derive(Debug)]
pub struct Claim(#[expect(dead_code, reason = "held, not used")] UnixDatagram);

impl Claim {
    /// Claims the interface with this number. `None` where another process has claimed it.
    ///
    /// - **Errors**: `bind`.
    pub fn interface(index: u32) -> Result<Option<Self>, KernelFailure> {
        let name = Self::name(index);
        let address = SocketAddr::from_abstract_name(&name);
        let bound = address.and_then(|address| UnixDatagram::bind_addr(&address));
        match bound {
            Ok(socket) => Ok(Some(Self(socket))),
            Err(error) if error.kind() == ErrorKind::AddrInUse => Ok(None),
            Err(error) => Err(KernelFailure::new("bind", format!("@{name}"), error)),
        }
    }

    /// The abstract name that stands for the interface.
    pub fn name(index: u32) -> String {
        format!("gqos/interface/{index}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_claimed_once_until_the_claim_is_dropped() {
        // Far above the number of any interface.
        let index = u32::MAX - std::process::id();
        let claim = Claim::interface(index).unwrap();
        assert!(claim.is_some());
        assert!(Claim::interface(index).unwrap().is_none());
        assert!(Claim::interface(index - 1).unwrap().is_some(), "another interface");
        drop(claim);
        assert!(Claim::interface(index).unwrap().is_some());
    }
}
