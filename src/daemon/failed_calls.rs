//! Calls that have an error in place of an answer, for the audit log.

use super::notices::Process;
use super::state::DaemonServer;
use crate::control::limits::MOST_NAME_BYTES;
use crate::control::{Call, ControlError};
use crate::telemetry::audit::{AuditClient, AuditFact};

/// What the log says of a call if it fails.
pub(super) struct CalledMethod {
    method: String,
    id: Option<String>,
}

/// The longest problem that is logged, in bytes. It may quote what the client has sent.
const MOST_PROBLEM_BYTES: usize = 1024;

impl CalledMethod {
    /// What a call names.
    pub(super) fn of(call: &Call) -> Self {
        let id = call.parameters.as_ref().and_then(|parameters| parameters.get("id")?.as_str());
        let cut_name = |name: &str| cut(name, MOST_NAME_BYTES).to_owned();
        Self { method: cut_name(&call.method), id: id.map(cut_name) }
    }

    /// The call of a client has failed: a line of the audit log, where there is one.
    pub(super) fn failed(self, server: &DaemonServer, process: Process, error: &ControlError) {
        server.engine.audit_failure(|| {
            // It is made of texts and numbers, for which this does not fail.
            let value = serde_json::to_value(error).unwrap_or_default();
            let name = value["error"].as_str().and_then(|name| name.rsplit('.').next()).unwrap_or_default();
            AuditFact::Failed {
                method: self.method,
                id: self.id,
                error: name.to_owned(),
                problem: cut(&error.to_string(), MOST_PROBLEM_BYTES).to_owned(),
                client: AuditClient { uid: Some(process.uid), pid: process.pid },
            }
        });
    }
}

/// The first bytes of a text, so many at most, and whole characters.
fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    // The start is a boundary.
    &text[..end.unwrap_or(0)]
}
