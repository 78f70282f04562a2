//! `gqos schema`: prints the JSON schema of a policy file, of a test file or of a line of a trace.

use std::process::ExitCode;

use clap::ValueEnum;

use super::failure::{CommandFailure, Exit};
use super::output::print;

/// Print a JSON schema, for editors that complete and check files.
///
/// An editor can check the keys and values that are present; only `gqos check` and `gqos test` also find missing
/// ones. The first line `#:schema FILE` in a policy names its schema for taplo and for editors that use taplo.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The kind of file that the schema describes.
    #[arg(value_enum, value_name = "KIND", default_value_t = SchemaKind::Policy)]
    kind: SchemaKind,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SchemaKind {
    /// A policy file.
    Policy,
    /// A test file: *.qostest.toml.
    #[value(alias = "test")]
    Tests,
    /// A line of a trace, for gqos replay.
    #[value(alias = "trace")]
    Traces,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, CommandFailure> {
    let schema = match arguments.kind {
        SchemaKind::Policy => gqos::policy::schema(),
        SchemaKind::Tests => gqos::scenario::test_schema(),
        SchemaKind::Traces => gqos::scenario::trace_schema(),
    };
    let text = serde_json::to_string_pretty(&schema);
    print(&(text.map_err(|error| CommandFailure::new(Exit::InvalidFile, error))? + "\n"))?;
    Ok(ExitCode::SUCCESS)
}
