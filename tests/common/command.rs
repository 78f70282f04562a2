//! Runs the program.

use std::path::Path;
use std::process::{Command, Output};

/// The exit code and the output of the program with these arguments in a directory.
pub(crate) fn gqos(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gqos")).current_dir(directory).args(arguments).output().unwrap()
}

/// Checks the exit code and a part of each stream; an empty text stands for an empty stream.
#[track_caller]
pub(crate) fn check(directory: &Path, arguments: &[&str], code: i32, stdout: &str, stderr: &str) {
    let output = gqos(directory, arguments);
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{out}\n{err}");
    for (stream, expected) in [(&out, stdout), (&err, stderr)] {
        assert_eq!(stream.is_empty(), expected.is_empty(), "{arguments:?}: {stream}");
        assert!(stream.contains(expected), "{arguments:?}: {expected:?} is not in\n{stream}");
    }
}
