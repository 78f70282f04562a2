//! A line of a trace: one request as JSON.

use flowspec::{Both, Direction, Flowspec, Micros, Moment, Qos, Rate};
use serde::Deserialize;

use crate::admission::{
    Decision, GroupRequest, LONGEST_MEASUREMENT_MICROS, Ladder, Ledger, Operation, OperationKind, Refusal,
    RefusedRequest, Request, RequestKind, SHORTEST_MEASUREMENT_MICROS,
};
use crate::manager::Manager;
use crate::policy::{GroupMode, Owner, Policy};

/// The longest line: a request has no need of more, and a reader none to hold it.
pub const LONGEST_LINE: usize = 64 << 10;

/// A line, understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Traced {
    /// When, in microseconds; never less than in the line before.
    pub at_us: u64,
    /// What is requested, or why that is refused whatever is free.
    pub request: Result<Operation, RefusedRequest>,
}

impl Traced {
    /// Submits the line to a ledger.
    pub fn decide_by_ledger(&self, ledger: &mut Ledger) -> Decision {
        let at = Moment::from_micros(self.at_us);
        match &self.request {
            Ok(operation) => ledger.decide(at, operation).decision,
            Err(refused) => ledger.refuse(at, refused.clone()),
        }
    }

    /// Submits the line to a manager that has seen no interface.
    pub fn decide_by_manager(self, manager: &mut Manager) -> Decision {
        let at = Moment::from_micros(self.at_us);
        match self.request {
            Ok(operation) => manager.decide(operation, at),
            Err(refused) => manager.decide_refused(refused, at),
        }
    }
}

/// Why a line is not a request.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// It is not JSON, or not of this shape.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A field is needed and is not there.
    #[error("{op:?} needs {field:?}")]
    Missing {
        /// What is asked.
        op: &'static str,
        /// The field.
        field: &'static str,
    },
    /// Two fields exclude each other.
    #[error("{0}")]
    Conflict(&'static str),
}

/// The fields of every kind of line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    at_us: u64,
    op: OperationKind,
    id: Option<String>,
    interface: Option<String>,
    class: Option<String>,
    group: Option<String>,
    client: Option<String>,
    template: Option<String>,
    templates: Option<Vec<String>>,
    sending: Option<Flowspec>,
    receiving: Option<Flowspec>,
    start_us: Option<u64>,
    end_us: Option<u64>,
    ttl_us: Option<u64>,
    wait: Option<bool>,
    setup_priority: Option<u8>,
    holding_priority: Option<u8>,
    mode: Option<GroupMode>,
    direction: Option<LinkDirection>,
    capacity: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    cgroup: Option<String>,
    window_us: Option<u64>,
    rate: Option<Both<Rate>>,
}

/// As the policy calls it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum LinkDirection {
    Egress,
    Ingress,
}

/// What a flow or a group asks for: by template, by flowspec, or nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// Best first.
    pub(super) templates: Vec<String>,
    pub(super) sending: Option<Flowspec>,
    pub(super) receiving: Option<Flowspec>,
}

/// Reads a line under a policy, whose templates it may name.
///
/// - **Errors**: what is not JSON or not of a request's shape. A template that the policy does not have
///   is no error but a request that is refused.
pub fn parse_line(text: &str, policy: &Policy) -> Result<Traced, TraceError> {
    let line: Line = serde_json::from_str(text)?;
    let at_us = line.at_us;
    Ok(Traced { at_us, request: line.request(policy)? })
}

impl Line {
    fn request(self, policy: &Policy) -> Result<Result<Operation, RefusedRequest>, TraceError> {
        let op = self.op.name();
        let needed = |value: Option<String>, field| value.ok_or(TraceError::Missing { op, field });
        Ok(Ok(match self.op {
            OperationKind::Reserve | OperationKind::Query
                if self.op == OperationKind::Reserve
                    || self.template.is_some()
                    || self.sending.is_some()
                    || self.receiving.is_some() =>
            {
                let templates = match (self.template, self.templates) {
                    (Some(_), Some(_)) => {
                        return Err(TraceError::Conflict("template and templates exclude each other"));
                    }
                    (one, several) => one.into_iter().chain(several.into_iter().flatten()).collect(),
                };
                let asked = Asked { templates, sending: self.sending, receiving: self.receiving };
                let interface = needed(self.interface, "interface")?;
                // A question needs no name.
                let id =
                    if self.op == OperationKind::Query { Some(self.id.unwrap_or_default()) } else { self.id };
                let mut request = Request::new(needed(id, "id")?, interface, Qos::BEST_EFFORT);
                (request.class, request.group, request.client) = (self.class, self.group, self.client);
                request.owner = Owner { uid: self.uid, gid: self.gid, cgroup: self.cgroup };
                (request.start, request.end) = (self.start_us, self.end_us);
                request.time_to_live = self.ttl_us.map(Micros::new);
                request.wait = self.wait.unwrap_or(false);
                (request.setup_priority, request.holding_priority) =
                    (self.setup_priority, self.holding_priority);
                for priority in [self.setup_priority, self.holding_priority].into_iter().flatten() {
                    if priority > 7 {
                        return Err(TraceError::Conflict("a priority is 0, the best, to 7"));
                    }
                }
                let asked = asked.reserve(request, policy)?;
                return Ok(asked.map(|ladder| match self.op {
                    OperationKind::Query => {
                        let interface = ladder.request.interface.clone();
                        Operation::Query { interface, request: Some(Box::new(ladder.request)) }
                    }
                    _ => Operation::Reserve(Box::new(ladder)),
                }));
            }
            OperationKind::Renegotiate => {
                let asked = Box::new(Both { sending: self.sending, receiving: self.receiving });
                Operation::Renegotiate { id: needed(self.id, "id")?, asked }
            }
            OperationKind::Refresh => Operation::Refresh {
                id: needed(self.id, "id")?,
                time_to_live: Micros::new(self.ttl_us.ok_or(TraceError::Missing { op, field: "ttl_us" })?),
            },
            OperationKind::Release => Operation::Release { id: needed(self.id, "id")? },
            OperationKind::Group => {
                let asked = Asked {
                    templates: self.template.into_iter().collect(),
                    sending: self.sending,
                    receiving: self.receiving,
                };
                let (id, interface) = (needed(self.id, "id")?, needed(self.interface, "interface")?);
                match asked.renditions(policy)? {
                    Err(refusal) => {
                        let (kind, interface) = (RequestKind::Group, Some(interface));
                        return Ok(Err(RefusedRequest { kind, id, interface, refusal }));
                    }
                    Ok(renditions) => {
                        let qos = renditions.first().map_or(Qos::BEST_EFFORT, |(_, qos)| *qos);
                        let mode = self.mode.unwrap_or(GroupMode::Envelope);
                        Operation::Group(Box::new(GroupRequest {
                            id,
                            interface,
                            class: self.class,
                            mode,
                            qos,
                        }))
                    }
                }
            }
            OperationKind::Ungroup => Operation::Ungroup { id: needed(self.id, "id")? },
            OperationKind::Capacity => Operation::Capacity {
                interface: needed(self.interface, "interface")?,
                direction: match self.direction {
                    Some(LinkDirection::Egress) => Direction::Sending,
                    Some(LinkDirection::Ingress) => Direction::Receiving,
                    None => return Err(TraceError::Missing { op, field: "direction" }),
                },
                capacity: Rate::new(self.capacity.ok_or(TraceError::Missing { op, field: "capacity" })?),
            },
            OperationKind::Measure => {
                let window = self.window_us.ok_or(TraceError::Missing { op, field: "window_us" })?;
                if !(SHORTEST_MEASUREMENT_MICROS..=LONGEST_MEASUREMENT_MICROS).contains(&window) {
                    return Err(TraceError::Conflict("window_us is from 100 ms to a day"));
                }
                Operation::Measure {
                    interface: needed(self.interface, "interface")?,
                    class: needed(self.class, "class")?,
                    window: Micros::new(window),
                    rate: self.rate.ok_or(TraceError::Missing { op, field: "rate" })?,
                }
            }
            OperationKind::Reserve | OperationKind::Query => {
                Operation::Query { interface: needed(self.interface, "interface")?, request: None }
            }
            OperationKind::Tick => Operation::Tick,
        }))
    }
}

impl Asked {
    /// The request for a flow, or the refusal of a template that nobody knows.
    pub(super) fn reserve(
        self,
        request: Request,
        policy: &Policy,
    ) -> Result<Result<Ladder, RefusedRequest>, TraceError> {
        match self.renditions(policy)? {
            Err(refusal) => {
                let Request { id, interface, .. } = request;
                let (kind, interface) = (RequestKind::Reserve, Some(interface));
                Ok(Err(RefusedRequest { kind, id, interface, refusal }))
            }
            Ok(mut renditions) => {
                let (first, qos) = match renditions.is_empty() {
                    true => (String::new(), Qos::BEST_EFFORT),
                    false => renditions.remove(0),
                };
                Ok(Ok(Ladder { request: Request { qos, ..request }, first, renditions }))
            }
        }
    }

    /// What would do, best first; an absent direction is best effort.
    fn renditions(self, policy: &Policy) -> Result<Result<Vec<(String, Qos)>, Refusal>, TraceError> {
        let explicit = self.sending.is_some() || self.receiving.is_some();
        if !self.templates.is_empty() && explicit {
            return Err(TraceError::Conflict("a template stands for sending and receiving: give either"));
        }
        if explicit {
            let given = |spec: Option<Flowspec>| spec.unwrap_or(Flowspec::BEST_EFFORT);
            let qos = Qos { sending: given(self.sending), receiving: given(self.receiving) };
            return Ok(Ok(vec![(String::new(), qos)]));
        }
        let mut renditions = Vec::new();
        for name in self.templates {
            match policy.templates.get(&name) {
                Some(template) => renditions.push((name, template.qos)),
                None => return Ok(Err(Refusal::UnknownTemplate { template: name })),
            }
        }
        Ok(Ok(renditions))
    }
}
