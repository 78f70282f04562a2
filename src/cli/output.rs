//! Standard output and standard error.

use std::fs::OpenOptions;
use std::io::{ErrorKind, IsTerminal, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use gqos::policy::{Problem, Source};

use super::diagnostics::render;
use super::failure::CommandFailure;
use super::plain::plain_lines;

/// Writes to standard output. It is not a failure if the reader has closed the pipe.
pub(super) fn print(text: &str) -> Result<(), CommandFailure> {
    let mut output = std::io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(CommandFailure::os("write", "standard output", error))
        }
        _ => Ok(()),
    }
}

pub(super) fn write(path: &Path, bytes: impl AsRef<[u8]>) -> Result<(), CommandFailure> {
    std::fs::write(path, bytes).map_err(|error| CommandFailure::os("write", path.display(), error))
}

/// Refuses a file that could not be written, before the work whose result it takes. Its content is left as it is.
pub(super) fn ensure_writable(path: &Path) -> Result<(), CommandFailure> {
    let mut options = OpenOptions::new();
    options.write(true);
    let tried = match options.clone().create_new(true).open(path) {
        Ok(_) => std::fs::remove_file(path),
        // A pipe would wait for its reader, and be closed before the work is done.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && is_stream(path) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => options.open(path).map(drop),
        Err(error) => Err(error),
    };
    tried.map_err(|error| CommandFailure::os("write", path.display(), error))
}

fn is_stream(path: &Path) -> bool {
    let kind = std::fs::metadata(path).map(|metadata| metadata.file_type());
    kind.is_ok_and(|kind| kind.is_fifo() || kind.is_char_device())
}

/// Prints lines on standard error, in which nothing is left that a terminal would obey.
pub(super) fn say(text: &str) {
    eprintln!("{}", plain_lines(text));
}

/// Prints problems on standard error, for people.
pub(super) fn print_problems(problems: &[Problem], sources: &[Source<'_>]) {
    for problem in problems {
        eprintln!("{}\n", render(problem, sources, may_colour(&std::io::stderr())));
    }
}

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

/// The width of a terminal that every line fits.
const WIDTH: usize = 80;

/// Text behind a start, in lines that fit; further lines are indented as far as the text.
pub(super) fn wrapped(start: &str, text: &str) -> String {
    let indent = start.chars().count();
    let mut lines = String::from(start);
    let mut column = indent;
    for (number, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
        if number > 0 && column + 1 + length > WIDTH {
            lines.push_str(&format!("\n{:indent$}", ""));
            column = indent;
        } else if number > 0 {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += length;
    }
    lines.push('\n');
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_a_terminal() {
        let long = "word ".repeat(60);
        let text = wrapped("  note     subject: ", long.trim_end());
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert_eq!(text.split_whitespace().filter(|word| *word == "word").count(), 60);
        assert!(text.lines().skip(1).all(|line| line.starts_with(&" ".repeat(20))), "{text}");
        assert_eq!(wrapped("a: ", ""), "a: \n");
    }
}
