//! The Winsock provider as a C library.
//!
//! All functions are in [`gqos_winsock::abi`]; this crate links them into `libgqos.so` and `libgqos.a`.

pub use gqos_winsock::abi::*;
