//! System calls, and the only module of this package that names nix.
//!
//! Takes descriptors, addresses and values; returns what the kernel answers, or its error number. Knows neither
//! Winsock's states nor its codes. Descriptors may be used by the program outside of this library as well, and memory
//! that a C program names is passed to the kernel by address: no reference to it is ever made.
//!
//! # Types
//!
//! - **Memory**: an [`Address`] and a [`ForeignMemory`] of a C program; a [`SendBuffer`] or [`ReceiveBuffer`] is either
//!   that or memory of this library.
//! - **Transfers**: [`MessageFlags`]; [`Received`] from [`receive`], and [`ReceivedMessage`] with its [`ControlItem`]s
//!   from [`receive_message`].
//! - **Options**: [`KernelOption`] of sockets, [`NetworkOption`] of IP and TCP, [`MulticastInterface`].
//! - **Waiting**: [`Readiness`] of a descriptor, and a [`Signal`] that ends a wait.
//!
//! # Order of calls
//!
//! [`open`], then [`bind`], [`connect`] or [`listen`] with [`accept`], then transfers, [`poll`] and options in any
//! order, and [`shutdown`]. A descriptor is closed by its owner, or [`replace_by_placeholder`] keeps its number
//! reserved.

mod buffer;
mod control;
mod errno;
mod file;
mod foreign;
mod interfaces;
mod message;
mod network_option;
mod option;
mod poll;
mod privilege;
mod process;
mod resolver;
mod signal;
mod socket;

pub(crate) use buffer::{ReceiveBuffer, SendBuffer};
pub(crate) use control::{ControlItem, ReceivedMessage, receive_message, send_message};
pub(crate) use errno::errno_of;
pub(crate) use file::{close_file, duplicate_file, path_of, position_and_length, read_at, replace};
pub use foreign::Address;
pub(crate) use foreign::ForeignMemory;
pub(crate) use interfaces::{interface_addresses, multicast_interface, selected_interface};
pub use message::MessageFlags;
pub(crate) use message::{
    Received, receive, receive_stream, receive_stream_waiting, send, send_to, set_receive_timeout,
};
pub use network_option::NetworkOption;
pub(crate) use network_option::{get_network, round_trip_micros, set_network};
pub use option::MulticastInterface;
pub(crate) use option::{KernelOption, get, join_multicast, leave_multicast, linger, set, set_linger};
pub(crate) use poll::{Readiness, has_error, poll};
pub(crate) use privilege::{drop_other_capabilities, has_left_root, keep_network_capability};
pub(crate) use process::{at_exit, process_id};
pub(crate) use resolver::{host_name, name_of};
pub(crate) use signal::Signal;
pub use socket::ShutdownHow;
pub(crate) use socket::{
    accept, at_mark, available, bind, connect, cookie, disconnect, is_broadcast, is_inheritable,
    is_placeholder, listen, local_address, open, peer_address, peer_has_closed, prepare_placeholder,
    replace_by_placeholder, set_inheritable, set_nonblocking, shutdown, take_error,
};
