//! A line of a trace: one request as JSON.

use flowspec::{Both, Direction, Flowspec, Micros, Qos, Rate};
use serde::Deserialize;

use crate::admission::{
    GroupRequest, LONGEST_MEASUREMENT_MICROS, Ladder, Op, Operation, Refusal, Request,
    SHORTEST_MEASUREMENT_MICROS,
};
use crate::policy::{GroupMode, Owner, Policy};

/// The longest line: a request has no need of more, and a reader none to hold it.
pub const LONGEST_LINE: usize = 64 << 10;

/// A line, understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Traced {
    /// When, in microseconds; never less than in the line before.
    pub at_us: u64,
    /// What is asked.
    pub operation: Operation,
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
    op: Op,
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
    Ok(Traced { at_us, operation: line.operation(policy)? })
}

impl Line {
    fn operation(self, policy: &Policy) -> Result<Operation, TraceError> {
        let op = self.op.name();
        let needed = |value: Option<String>, field| value.ok_or(TraceError::Missing { op, field });
        Ok(match self.op {
            Op::Reserve | Op::Query
                if self.op == Op::Reserve
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
                let id = if self.op == Op::Query { Some(self.id.unwrap_or_default()) } else { self.id };
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
                match asked.reserve(request, policy)? {
                    Operation::Reserve(ladder) if self.op == Op::Query => {
                        let interface = ladder.request.interface.clone();
                        Operation::Query { interface, request: Some(Box::new(ladder.request)) }
                    }
                    operation => operation,
                }
            }
            Op::Renegotiate => {
                let asked = Box::new(Both { sending: self.sending, receiving: self.receiving });
                Operation::Renegotiate { id: needed(self.id, "id")?, asked }
            }
            Op::Refresh => Operation::Refresh {
                id: needed(self.id, "id")?,
                time_to_live: Micros::new(self.ttl_us.ok_or(TraceError::Missing { op, field: "ttl_us" })?),
            },
            Op::Release => Operation::Release { id: needed(self.id, "id")? },
            Op::Group => {
                let asked = Asked {
                    templates: self.template.into_iter().collect(),
                    sending: self.sending,
                    receiving: self.receiving,
                };
                let (id, interface) = (needed(self.id, "id")?, needed(self.interface, "interface")?);
                match asked.renditions(policy)? {
                    Err(refusal) => {
                        Operation::Impossible { op: Op::Group, id, interface, refusal: Box::new(refusal) }
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
            Op::Ungroup => Operation::Ungroup { id: needed(self.id, "id")? },
            Op::Capacity => Operation::Capacity {
                interface: needed(self.interface, "interface")?,
                direction: match self.direction {
                    Some(LinkDirection::Egress) => Direction::Sending,
                    Some(LinkDirection::Ingress) => Direction::Receiving,
                    None => return Err(TraceError::Missing { op, field: "direction" }),
                },
                capacity: Rate::new(self.capacity.ok_or(TraceError::Missing { op, field: "capacity" })?),
            },
            Op::Measure => {
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
            Op::Reserve | Op::Query => {
                Operation::Query { interface: needed(self.interface, "interface")?, request: None }
            }
            Op::Tick => Operation::Tick,
        })
    }
}

impl Asked {
    /// The request for a flow, or the refusal of a template that nobody knows.
    pub(super) fn reserve(self, request: Request, policy: &Policy) -> Result<Operation, TraceError> {
        match self.renditions(policy)? {
            Err(refusal) => {
                let Request { id, interface, .. } = request;
                Ok(Operation::Impossible { op: Op::Reserve, id, interface, refusal: Box::new(refusal) })
            }
            Ok(mut renditions) => {
                let (first, qos) = match renditions.is_empty() {
                    true => (String::new(), Qos::BEST_EFFORT),
                    false => renditions.remove(0),
                };
                Ok(Operation::Reserve(Box::new(Ladder {
                    request: Request { qos, ..request },
                    first,
                    renditions,
                })))
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
