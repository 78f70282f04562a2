//! Standard output and standard error.

use std::io::{ErrorKind, IsTerminal, Write};
use std::path::Path;

use gqos::policy::{Problem, Source};

use super::diagnostics::render;
use super::failure::Failure;

/// Writes to standard output. It is not a failure if the reader has closed the pipe.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::os("write", "standard output", error))
        }
        _ => Ok(()),
    }
}

/// Writes a file.
pub(super) fn write(path: &Path, bytes: impl AsRef<[u8]>) -> Result<(), Failure> {
    std::fs::write(path, bytes).map_err(|error| Failure::os("write", path.display(), error))
}

/// Prints problems on standard error, for people.
pub(super) fn print_problems(problems: &[Problem], sources: &[Source<'_>]) {
    for problem in problems {
        eprintln!("{}\n", render(problem, sources, may_colour(&std::io::stderr())));
    }
}

/// Whether a stream is a terminal that may be coloured.
pub(super) fn may_colour(stream: &impl IsTerminal) -> bool {
    is_capable(stream) && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
}

/// Whether a stream is a terminal that understands control sequences.
pub(super) fn is_capable(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("TERM").is_none_or(|kind| kind != "dumb")
}

/// `1 problem`, `2 problems`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
