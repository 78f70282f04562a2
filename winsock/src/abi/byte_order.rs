//! WSAHtons, WSAHtonl, WSANtohs and WSANtohl: every protocol has the network's byte order.

use super::handle::endpoint;
use super::{Address, SOCKET_ERROR, memory};
use crate::Result;

/// Writes a converted number.
///
/// - **Errors**: WSANOTINITIALISED, WSAENOTSOCK, WSAEFAULT.
fn write(s: usize, to: Address, bytes: &[u8]) -> Result<i32> {
    endpoint(s)?;
    memory::write(to, bytes).map(|()| 0)
}

c_functions! {
    /// WSAHtons.
    api gqos_WSAHtons(s: usize, value: u16, to: Address) -> i32, or SOCKET_ERROR => write(s, to, &value.to_be_bytes());
    /// WSANtohs.
    api gqos_WSANtohs(s: usize, value: u16, to: Address) -> i32, or SOCKET_ERROR => write(s, to, &value.to_be_bytes());
    /// WSAHtonl.
    api gqos_WSAHtonl(s: usize, value: u32, to: Address) -> i32, or SOCKET_ERROR => write(s, to, &value.to_be_bytes());
    /// WSANtohl.
    api gqos_WSANtohl(s: usize, value: u32, to: Address) -> i32, or SOCKET_ERROR => write(s, to, &value.to_be_bytes());
}
