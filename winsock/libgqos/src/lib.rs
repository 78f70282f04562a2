//! The Winsock provider as a C library.
//!
//! All functions are in [`gqos_winsock::abi`]; this crate links them into `libgqos.so` and `libgqos.a`. It adds two of
//! the service provider interface by their own names, for programs that take their addresses or look them up with
//! `GetProcAddress`. They are in a crate of their own, since the archive's object with them must not be linked into a
//! program that defines its own.

pub use gqos_winsock::abi::*;

/// WSPUPCALLTABLE, which is passed by value: 15 functions.
#[repr(C)]
#[derive(Debug)]
pub struct UpcallTable([usize; 15]);

/// WSPStartup by its own name. The table of up-calls is not read.
///
/// # Safety
///
/// See [`gqos_winsock::abi`](gqos_winsock::abi#safety).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn WSPStartup(
    version: u16,
    data: Address,
    info: Address,
    _upcalls: UpcallTable,
    procedures: Address,
) -> i32 {
    // SAFETY: the program promises the same for the parameters of both.
    unsafe { spi::gqos_WSPStartup(version, data, info, procedures) }
}

/// WSPConnect by its own name.
///
/// # Safety
///
/// See [`gqos_winsock::abi`](gqos_winsock::abi#safety).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn WSPConnect(
    s: usize,
    name: Address,
    namelen: i32,
    caller_data: Address,
    callee_data: Address,
    sqos: Address,
    gqos: Address,
    lp_errno: Address,
) -> i32 {
    // SAFETY: the program promises the same for the parameters of both.
    unsafe { sockets::gqos_WSPConnect(s, name, namelen, caller_data, callee_data, sqos, gqos, lp_errno) }
}
