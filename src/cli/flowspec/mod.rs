//! `gqos flowspec`: QOS structures as bytes, as JSON or TOML, and in words.
//!
//! `command` holds the arguments and the commands `decode` and `encode`; `check` and `explain` have files of their own.
//! `input` finds out what a file contains, `document` and `raw` are its text forms.

mod check;
mod command;
mod document;
mod explain;
mod input;
mod raw;

pub(super) use command::{Arguments, run};
