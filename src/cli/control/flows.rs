//! `gqos flows`: the flows that hold reservations.

use std::fmt::Write;
use std::process::ExitCode;

use clap::ValueEnum;
use gqos::control::{Call, FlowBatch, FlowOrder, FlowRecord, FlowsCall, MethodCall, StatusCall, StatusReply};

use super::client::{ControlClient, SocketArgument, failure};
use super::numbers::{lasted, short};
use crate::cli::failure::{CommandFailure, Exit};
use crate::cli::names::UnknownName;
use crate::cli::output::print;
use crate::cli::plain::{plain, plain_json};

/// List the flows that hold reservations: your own, or for an administrator those of all users.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Show only flows of this interface.
    #[arg(long, short, value_name = "INTERFACE")]
    interface: Option<String>,
    /// Show only flows whose id contains this text.
    #[arg(long, value_name = "TEXT")]
    id: Option<String>,
    /// Show only flows of this group.
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Show only flows of this class of the policy.
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    /// Show only flows that are counted for this client.
    #[arg(long, value_name = "CLIENT")]
    client: Option<String>,
    /// Show only flows of this user.
    #[arg(long, value_name = "UID")]
    uid: Option<u32>,
    /// Show only flows of this process.
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// The order of the list; rates, counts and times are listed with the highest first.
    #[arg(long, value_enum, default_value_t = SortKey::Id)]
    sort: SortKey,
    /// List only this many flows.
    #[arg(long, value_name = "COUNT")]
    most: Option<usize>,
    /// Print one JSON record for each flow and line: rates in bytes per second.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    socket: SocketArgument,
}

/// By what flows are sorted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(super) enum SortKey {
    /// Both directions together.
    #[default]
    Rate,
    Sending,
    Receiving,
    Used,
    Delayed,
    Dropped,
    /// The time below the promise.
    Below,
    Age,
    Id,
    Interface,
    Class,
    Client,
    Group,
    #[value(alias = "uid")]
    User,
}

impl SortKey {
    /// The word of the command line.
    pub(super) fn name(self) -> String {
        // No order is hidden.
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    pub(super) const fn order(self) -> FlowOrder {
        match self {
            Self::Rate => FlowOrder::Rate,
            Self::Sending => FlowOrder::Sending,
            Self::Receiving => FlowOrder::Receiving,
            Self::Used => FlowOrder::Used,
            Self::Delayed => FlowOrder::Delayed,
            Self::Dropped => FlowOrder::Dropped,
            Self::Below => FlowOrder::BelowPromise,
            Self::Age => FlowOrder::Age,
            Self::Id => FlowOrder::Id,
            Self::Interface => FlowOrder::Interface,
            Self::Class => FlowOrder::Class,
            Self::Client => FlowOrder::Client,
            Self::Group => FlowOrder::Group,
            Self::User => FlowOrder::Uid,
        }
    }
}

pub(in crate::cli) fn run(arguments: &Arguments) -> Result<ExitCode, CommandFailure> {
    let mut client = arguments.socket.connect()?;
    let asked = FlowsCall {
        interface: arguments.interface.clone(),
        sort: Some(arguments.sort.order()),
        traffic: Some(true),
        ..FlowsCall::default()
    };
    let mut flows = fetch(&mut client, asked)?.flows;
    flows.retain(|flow| arguments.takes(flow));
    if let Some(most) = arguments.most {
        flows.truncate(most);
    }
    if flows.is_empty() && (arguments.interface.is_some() || arguments.class.is_some()) {
        let status = client.call(&MethodCall::Status(StatusCall::default()))?;
        arguments.interface.as_ref().map_or(Ok(()), |interface| check_interface(&status, interface))?;
        arguments.class.as_ref().map_or(Ok(()), |class| check_class(&status, class))?;
    }
    // The daemon's own ids are longer than most others.
    let id_width = flows.iter().map(|flow| plain(&flow.id).chars().count()).max().unwrap_or(0).max(24);
    let mut document = String::new();
    if !arguments.json && !flows.is_empty() {
        document.push_str(&line(&HEADER.map(str::to_owned), id_width));
    }
    for flow in &flows {
        document.push_str(&match arguments.json {
            true => {
                let record =
                    serde_json::to_string(flow).map_err(|error| CommandFailure::new(Exit::OsError, error))?;
                plain_json(&record).into_owned() + "\n"
            }
            false => line(&cells(flow), id_width),
        });
    }
    print(&document)?;
    Ok(ExitCode::SUCCESS)
}

/// - **Errors**: the daemon knows no interface of this name.
pub(super) fn check_interface(status: &StatusReply, name: &str) -> Result<(), CommandFailure> {
    check_name("interface", name, status.interfaces.iter().map(|record| record.interface.as_str()))
}

/// - **Errors**: the daemon's interfaces have no class of this name.
pub(super) fn check_class(status: &StatusReply, name: &str) -> Result<(), CommandFailure> {
    // Classes are listed by interface.
    if status.interfaces.is_empty() {
        return Ok(());
    }
    check_name("class", name, status.policy_classes.iter().map(|record| record.class.as_str()))
}

fn check_name<'n>(
    kind: &'static str,
    name: &str,
    known: impl Iterator<Item = &'n str> + Clone,
) -> Result<(), CommandFailure> {
    match known.clone().any(|known| known == name) {
        true => Ok(()),
        false => Err(CommandFailure::new(Exit::Usage, UnknownName::new(kind, name, known))),
    }
}

/// The flows as they are asked for, and how many there are.
pub(super) fn fetch(client: &mut ControlClient, asked: FlowsCall) -> Result<FlowBatch, CommandFailure> {
    client.send(&Call::new(&MethodCall::Flows(asked)))?;
    let mut flows = FlowBatch::default();
    loop {
        let reply = client.reply()?;
        let continues = reply.continues;
        let FlowBatch { flows: more, matching } = reply.parameters().map_err(failure)?;
        flows.flows.extend(more);
        flows.matching = matching;
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

/// The class is that of the policy; that of the kernel is the last. What follows from the kernel's counters is `-` where the flow has
/// no class of its own there.
const HEADER: [&str; 15] = [
    "id",
    "interface",
    "sending",
    "used",
    "delayed",
    "dropped",
    "below",
    "receiving",
    "age",
    "class",
    "client",
    "group",
    "user",
    "process",
    "tc",
];

fn cells(flow: &FlowRecord) -> [String; 15] {
    let FlowRecord { id, interface, charged, group, class, policy_class, client, uid, pid, traffic, .. } =
        flow;
    let none = || "-".to_owned();
    let name = |name: &Option<String>| name.as_ref().map_or_else(none, |name| plain(name).into_owned());
    [
        plain(id).into_owned(),
        plain(interface).into_owned(),
        charged.sending.to_string(),
        traffic.and_then(|traffic| traffic.used).map_or_else(none, short),
        traffic.map_or_else(none, |traffic| traffic.delayed.to_string()),
        traffic.map_or_else(none, |traffic| traffic.dropped.to_string()),
        traffic.map_or_else(none, |traffic| lasted(traffic.below_promise_us)),
        charged.receiving.to_string(),
        lasted(flow.age_us),
        name(policy_class),
        name(client),
        name(group),
        uid.to_string(),
        pid.map_or_else(none, |pid| pid.to_string()),
        class.map_or_else(none, |class| class.to_string()),
    ]
}

/// A line of the table whose ids have this width.
fn line(cells: &[String; 15], id_width: usize) -> String {
    const WIDTHS: [usize; 14] = [12, 14, 11, 7, 7, 6, 14, 6, 12, 12, 12, 8, 8, 0];
    let mut line = String::new();
    for (cell, width) in cells.iter().zip([id_width].into_iter().chain(WIDTHS)) {
        // Writing to a String cannot fail.
        let _ = write!(line, "{cell:<width$} ");
    }
    line.truncate(line.trim_end().len());
    line.push('\n');
    line
}
