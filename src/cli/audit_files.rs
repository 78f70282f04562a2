//! Files of an audit log, line by line in the order in which they were written.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

use anyhow::anyhow;
use gqos::policy::Policy;
use gqos::scenario::audit::{AuditError, AuditLine, AuditRecord, LONGEST_AUDIT_LINE};

use super::failure::{CommandFailure, Exit};

struct AuditFile {
    name: String,
    reader: BufReader<Box<dyn Read>>,
    /// The first line, which says where the file belongs.
    first: Vec<u8>,
}

/// Calls `each` for every line of the files, in the order of their first lines. A line that a crash cut off is reported and
/// skipped: the last line of a file, and one before the begin of a run.
pub(super) fn each_line(
    paths: &[PathBuf],
    policy: &Policy,
    mut each: impl FnMut(&AuditLine) -> Result<(), CommandFailure>,
) -> Result<(), CommandFailure> {
    let mut files = paths.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    files.sort_by_key(|file| {
        let text = String::from_utf8_lossy(&file.first);
        AuditLine::read(text.trim_end(), policy).map(|line| (line.at, line.seq)).ok()
    });
    files.into_iter().try_for_each(|file| read(file, policy, &mut each))
}

fn open(path: &PathBuf) -> Result<AuditFile, CommandFailure> {
    let name = path.display().to_string();
    let input: Box<dyn Read> = if path.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(path).map_err(|error| CommandFailure::os("open", &name, error))?)
    };
    let mut file = AuditFile { name, reader: BufReader::new(input), first: Vec::new() };
    file.first = next(&mut file)?;
    Ok(file)
}

/// The next line with its end; empty at the end of the file.
fn next(file: &mut AuditFile) -> Result<Vec<u8>, CommandFailure> {
    let mut line = Vec::new();
    let most = LONGEST_AUDIT_LINE as u64 + 2;
    let read = file.reader.by_ref().take(most).read_until(b'\n', &mut line);
    read.map_err(|error| CommandFailure::os("read", &file.name, error))?;
    Ok(line)
}

fn read(
    mut file: AuditFile,
    policy: &Policy,
    each: &mut impl FnMut(&AuditLine) -> Result<(), CommandFailure>,
) -> Result<(), CommandFailure> {
    let (mut number, mut torn) = (0_u64, None);
    let mut bytes = std::mem::take(&mut file.first);
    while !bytes.is_empty() {
        number += 1;
        let invalid = |number: u64, problem: &dyn std::fmt::Display| {
            CommandFailure::new(Exit::InvalidFile, anyhow!("{}:{number}: {problem}", file.name))
        };
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end_matches(['\n', '\r']);
        if !text.trim().is_empty() {
            match AuditLine::read(text, policy) {
                Err(AuditError::NotJson) if torn.is_none() => torn = Some(number),
                Err(problem) => return Err(invalid(torn.unwrap_or(number), &problem)),
                Ok(line) => {
                    let may_follow = matches!(line.record, AuditRecord::Header(_) | AuditRecord::Gap { .. });
                    match torn.take() {
                        Some(number) if may_follow => say_torn(&file.name, number),
                        Some(number) => return Err(invalid(number, &AuditError::NotJson)),
                        None => {}
                    }
                    each(&line)?;
                }
            }
        }
        bytes = next(&mut file)?;
    }
    if let Some(number) = torn {
        say_torn(&file.name, number);
    }
    Ok(())
}

fn say_torn(name: &str, number: u64) {
    crate::cli::output::say(&format!("gqos: {name}:{number}: the line was torn by a crash, and is skipped"));
}

/// Standard output cannot be written.
pub(super) fn written(error: std::io::Error) -> CommandFailure {
    CommandFailure::new(Exit::OsError, error)
}

/// Whether a command has ended early since the reader of its output has closed the pipe.
pub(super) fn is_closed(result: Result<(), CommandFailure>) -> Result<bool, CommandFailure> {
    let Err(CommandFailure { exit, error }) = result else { return Ok(false) };
    match error.downcast::<std::io::Error>() {
        Ok(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(true),
        Ok(error) => Err(CommandFailure::os("write", "standard output", error)),
        Err(error) => Err(CommandFailure { exit, error }),
    }
}
