//! What is printed about a flow: on standard error, since standard output has the flow's data.

use std::net::SocketAddr;

use gqos::admission::Decision;
use gqos::connect::Host;
use gqos::engine::Lost;
use serde_json::json;

/// Prints for people, or one JSON record for each line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Screen {
    pub(super) json: bool,
}

impl Screen {
    /// The decision about the flow. A refusal for people is printed with the failure of the command.
    pub(super) fn decision(self, decision: &Decision, host: &Host) {
        if self.json {
            let mut record = serde_json::to_value(decision).unwrap_or_default();
            if let Some(fields) = record.as_object_mut() {
                let engine = if host.daemon().is_some() { "daemon" } else { "process" };
                fields.insert("engine".to_owned(), json!(engine));
            }
            eprintln!("{record}");
        } else if decision.is_ok() {
            let engine = match host.daemon() {
                Some(socket) => format!("the daemon at {}", socket.display()),
                None => "an engine in this process".to_owned(),
            };
            crate::cli::output::say(&format!("gqos: {}; decided by {engine}", decision.message()));
            for lack in decision.enforced().into_iter().flat_map(|enforced| &enforced.lacking) {
                crate::cli::output::say(&format!("gqos: not enforced: {lack}"));
            }
        }
    }

    /// The address on which a peer is awaited.
    pub(super) fn listening(self, address: SocketAddr) {
        if self.json {
            eprintln!("{}", json!({ "listening": address.to_string() }));
        } else {
            crate::cli::output::say(&format!("gqos: listening on {address}"));
        }
    }

    /// The reservation is lost, and the flow continues as best effort.
    pub(super) fn lost(self, lost: &Lost) {
        if self.json {
            let Lost { id, interface, .. } = lost;
            eprintln!("{}", json!({ "lost": id, "interface": interface, "message": lost.to_string() }));
        } else {
            crate::cli::output::say(&format!("gqos: {lost}; continuing as best effort"));
        }
    }
}
