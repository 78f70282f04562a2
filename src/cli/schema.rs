//! `gqos schema`: prints the JSON schema of a policy file or of a test file.

use std::process::ExitCode;

use clap::ValueEnum;

use super::failure::{Exit, Failure};
use super::output::print;

/// Print the JSON schema of a policy file or of a test file, for editors that complete and check TOML.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The kind of file.
    #[arg(value_enum, value_name = "KIND", default_value_t = Kind::Policy)]
    kind: Kind,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// A policy file.
    Policy,
    /// A test file: *.qostest.toml.
    #[value(alias = "test")]
    Tests,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let schema = match arguments.kind {
        Kind::Policy => gqos::policy::schema(),
        Kind::Tests => gqos::scenario::test_schema(),
    };
    let text = serde_json::to_string_pretty(&schema);
    print(&(text.map_err(|error| Failure::new(Exit::InvalidFile, error))? + "\n"))?;
    Ok(ExitCode::SUCCESS)
}
