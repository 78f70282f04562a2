//! `gqos flows`: the flows that hold reservations.

use std::cmp::Reverse;
use std::fmt::Write;
use std::process::ExitCode;

use clap::ValueEnum;
use gqos::control::{Call, FlowBatch, FlowRecord, FlowsCall, MethodCall};

use super::client::{ControlClient, SocketArgument, failure};
use crate::cli::failure::{CommandFailure, Exit};
use crate::cli::output::print;
use crate::cli::plain::{plain, plain_json};

/// List the flows that hold reservations: one's own, and for an administrator those of all users.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Those of this interface alone.
    #[arg(long, short, value_name = "INTERFACE")]
    interface: Option<String>,
    /// Those whose id contains this text.
    #[arg(long, value_name = "TEXT")]
    id: Option<String>,
    /// Those of this group.
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Those of this class of the policy.
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    /// Those that are counted for this client.
    #[arg(long, value_name = "CLIENT")]
    client: Option<String>,
    /// Those of this user.
    #[arg(long, value_name = "UID")]
    uid: Option<u32>,
    /// Those of this process.
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// The order; rates begin with the highest.
    #[arg(long, value_enum, default_value_t = Order::Id)]
    sort: Order,
    /// Print one JSON record for each flow and line: rates in bytes per second.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    socket: SocketArgument,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Order {
    Id,
    Interface,
    Sending,
    Receiving,
    Class,
    Client,
    Group,
    Uid,
}

pub(in crate::cli) fn run(arguments: &Arguments) -> Result<ExitCode, CommandFailure> {
    let mut client = arguments.socket.connect()?;
    let mut flows = fetch(&mut client, arguments.interface.clone())?;
    flows.retain(|flow| arguments.takes(flow));
    arguments.sort.apply(&mut flows);
    let mut document = String::new();
    if !arguments.json && !flows.is_empty() {
        document.push_str(&line(&HEADER.map(str::to_owned)));
    }
    for flow in &flows {
        document.push_str(&match arguments.json {
            true => {
                let record =
                    serde_json::to_string(flow).map_err(|error| CommandFailure::new(Exit::OsError, error))?;
                plain_json(&record).into_owned() + "\n"
            }
            false => line(&cells(flow)),
        });
    }
    print(&document)?;
    Ok(ExitCode::SUCCESS)
}

/// The flows of an interface, or of all.
pub(super) fn fetch(
    client: &mut ControlClient,
    interface: Option<String>,
) -> Result<Vec<FlowRecord>, CommandFailure> {
    client.send(&Call::new(&MethodCall::Flows(FlowsCall { interface })))?;
    let mut flows = Vec::new();
    loop {
        let reply = client.reply()?;
        let continues = reply.continues;
        flows.extend(reply.parameters::<FlowBatch>().map_err(failure)?.flows);
        if !continues {
            return Ok(flows);
        }
    }
}

impl Arguments {
    fn takes(&self, flow: &FlowRecord) -> bool {
        let Self { id, group, class, client, uid, pid, .. } = self;
        id.as_ref().is_none_or(|text| flow.id.contains(text.as_str()))
            && (group.is_none() || *group == flow.group)
            && (class.is_none() || *class == flow.policy_class)
            && (client.is_none() || *client == flow.client)
            && uid.is_none_or(|uid| uid == flow.uid)
            && (pid.is_none() || *pid == flow.pid)
    }
}

impl Order {
    fn apply(self, flows: &mut [FlowRecord]) {
        // Of equals, the ids decide.
        flows.sort_by(|a, b| a.id.cmp(&b.id));
        match self {
            Self::Id => {}
            Self::Interface => flows.sort_by(|a, b| a.interface.cmp(&b.interface)),
            Self::Sending => flows.sort_by_key(|flow| Reverse(flow.charged.sending)),
            Self::Receiving => flows.sort_by_key(|flow| Reverse(flow.charged.receiving)),
            Self::Class => flows.sort_by(|a, b| a.policy_class.cmp(&b.policy_class)),
            Self::Client => flows.sort_by(|a, b| a.client.cmp(&b.client)),
            Self::Group => flows.sort_by(|a, b| a.group.cmp(&b.group)),
            Self::Uid => flows.sort_by_key(|flow| flow.uid),
        }
    }
}

/// The class is that of the policy; that of the kernel is the last.
const HEADER: [&str; 10] =
    ["id", "interface", "sending", "receiving", "class", "client", "group", "user", "process", "tc"];

fn cells(flow: &FlowRecord) -> [String; 10] {
    let FlowRecord { id, interface, charged, group, class, policy_class, client, uid, pid, .. } = flow;
    let none = || "-".to_owned();
    let name = |name: &Option<String>| name.as_ref().map_or_else(none, |name| plain(name).into_owned());
    [
        plain(id).into_owned(),
        plain(interface).into_owned(),
        charged.sending.to_string(),
        charged.receiving.to_string(),
        name(policy_class),
        name(client),
        name(group),
        uid.to_string(),
        pid.map_or_else(none, |pid| pid.to_string()),
        class.map_or_else(none, |class| class.to_string()),
    ]
}

fn line(cells: &[String; 10]) -> String {
    const WIDTHS: [usize; 10] = [24, 12, 14, 14, 12, 12, 12, 8, 8, 0];
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(WIDTHS) {
        // Writing to a String cannot fail.
        let _ = write!(line, "{cell:<width$} ");
    }
    line.truncate(line.trim_end().len());
    line.push('\n');
    line
}
