//! The lab: two hosts and a wire on this machine, for the demo and the tests.
//!
//! Everything lives in network namespaces without names, held by threads of this process: when it
//! ends, however it ends, the kernel takes all of it away.

pub mod demo;
pub mod media;
mod network;
pub mod player;
pub mod report;
pub mod service;
pub mod transfer;
pub mod viewer;

pub use network::{CLIENT_V4, CLIENT_V6, Network, SERVER_V4, SERVER_V6, Site, WIRE_HEADER};
