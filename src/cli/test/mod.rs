//! `gqos test`: admission regression tests.
//!
//! `run` chooses what the arguments ask for; `file` reads test files and their policies, and runs one test. The options
//! `--bless`, `--against`, `--lab` and `--watch` have files of their own.

mod against;
mod arguments;
mod bless;
mod file;
mod laboratory;
mod run;
mod watch;

pub(super) use arguments::Arguments;
pub(super) use run::run;
