//! `gqos schema`: the policy's JSON schema.

use std::process::ExitCode;

use super::{Failure, INVALID_FILE, say};

/// Print the JSON schema of the policy, for editors that complete and check TOML.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {}

pub(super) fn run(_: &Arguments) -> Result<ExitCode, Failure> {
    let text = serde_json::to_string_pretty(&gqos::policy::schema());
    say(&(text.map_err(|error| Failure::new(INVALID_FILE, error))? + "\n"))?;
    Ok(ExitCode::SUCCESS)
}
