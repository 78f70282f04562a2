//! The command line: arguments, exit codes, tables. No rule of its own.

mod check;
mod demo;
mod demo_table;
mod diagnostics;
mod explain;
mod flowspec;
mod replay;
mod schema;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use gqos::policy::{Policy, Problem, Source};

/// Guaranteed-bandwidth connections for Linux.
///
/// Flowspecs are admitted against a per-interface budget; what does not fit is refused at once, with
/// the whole sum; what is admitted is enforced by token buckets in user space and tc classes in the
/// kernel.
#[derive(Debug, Parser)]
#[command(name = "gqos", version, max_term_width = 100, after_help = EXIT_CODES)]
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
    Schema(schema::Arguments),
}

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 a test failed, a request was refused or a difference was found; 2 wrong usage;
71 the operating system refused; 77 a privilege is missing; 78 a policy, test or trace file is invalid";

/// Why a command did not do its work, and the exit code that says so.
#[derive(Debug)]
struct Failure {
    code: u8,
    error: anyhow::Error,
}

/// Wrong usage.
const USAGE: u8 = 2;
/// The operating system refused: EX_OSERR.
const OS_ERROR: u8 = 71;
/// A privilege is missing: EX_NOPERM.
const NO_PRIVILEGE: u8 = 77;
/// A policy, test or trace file is invalid: EX_CONFIG.
const INVALID_FILE: u8 = 78;
/// Ended by SIGINT, as shells say it.
const INTERRUPTED: u8 = 130;

impl Failure {
    fn new(code: u8, error: impl Into<anyhow::Error>) -> Self {
        Self { code, error: error.into() }
    }
}

/// Runs the program.
pub(crate) fn run() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    let result = match command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Flowspec(arguments) => flowspec::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Schema(arguments) => schema::run(&arguments),
    };
    match result {
        Ok(code) => code,
        Err(Failure { code, error }) => {
            eprintln!("gqos: {error:#}");
            ExitCode::from(code)
        }
    }
}

/// Reads a text file; a failure names the call and the file, and what is no text is an invalid file.
fn read(path: &std::path::Path) -> Result<String, Failure> {
    let shown = path.display();
    let bytes = std::fs::read(path)
        .map_err(|error| Failure::new(OS_ERROR, anyhow::anyhow!("open {shown}: {error}")))?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::new(INVALID_FILE, anyhow::anyhow!("{shown}: not UTF-8 from byte {at} on"))
    })
}

/// Reads and checks a policy; its problems are told on standard error.
fn load_policy(paths: &[std::path::PathBuf]) -> Result<Policy, Failure> {
    let names: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    let texts = paths.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    let sources: Vec<_> = names.iter().zip(&texts).map(|(name, text)| Source { name, text }).collect();
    match Policy::parse(&sources) {
        Ok((policy, _)) => Ok(policy),
        Err(problems) => {
            tell(&problems, &sources);
            let error = anyhow::anyhow!(
                "{} is not a valid policy: {}",
                names.join(", "),
                counted(problems.len(), "problem")
            );
            Err(Failure::new(INVALID_FILE, error))
        }
    }
}

/// Problems for people, on standard error.
fn tell(problems: &[Problem], sources: &[Source<'_>]) {
    for problem in problems {
        eprintln!("{}\n", diagnostics::render(problem, sources, colour()));
    }
}

/// Whether standard error is a terminal that may be coloured.
fn colour() -> bool {
    use std::io::IsTerminal;
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
}

/// Writes to standard output. A reader that has seen enough and gone is no failure.
fn say(text: &str) -> Result<(), Failure> {
    use std::io::{ErrorKind, Write};
    let mut output = std::io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(OS_ERROR, anyhow::anyhow!("write standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// `1 problem`, `2 problems`.
fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
