//! One line of an audit log.

use flowspec::{Both, Bytes, Flowspec, Moment, Rate};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::super::trace::{TraceError, line_of};
use super::word::LoggedWord;
use crate::admission::{Operation, OperationKind, Reason, RefusedRequest};
use crate::policy::Policy;

/// The longest line in bytes. A decision may name many flows.
pub const LONGEST_AUDIT_LINE: usize = 4 << 20;

/// A line of an audit log.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditLine {
    /// From 1970 on.
    pub at: Moment,
    /// The number of the line in its run.
    pub seq: u64,
    /// Whether it says what is held already: a file begins with such lines.
    pub held: bool,
    /// What the line records.
    pub record: AuditRecord,
    /// What was decided then.
    pub decision: Option<RecordedDecision>,
    /// The line as it is.
    pub fields: Map<String, Value>,
}

/// What a line records.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum AuditRecord {
    /// The begin of a file, or of a run.
    Header(AuditHeader),
    /// Another policy from now on.
    Reload(AuditHeader),
    /// Lines are missing, since they could not be written.
    Gap {
        /// How many facts.
        missing: u64,
    },
    /// The end of a run.
    Stop,
    /// A link was seen.
    Link {
        /// The name of the link.
        interface: String,
        /// The largest IP datagram that it carries.
        mtu: Bytes,
        /// Its speed, where the kernel reports one.
        speed: Option<Rate>,
        /// Whether it was seen before.
        again: bool,
    },
    /// Whether the kernel has a tree for an interface.
    Programmed {
        /// The name of the link.
        interface: String,
        /// Whether it has.
        programmed: bool,
    },
    /// A request, by the policy's templates.
    Request(Result<Box<Operation>, Box<RefusedRequest>>),
    /// A renegotiation that the kernel has to answer.
    Begun {
        /// The flow.
        id: String,
        /// What it requests.
        flowspecs: Box<Both<Option<Flowspec>>>,
    },
    /// The kernel's answer.
    Concluded {
        /// The flow.
        id: String,
        /// Whether it has what it requested.
        agreed: bool,
    },
    /// A reservation was taken back without a request.
    TakenBack {
        /// The flow.
        id: String,
    },
    /// A call that had an error in place of a decision.
    Failed,
    /// A refusal that does not follow from the policy.
    Refused,
}

/// The begin of a file.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct AuditHeader {
    /// The name of the daemon's run.
    pub run: String,
    /// The policy under which was decided.
    pub policy: AuditPolicyName,
}

/// A policy, as a header names it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct AuditPolicyName {
    /// Its files, without directories.
    pub files: Vec<String>,
    /// What it says: [`policy_digest`](crate::telemetry::audit::policy_digest).
    pub digest: String,
}

/// What was decided then.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct RecordedDecision {
    /// The operation that it answers.
    pub op: LoggedWord<OperationKind>,
    /// Whether it was not refused.
    pub ok: bool,
    /// The kind of a refusal.
    pub reason: Option<LoggedWord<Reason>>,
    /// The decision in a sentence.
    pub message: String,
    /// The template that was granted.
    #[serde(default)]
    pub rendition: Option<String>,
}

/// Why a line is none of an audit log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// It is no JSON object, as a line that was torn is not.
    #[error("not a JSON object")]
    NotJson,
    /// A field has the wrong type, or is missing.
    #[error("{0}")]
    Field(serde_json::Error),
    /// A request that is none.
    #[error(transparent)]
    Request(#[from] TraceError),
    /// The line has too many bytes.
    #[error("a line of more than {LONGEST_AUDIT_LINE} bytes")]
    LongLine,
}

/// The fields of a line that a trace does not have.
const OWN_FIELDS: [&str; 7] = ["seq", "time", "held", "pid", "decision", "step", "ended"];

impl AuditLine {
    /// Reads a line under a policy, whose templates it may name.
    ///
    /// - **Errors**: it is no line of an audit log.
    pub fn read(text: &str, policy: &Policy) -> Result<Self, AuditError> {
        if text.len() > LONGEST_AUDIT_LINE {
            return Err(AuditError::LongLine);
        }
        let Ok(Value::Object(fields)) = serde_json::from_str(text) else { return Err(AuditError::NotJson) };
        let at = field(&fields, "at_us")?;
        let decision: Option<RecordedDecision> = field(&fields, "decision")?;
        let held = field::<Option<bool>>(&fields, "held")?.unwrap_or(false);
        let seq = field::<Option<u64>>(&fields, "seq")?.unwrap_or(0);
        let op: String = field(&fields, "op")?;
        let record = match op.as_str() {
            "audit" => AuditRecord::Header(whole(&fields)?),
            "reload" => AuditRecord::Reload(whole(&fields)?),
            "stop" => AuditRecord::Stop,
            "gap" => AuditRecord::Gap { missing: field(&fields, "missing")? },
            "link" => link(&fields)?,
            "refused" => AuditRecord::Refused,
            "failed" => AuditRecord::Failed,
            "release" if decision.is_none() => AuditRecord::TakenBack { id: field(&fields, "id")? },
            "renegotiate" if fields.contains_key("step") => renegotiation(&fields)?,
            _ => match request(&fields, policy) {
                // The daemon refuses requests that no trace can have, such as one with a priority of 99.
                Err(AuditError::Request(_)) if decision.as_ref().is_some_and(|decision| !decision.ok) => {
                    AuditRecord::Refused
                }
                record => record?,
            },
        };
        Ok(Self { at, seq, held, record, decision, fields })
    }

    /// A field that is a text.
    pub fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field)?.as_str()
    }

    /// The operation that was requested.
    pub fn operation(&self) -> &str {
        let decided = self.decision.as_ref().map(|decision| decision.op.as_str());
        decided.or_else(|| self.text("op")).unwrap_or_default()
    }
}

fn link(fields: &Map<String, Value>) -> Result<AuditRecord, AuditError> {
    let interface = field(fields, "interface")?;
    if let Some(programmed) = field(fields, "programmed")? {
        return Ok(AuditRecord::Programmed { interface, programmed });
    }
    let again = field::<Option<bool>>(fields, "again")?.unwrap_or(false);
    Ok(AuditRecord::Link { interface, mtu: field(fields, "mtu")?, speed: field(fields, "speed")?, again })
}

fn renegotiation(fields: &Map<String, Value>) -> Result<AuditRecord, AuditError> {
    let (id, step) = (field(fields, "id")?, field::<String>(fields, "step")?);
    if step == "begun" {
        let flowspecs = Both { sending: field(fields, "sending")?, receiving: field(fields, "receiving")? };
        return Ok(AuditRecord::Begun { id, flowspecs: Box::new(flowspecs) });
    }
    Ok(AuditRecord::Concluded { id, agreed: step == "finished" })
}

fn request(fields: &Map<String, Value>, policy: &Policy) -> Result<AuditRecord, AuditError> {
    let is_request = fields.get("op").is_some_and(|op| op == OperationKind::Reserve.name());
    let request: Map<_, _> = fields
        .iter()
        .filter(|(key, _)| !OWN_FIELDS.contains(&key.as_str()))
        // A trace has the user of a request alone; that of another operation is the owner of the flow or of the group.
        .filter(|(key, _)| is_request || *key != "uid")
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let line = line_of(Value::Object(request), policy)?;
    Ok(AuditRecord::Request(line.request.map(Box::new).map_err(Box::new)))
}

fn field<T: DeserializeOwned>(fields: &Map<String, Value>, key: &str) -> Result<T, AuditError> {
    let value = fields.get(key).cloned().unwrap_or(Value::Null);
    serde_json::from_value(value).map_err(AuditError::Field)
}

fn whole<T: DeserializeOwned>(fields: &Map<String, Value>) -> Result<T, AuditError> {
    serde_json::from_value(Value::Object(fields.clone())).map_err(AuditError::Field)
}
