//! A decision as it is told: one line of JSON, the same wherever it was made.

use std::collections::BTreeMap;

use flowspec::{Both, Micros, Rate, Wsa};
use serde::{Deserialize, Serialize, Serializer};

use super::ledger::{Ledger, Totals};
use super::refusal::Refusal;
use super::request::Grant;
use crate::policy::{Place, Policy};

/// What was decided, with the interface's totals after it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decision {
    /// When, in microseconds since the manager's start.
    pub at_us: u64,
    /// What was asked for.
    pub op: Op,
    /// Which flow or group; null where it is about neither.
    #[serde(serialize_with = "null_if_empty")]
    pub id: String,
    /// Whether it was granted.
    pub ok: bool,
    /// The Winsock error of a refusal.
    pub error: Option<Wsa>,
    /// Its number, 0 where there is none.
    pub code: u32,
    /// The WSA_QOS_* status of a refusal.
    pub status: Option<Wsa>,
    /// The kind of refusal.
    pub reason: Option<&'static str>,
    /// The decision in a sentence; for a refusal the whole sum.
    pub message: String,
    /// What this flow takes from its budgets.
    pub charged: Both<Rate>,
    /// What is promised of the interface after the decision.
    pub reserved: BTreeMap<String, Both<Rate>>,
    /// What is left of it.
    pub available: BTreeMap<String, Both<Rate>>,
    /// Flows that had to go for this one.
    pub preempted: Vec<String>,
    /// Flows that were ended for lack of capacity.
    pub shed: Vec<String>,
    /// Flows whose time had come by then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expired: Vec<String>,
    /// Whether the flow waits to be told of room.
    #[serde(skip_serializing_if = "is_false")]
    pub waiting: bool,
    /// Those who waited and are told that there is room for them now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notified: Vec<String>,
    /// Which of several renditions it got, where that was not the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rendition: Option<String>,
    /// When a flow that was asked about would fit first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub earliest_us: Option<u64>,
    /// What a flow gave back.
    #[serde(skip)]
    pub released: Option<Both<Rate>>,
    /// The largest charge that would fit instead, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would_fit: Option<Rate>,
    /// The least delay that such a charge would meet, where the flow asked for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub least_latency: Option<Micros>,
    /// Where in the policy the constraint stands that decided: `streaming.toml:12`.
    #[serde(rename = "rule", skip_serializing_if = "Option::is_none")]
    pub rule_line: Option<String>,
    /// The same as a place.
    #[serde(skip)]
    pub rule: Option<Place>,
    /// What holds the flow to its promise, and where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforced: Option<Enforced>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// A reservation for a new flow.
    Reserve,
    /// Another reservation for a flow.
    Renegotiate,
    /// A flow's soft state goes on.
    Refresh,
    /// The end of a flow.
    Release,
    /// A group made or changed.
    Group,
    /// The end of a group.
    Ungroup,
    /// A link carries another rate.
    Capacity,
    /// What the flows of a class were measured to send.
    Measure,
    /// What is free now.
    Query,
    /// Time passes.
    Tick,
}

/// What holds a flow to its promise, and where. Never implied.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Enforced {
    /// The kernel class that carries what is sent, in `tc`'s notation.
    pub class: Option<String>,
    /// Whether flows share that class.
    pub shared: bool,
    /// In user space, sending: a token bucket holds the socket.
    pub sending: bool,
    /// In user space, receiving: reads are held back, and the peer with them.
    pub receiving: bool,
    /// What is not enforced, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lacking: Option<String>,
}

impl Op {
    /// The name in traces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reserve => "reserve",
            Self::Renegotiate => "renegotiate",
            Self::Refresh => "refresh",
            Self::Release => "release",
            Self::Group => "group",
            Self::Ungroup => "ungroup",
            Self::Capacity => "capacity",
            Self::Measure => "measure",
            Self::Query => "query",
            Self::Tick => "tick",
        }
    }
}

impl Decision {
    /// A flow was admitted.
    pub fn admitted(at_us: u64, id: &str, interface: &str, charged: Both<Rate>, ledger: &Ledger) -> Self {
        let mut decision = Self::new(at_us, Op::Reserve, id, [interface], ledger);
        decision.grant(interface, Grant { charged, ..Grant::default() });
        decision
    }

    /// A flow was refused; the ledger is as it was.
    pub fn refused(at_us: u64, id: &str, interface: &str, refusal: &Refusal, ledger: &Ledger) -> Self {
        let mut decision = Self::new(at_us, Op::Reserve, id, [interface], ledger);
        decision.refuse(refusal);
        decision.decided_by(refusal, ledger.policy());
        decision
    }

    /// A flow ended.
    pub fn released(at_us: u64, id: &str, interface: &str, ledger: &Ledger) -> Self {
        let mut decision = Self::new(at_us, Op::Release, id, [interface], ledger);
        decision.message = format!("{interface}: released");
        decision
    }

    pub(super) fn grant(&mut self, interface: &str, grant: Grant) {
        let Grant { charged, preempted, .. } = grant;
        let preempted: Vec<_> = preempted.into_iter().map(|displaced| displaced.id).collect();
        self.message =
            format!("{interface}: admitted, sending {} and receiving {}", charged.sending, charged.receiving);
        if !preempted.is_empty() {
            self.message.push_str(&format!("; {} had to go", preempted.join(", ")));
        }
        (self.charged, self.preempted) = (charged, preempted);
    }

    pub(super) fn refuse(&mut self, refusal: &Refusal) {
        let error = refusal.wsa();
        self.ok = false;
        self.error = Some(error);
        self.code = error.code();
        self.status = Some(refusal.status());
        self.reason = Some(refusal.reason());
        self.message = refusal.to_string();
        self.would_fit = refusal.would_fit();
        self.least_latency = refusal.least_latency();
    }

    /// Says where in the policy a refusal comes from.
    pub(super) fn decided_by(&mut self, refusal: &Refusal, policy: &Policy) {
        self.rule = refusal.decided_by(policy);
        self.rule_line = self.rule.as_ref().and_then(|place| policy.locate(place));
    }

    /// Nothing decided yet; the totals of these interfaces, of those that the policy knows.
    pub(super) fn new<'a>(
        at_us: u64,
        op: Op,
        id: &str,
        interfaces: impl IntoIterator<Item = &'a str>,
        ledger: &Ledger,
    ) -> Self {
        let (mut reserved, mut available) = (BTreeMap::new(), BTreeMap::new());
        for interface in interfaces {
            if let Some(totals) = ledger.totals(interface) {
                reserved.insert(interface.to_owned(), totals.map(|totals| totals.reserved));
                available.insert(interface.to_owned(), totals.map(|totals| Totals::available(&totals)));
            }
        }
        Self {
            at_us,
            op,
            id: id.to_owned(),
            ok: true,
            error: None,
            code: 0,
            status: None,
            reason: None,
            message: String::new(),
            charged: Both::default(),
            reserved,
            available,
            preempted: Vec::new(),
            shed: Vec::new(),
            expired: Vec::new(),
            waiting: false,
            notified: Vec::new(),
            rendition: None,
            earliest_us: None,
            released: None,
            would_fit: None,
            least_latency: None,
            rule_line: None,
            rule: None,
            enforced: None,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

fn null_if_empty<S: Serializer>(id: &str, serializer: S) -> Result<S::Ok, S::Error> {
    if id.is_empty() { serializer.serialize_none() } else { serializer.serialize_str(id) }
}
