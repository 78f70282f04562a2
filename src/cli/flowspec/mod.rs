//! `gqos flowspec`: QOS structures as bytes, as JSON or TOML, and in words.
//!
//! # Types
//!
//! - **Arguments**: [`Arguments`] with the command; `InputArguments`, which all commands share, with the file and its
//!   kind.
//! - **What was read**: a `FlowspecDocument`: bytes that are not checked yet, a checked request, a `RawDocument` with
//!   every bit, or the problems of a text.
//! - **Text**: a `DocumentFormat` to write, `Parsed` text, and a `DocumentProblem` for each value that cannot be read.
//!
//! # Order of calls
//!
//! 1. [`run`] chooses the command: `decode` and `encode` are beside it, `check` and `explain` have files of their own.
//! 2. `InputArguments::read` finds out what the file contains, or `InputArguments::request` demands a valid request.
//! 3. `document::show` and `FlowspecDocument::bytes` write it.

mod check;
mod command;
mod document;
mod explain;
mod input;
mod raw;

pub(super) use command::{Arguments, run};
