//! The C face: Winsock's functions, structures and numbers on top of the safe one.
//!
//! Every function is exported with the prefix `gqos_`, so that nobody's `connect` is taken away; the headers
//! in `include/` map Winsock's names to these. Pointers of the program's are never followed here: what they
//! lead to is copied by the kernel, which answers for what is not there, and that is WSAEFAULT. No panic
//! crosses the boundary.

/// A function under its Winsock name, and under its SPI name with a place for the error.
macro_rules! exported {
    ($($(#[$doc:meta])* $api:ident, $spi:ident ($($argument:ident: $type:ty),*) -> $result:ty, $failure:expr => $body:expr;)*) => {
        $(
            $(#[$doc])*
            #[unsafe(no_mangle)]
            pub extern "C" fn $api($($argument: $type),*) -> $result {
                api($failure, || $body)
            }

            $(#[$doc])*
            #[unsafe(no_mangle)]
            pub extern "C" fn $spi($($argument: $type,)* lp_errno: usize) -> $result {
                spi($failure, lp_errno, || $body)
            }
        )*
    };
}

mod accept;
mod address;
pub mod calls;
pub mod events;
pub mod hosts;
pub mod ioctl;
pub mod leaf;
mod memory;
pub mod names;
pub mod options;
pub mod overlapped;
pub mod provider;
mod services;
pub mod sets;
pub mod templates;
pub mod text;
pub mod transfer;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use flowspec::Wsa;

use super::Result;

/// SOCKET_ERROR.
const SOCKET_ERROR: i32 = -1;

/// INVALID_SOCKET: all bits.
const INVALID_SOCKET: usize = usize::MAX;

thread_local! {
    /// WSAGetLastError.
    static LAST_ERROR: Cell<u32> = const { Cell::new(0) };
}

/// What a call gives, with the thread's error set where it fails.
fn api<T>(failure: T, call: impl FnOnce() -> Result<T>) -> T {
    match guarded(call) {
        Ok(value) => value,
        Err(wsa) => {
            LAST_ERROR.set(wsa.code());
            failure
        }
    }
}

/// What a call gives, with the error where the SPI's caller wants it.
fn spi<T>(failure: T, lp_errno: usize, call: impl FnOnce() -> Result<T>) -> T {
    match guarded(call) {
        Ok(value) => value,
        Err(wsa) => {
            // A caller without a place for the error is told by the return value alone.
            let _ = memory::write_u32(lp_errno, wsa.code());
            failure
        }
    }
}

fn guarded<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or(Err(Wsa::Enetdown))
}
