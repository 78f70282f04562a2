//! `gqos plan`: the trees that a host would program under a policy, and how the kernel's trees differ from them.
//!
//! `command` looks at the interfaces, `planned` lets the manager decide what it would program, `render` prints it.

mod command;
mod planned;
mod render;

pub(super) use command::{Arguments, run};
