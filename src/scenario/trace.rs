//! A line of a trace: one request as JSON.

use flowspec::{Both, Direction, Flowspec, Micros, Moment, Qos, Rate};
use serde::Deserialize;

use super::requested::{RequestedQos, renegotiated};
use super::trace_json::{Object, from_line, optional_object, without_line};
use crate::admission::{
    Decision, GroupRequest, LONGEST_MEASUREMENT, Ledger, NewFlow, Operation, OperationKind, PeerState,
    RefusedRequest, Request, RequestKind, SHORTEST_MEASUREMENT,
};
use crate::manager::DryRun;
use crate::policy::mark::without_mark;
use crate::policy::{GroupMode, Owner, Policy};

/// The longest line in bytes; a longer one is not a request.
pub const LONGEST_LINE: usize = 64 << 10;

/// One request and the time at which it comes.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceLine {
    /// The time of the request; not before that of the line before.
    pub at: Moment,
    /// The operation, or a request that is refused whatever is free.
    pub request: Result<Operation, RefusedRequest>,
}

/// Reads a trace line by line.
#[derive(Clone, Debug)]
pub struct TraceReader<'a> {
    policy: &'a Policy,
    /// The time of the last line.
    last: Moment,
    /// Whether no line has been read yet.
    is_first: bool,
}

/// Why a line is not a request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The line is not JSON, or a field has the wrong type or an unknown name.
    #[error("{}", without_line(.0))]
    Json(#[from] serde_json::Error),
    /// The line has too many bytes.
    #[error("a line of more than {LONGEST_LINE} bytes")]
    LongLine,
    /// The line's time is before that of the line before.
    #[error("at_us goes back from {} to {}", from.as_micros(), to.as_micros())]
    TimeGoesBack {
        /// The time of the line before.
        from: Moment,
        /// The time of this line.
        to: Moment,
    },
    /// A required field is missing.
    #[error("{:?} needs {field:?}", op.name())]
    Missing {
        /// What the line requests.
        op: OperationKind,
        /// The key that the operation does not have.
        field: &'static str,
    },
    /// A field that the operation does not use.
    #[error("{:?} does not use {field:?}", op.name())]
    Unused {
        /// What the line requests.
        op: OperationKind,
        /// The key that the operation needs.
        field: &'static str,
    },
    /// `templates` is an empty list.
    #[error("templates is empty, and an empty list matches nothing; leave it out")]
    NoTemplates,
    /// Several templates for an operation that takes one.
    #[error("{:?} takes one template, and templates has {templates}", op.name())]
    SeveralTemplates {
        /// What the line requests.
        op: OperationKind,
        /// How many there are.
        templates: usize,
    },
    /// Both `template` and `templates` are given.
    #[error("template and templates exclude each other")]
    TemplateAndTemplates,
    /// A request has either; the template is a flowspec already.
    #[error("a template stands for sending and receiving: give one or the other")]
    TemplateAndFlowspec,
    /// A priority is out of range.
    #[error("priority {priority} is not between 0 (best) and 7")]
    Priority {
        /// The number in the line; more than 7.
        priority: u8,
    },
    /// The window of a measurement is out of range.
    #[error("window_us is {window}, which is not between 100 ms and a day")]
    Window {
        /// The time in the line.
        window: Micros,
    },
}

/// The fields of all kinds of lines.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TraceFields {
    at_us: Moment,
    op: OperationKind,
    id: Option<String>,
    interface: Option<String>,
    class: Option<String>,
    group: Option<String>,
    client: Option<String>,
    template: Option<String>,
    templates: Option<Vec<String>>,
    #[serde(default, deserialize_with = "optional_object")]
    sending: Option<Flowspec>,
    #[serde(default, deserialize_with = "optional_object")]
    receiving: Option<Flowspec>,
    start_us: Option<Moment>,
    end_us: Option<Moment>,
    ttl_us: Option<Micros>,
    wait: Option<bool>,
    setup_priority: Option<u8>,
    holding_priority: Option<u8>,
    mode: Option<GroupMode>,
    direction: Option<LinkDirection>,
    capacity: Option<Rate>,
    uid: Option<u32>,
    gid: Option<u32>,
    cgroup: Option<String>,
    window_us: Option<Micros>,
    #[serde(default, deserialize_with = "optional_object")]
    rate: Option<Both<Rate>>,
    state: Option<PeerState>,
    since_us: Option<Moment>,
}

/// The fields of a line that describe a flow.
static FLOW_FIELDS: [&str; 18] = [
    "id",
    "interface",
    "class",
    "group",
    "client",
    "template",
    "templates",
    "sending",
    "receiving",
    "start_us",
    "end_us",
    "ttl_us",
    "setup_priority",
    "holding_priority",
    "uid",
    "gid",
    "cgroup",
    "wait",
];

/// The fields that an operation uses besides `at_us` and `op`.
fn fields_of(op: OperationKind) -> &'static [&'static str] {
    match op {
        OperationKind::Reserve => &FLOW_FIELDS,
        // Nothing waits for an answer to a query.
        OperationKind::Query => &FLOW_FIELDS[..FLOW_FIELDS.len() - 1],
        OperationKind::Renegotiate => &["id", "template", "sending", "receiving"],
        OperationKind::Refresh => &["id", "ttl_us"],
        OperationKind::Release | OperationKind::Ungroup => &["id"],
        OperationKind::Peer => &["id", "state", "since_us"],
        OperationKind::Group => {
            &["id", "interface", "class", "mode", "template", "templates", "sending", "receiving"]
        }
        OperationKind::Capacity => &["interface", "direction", "capacity"],
        OperationKind::Measure => &["interface", "class", "window_us", "rate"],
        OperationKind::Tick => &[],
    }
}

/// Whether a field says what the flow of the operation has already: it may be given, and nothing depends on it.
fn is_label(op: OperationKind, field: &str) -> bool {
    let is_of_a_flow = matches!(
        op,
        OperationKind::Renegotiate
            | OperationKind::Refresh
            | OperationKind::Release
            | OperationKind::Peer
            | OperationKind::Ungroup
    );
    let labels = [
        "interface",
        "class",
        "group",
        "client",
        "uid",
        "gid",
        "cgroup",
        "setup_priority",
        "holding_priority",
    ];
    is_of_a_flow && labels.contains(&field)
}

/// Whether a line of an operation may have a field.
pub(super) fn takes(op: OperationKind, field: &str) -> bool {
    fields_of(op).contains(&field) || is_label(op, field)
}

/// A direction, as policies and traces name it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum LinkDirection {
    Egress,
    Ingress,
}

/// Reads a line under a policy, whose templates it may name.
///
/// - **Errors**: the line is not a request. A template that the policy does not have is not an error: the request is
///   refused.
pub fn parse_line(text: &str, policy: &Policy) -> Result<TraceLine, TraceError> {
    let line: TraceFields = from_line(text)?;
    Ok(TraceLine { at: line.at_us, request: line.request(policy)? })
}

/// The same for a line that was read as JSON already.
///
/// - **Errors**: those of [`parse_line`].
pub(super) fn line_of(fields: serde_json::Value, policy: &Policy) -> Result<TraceLine, TraceError> {
    let Object(line) = serde_json::from_value::<Object<TraceFields>>(fields)?;
    Ok(TraceLine { at: line.at_us, request: line.request(policy)? })
}

impl<'a> TraceReader<'a> {
    /// A reader at the start of a trace, under a policy whose templates the lines may name.
    pub const fn new(policy: &'a Policy) -> Self {
        Self { policy, last: Moment::START, is_first: true }
    }

    /// Reads the next line; `None` if it is blank.
    ///
    /// - **Errors**: the line is not a request, or not one that may follow the lines before.
    pub fn read(&mut self, text: &str) -> Result<Option<TraceLine>, TraceError> {
        let text = if self.is_first { without_mark(text) } else { text };
        self.is_first = false;
        if text.trim().is_empty() {
            return Ok(None);
        }
        if text.len() > LONGEST_LINE {
            return Err(TraceError::LongLine);
        }
        let line = parse_line(text, self.policy)?;
        if line.at < self.last {
            return Err(TraceError::TimeGoesBack { from: self.last, to: line.at });
        }
        self.last = line.at;
        Ok(Some(line))
    }
}

impl TraceLine {
    /// Decides without a kernel: the ledger's answer is final.
    pub fn decide_by_ledger(&self, ledger: &mut Ledger) -> Decision {
        match &self.request {
            Ok(operation) => ledger.decide(self.at, operation).decision,
            Err(refused) => ledger.refuse(self.at, refused.clone()).decision,
        }
    }

    /// Submits the line to a manager that has seen no interface.
    pub fn decide_by_manager(self, manager: &mut DryRun) -> Decision {
        match self.request {
            Ok(operation) => manager.decide(operation, self.at),
            Err(refused) => manager.refuse(refused, self.at),
        }
    }
}

impl TraceFields {
    /// The names of the fields that are there and not null, besides `at_us` and `op`.
    fn given(&self) -> impl Iterator<Item = &'static str> + use<> {
        let fields = [
            ("id", self.id.is_some()),
            ("interface", self.interface.is_some()),
            ("class", self.class.is_some()),
            ("group", self.group.is_some()),
            ("client", self.client.is_some()),
            ("template", self.template.is_some()),
            ("templates", self.templates.is_some()),
            ("sending", self.sending.is_some()),
            ("receiving", self.receiving.is_some()),
            ("start_us", self.start_us.is_some()),
            ("end_us", self.end_us.is_some()),
            ("ttl_us", self.ttl_us.is_some()),
            ("wait", self.wait.is_some()),
            ("setup_priority", self.setup_priority.is_some()),
            ("holding_priority", self.holding_priority.is_some()),
            ("mode", self.mode.is_some()),
            ("direction", self.direction.is_some()),
            ("capacity", self.capacity.is_some()),
            ("uid", self.uid.is_some()),
            ("gid", self.gid.is_some()),
            ("cgroup", self.cgroup.is_some()),
            ("window_us", self.window_us.is_some()),
            ("rate", self.rate.is_some()),
            ("state", self.state.is_some()),
            ("since_us", self.since_us.is_some()),
        ];
        fields.into_iter().filter_map(|(name, is_given)| is_given.then_some(name))
    }

    fn request(mut self, policy: &Policy) -> Result<Result<Operation, RefusedRequest>, TraceError> {
        if let Some(field) = self.given().find(|field| !takes(self.op, field)) {
            return Err(TraceError::Unused { op: self.op, field });
        }
        // A query without a flow asks for what is free; what else it names has to exist even so.
        let names_a_flow = self.given().any(|field| !["id", "interface"].contains(&field));
        Ok(Ok(match self.op {
            OperationKind::Reserve => return self.reserve(policy),
            OperationKind::Query if names_a_flow => return self.query(policy),
            OperationKind::Query => Operation::Query { interface: self.interface()?, request: None },
            OperationKind::Renegotiate => return self.renegotiate(policy),
            OperationKind::Refresh => {
                Operation::Refresh { id: self.id()?, time_to_live: self.needed(self.ttl_us, "ttl_us")? }
            }
            OperationKind::Release => Operation::Release { id: self.id()? },
            OperationKind::Peer => Operation::Peer {
                id: self.id()?,
                state: self.needed(self.state, "state")?,
                since: self.since_us,
            },
            OperationKind::Group => return self.group(policy),
            OperationKind::Ungroup => Operation::Ungroup { id: self.id()? },
            OperationKind::Capacity => Operation::Capacity {
                interface: self.interface()?,
                direction: match self.needed(self.direction, "direction")? {
                    LinkDirection::Egress => Direction::Sending,
                    LinkDirection::Ingress => Direction::Receiving,
                },
                capacity: self.needed(self.capacity, "capacity")?,
            },
            OperationKind::Measure => self.measure()?,
            OperationKind::Tick => Operation::Tick,
        }))
    }

    fn reserve(mut self, policy: &Policy) -> Result<Result<Operation, RefusedRequest>, TraceError> {
        let qos = self.qos()?;
        let interface = self.interface()?;
        let id = self.id()?;
        let request = self.flow(id, interface)?;
        let ladder = qos.reserve(request, policy).map_err(|refused| *refused);
        Ok(ladder.map(|ladder| Operation::Reserve(Box::new(ladder))))
    }

    fn renegotiate(mut self, policy: &Policy) -> Result<Result<Operation, RefusedRequest>, TraceError> {
        let flowspecs = Both { sending: self.sending, receiving: self.receiving };
        if self.template.is_some() && (self.sending.is_some() || self.receiving.is_some()) {
            return Err(TraceError::TemplateAndFlowspec);
        }
        let id = self.id()?;
        Ok(match renegotiated(self.template.as_deref(), flowspecs, policy) {
            Ok(flowspecs) => Ok(Operation::Renegotiate { id, flowspecs: Box::new(flowspecs) }),
            Err(refusal) => {
                Err(RefusedRequest { kind: RequestKind::Renegotiate { id }, interface: None, refusal })
            }
        })
    }

    fn query(mut self, policy: &Policy) -> Result<Result<Operation, RefusedRequest>, TraceError> {
        let qos = self.qos()?;
        let interface = self.interface()?;
        // A query may name its flow, and need not.
        let id = self.id.take().unwrap_or_default();
        let request = self.flow(id, interface)?;
        let refused = |refused: Box<RefusedRequest>| RefusedRequest { kind: RequestKind::Query, ..*refused };
        Ok(qos.reserve(request, policy).map_err(refused).map(|ladder| {
            let interface = ladder.request.interface.clone();
            Operation::Query { interface, request: Some(Box::new(ladder.request)) }
        }))
    }

    fn group(mut self, policy: &Policy) -> Result<Result<Operation, RefusedRequest>, TraceError> {
        let qos = self.qos()?;
        let (id, interface) = (self.id()?, self.interface()?);
        match qos.group(policy) {
            Err(refusal) => {
                let (kind, interface) = (RequestKind::Group { id }, Some(interface));
                Ok(Err(RefusedRequest { kind, interface, refusal }))
            }
            Ok(qos) => {
                let (class, mode) = (self.class, self.mode.unwrap_or(GroupMode::Envelope));
                Ok(Ok(Operation::Group(Box::new(GroupRequest { id, interface, class, mode, qos }))))
            }
        }
    }

    fn measure(&mut self) -> Result<Operation, TraceError> {
        let window = self.needed(self.window_us, "window_us")?;
        if !(SHORTEST_MEASUREMENT..=LONGEST_MEASUREMENT).contains(&window) {
            return Err(TraceError::Window { window });
        }
        Ok(Operation::Measure {
            interface: self.interface()?,
            class: {
                let class = self.class.take();
                self.needed(class, "class")?
            },
            window,
            rate: self.needed(self.rate, "rate")?,
        })
    }

    /// What a flow asks for.
    fn qos(&mut self) -> Result<RequestedQos, TraceError> {
        let templates = match (self.template.take(), self.templates.take()) {
            (Some(_), Some(_)) => return Err(TraceError::TemplateAndTemplates),
            (None, Some(several)) if several.is_empty() => return Err(TraceError::NoTemplates),
            (None, Some(several)) if several.len() > 1 && self.op != OperationKind::Reserve => {
                return Err(TraceError::SeveralTemplates { op: self.op, templates: several.len() });
            }
            (one, several) => one.into_iter().chain(several.into_iter().flatten()).collect(),
        };
        let flowspecs = Both { sending: self.sending, receiving: self.receiving };
        RequestedQos::new(templates, flowspecs).ok_or(TraceError::TemplateAndFlowspec)
    }

    /// A flow's request without its QOS.
    fn flow(self, id: String, interface: String) -> Result<Request, TraceError> {
        let mut request = Request::new(NewFlow { id: &id, interface: &interface }, Qos::BEST_EFFORT);
        (request.class, request.group, request.client) = (self.class, self.group, self.client);
        request.owner = Owner { uid: self.uid, gid: self.gid, cgroup: self.cgroup };
        (request.start, request.end) = (self.start_us, self.end_us);
        request.time_to_live = self.ttl_us;
        request.wait = self.wait.unwrap_or(false);
        for priority in [self.setup_priority, self.holding_priority].into_iter().flatten() {
            if priority > 7 {
                return Err(TraceError::Priority { priority });
            }
        }
        (request.setup_priority, request.holding_priority) = (self.setup_priority, self.holding_priority);
        Ok(request)
    }

    fn id(&mut self) -> Result<String, TraceError> {
        // An empty id names nothing.
        let id = self.id.take().filter(|id| !id.is_empty());
        self.needed(id, "id")
    }

    fn interface(&mut self) -> Result<String, TraceError> {
        let interface = self.interface.take();
        self.needed(interface, "interface")
    }

    fn needed<T>(&self, value: Option<T>, field: &'static str) -> Result<T, TraceError> {
        value.ok_or(TraceError::Missing { op: self.op, field })
    }
}
