//! System calls on sockets that a program may use outside of this library as well, and copies from and to memory
//! that a program names. The only module of this package that names nix.

mod memory;
pub mod raw;
mod resolver;

pub(crate) use memory::{read_memory, write_memory};
pub(crate) use resolver::{host_name, name_of};
