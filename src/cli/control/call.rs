//! `gqos call`: one call on the control socket.

use std::io::Read;
use std::process::ExitCode;

use anyhow::anyhow;
use gqos::control::{Call, INTERFACE_NAME, Method};
use serde_json::Value;

use super::client::{SocketArgument, failure};
use crate::cli::failure::{CommandFailure, Exit};
use crate::cli::output::print;
use crate::cli::plain::plain_json;

/// Call a method of the daemon and print its reply as JSON, one line for each reply.
///
/// The methods and their parameters are those of the daemon's varlink interface:
/// `gqos call org.varlink.service.GetInterfaceDescription '{"interface": "org.gqos"}'`. A reservation ends with the
/// connection that made it; with --hold, it lasts until standard input ends. The exit code is 1 if the decision is a
/// refusal.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The method: `Status`, or its full name.
    #[arg(value_name = "METHOD")]
    method: String,
    /// The parameters, a JSON object; "-" reads standard input.
    #[arg(value_name = "JSON", default_value = "{}")]
    parameters: String,
    /// Accept more than one reply; methods that return a stream do not need this option.
    #[arg(long)]
    more: bool,
    /// Keep the connection and its reservations until standard input ends.
    #[arg(long)]
    hold: bool,
    #[command(flatten)]
    socket: SocketArgument,
}

pub(in crate::cli) fn run(arguments: &Arguments) -> Result<ExitCode, CommandFailure> {
    let call = call(arguments)?;
    // The method may be one that waits.
    let mut client = arguments.socket.connect()?.limit_waits(None)?;
    client.send(&call)?;
    let mut refused = false;
    loop {
        let reply = client.reply()?;
        let continues = reply.continues;
        let parameters: Value = reply.parameters().map_err(failure)?;
        refused |= parameters.pointer("/decision/ok") == Some(&Value::Bool(false));
        print(&format!("{}\n", plain_json(&parameters.to_string())))?;
        if !continues {
            break;
        }
    }
    if arguments.hold {
        std::io::stdin().lock().read_to_end(&mut Vec::new()).map_err(standard_input)?;
    }
    Ok(if refused { Exit::Difference.into() } else { ExitCode::SUCCESS })
}

fn call(arguments: &Arguments) -> Result<Call, CommandFailure> {
    let given = &arguments.method;
    let method = if given.contains('.') { given.clone() } else { format!("{INTERFACE_NAME}.{given}") };
    let text = if arguments.parameters == "-" {
        std::io::read_to_string(std::io::stdin().lock()).map_err(standard_input)?
    } else {
        arguments.parameters.clone()
    };
    let parameters: Value = serde_json::from_str(&text)
        .map_err(|error| CommandFailure::new(Exit::Usage, anyhow!("the parameters: {error}")))?;
    if !parameters.is_object() {
        return Err(CommandFailure::new(Exit::Usage, anyhow!("the parameters are not a JSON object")));
    }
    let more = arguments.more || Method::named(&method).is_some_and(Method::streams);
    Ok(Call { method, parameters: Some(parameters.into()), more, ..Call::default() })
}

fn standard_input(error: std::io::Error) -> CommandFailure {
    CommandFailure::os("read", "standard input", error)
}
