//! The command line. It makes no decisions: it parses arguments, reads and writes files, and prints the results of
//! the library.
//!
//! # Types
//!
//! - `Arguments` and one struct `Arguments` per command, for clap.
//! - `Exit` is an exit code; `CommandFailure` is an error that ends a command with an exit code.
//!
//! # Order of calls
//!
//! `run` parses the arguments and calls the `run` function of one command. `input` reads files and policies, `output`
//! prints, `spec` parses the flowspecs of `--send` and `--receive`, `diagnostics` renders problems as text, JSON or
//! SARIF, `kernel` reads and changes the kernel's state, `signals` ends a command on SIGINT and SIGTERM, and `log`
//! writes the daemon's log. The commands `test`, `flowspec`, `plan` and `connect` have folders; the commands that
//! call the daemon are in `control`.

mod audit;
mod audit_files;
mod check;
mod clean;
mod completions;
mod connect;
mod control;
mod daemon;
mod demo;
mod demo_directory;
mod demo_ladder;
mod demo_live;
mod demo_process;
mod demo_report;
mod demo_summary;
mod demo_table;
mod diagnostics;
mod doctor;
mod explain;
mod failure;
mod flowspec;
mod holdings;
mod input;
mod kernel;
mod log;
mod man;
mod names;
mod output;
mod plain;
mod plan;
mod proxy;
mod replay;
mod replay_audit;
mod schema;
mod signals;
mod spec;
mod stopwatch;
mod test;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Guaranteed-bandwidth connections for Linux.
///
/// Flowspecs are admitted against a per-interface budget. A request that does not fit is refused at once, with the
/// numbers that decided. Admitted flows are enforced by token buckets in user space and tc classes in the kernel.
#[derive(Debug, Parser)]
#[command(name = "gqos", version, max_term_width = 100, after_help = failure::EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Arguments),
    Check(check::Arguments),
    Flowspec(Box<flowspec::Arguments>),
    Explain(explain::Arguments),
    Test(Box<test::Arguments>),
    Replay(replay::Arguments),
    Audit(audit::Arguments),
    Plan(plan::Arguments),
    Doctor(doctor::Arguments),
    Clean(clean::Arguments),
    Connect(Box<connect::Arguments>),
    Call(control::call::Arguments),
    Status(control::status::Arguments),
    Flows(control::flows::Arguments),
    Top(control::top::Arguments),
    Events(control::events::Arguments),
    Reload(control::reload::Arguments),
    Drain(control::drain::Arguments),
    Proxy(proxy::Arguments),
    Daemon(daemon::Arguments),
    Schema(schema::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
}

pub(crate) fn run() -> ExitCode {
    let result = demo_process::run_if_asked().unwrap_or_else(|| run_command(Arguments::parse().command));
    result.unwrap_or_else(|failure::CommandFailure { exit, error }| {
        eprintln!("{}", plain::plain_lines(&format!("gqos: {error:#}")));
        exit.into()
    })
}

fn run_command(command: Command) -> Result<ExitCode, failure::CommandFailure> {
    match command {
        Command::Daemon(arguments) => daemon::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Flowspec(arguments) => flowspec::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Audit(arguments) => audit::run(&arguments),
        Command::Plan(arguments) => plan::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Clean(arguments) => clean::run(&arguments),
        Command::Connect(arguments) => connect::run(&arguments),
        Command::Call(arguments) => control::call::run(&arguments),
        Command::Status(arguments) => control::status::run(&arguments),
        Command::Flows(arguments) => control::flows::run(&arguments),
        Command::Top(arguments) => control::top::run(&arguments),
        Command::Events(arguments) => control::events::run(&arguments),
        Command::Reload(arguments) => control::reload::run(&arguments),
        Command::Drain(arguments) => control::drain::run(&arguments),
        Command::Proxy(arguments) => proxy::run(&arguments),
        Command::Schema(arguments) => schema::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments, Arguments::command()),
        Command::Man(arguments) => man::run(&arguments, Arguments::command()),
    }
}
