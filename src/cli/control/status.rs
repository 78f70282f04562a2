//! `gqos status`: the daemon and its interfaces.

use std::fmt::Write;
use std::process::ExitCode;

use anyhow::anyhow;
use flowspec::Direction;
use gqos::control::{ClassRecord, ConfinementRecord, InterfaceRecord, Request, Status, StatusReply};

use super::client::SocketArgument;
use crate::cli::failure::{CommandFailure, Exit};
use crate::cli::output::{counted, print};
use crate::cli::plain::plain;

/// Show what is reserved, used and free on each interface of the daemon.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Show this interface alone.
    #[arg(long, short, value_name = "INTERFACE")]
    interface: Option<String>,
    /// List the kernel's classes.
    #[arg(long)]
    classes: bool,
    /// Print one JSON document: rates in bytes per second.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    socket: SocketArgument,
}

pub(in crate::cli) fn run(arguments: &Arguments) -> Result<ExitCode, CommandFailure> {
    let request = Request::Status(Status { classes: arguments.classes.then_some(true) });
    let mut status: StatusReply = arguments.socket.connect()?.call(&request)?;
    if let Some(name) = &arguments.interface {
        status.interfaces.retain(|record| record.interface == *name);
        if status.interfaces.is_empty() {
            return Err(CommandFailure::new(
                Exit::Difference,
                anyhow!("the daemon has no interface {name:?}"),
            ));
        }
    }
    let document = match arguments.json {
        true => {
            serde_json::to_string(&status).map_err(|error| CommandFailure::new(Exit::OsError, error))? + "\n"
        }
        false => text(&status),
    };
    print(&document)?;
    Ok(ExitCode::SUCCESS)
}

/// What the daemon has given up, as a line.
fn confined(confinement: Option<&ConfinementRecord>) -> String {
    let Some(ConfinementRecord { capabilities, no_new_privileges, system_calls, landlock, missing }) =
        confinement
    else {
        return "not confined: it was started with --no-confine\n".into();
    };
    let mut parts = vec![match &capabilities[..] {
        [] => "no capabilities".to_owned(),
        left => left.join(", "),
    }];
    if *no_new_privileges {
        parts.push("no new privileges".into());
    }
    if let Some(calls) = system_calls {
        parts.push(format!("{calls} system calls"));
    }
    if let Some(version) = landlock {
        parts.push(format!("files by landlock {version}"));
    }
    let mut text = format!("confined: {}\n", parts.join("; "));
    for failure in missing {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "not in force: {}", plain(failure));
    }
    text
}

fn text(status: &StatusReply) -> String {
    let StatusReply { version, pid, policy, draining, connections, flows, confinement, interfaces } = status;
    let (clients, flows) = (counted(*connections, "client"), counted(*flows, "reservation"));
    let mut text =
        format!("gqos {version}, process {pid}, policy {}: {clients}, {flows}\n", policy.join(", "));
    if *draining {
        text.push_str("draining: new flows are refused\n");
    }
    text.push_str(&confined(confinement.as_ref()));
    for interface in interfaces {
        let InterfaceRecord {
            interface,
            totals,
            not_programmed,
            shares_wire_with,
            flows,
            direct_packets,
            classes,
        } = interface;
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "{interface}: {}", counted(*flows, "flow"));
        for direction in Direction::BOTH {
            let totals = totals.get(direction);
            let _ = writeln!(
                text,
                "  {direction}: {} reserved of {}, {} available",
                totals.reserved,
                totals.budget,
                totals.available()
            );
        }
        if let Some(why) = not_programmed {
            let _ = writeln!(text, "  user space alone: {why}");
        }
        if let Some(other) = shares_wire_with {
            let _ = writeln!(text, "  on the wire of {other}, without parent = {other:?} in the policy");
        }
        if *direct_packets > 0 {
            let _ = writeln!(text, "  {direct_packets} packets bypassed every class");
        }
        for class in classes.iter().flatten() {
            let ClassRecord { class, flow, rate, sent_bytes, dropped } = class;
            let _ = writeln!(
                text,
                "  {class} {}: {rate}, {sent_bytes} bytes sent, {dropped} packets dropped",
                plain(flow)
            );
        }
    }
    text
}
