//! The command line of `gqos connect`.

use std::path::PathBuf;

use anyhow::anyhow;
use flowspec::{Flowspec, Micros, Qos};
use gqos::engine::{Ask, What};

use crate::cli::control::SocketArgument;
use crate::cli::failure::{CommandFailure, Exit};
use crate::cli::spec::{receiving, sending};

/// Connect standard input and output to a peer, with a reservation: netcat with a flowspec.
///
/// Reserves through the daemon, or, with --policy, through an engine in this process, and then connects. Sends
/// standard input, shaped to the flowspec, and prints the received data. The end of standard input closes the sending
/// direction, and the command ends when both directions have ended. Without a template and flowspecs, the first
/// matching rule of the policy decides.
///
/// Standard output has only the received data. The decision and the loss of a reservation go to standard error. After
/// a refusal, the command ends with exit code 1 and sends nothing.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The peer's name or address, and its port. With --listen, the local address and port; without an address, all
    /// IPv4 addresses, or with -6 all IPv6 addresses.
    #[arg(value_names = ["HOST", "PORT"], num_args = 1..=2, required = true)]
    destination: Vec<String>,
    /// Reserve through an engine in this process under this policy, not through the daemon; several files are merged.
    ///
    /// With --socket, the daemon reserves. The `degrade`, templates and rules of this policy then apply while the
    /// daemon cannot be reached.
    #[arg(long, short, value_name = "POLICY")]
    pub(super) policy: Vec<PathBuf>,
    /// Request this template of the policy; if the option is repeated, the first template that fits.
    #[arg(long, value_name = "TEMPLATE", conflicts_with_all = ["send", "receive"])]
    template: Vec<String>,
    /// Request this sending flowspec: "guaranteed, token_rate = 6 Mbit/s".
    #[arg(long, value_name = "SPEC", value_parser = sending)]
    send: Option<Flowspec>,
    /// Request this receiving flowspec.
    #[arg(long, value_name = "SPEC", value_parser = receiving)]
    receive: Option<Flowspec>,
    /// The flow's class; takes precedence over the class of the policy's rule.
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    /// The group whose reservation the flow shares.
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// The client identity for which the flow is counted.
    #[arg(long, value_name = "CLIENT")]
    client: Option<String>,
    /// The flow's id in decisions, events and traces.
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// The setup priority, 0 (best) to 7: which flows this flow may preempt.
    #[arg(long, value_name = "PRIORITY", value_parser = clap::value_parser!(u8).range(0..=7))]
    setup_priority: Option<u8>,
    /// The holding priority, 0 (best) to 7: which flows may preempt this flow.
    #[arg(long, value_name = "PRIORITY", value_parser = clap::value_parser!(u8).range(0..=7))]
    holding_priority: Option<u8>,
    /// Accept one connection instead of connecting. With --udp, the sender of the first datagram becomes the peer.
    #[arg(long, short)]
    pub(super) listen: bool,
    /// Use UDP: each read of standard input is a datagram.
    #[arg(long, short)]
    pub(super) udp: bool,
    /// End a UDP flow when standard input has ended and nothing has arrived for this time.
    #[arg(long, value_name = "TIME", default_value = "1 s", requires = "udp")]
    pub(super) idle: Micros,
    /// Use only IPv4 addresses.
    #[arg(long, short = '4', conflicts_with = "ipv6")]
    pub(super) ipv4: bool,
    /// Use only IPv6 addresses.
    #[arg(long, short = '6')]
    pub(super) ipv6: bool,
    /// Print the decision as one JSON document, on standard error.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) socket: SocketArgument,
}

/// A host and a port that are named on the command line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct DestinationArgument {
    /// `None` is every address of this host.
    pub(super) host: Option<String>,
    pub(super) port: u16,
}

impl Arguments {
    /// The host and the port.
    ///
    /// - **Errors**: no port, a port that is no number of 16 bits, or a peer without a host.
    pub(super) fn destination(&self) -> Result<DestinationArgument, CommandFailure> {
        let usage = |error| CommandFailure::new(Exit::Usage, error);
        let (host, port) = match &self.destination[..] {
            [host, port] => (Some(host.clone()), port),
            [port] if self.listen => (None, port),
            _ => return Err(usage(anyhow!("HOST and PORT are needed; --listen needs PORT alone"))),
        };
        let port: u16 =
            port.parse().map_err(|_| usage(anyhow!("{port:?} is not a port: a number up to 65535")))?;
        if port == 0 && !self.listen {
            return Err(usage(anyhow!("port 0 cannot be connected to")));
        }
        Ok(DestinationArgument { host, port })
    }

    /// What the flow is to get.
    pub(super) fn to_ask(&self) -> Ask {
        let what = match (&self.template[..], self.send, self.receive) {
            ([], None, None) => What::ByRule,
            ([], send, receive) => What::Qos(Box::new(Qos {
                sending: send.unwrap_or(Flowspec::BEST_EFFORT),
                receiving: receive.unwrap_or(Flowspec::BEST_EFFORT),
            })),
            ([template], ..) => What::Template(template.clone()),
            (templates, ..) => What::FirstOf(templates.to_vec()),
        };
        let Self { class, group, client, id, setup_priority, holding_priority, .. } = self;
        Ask {
            id: id.clone(),
            class: class.clone(),
            what,
            group: group.clone(),
            client: client.clone(),
            setup_priority: *setup_priority,
            holding_priority: *holding_priority,
            ..Ask::default()
        }
    }
}
