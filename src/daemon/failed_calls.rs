//! Calls that have an error in place of an answer, for the audit log.

use super::notices::Process;
use super::state::DaemonServer;
use crate::control::limits::MOST_NAME_BYTES;
use crate::control::{Call, ControlError, JsonText};
use crate::telemetry::audit::{AuditClient, AuditFact};

/// The longest problem that is logged, in bytes. It may quote what the client has sent.
const MOST_PROBLEM_BYTES: usize = 1024;

/// The call of a client has failed: a line of the audit log, where there is one.
pub(super) fn call_failed(server: &DaemonServer, call: &Call, process: Process, error: &ControlError) {
    server.engine.audit_failure(|| {
        let cut_name = |name: &str| cut(name, MOST_NAME_BYTES).to_owned();
        let parameters = call.parameters.as_ref().map(JsonText::value).unwrap_or_default();
        // It is made of texts and numbers, for which this does not fail.
        let value = serde_json::to_value(error).unwrap_or_default();
        let name = value["error"].as_str().and_then(|name| name.rsplit('.').next()).unwrap_or_default();
        AuditFact::Failed {
            method: cut_name(&call.method),
            id: parameters["id"].as_str().map(cut_name),
            error: name.to_owned(),
            problem: cut(&error.to_string(), MOST_PROBLEM_BYTES).to_owned(),
            client: AuditClient { uid: Some(process.uid), pid: process.pid },
        }
    });
}

/// The first bytes of a text, so many at most, and whole characters.
fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    // The start is a boundary.
    &text[..end.unwrap_or(0)]
}
