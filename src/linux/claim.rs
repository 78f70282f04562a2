//! One manager an interface: a lock that ends with its process, however that ends.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::failure::KernelFailure;

/// The right to manage an interface's root qdisc, until dropped.
///
/// An abstract socket name: its scope is the network namespace, as an interface's number is, and the
/// kernel frees it with the process.
#[derive(Debug)]
pub struct Claim(#[expect(dead_code, reason = "held, not used")] UnixDatagram);

impl Claim {
    /// Claims the interface with this number; nothing where somebody else has.
    ///
    /// - **Errors**: what `bind` answered.
    pub fn interface(index: u32) -> Result<Option<Self>, KernelFailure> {
        let name = Self::name(index);
        let address = SocketAddr::from_abstract_name(&name);
        let bound = address.and_then(|address| UnixDatagram::bind_addr(&address));
        match bound {
            Ok(socket) => Ok(Some(Self(socket))),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Ok(None),
            Err(error) => Err(KernelFailure::new("bind", format!("@{name}"), error)),
        }
    }

    /// The abstract name of the lock.
    pub fn name(index: u32) -> String {
        format!("gqos/interface/{index}")
    }
}
