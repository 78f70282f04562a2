//! What the tests share: a policy from its text, and a lab or a loud reason why there is none.

#![allow(dead_code, reason = "each test file uses its part")]

use std::process::Command;
use std::sync::Arc;

use flowspec::Rate;
use gqos::lab::{Network, Site};
use gqos::policy::{Policy, Source};

/// A lab with a wire of this many megabits; nothing where namespaces cannot be made, which is an
/// error in continuous integration.
pub(crate) fn lab(megabits: u64) -> Option<Network> {
    match Network::new(Rate::from_mbit(megabits)) {
        Ok(network) => Some(network),
        Err(error) if error.is_permission() && std::env::var_os("CI").is_none() => {
            eprintln!("SKIPPED: network namespaces need root or CAP_SYS_ADMIN: {error}");
            None
        }
        Err(error) => panic!("the lab cannot be made: {error}"),
    }
}

/// A policy from its text.
#[track_caller]
pub(crate) fn policy(text: &str) -> Arc<Policy> {
    match Policy::parse(&[Source { name: "test", text }]) {
        Ok((policy, _)) => Arc::new(policy),
        Err(problems) => panic!("{problems:#?}"),
    }
}

/// What a command prints inside a site's namespace.
#[track_caller]
pub(crate) fn inside(site: &Site, command: &[&str]) -> String {
    let net = format!("--net={}", site.namespace_path());
    let output = Command::new("nsenter").arg(net).args(command).output().expect("nsenter is installed");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
