//! `gqos test`: admission regression tests.
//!
//! # Types
//!
//! - **Files**: a `File` is a test file with its suite and each `LoadedPolicy` that it names; `Opened` are all files of
//!   the arguments, those that cannot be used as `RefusedFile`s.
//! - **Tests**: a `Selected` test in its file.
//!
//! # Order of calls
//!
//! 1. [`run`]: with `--record`, a trace becomes a test, and nothing is run; with `--watch`, the rest repeats.
//! 2. `open_all` reads the files and their policies, and the arguments select tests.
//! 3. `against` compares with another policy, `bless` rewrites expectations; otherwise `Selected::run` runs each test,
//!    on a `PrivateNetwork` too with `--lab`, and the report is rendered by `scenario`.

mod against;
mod arguments;
mod bless;
mod file;
mod laboratory;
mod run;
mod watch;

pub(super) use arguments::Arguments;
pub(super) use run::run;
