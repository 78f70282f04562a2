//! The arguments of `gqos flowspec`, and the commands `decode` and `encode`.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::Subcommand;

use super::document::{self, DocumentFormat};
use super::input::{FlowspecDocument, InputArguments};
use super::{check, explain, raw};
use crate::cli::failure::{CommandFailure, Exit};
use crate::cli::output::{print, write};

/// Convert flowspecs between QOS bytes, JSON and TOML, check them, and explain them.
///
/// Bytes are a QOS structure with its provider-specific buffer directly behind it, as SIO_GET_QOS returns them. A file may
/// contain bytes, hexadecimal digits, JSON or TOML.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(subcommand)]
    command: FlowspecCommand,
}

#[derive(Debug, Subcommand)]
enum FlowspecCommand {
    /// Convert QOS bytes to JSON or TOML.
    Decode(Decode),
    /// Convert JSON or TOML to QOS bytes.
    Encode(Encode),
    /// Explain a flowspec in words and numbers.
    Explain(explain::Arguments),
    /// Report all problems, each with its field, position, value and status.
    Check(check::Arguments),
}

#[derive(Debug, clap::Args)]
struct Decode {
    #[command(flatten)]
    input: InputArguments,
    /// How the flowspec is written.
    #[arg(long, value_enum, default_value_t = DocumentFormat::Json)]
    format: DocumentFormat,
    /// Keep every bit, valid or not: numbers, sentinels and pointers are not interpreted.
    #[arg(long)]
    raw: bool,
}

#[derive(Debug, clap::Args)]
struct Encode {
    #[command(flatten)]
    input: InputArguments,
    /// The output file; standard output if it is absent.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(in crate::cli) fn run(arguments: &Arguments) -> Result<ExitCode, CommandFailure> {
    match &arguments.command {
        FlowspecCommand::Decode(arguments) => decode(arguments),
        FlowspecCommand::Encode(arguments) => encode(arguments),
        FlowspecCommand::Explain(arguments) => explain::run(arguments),
        FlowspecCommand::Check(arguments) => check::run(arguments),
    }
}

fn decode(arguments: &Decode) -> Result<ExitCode, CommandFailure> {
    let input = &arguments.input;
    let text = if arguments.raw {
        let bytes = match input.read()? {
            FlowspecDocument::Bytes(bytes) => bytes,
            document => document.bytes(input)?,
        };
        let document = raw::RawDocument::read(&bytes, input.abi()).map_err(|error| input.invalid(&error))?;
        document::show(&document, DocumentFormat::Json)
    } else {
        document::show(&input.request()?, arguments.format)
    };
    print(&text.map_err(|error| CommandFailure::new(Exit::InvalidFile, error))?)?;
    Ok(ExitCode::SUCCESS)
}

fn encode(arguments: &Encode) -> Result<ExitCode, CommandFailure> {
    let input = &arguments.input;
    // Here --hex is the format of the output.
    let mut reader = input.clone();
    reader.hex = false;
    let mut bytes = match reader.read()? {
        FlowspecDocument::Bytes(bytes) => {
            // Any bit pattern passes that has the bytes of a QOS; fewer are none.
            raw::RawDocument::read(&bytes, input.abi()).map_err(|error| input.invalid(&error))?;
            bytes
        }
        document => document.bytes(input)?,
    };
    if input.hex {
        bytes = hex_lines(&bytes).into_bytes();
    }
    match &arguments.output {
        Some(path) => write(path, &bytes)?,
        None if !input.hex && std::io::stdout().is_terminal() => {
            let error = anyhow!("bytes are not written to a terminal; use --hex or --output FILE");
            return Err(CommandFailure::new(Exit::Usage, error));
        }
        None => {
            let written = std::io::stdout().write_all(&bytes);
            written.map_err(|error| CommandFailure::os("write", "standard output", error))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Hexadecimal digits, 16 bytes per line.
fn hex_lines(bytes: &[u8]) -> String {
    let lines = bytes.chunks(16).map(|line| {
        let line: Vec<_> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        line.join(" ") + "\n"
    });
    lines.collect()
}
