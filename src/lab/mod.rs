//! The lab: two hosts and a wire on this machine, for the demo, the tests and the benchmarks.
//!
//! All hosts are network namespaces without names, which threads of this process keep alive. When the process ends
//! for any reason, the kernel removes the namespaces and everything in them.
//!
//! # Types
//!
//! - **Network**: a [`LabNetwork`] is two [`Site`]s (hosts) with a wire between them.
//! - **Media**: [`media::Media`] is an MPEG transport stream, [`media::Looped`] plays it in a loop, [`media::StreamClock`] reads
//!   its time stamps.
//! - **Service and viewers**: [`service::MediaService`] sends streams to [`viewer::Viewer`]s, each with a [`player::Player`]
//!   that counts stalls.
//! - **Demo**: [`demo::Options`] in, [`demo::DemoResult`] out; `report` (feature `cli`) draws it.
//! - **Measured transfer**: [`transfer::MeasuredTransfer`], for `gqos test --lab`.
//!
//! # Order of calls
//!
//! [`LabNetwork::new`], then [`Site::run`] or [`Site::runtime`] to run code on a host. [`demo::run`] does so twice, without
//! and with gqos; [`transfer::measure`] once for each transfer.

pub mod demo;
pub mod media;
mod network;
mod packet;
pub mod player;
mod reorder;
#[cfg(feature = "cli")]
pub mod report;
pub mod service;
pub mod transfer;
pub mod viewer;

pub use network::{CLIENT_V4, CLIENT_V6, LabNetwork, SERVER_V4, SERVER_V6, Site, WIRE_HEADER};
