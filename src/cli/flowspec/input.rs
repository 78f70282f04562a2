//! The input of all commands: bytes, hexadecimal digits, JSON or TOML, or flowspecs as arguments.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::ValueEnum;
use flowspec::objects::Hex;
use flowspec::{Flowspec, Invalid, QosBytes, QosRequest};
use gqos::policy::FlowspecProblem;

use super::document;
use super::raw;
use crate::cli::failure::{CommandFailure, Exit};
use crate::cli::input::without_mark;
use crate::cli::spec::{receiving, sending};

/// What is read.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct InputArguments {
    /// The file; standard input if it is absent or "-".
    #[arg(value_name = "FILE", conflicts_with_all = ["send", "receive"])]
    file: Option<PathBuf>,
    /// The layout of bytes.
    #[arg(long, value_enum, default_value_t = AbiArgument::Win64)]
    abi: AbiArgument,
    /// Read bytes as hexadecimal digits, or, with `encode`, write them as hexadecimal digits.
    #[arg(long)]
    pub(super) hex: bool,
    /// The sending flowspec, in place of a file: "guaranteed, token_rate = 6 Mbit/s".
    #[arg(long, value_name = "SPEC", value_parser = sending)]
    send: Option<Flowspec>,
    /// The receiving flowspec, in place of a file.
    #[arg(long, value_name = "SPEC", value_parser = receiving)]
    receive: Option<Flowspec>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum AbiArgument {
    /// Pointers of 4 bytes; a QOS has 72 bytes.
    Win32,
    /// Pointers of 8 bytes; a QOS has 80 bytes.
    Win64,
}

/// What was read; bytes have not been checked.
pub(super) enum FlowspecDocument {
    /// A text that cannot be read as a QOS.
    Unreadable(Vec<FlowspecProblem>),
    Bytes(Vec<u8>),
    Request(Box<QosRequest>),
    Raw(Box<raw::RawDocument>),
}

/// The longest input in bytes: more than the largest QOS in hexadecimal digits with line breaks.
const LONGEST_INPUT: u64 = 1 << 20;

impl InputArguments {
    pub(super) const fn abi(&self) -> flowspec::Abi {
        match self.abi {
            AbiArgument::Win32 => flowspec::Abi::Win32,
            AbiArgument::Win64 => flowspec::Abi::Win64,
        }
    }

    /// The name of the input in messages.
    pub(super) fn name(&self) -> String {
        match self.path() {
            Some(path) => path.display().to_string(),
            None if self.send.is_some() || self.receive.is_some() => "gqos".into(),
            None => "standard input".into(),
        }
    }

    /// What begins a message that follows the program's name: the file's name, where the input is one.
    pub(super) fn lead(&self) -> String {
        match self.send.is_some() || self.receive.is_some() {
            true => String::new(),
            false => format!("{}: ", self.name()),
        }
    }

    fn path(&self) -> Option<&Path> {
        self.file.as_deref().filter(|path| path.as_os_str() != "-")
    }

    pub(super) fn read(&self) -> Result<FlowspecDocument, CommandFailure> {
        if self.send.is_some() || self.receive.is_some() {
            let given = |spec: Option<Flowspec>| spec.unwrap_or(Flowspec::BEST_EFFORT);
            let (sending, receiving) = (given(self.send), given(self.receive));
            let request = QosRequest { sending, receiving, provider_specific: Vec::new() };
            return Ok(FlowspecDocument::Request(Box::new(request)));
        }
        let bytes = self.read_bytes()?;
        self.recognize(bytes)
    }

    /// Finds out whether the input is bytes, hexadecimal digits, JSON or TOML.
    fn recognize(&self, bytes: Vec<u8>) -> Result<FlowspecDocument, CommandFailure> {
        let failure = |error| CommandFailure::new(Exit::InvalidFile, anyhow!("{}: {error:#}", self.name()));
        // The upper halves of a QOS's service types are zero bytes, which no text has.
        let is_text = !bytes.iter().any(|byte| byte.is_ascii_control() && !byte.is_ascii_whitespace());
        let text = match std::str::from_utf8(without_mark(&bytes)) {
            Ok(text) if is_text && !text.trim().is_empty() => text,
            _ if self.hex && !bytes.is_empty() => {
                return Err(failure(anyhow!("bytes, where hexadecimal digits are expected")));
            }
            _ => return Ok(FlowspecDocument::Bytes(bytes)),
        };
        let is_digit = |character: char| character.is_ascii_hexdigit() || character.is_ascii_whitespace();
        if self.hex || text.chars().all(is_digit) {
            return Hex::parse(text)
                .map(|hex| FlowspecDocument::Bytes(hex.0))
                .map_err(|error| failure(anyhow!(error)));
        }
        Ok(document::parse(text).map_or_else(FlowspecDocument::Unreadable, FlowspecDocument::from))
    }

    fn read_bytes(&self) -> Result<Vec<u8>, CommandFailure> {
        let name = self.name();
        let mut bytes = Vec::new();
        let reader: &mut dyn Read = match self.path() {
            Some(path) => {
                &mut std::fs::File::open(path).map_err(|error| CommandFailure::os("open", &name, error))?
            }
            None => &mut std::io::stdin().lock(),
        };
        let read = reader.take(LONGEST_INPUT + 1).read_to_end(&mut bytes);
        read.map_err(|error| CommandFailure::os("read", &name, error))?;
        if bytes.len() as u64 > LONGEST_INPUT {
            let error = anyhow!("{name}: longer than {LONGEST_INPUT} bytes");
            return Err(CommandFailure::new(Exit::InvalidFile, error));
        }
        Ok(bytes)
    }

    pub(super) fn request(&self) -> Result<QosRequest, CommandFailure> {
        match self.read()? {
            FlowspecDocument::Request(request) => Ok(*request),
            document => {
                let bytes = document.bytes(self)?;
                let request = QosBytes::read(&bytes, self.abi()).and_then(|qos| qos.check());
                request.map_err(|error| self.invalid(&error))
            }
        }
    }

    pub(super) fn invalid(&self, error: &Invalid) -> CommandFailure {
        CommandFailure::new(Exit::InvalidFile, anyhow!("{}{error}; {}", self.lead(), error.wsa()))
    }
}

impl From<document::Parsed> for FlowspecDocument {
    fn from(parsed: document::Parsed) -> Self {
        match parsed {
            document::Parsed::Raw(raw) => Self::Raw(raw),
            document::Parsed::Request(request) => Self::Request(request),
        }
    }
}

impl FlowspecDocument {
    pub(super) fn bytes(self, input: &InputArguments) -> Result<Vec<u8>, CommandFailure> {
        let mut bytes = Vec::new();
        match self {
            Self::Unreadable(problems) => {
                let lines = problems.iter().map(|problem| format!("{}: {problem}", input.name()));
                let lines = lines.collect::<Vec<_>>().join("\n");
                return Err(CommandFailure::new(Exit::InvalidFile, anyhow!(lines)));
            }
            Self::Bytes(bytes) => return Ok(bytes),
            Self::Raw(document) => document.write(input.abi(), &mut bytes),
            Self::Request(request) => {
                request.write(input.abi(), &mut bytes).map_err(|error| input.invalid(&error))?;
            }
        }
        Ok(bytes)
    }
}
