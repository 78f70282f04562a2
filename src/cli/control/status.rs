//! `gqos status`: the daemon and its interfaces.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::ExitCode;

use clap::ValueEnum;
use flowspec::{Both, Direction, Rate};
use gqos::admission::Totals;
use gqos::control::{
    ClassRecord, ConfinementRecord, FlowRecord, FlowsCall, GroupDifferenceRecord, GroupRecord,
    InterfaceRecord, MethodCall, PolicyClassRecord, StatusCall, StatusReply, TrafficRecord,
};
use serde::Serialize;

use super::client::{ControlClient, SocketArgument};
use super::flows::{check_class, check_interface, fetch};
use super::numbers::{lasted, short};
use crate::cli::failure::{CommandFailure, Exit};
use crate::cli::output::{counted, print};
use crate::cli::plain::{plain, plain_json};

/// Show the reserved, used and available rate of each interface of the daemon.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Show only this interface.
    #[arg(long, short, value_name = "INTERFACE")]
    interface: Option<String>,
    /// Show only this class of the policy.
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    /// Show the reservations of this client: those of your own flows, or for an administrator those of all flows.
    #[arg(long, value_name = "CLIENT")]
    client: Option<String>,
    /// The order of the interfaces and of the policy's classes; numbers of the sending direction are listed with the
    /// highest first.
    #[arg(long, value_enum, default_value_t = StatusOrder::Name)]
    sort: StatusOrder,
    /// List the kernel's classes.
    #[arg(long)]
    classes: bool,
    /// Print one JSON document: rates in bytes per second.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    socket: SocketArgument,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StatusOrder {
    Name,
    Reserved,
    Available,
    Flows,
}

/// What one client holds on an interface.
#[derive(Clone, Debug, Default, Serialize)]
struct ClientHoldings {
    flows: usize,
    charged: Both<Rate>,
}

pub(in crate::cli) fn run(arguments: &Arguments) -> Result<ExitCode, CommandFailure> {
    let request =
        MethodCall::Status(StatusCall { classes: arguments.classes.then_some(true), sums: Some(true) });
    let mut daemon = arguments.socket.connect()?;
    let mut status: StatusReply = daemon.call(&request)?;
    if let Some(name) = &arguments.interface {
        check_interface(&status, name)?;
        status.interfaces.retain(|record| record.interface == *name);
        status.policy_classes.retain(|record| record.interface == *name);
        status.groups.retain(|record| record.interface == *name);
    }
    if let Some(name) = &arguments.class {
        check_class(&status, name)?;
        status.policy_classes.retain(|record| record.class == *name);
    }
    arguments.sort.apply(&mut status);
    let held = match &arguments.client {
        Some(client) => Some(client_holdings(flows(&mut daemon, arguments)?, client)),
        None => None,
    };
    let document = match arguments.json {
        true => json(&status, held.as_ref())?,
        false => text(&status, arguments.client.as_deref().zip(held.as_ref())),
    };
    print(&document)?;
    Ok(ExitCode::SUCCESS)
}

fn flows(daemon: &mut ControlClient, arguments: &Arguments) -> Result<Vec<FlowRecord>, CommandFailure> {
    let asked = FlowsCall { interface: arguments.interface.clone(), ..FlowsCall::default() };
    Ok(fetch(daemon, asked)?.flows)
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

impl StatusOrder {
    fn apply(self, status: &mut StatusReply) {
        let key = |totals: &Both<Totals>, flows: usize| match self {
            Self::Name => 0,
            Self::Reserved => totals.sending.reserved.get(),
            Self::Available => totals.sending.available().get(),
            Self::Flows => flows as u64,
        };
        // Of equals, the names decide.
        status.interfaces.sort_by(|a, b| a.interface.cmp(&b.interface));
        status.interfaces.sort_by_key(|record| Reverse(key(&record.totals, record.flows)));
        status.policy_classes.sort_by(|a, b| (&a.interface, &a.class).cmp(&(&b.interface, &b.class)));
        status.policy_classes.sort_by_key(|record| Reverse(key(&record.totals, record.flows)));
    }
}

/// What a client's flows take, by the interfaces.
fn client_holdings(flows: Vec<FlowRecord>, client: &str) -> BTreeMap<String, ClientHoldings> {
    let mut held: BTreeMap<String, ClientHoldings> = BTreeMap::new();
    for flow in flows.into_iter().filter(|flow| flow.client.as_deref() == Some(client)) {
        let of_interface = held.entry(flow.interface).or_default();
        of_interface.flows += 1;
        for direction in Direction::BOTH {
            let sum = of_interface.charged.get_mut(direction);
            *sum = Rate::new(sum.get().saturating_add(flow.charged.get(direction).get()));
        }
    }
    held
}

fn json(
    status: &StatusReply,
    held: Option<&BTreeMap<String, ClientHoldings>>,
) -> Result<String, CommandFailure> {
    let failed = |error| CommandFailure::new(Exit::OsError, error);
    let mut document = serde_json::to_value(status).map_err(failed)?;
    if let (Some(held), Some(fields)) = (held, document.as_object_mut()) {
        fields.insert("client".into(), serde_json::to_value(held).map_err(failed)?);
    }
    Ok(plain_json(&document.to_string()).into_owned() + "\n")
}

fn text(status: &StatusReply, client: Option<(&str, &BTreeMap<String, ClientHoldings>)>) -> String {
    let StatusReply {
        version,
        pid,
        policy,
        draining,
        connections,
        flows,
        confinement,
        refused,
        policy_classes,
        groups,
        group_differences,
        interfaces,
    } = status;
    let (clients, flows) = (counted(*connections, "client"), counted(*flows, "reservation"));
    let mut text =
        format!("gqos {version}, process {pid}, policy {}: {clients}, {flows}\n", policy.join(", "));
    if *draining {
        text.push_str("draining: new flows are refused\n");
    }
    text.push_str(&confined(confinement.as_ref()));
    if !refused.is_empty() {
        let counts: Vec<_> = refused.iter().map(|(reason, count)| format!("{count} by {reason}")).collect();
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "requests refused: {}", counts.join(", "));
    }
    for GroupDifferenceRecord { group, message, .. } in group_differences {
        let _ = writeln!(text, "group {}: {}", plain(group), plain(message));
    }
    if let Some((client, held)) = client {
        text.push_str(&client_text(client, held));
    }
    for interface in interfaces {
        text.push_str(&interface_text(interface));
        for class in policy_classes.iter().filter(|class| class.interface == interface.interface) {
            text.push_str(&class_text(class));
        }
        for group in groups.iter().filter(|group| group.interface == interface.interface) {
            text.push_str(&group_text(group));
        }
        for class in interface.classes.iter().flatten() {
            let ClassRecord { class, flow, is_group, rate, sent_bytes, dropped, delayed, queued } = class;
            let group = if *is_group { "group " } else { "" };
            let _ = writeln!(
                text,
                "  {class} {group}{}: {rate}, {sent_bytes} bytes sent, {delayed} times delayed, {queued} packets waiting, {dropped} dropped",
                plain(flow)
            );
        }
    }
    text
}

fn interface_text(interface: &InterfaceRecord) -> String {
    let InterfaceRecord {
        interface,
        totals,
        not_programmed,
        shares_wire_with,
        dropped,
        flows,
        direct_packets,
        traffic,
        classes: _,
    } = interface;
    let mut text = format!("{}: {}\n", plain(interface), counted(*flows, "flow"));
    for direction in Direction::BOTH {
        let totals = totals.get(direction);
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(
            text,
            "  {direction}: {} reserved of {}, {} available",
            totals.reserved,
            totals.budget,
            totals.available()
        );
    }
    text.push_str(&traffic_text("  ", traffic.as_ref(), *flows));
    if *dropped {
        let _ = writeln!(text, "  not in the policy any more: its tree is deleted with its last flow");
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
    text
}

/// What the kernel has counted of some flows; nothing where it counts none of them.
fn traffic_text(indent: &str, traffic: Option<&TrafficRecord>, of: usize) -> String {
    let Some(TrafficRecord { flows, used, delayed, dropped, below_promise_us, watched_us }) = traffic else {
        return String::new();
    };
    let used = used.map_or_else(|| "-".to_owned(), short);
    let which = if *flows == of { String::new() } else { format!("{flows} of {}: ", counted(of, "flow")) };
    format!(
        "{indent}{which}{used} used, {delayed} times delayed, {dropped} packets dropped, below the promise for {} of {}\n",
        lasted(*below_promise_us),
        lasted(*watched_us)
    )
}

fn class_text(record: &PolicyClassRecord) -> String {
    let PolicyClassRecord { class, totals, flows, traffic, .. } = record;
    part_text(&format!("class {}", plain(class)), totals, (*flows, traffic.as_ref()))
}

fn group_text(record: &GroupRecord) -> String {
    let GroupRecord { group, totals, flows, traffic, .. } = record;
    part_text(&format!("group {}", plain(group)), totals, (*flows, traffic.as_ref()))
}

fn part_text(name: &str, totals: &Both<Totals>, (flows, traffic): (usize, Option<&TrafficRecord>)) -> String {
    let directions = Direction::BOTH.map(|direction| {
        let totals = totals.get(direction);
        format!("{} of {} {direction}", totals.reserved, totals.budget)
    });
    let text = format!("  {name}: {}, {}\n", counted(flows, "flow"), directions.join(", "));
    text + &traffic_text("    ", traffic, flows)
}

fn client_text(client: &str, held: &BTreeMap<String, ClientHoldings>) -> String {
    let client = plain(client);
    if held.is_empty() {
        return format!("client {client}: no flow\n");
    }
    let each = held.iter().map(|(interface, ClientHoldings { flows, charged })| {
        let (flows, interface) = (counted(*flows, "flow"), plain(interface));
        format!(
            "client {client}: {flows} on {interface}, {} sending, {} receiving\n",
            charged.sending, charged.receiving
        )
    });
    each.collect()
}
