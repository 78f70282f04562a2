//! `gqos test --watch`: a child process that runs the tests again after each change, and ends with Ctrl-C.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    dead_code,
    reason = "tests, which share what each uses a part of"
)]

#[path = "common/needs.rs"]
mod needs;
#[path = "common/qostest.rs"]
mod qostest;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use needs::installed;
use qostest::{GOOD, POLICY, with_tests};

/// A program that watches, and the lines of its output.
struct Watching {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

/// How long a line may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn lines(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        BufReader::new(stream).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    receiver
}

impl Watching {
    fn start(directory: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gqos"));
        command.current_dir(directory).args(["test", "--watch"]).args(arguments).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = lines(child.stdout.take().unwrap());
        let stderr = lines(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    /// Waits for a line with these words on standard output, and for the message that the run has ended.
    #[track_caller]
    fn expect(&self, words: &str) {
        Self::find(&self.stdout, words);
        Self::find(&self.stderr, "Ctrl-C ends");
    }

    #[track_caller]
    fn find(lines: &Receiver<String>, words: &str) {
        let mut seen = Vec::new();
        while let Ok(line) = lines.recv_timeout(PATIENCE) {
            if line.contains(words) {
                return;
            }
            seen.push(line);
        }
        panic!("{words:?} is not in {seen:#?}");
    }

    /// Ends the program as Ctrl-C does, and gives its exit code.
    fn interrupt(mut self) -> Option<i32> {
        let kill = format!("kill -INT {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

#[test]
fn tests_are_run_again_when_a_policy_or_a_test_file_changes() {
    if !installed(&["sh"]) {
        return;
    }
    let directory = with_tests(GOOD);
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let watching = Watching::start(directory.path(), &["."]);
    watching.expect("1 passed, 0 failed");
    write("p.toml", &POLICY.replace("60 Mbit/s", "30 Mbit/s"));
    watching.expect("0 passed, 1 failed");
    write("p.toml", "version = 1\nprempt = true\n");
    watching.expect("1 file is invalid");
    write("p.toml", POLICY);
    watching.expect("1 passed, 0 failed");
    // A file that no test reads changes nothing; a new test file and a new directory are found.
    write("notes.txt", "later");
    std::fs::create_dir(directory.path().join("more")).unwrap();
    write("more/b.qostest.toml", &format!("policy = \"../p.toml\"\n{GOOD}"));
    watching.expect("2 passed, 0 failed");
    // An editor that replaces the file.
    write("q.toml", &POLICY.replace("30 Mbit/s", "31 Mbit/s"));
    std::fs::rename(directory.path().join("q.toml"), directory.path().join("p.toml")).unwrap();
    watching.expect("0 passed, 2 failed");
    assert_eq!(watching.interrupt(), Some(1), "the exit code of the last run");
}

#[test]
fn the_other_policy_of_a_comparison_is_watched_too() {
    if !installed(&["sh"]) {
        return;
    }
    let directory = with_tests(GOOD);
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("q.toml", &POLICY.replace("60 Mbit/s", "30 Mbit/s"));
    let watching = Watching::start(directory.path(), &["a.qostest.toml", "--against", "q.toml"]);
    watching.expect("template hd: 1 × admitted → refused (class_share)");
    write("q.toml", POLICY);
    Watching::find(&watching.stderr, "0 decisions differ under q.toml");
    Watching::find(&watching.stderr, "Ctrl-C ends");
    assert_eq!(watching.interrupt(), Some(0));
}

#[test]
fn the_message_names_the_file_that_is_new_changed_or_removed() {
    if !installed(&["sh"]) {
        return;
    }
    let directory = with_tests(GOOD);
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let watching = Watching::start(directory.path(), &["."]);
    let next = |change: &str, watched: &str| {
        Watching::find(&watching.stderr, change);
        Watching::find(&watching.stderr, watched);
    };
    Watching::find(&watching.stderr, "gqos: watching 2 files");
    // The policy of both is one file, by whatever path, and has not changed.
    std::fs::create_dir(directory.path().join("sub")).unwrap();
    write("sub/b.qostest.toml", &format!("policy = \"../p.toml\"\n{GOOD}"));
    next("gqos: ./sub/b.qostest.toml is new", "gqos: watching 3 files");
    write("sub/b.qostest.toml", &format!("policy = \"../sub/../p.toml\"\n{GOOD}"));
    next("gqos: ./sub/b.qostest.toml changed", "gqos: watching 3 files");
    write("p.toml", &POLICY.replace("60 Mbit/s", "30 Mbit/s"));
    next("gqos: ./p.toml changed", "gqos: watching 3 files");
    std::fs::remove_dir_all(directory.path().join("sub")).unwrap();
    next("gqos: ./sub/b.qostest.toml was removed", "gqos: watching 2 files");
    std::fs::remove_file(directory.path().join("p.toml")).unwrap();
    next("gqos: ./p.toml was removed", "gqos: watching 2 files");
    write("p.toml", POLICY);
    next("gqos: ./p.toml is new", "gqos: watching 2 files");
    // The way to the policy is gone, and the policy with it.
    std::fs::create_dir(directory.path().join("way")).unwrap();
    write("a.qostest.toml", &format!("policy = \"way/../p.toml\"\n{GOOD}"));
    next("gqos: ./a.qostest.toml changed", "gqos: watching 2 files");
    std::fs::remove_dir(directory.path().join("way")).unwrap();
    next("p.toml was removed", "gqos: watching 2 files");
    std::fs::create_dir(directory.path().join("way")).unwrap();
    next("p.toml is new", "gqos: watching 2 files");
    assert_eq!(watching.interrupt(), Some(0));
}
