//! `gqos schema`: prints the JSON schema of a policy file.

use std::process::ExitCode;

use super::failure::{Exit, Failure};
use super::output::print;

/// Print the JSON schema of a policy file, for editors that complete and check TOML.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {}

pub(super) fn run(_: &Arguments) -> Result<ExitCode, Failure> {
    let text = serde_json::to_string_pretty(&gqos::policy::schema());
    print(&(text.map_err(|error| Failure::new(Exit::InvalidFile, error))? + "\n"))?;
    Ok(ExitCode::SUCCESS)
}
