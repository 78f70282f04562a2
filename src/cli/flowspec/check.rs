//! `gqos flowspec check`: reports everything that is wrong with a QOS.

use std::process::ExitCode;

use clap::ValueEnum;
use flowspec::{Bytes, Direction, Invalid, QosBytes, QosRequest, Wsa};
use gqos::policy::FlowspecProblem;

use super::input::{FlowspecDocument, InputArguments};
use crate::cli::failure::{CommandFailure, Exit};
use crate::cli::output::print;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    input: InputArguments,
    /// The interface's MTU, for sizes that depend on it.
    #[arg(long, value_name = "SIZE")]
    mtu: Option<Bytes>,
    /// How problems are printed.
    #[arg(long, value_enum, default_value_t = MessageFormat::Text)]
    message_format: MessageFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum MessageFormat {
    /// For people, on standard error.
    Text,
    /// One JSON record per problem and line, on standard output.
    Json,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, CommandFailure> {
    let input = &arguments.input;
    let bytes = match input.read()? {
        FlowspecDocument::Request(request) => return check_request(arguments, &request),
        FlowspecDocument::Unreadable(problems) => {
            for FlowspecProblem { key, message, wsa } in problems {
                PrintedProblem { field: key.as_deref(), place: None, message, wsa }.print(arguments)?;
            }
            return Ok(Exit::InvalidFile.into());
        }
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
        let (message, wsa) = (problem.problem.to_string(), problem.wsa());
        PrintedProblem { field: Some(field), place: Some((*offset, *value)), message, wsa: Some(wsa) }
            .print(arguments)?;
    }
    Ok(verdict(problems.iter().map(Invalid::wsa)))
}

/// Checks flowspecs that have no bytes.
fn check_request(arguments: &Arguments, request: &QosRequest) -> Result<ExitCode, CommandFailure> {
    let mut statuses = Vec::new();
    let qos = request.qos();
    for direction in Direction::BOTH {
        let spec = qos.get(direction);
        let mtu = arguments.mtu.unwrap_or(Bytes::MAX);
        for error in spec.problems(direction, mtu) {
            let (message, wsa) = (error.to_string(), error.wsa());
            let field = &format!("{direction}.{}", error.field());
            PrintedProblem { field: Some(field), place: None, message, wsa: Some(wsa) }.print(arguments)?;
            statuses.push(wsa);
        }
    }
    if statuses.is_empty()
        && let Err(error) = request.write(arguments.input.abi(), &mut Vec::new())
    {
        let (message, wsa) = (error.problem.to_string(), error.wsa());
        PrintedProblem { field: Some(&error.field), place: None, message, wsa: Some(wsa) }
            .print(arguments)?;
        statuses.push(wsa);
    }
    Ok(verdict(statuses))
}

struct PrintedProblem<'a> {
    /// Absent where the whole text cannot be read.
    field: Option<&'a str>,
    /// The byte offset of the field and its value.
    place: Option<(usize, u64)>,
    message: String,
    /// Absent for a text that cannot be read: it has no status of Winsock's.
    wsa: Option<Wsa>,
}

impl PrintedProblem<'_> {
    fn print(&self, arguments: &Arguments) -> Result<(), CommandFailure> {
        let Self { field, place, message, wsa } = self;
        match arguments.message_format {
            MessageFormat::Json => {
                let (offset, value) = place.unzip();
                let line = serde_json::json!({
                    "field": field, "offset": offset, "value": value,
                    "status": wsa, "code": wsa.map(Wsa::code), "message": message,
                });
                print(&format!("{line}\n"))?;
            }
            MessageFormat::Text => {
                let place =
                    place.map_or(String::new(), |(offset, value)| format!(" at byte {offset} is {value}"));
                let field = field.map_or(String::new(), |field| format!("{field}{place}: "));
                let wsa = wsa.map_or(String::new(), |wsa| format!("; {wsa}"));
                crate::cli::output::say(&format!("{}: {field}{message}{wsa}", arguments.input.name()));
            }
        }
        Ok(())
    }
}

/// A flowspec that cannot be satisfied is refused; every other problem makes the file invalid.
fn verdict(statuses: impl IntoIterator<Item = Wsa>) -> ExitCode {
    let mut exit = None;
    for status in statuses {
        match status {
            Wsa::QosAdmissionFailure => exit = exit.or(Some(Exit::Difference)),
            _ => exit = Some(Exit::InvalidFile),
        }
    }
    exit.map_or(ExitCode::SUCCESS, ExitCode::from)
}
