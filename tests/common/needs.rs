//! What a test needs of the machine, and the report of what it lacks.
//!
//! A test that needs a program, a compiler or a namespace probes for it by using it. Where it is missing, the test
//! returns early and the test program ends with one line for it, `SKIPPED: test: why`. With `CI=true` in the
//! environment a missing need is a failure, but for what `tests/second_kernel.sh` tests, on a kernel that has it: there the line
//! is `SECOND KERNEL: test: why`.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// The lines that the test program prints when it ends.
static SKIPPED: Mutex<Vec<String>> = Mutex::new(Vec::new());

unsafe extern "C" {
    fn atexit(callback: extern "C" fn()) -> std::ffi::c_int;
}

/// Prints the skipped tests. `std::io::stderr` is not captured by the test harness, `eprintln!` is.
extern "C" fn print_skipped() {
    let lines = SKIPPED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let _ = std::io::stderr().write_all(lines.concat().as_bytes());
}

/// Records that the calling test is skipped, and why. The caller returns.
///
/// # Panics
///
/// With `CI=true`: there every need has to be met.
#[track_caller]
pub(crate) fn skip(why: &str) {
    let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "with CI=true nothing may be skipped: {why}");
    record("SKIPPED", &why);
}

/// Records that the calling test is for kernels with a feature that this one lacks. The caller returns. `tests/second_kernel.sh` runs
/// the test on one that has it, and takes this line for a failure.
pub(crate) fn for_second_kernel(why: &str) {
    record("SECOND KERNEL", why);
}

/// Has the test program print a line about the calling test when it ends.
fn record(what: &str, why: &str) {
    let test = std::thread::current().name().unwrap_or("main").to_owned();
    let line = format!("{what}: {test}: {why}\n");
    let mut lines = SKIPPED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if lines.is_empty() {
        // SAFETY: the callback takes no arguments, does not unwind and lives as long as the program.
        let registered = unsafe { atexit(print_skipped) };
        assert_eq!(registered, 0, "no callback can be registered; {line}");
    }
    if !lines.contains(&line) {
        lines.push(line);
    }
}

/// Whether all these programs can be started; otherwise the test is recorded as skipped.
#[track_caller]
pub(crate) fn installed(programs: &[&str]) -> bool {
    for program in programs {
        // Any answer to this option shows that the program is there.
        let started = Command::new(program).arg("-V").stdin(Stdio::null()).output();
        if let Err(error) = started {
            skip(&format!("{program} cannot be started: {error}"));
            return false;
        }
    }
    true
}

/// Whether a compiler makes an object of a program that includes the C library's headers; otherwise the test is
/// recorded as skipped.
#[track_caller]
pub(crate) fn compiles(compiler: &str, flags: &[&str]) -> bool {
    const PROGRAM: &str =
        "#include <stdint.h>\n#include <stdio.h>\nint main(void) { return (int)fputs(\"\", stdout); }\n";
    let directory = tempfile::tempdir().expect("a temporary directory");
    let [source, object] = ["probe.c", "probe.o"].map(|name| directory.path().join(name));
    std::fs::write(&source, PROGRAM).expect("the temporary directory is writable");
    let output = Command::new(compiler).args(flags).arg("-c").arg(&source).arg("-o").arg(&object).output();
    let why = match output {
        Ok(output) if output.status.success() => return true,
        Ok(output) => {
            let errors = String::from_utf8_lossy(&output.stderr);
            let line = errors.lines().find(|line| line.contains("error")).or(errors.lines().next());
            line.unwrap_or("it fails without a message").to_owned()
        }
        Err(error) => error.to_string(),
    };
    skip(&format!("{compiler} {} compiles nothing: {why}", flags.join(" ")));
    false
}
