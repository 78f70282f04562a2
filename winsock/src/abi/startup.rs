//! WSAStartup, WSACleanup and the thread's error.

use flowspec::Wsa;

use super::{Address, SOCKET_ERROR, last_error, memory};
use crate::Result;
use crate::blocking::cancel_blocking_call;
use crate::startup::{cleanup, startup};

/// The size of the WSADATA of a 64-bit program, and its fields.
const WSADATA_SIZE: usize = 408;
const VERSION: usize = 0;
const HIGH_VERSION: usize = 2;
const DESCRIPTION: usize = 16;
const SYSTEM_STATUS: usize = 273;

fn start(requested: u16, wsadata: Address) -> Result<()> {
    let [major, minor] = requested.to_le_bytes();
    if major == 0 {
        return Err(Wsa::VerNotSupported);
    }
    startup()?;
    // Older versions are granted as they are requested.
    let granted = (major, minor).min((2, 2));
    let mut bytes = [0; WSADATA_SIZE];
    for (offset, field) in [
        (VERSION, &[granted.0, granted.1][..]),
        (HIGH_VERSION, &[2, 2]),
        (DESCRIPTION, b"gqos"),
        (SYSTEM_STATUS, b"Running"),
    ] {
        bytes[offset..offset + field.len()].copy_from_slice(field);
    }
    memory::write(wsadata, &bytes).inspect_err(|_| {
        // A start that fails is not counted.
        let _ = cleanup();
    })
}

/// WSAStartup: the error is the result. Where it succeeds, the thread's error is 0.
///
/// # Safety
///
/// See [`abi`](crate::abi#safety).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gqos_WSAStartup(version: u16, wsadata: Address) -> i32 {
    let code = last_error::as_result(|| start(version, wsadata));
    if code == 0 {
        last_error::set(0);
    }
    code
}

/// WSAGetLastError.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_WSAGetLastError() -> i32 {
    last_error::get().cast_signed()
}

/// WSASetLastError.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_WSASetLastError(error: i32) {
    last_error::set(error.cast_unsigned());
}

c_functions! {
    /// WSACleanup, WSPCleanup.
    both gqos_WSACleanup, gqos_WSPCleanup() -> i32, or SOCKET_ERROR => {
        last_error::keep();
        cleanup().map(|()| 0)
    };
    /// WSACancelBlockingCall, WSPCancelBlockingCall.
    both gqos_WSACancelBlockingCall, gqos_WSPCancelBlockingCall() -> i32, or SOCKET_ERROR
        => cancel_blocking_call().map(|()| 0);
}
