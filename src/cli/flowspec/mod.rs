//! `gqos flowspec`: QOS as bytes, as JSON or TOML, and in words.

mod document;
mod explain;
mod raw;

use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::anyhow;
use clap::{Subcommand, ValueEnum};
use flowspec::objects::Hex;
use flowspec::{Bytes, Direction, Flowspec, Invalid, QosBytes, QosRequest, TSpec};

use super::{Failure, INVALID_FILE, OS_ERROR, say};
use document::Format;

/// Flowspecs: QOS bytes to JSON or TOML and back, and what a flowspec asks for.
///
/// Bytes are a QOS structure with its provider-specific buffer directly behind it, as SIO_GET_QOS
/// returns them. Where a file is read, it may also be hexadecimal digits, JSON or TOML.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// QOS bytes to JSON or TOML.
    Decode(Decode),
    /// JSON or TOML to QOS bytes.
    Encode(Encode),
    /// What it asks for, in words and numbers.
    Explain(explain::Arguments),
    /// Everything that is wrong with it, each with its field, place, value and status.
    Check(Check),
}

#[derive(Debug, clap::Args)]
struct Decode {
    #[command(flatten)]
    input: Input,
    /// What is written.
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
    /// Every bit as it is, meaningful or not: numbers, sentinels and pointers uninterpreted.
    #[arg(long)]
    raw: bool,
}

#[derive(Debug, clap::Args)]
struct Encode {
    #[command(flatten)]
    input: Input,
    /// Where the bytes go; standard output where it is absent.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Check {
    #[command(flatten)]
    input: Input,
    /// The interface's MTU, for what depends on it.
    #[arg(long, value_name = "SIZE")]
    mtu: Option<Bytes>,
    /// How problems are printed.
    #[arg(long, value_enum, default_value_t = MessageFormat::Text)]
    message_format: MessageFormat,
}

/// What is read, and how.
#[derive(Clone, Debug, clap::Args)]
struct Input {
    /// The file; standard input where it is absent or "-".
    #[arg(value_name = "FILE", conflicts_with_all = ["send", "receive"])]
    file: Option<PathBuf>,
    /// Whose layout bytes have.
    #[arg(long, value_enum, default_value_t = Abi::Win64)]
    abi: Abi,
    /// Bytes are hexadecimal digits: those that are read, or with `encode` those that are written.
    #[arg(long)]
    hex: bool,
    /// A sending flowspec instead of a file: "guaranteed, token_rate = 6 Mbit/s".
    #[arg(long, value_name = "SPEC")]
    send: Option<Flowspec>,
    /// A receiving flowspec instead of a file.
    #[arg(long, value_name = "SPEC")]
    receive: Option<Flowspec>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Abi {
    /// Pointers of 4 bytes: QOS takes 72.
    Win32,
    /// Pointers of 8 bytes: QOS takes 80.
    Win64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum MessageFormat {
    /// For people, on standard error.
    Text,
    /// One line a problem, on standard output.
    Json,
}

/// What was read, before anything is known of its sense.
enum Document {
    Bytes(Vec<u8>),
    Request(Box<QosRequest>),
    Raw(Box<raw::Document>),
}

/// The longest input: far above the largest QOS, in hexadecimal digits and with line breaks.
const LONGEST_INPUT: u64 = 1 << 20;

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    match &arguments.command {
        Command::Decode(arguments) => decode(arguments),
        Command::Encode(arguments) => encode(arguments),
        Command::Explain(arguments) => explain::run(arguments),
        Command::Check(arguments) => check(arguments),
    }
}

fn decode(arguments: &Decode) -> Result<ExitCode, Failure> {
    let input = &arguments.input;
    let text = if arguments.raw {
        let bytes = match input.read()? {
            Document::Bytes(bytes) => bytes,
            document => document.bytes(input)?,
        };
        let document = raw::Document::read(&bytes, input.abi()).map_err(|error| input.invalid(&error))?;
        document::show(&document, Format::Json)
    } else {
        document::show(&input.request()?, arguments.format)
    };
    say(&text.map_err(|error| Failure::new(INVALID_FILE, error))?)?;
    Ok(ExitCode::SUCCESS)
}

fn encode(arguments: &Encode) -> Result<ExitCode, Failure> {
    let input = &arguments.input;
    // The digits are what is written.
    let reader = Input { hex: false, ..input.clone() };
    let mut bytes = reader.read()?.bytes(input)?;
    if input.hex {
        let digits = bytes.chunks(16).map(|line| {
            let line: Vec<_> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            line.join(" ") + "\n"
        });
        bytes = digits.collect::<String>().into_bytes();
    }
    let written = match &arguments.output {
        Some(path) => {
            std::fs::write(path, &bytes).map_err(|error| anyhow!("write {}: {error}", path.display()))
        }
        None if !input.hex && std::io::stdout().is_terminal() => {
            let error = anyhow!("bytes are not written to a terminal; use --hex or --output FILE");
            return Err(Failure::new(super::USAGE, error));
        }
        None => {
            std::io::stdout().write_all(&bytes).map_err(|error| anyhow!("write standard output: {error}"))
        }
    };
    written.map_err(|error| Failure::new(OS_ERROR, error))?;
    Ok(ExitCode::SUCCESS)
}

fn check(arguments: &Check) -> Result<ExitCode, Failure> {
    let input = &arguments.input;
    let bytes = match input.read()? {
        Document::Request(request) => return check_request(arguments, &request),
        document => document.bytes(input)?,
    };
    let mut problems = match QosBytes::read(&bytes, input.abi()) {
        Ok(qos) => qos.problems(),
        Err(error) => vec![error],
    };
    if problems.is_empty() {
        let request = QosBytes::read(&bytes, input.abi()).and_then(|qos| qos.check());
        match request {
            Ok(request) => return check_request(arguments, &request),
            Err(error) => problems.push(error),
        }
    }
    for problem in &problems {
        let Invalid { field, offset, value, .. } = problem;
        let place = Some((*offset, *value));
        report(arguments, field, place, &problem.problem.to_string(), problem.wsa());
    }
    Ok(verdict(problems.iter().map(Invalid::wsa)))
}

/// The same for a flowspec that does not lie in bytes.
fn check_request(arguments: &Check, request: &QosRequest) -> Result<ExitCode, Failure> {
    let mut statuses = Vec::new();
    let qos = request.qos();
    for direction in Direction::BOTH {
        let spec = qos.get(direction);
        let mtu = arguments.mtu.unwrap_or(Bytes::MAX);
        let checked = spec.check(direction).and_then(|()| TSpec::new(spec, direction, mtu).map(drop));
        if let Err(error) = checked {
            let field = format!("{direction}.{}", error.field());
            report(arguments, &field, None, &error.to_string(), error.wsa());
            statuses.push(error.wsa());
        }
    }
    if statuses.is_empty()
        && let Err(error) = request.write(arguments.input.abi(), &mut Vec::new())
    {
        report(arguments, &error.field, None, &error.problem.to_string(), error.wsa());
        statuses.push(error.wsa());
    }
    Ok(verdict(statuses))
}

fn report(arguments: &Check, field: &str, place: Option<(usize, u64)>, message: &str, wsa: flowspec::Wsa) {
    match arguments.message_format {
        MessageFormat::Json => {
            let (offset, value) = place.unzip();
            let line = serde_json::json!({
                "field": field, "offset": offset, "value": value,
                "status": wsa, "code": wsa.code(), "message": message,
            });
            // A line that nobody reads is no reason to stop checking.
            let _ = say(&format!("{line}\n"));
        }
        MessageFormat::Text => {
            let place =
                place.map_or(String::new(), |(offset, value)| format!(" at byte {offset} is {value}"));
            eprintln!("{}: {field}{place}: {message}; {wsa}", arguments.input.name());
        }
    }
}

/// What cannot be satisfied was refused; everything else is an invalid file.
fn verdict(statuses: impl IntoIterator<Item = flowspec::Wsa>) -> ExitCode {
    let codes = statuses.into_iter().map(|wsa| match wsa {
        flowspec::Wsa::QosAdmissionFailure => 1,
        _ => INVALID_FILE,
    });
    ExitCode::from(codes.max().unwrap_or(0))
}

impl Input {
    const fn abi(&self) -> flowspec::Abi {
        match self.abi {
            Abi::Win32 => flowspec::Abi::Win32,
            Abi::Win64 => flowspec::Abi::Win64,
        }
    }

    /// What messages call it.
    fn name(&self) -> String {
        match self.path() {
            Some(path) => path.display().to_string(),
            None if self.send.is_some() || self.receive.is_some() => "gqos".into(),
            None => "standard input".into(),
        }
    }

    fn path(&self) -> Option<&Path> {
        self.file.as_deref().filter(|path| path.as_os_str() != "-")
    }

    fn read(&self) -> Result<Document, Failure> {
        if self.send.is_some() || self.receive.is_some() {
            let given = |spec: Option<Flowspec>| spec.unwrap_or(Flowspec::BEST_EFFORT);
            let (sending, receiving) = (given(self.send), given(self.receive));
            let request = QosRequest { sending, receiving, provider_specific: Vec::new() };
            return Ok(Document::Request(Box::new(request)));
        }
        let bytes = self.read_bytes()?;
        self.tell_apart(bytes)
    }

    /// Bytes, hexadecimal digits, JSON or TOML.
    fn tell_apart(&self, bytes: Vec<u8>) -> Result<Document, Failure> {
        let failure = |error| Failure::new(INVALID_FILE, anyhow!("{}: {error:#}", self.name()));
        // A QOS that means anything has bytes that no text has: its service types' upper halves.
        let is_text = !bytes.iter().any(|byte| byte.is_ascii_control() && !byte.is_ascii_whitespace());
        let text = match std::str::from_utf8(&bytes) {
            Ok(text) if is_text && !text.trim().is_empty() => text,
            _ if self.hex && !bytes.is_empty() => {
                return Err(failure(anyhow!("bytes, where hexadecimal digits are expected")));
            }
            _ => return Ok(Document::Bytes(bytes)),
        };
        let is_digit = |character: char| character.is_ascii_hexdigit() || character.is_ascii_whitespace();
        if self.hex || text.chars().all(is_digit) {
            return Hex::parse(text)
                .map(|hex| Document::Bytes(hex.0))
                .map_err(|error| failure(anyhow!(error)));
        }
        document::parse(text).map_err(failure)
    }

    fn read_bytes(&self) -> Result<Vec<u8>, Failure> {
        let name = self.name();
        let failure =
            |call: &str, error: std::io::Error| Failure::new(OS_ERROR, anyhow!("{call} {name}: {error}"));
        let mut bytes = Vec::new();
        let reader: &mut dyn Read = match self.path() {
            Some(path) => &mut std::fs::File::open(path).map_err(|error| failure("open", error))?,
            None => &mut std::io::stdin().lock(),
        };
        reader.take(LONGEST_INPUT + 1).read_to_end(&mut bytes).map_err(|error| failure("read", error))?;
        if bytes.len() as u64 > LONGEST_INPUT {
            return Err(Failure::new(INVALID_FILE, anyhow!("{name}: longer than {LONGEST_INPUT} bytes")));
        }
        Ok(bytes)
    }

    /// What it means.
    fn request(&self) -> Result<QosRequest, Failure> {
        match self.read()? {
            Document::Request(request) => Ok(*request),
            document => {
                let bytes = document.bytes(self)?;
                let request = QosBytes::read(&bytes, self.abi()).and_then(|qos| qos.check());
                request.map_err(|error| self.invalid(&error))
            }
        }
    }

    fn invalid(&self, error: &Invalid) -> Failure {
        Failure::new(INVALID_FILE, anyhow!("{}: {error}; {}", self.name(), error.wsa()))
    }
}

impl Document {
    fn bytes(self, input: &Input) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        match self {
            Self::Bytes(bytes) => return Ok(bytes),
            Self::Raw(document) => document.write(input.abi(), &mut bytes),
            Self::Request(request) => {
                request.write(input.abi(), &mut bytes).map_err(|error| input.invalid(&error))?;
            }
        }
        Ok(bytes)
    }
}
