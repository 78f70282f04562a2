//! Files that commands read.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use gqos::files::{InvalidPolicy, PolicyFiles};
use gqos::policy::{Policy, Problem, Source};

use super::failure::{CommandFailure, Exit};
use super::output::{counted, print_problems};

/// The bytes that editors on Windows write at the start of a text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The bytes of a file without a byte order mark at their start. Two marks are left to the reader, which refuses them.
pub(super) fn without_mark(bytes: &[u8]) -> &[u8] {
    match bytes.strip_prefix(BYTE_ORDER_MARK) {
        Some(rest) if !rest.starts_with(BYTE_ORDER_MARK) => rest,
        _ => bytes,
    }
}

/// The longest file that is read, in bytes. A device has no end.
const LONGEST_FILE: u64 = 64 << 20;

/// Reads a text file, without a byte order mark at its start.
pub(super) fn read(path: &Path) -> Result<String, CommandFailure> {
    let name = path.display();
    let file = std::fs::File::open(path).map_err(|error| CommandFailure::os("open", &name, error))?;
    let mut bytes = Vec::new();
    let read = file.take(LONGEST_FILE + 1).read_to_end(&mut bytes);
    read.map_err(|error| CommandFailure::os("read", &name, error))?;
    if bytes.len() as u64 > LONGEST_FILE {
        let error = anyhow!("{name}: longer than {LONGEST_FILE} bytes");
        return Err(CommandFailure::new(Exit::InvalidFile, error));
    }
    let path = path.display();
    let text = std::str::from_utf8(without_mark(&bytes));
    text.map(str::to_owned).map_err(|error| {
        let at = error.valid_up_to();
        CommandFailure::new(Exit::InvalidFile, anyhow!("{path}: not UTF-8 from byte {at} on"))
    })
}

/// Reads and checks a policy in one or more files. The problems of all files are printed on standard error.
pub(super) fn load_policy(paths: &[PathBuf]) -> Result<Policy, CommandFailure> {
    let files = PolicyFiles::read_all(paths);
    files.check().map(|(policy, _)| policy).map_err(|problems| {
        if problems.is_refused_by_system() {
            // Such a policy is neither valid nor invalid: the messages of the operating system say all.
            let messages: Vec<_> =
                problems.problems().iter().map(|problem| problem.message.as_str()).collect();
            return CommandFailure::new(Exit::OsError, anyhow!(messages.join("; ")));
        }
        invalid(problems.problems(), &files.sources(), "policy")
    })
}

/// The exit code for a policy that cannot be used: whether the operating system refused, and nothing else is wrong.
pub(super) fn unusable(problems: &InvalidPolicy) -> Exit {
    if problems.is_refused_by_system() { Exit::OsError } else { Exit::InvalidFile }
}

/// Checks a policy. Problems are printed on standard error.
pub(super) fn parse_policy(sources: &[Source<'_>]) -> Result<Policy, CommandFailure> {
    let checked = Policy::parse(sources);
    checked.map(|(policy, _)| policy).map_err(|problems| invalid(&problems, sources, "policy"))
}

/// Prints the problems of an invalid file on standard error, and counts them.
pub(super) fn invalid(problems: &[Problem], sources: &[Source<'_>], kind: &str) -> CommandFailure {
    print_problems(problems, sources);
    let names: Vec<_> = sources.iter().map(|source| source.name).collect();
    let (names, count) = (names.join(", "), counted(problems.len(), "problem"));
    let is = if sources.len() == 1 { "is" } else { "are" };
    CommandFailure::new(Exit::InvalidFile, anyhow!("{names} {is} not a valid {kind}: {count}"))
}
