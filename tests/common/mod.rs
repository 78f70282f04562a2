//! What the tests share: a policy from its text, a lab, and what a test needs of the machine.

#![allow(
    dead_code,
    unused_imports,
    unsafe_code,
    reason = "each test file uses its part; atexit is a C function"
)]

pub(crate) mod kernel;
mod needs;

use std::process::Command;
use std::sync::Arc;

use flowspec::Rate;
use gqos::lab::{LabNetwork, Site};
use gqos::policy::{Policy, Source};
pub(crate) use needs::{compiles, for_second_kernel, installed, skip};

/// An interface of 100 Mbit/s with two classes, of which `studio` preempts `viewer`.
pub(crate) const PREEMPTION: &str = r#"
version = 1
preemption = true
[interface.eth0]
enforcement = "auto"
on_capacity_drop = "shed"
egress = { capacity = "100 Mbit/s", reservable = "80%" }
[class.viewer]
setup_priority = 6
holding_priority = 6
[class.studio]
setup_priority = 2
holding_priority = 2
"#;

/// Repeats a call that a stop of the process interrupts: one that reads with a time limit fails then, as signal(7) says.
pub(crate) fn uninterrupted<T>(mut call: impl FnMut() -> std::io::Result<T>) -> std::io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            ended => return ended,
        }
    }
}

/// A lab with a wire of this many megabits. Where it cannot be made, the test is recorded as skipped.
#[track_caller]
pub(crate) fn lab(megabits: u64) -> Option<LabNetwork> {
    LabNetwork::new(Rate::from_mbit(megabits))
        .inspect_err(|error| {
            skip(&format!("a lab needs root or CAP_SYS_ADMIN, and tc in the kernel: {error}"))
        })
        .ok()
}

/// A lab on whose hosts a test runs these programs.
#[track_caller]
pub(crate) fn lab_with(megabits: u64, programs: &[&str]) -> Option<LabNetwork> {
    if installed(&["nsenter"]) && installed(programs) { lab(megabits) } else { None }
}

/// A policy from its text.
#[track_caller]
pub(crate) fn policy(text: &str) -> Arc<Policy> {
    match Policy::parse(&[Source { name: "test", text }]) {
        Ok((policy, _)) => Arc::new(policy),
        Err(problems) => panic!("{problems:#?}"),
    }
}

/// What a command prints inside a site's namespace. The lab was made by [`lab_with`], for the command's program.
#[track_caller]
pub(crate) fn inside(site: &Site, command: &[&str]) -> String {
    let net = format!("--net={}", site.namespace_path());
    let output = Command::new("nsenter").arg(net).args(command).output().expect("nsenter is installed");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a command in the namespace of the calling thread.
#[track_caller]
pub(crate) fn run(command: &str) {
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}
