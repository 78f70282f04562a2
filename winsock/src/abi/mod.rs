//! The C interface: Winsock's functions, structures and numbers.
//!
//! Every function is exported with the prefix `gqos_`, so that none of the C library's functions is replaced; the
//! headers in `include/` map Winsock's names to these. A function of the API reports errors by WSAGetLastError; its
//! counterpart of the SPI, named WSP…, has a last parameter `lpErrno` for that. No panic crosses the boundary: it
//! becomes WSAENETDOWN.
//!
//! Pointers of the program are [`Address`]es: what they point to is copied by the kernel, and buffers for data go to
//! the kernel as they are. A pointer to memory that is not mapped is therefore WSAEFAULT and not a crash, and no Rust
//! reference to the program's memory exists.
//!
//! # Types
//!
//! - **Handles**: `handle` gives SOCKETs for endpoints, `event_handles` WSAEVENTs for event objects.
//! - **Structures**: `memory` reads and writes the program's; `sockaddr`, `qos`, `protocol_info` and `netdb` know their
//!   layouts.
//! - **Functions**: one file for each group of Winsock's pages, such as `sockets`, `transfer`, `select` and `qwave`.
//!   `c_functions!` makes the exported functions, and `last_error` turns a result into a return value.
//!
//! # Order of calls
//!
//! As Winsock has it: WSAStartup in `startup`, or WSPStartup in `spi`, which returns the table of functions; sockets in
//! `sockets`; connect with `connect`'s parameters, or accept; transfers; closesocket; WSACleanup. Only a few functions
//! work without WSAStartup, and their files say so.
//!
//! # Safety
//!
//! The functions trust their arguments as the C library's do:
//!
//! - An address is NULL, or fulfils [`Address::new`] for the structure that Winsock documents for the parameter, with
//!   its length taken from the parameters that belong to it.
//! - The OVERLAPPED structure and the buffers of an overlapped operation fulfil that until the operation has completed.
//! - A function pointer is a function of the parameter's type that does not unwind, and may be called for as long as
//!   Winsock documents.

/// Defines C functions: `api` ones set the thread's error, `spi` ones write it to an additional last parameter, and
/// `both` defines one of each with the same body. `threaded` is `both` for calls that may be overlapped, whose SPI form
/// has a parameter `lpThreadId` before `lpErrno`: a completion routine runs in the calling thread whatever it says.
/// `code` ones return 0 or the error, and set the thread's error as well. Where the body fails the other functions
/// return the value behind `or`.
macro_rules! c_functions {
    () => {};
    (
        $(#[doc = $doc:literal])+
        api $name:ident($($argument:ident: $type:ty),* $(,)?) -> $result:ty, or $failure:expr => $body:expr;
        $($rest:tt)*
    ) => {
        $(#[doc = $doc])+
        ///
        /// # Safety
        ///
        /// See [`abi`](crate::abi#safety).
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($argument: $type),*) -> $result {
            crate::abi::last_error::api($failure, || $body)
        }
        c_functions! { $($rest)* }
    };
    (
        $(#[doc = $doc:literal])+
        code $name:ident($($argument:ident: $type:ty),* $(,)?) => $body:expr;
        $($rest:tt)*
    ) => {
        $(#[doc = $doc])+
        ///
        /// # Safety
        ///
        /// See [`abi`](crate::abi#safety).
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($argument: $type),*) -> i32 {
            crate::abi::last_error::as_result_and_error(|| $body)
        }
        c_functions! { $($rest)* }
    };
    (
        $(#[doc = $doc:literal])+
        spi $name:ident($($argument:ident: $type:ty),* $(,)?) -> $result:ty, or $failure:expr => $body:expr;
        $($rest:tt)*
    ) => {
        $(#[doc = $doc])+
        ///
        /// # Safety
        ///
        /// See [`abi`](crate::abi#safety).
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(
            $($argument: $type,)*
            lp_errno: crate::abi::Address,
        ) -> $result {
            crate::abi::last_error::spi($failure, lp_errno, || $body)
        }
        c_functions! { $($rest)* }
    };
    (
        $(#[doc = $doc:literal])+
        both $api:ident, $spi:ident($($argument:ident: $type:ty),* $(,)?) -> $($rest:tt)*
    ) => {
        c_functions! {
            $(#[doc = $doc])+
            pair $api, $spi($($argument: $type),*), () -> $($rest)*
        }
    };
    (
        $(#[doc = $doc:literal])+
        threaded $api:ident, $spi:ident($($argument:ident: $type:ty),* $(,)?) -> $($rest:tt)*
    ) => {
        c_functions! {
            $(#[doc = $doc])+
            pair $api, $spi($($argument: $type),*), (_thread: crate::abi::Address) -> $($rest)*
        }
    };
    // The same function twice; that of the SPI has further arguments, which it does not use.
    (
        $(#[doc = $doc:literal])+
        pair $api:ident, $spi:ident($($argument:ident: $type:ty),*), ($($unused:ident: $unused_type:ty),*)
            -> $result:ty, or $failure:expr => $body:expr;
        $($rest:tt)*
    ) => {
        c_functions! {
            $(#[doc = $doc])+
            api $api($($argument: $type),*) -> $result, or $failure => $body;
            $(#[doc = $doc])+
            spi $spi($($argument: $type,)* $($unused: $unused_type),*) -> $result, or $failure => $body;
            $($rest)*
        }
    };
}

mod accept;
pub mod accept_ex;
pub mod address_info;
pub mod address_info_ex;
pub mod address_text;
pub mod byte_order;
mod connect;
pub mod connect_by;
pub mod connect_ex;
pub mod error_text;
mod event_handles;
pub mod events;
mod extensions;
mod handle;
mod interfaces;
pub mod ioctl;
mod last_error;
mod memory;
pub mod message;
pub mod named_qos;
pub mod netdb;
mod network_options;
pub mod options;
pub mod overlapped;
mod protocol_info;
pub mod protocols;
mod qos;
pub mod qwave;
pub mod select;
mod services;
mod sockaddr;
pub mod sockets;
pub mod spi;
pub mod startup;
pub mod timers;
pub mod transfer;
pub mod transmit;
pub mod unsupported;
pub mod upcalls;
pub mod wait_effects;
pub mod windows;

pub use crate::sys::Address;

/// What a function that gives a number returns for a failure. Source: `winsock2.h`.
const SOCKET_ERROR: i32 = -1;

/// What a function that gives a socket returns for a failure. Source: `winsock2.h`.
const INVALID_SOCKET: usize = usize::MAX;

/// NULL, as a function returns it.
const NULL: usize = 0;
