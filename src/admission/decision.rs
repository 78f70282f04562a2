//! A decision as it is told: one line of JSON, the same wherever it was made.

use std::collections::BTreeMap;

use flowspec::{Both, Rate, Wsa};
use serde::Serialize;

use super::ledger::{Ledger, Totals};
use super::refusal::Refusal;

/// What was decided, with the interface's totals after it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decision {
    /// When, in microseconds since the manager's start.
    pub at_us: u64,
    /// What was asked for.
    pub op: Op,
    /// Which flow.
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
    /// The largest charge that would fit instead, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would_fit: Option<Rate>,
    /// What holds the flow to its promise, and where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforced: Option<Enforced>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// A reservation for a new flow.
    Reserve,
    /// The end of a flow.
    Release,
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

impl Decision {
    /// A flow was admitted.
    pub fn admitted(at_us: u64, id: &str, interface: &str, charged: Both<Rate>, ledger: &Ledger) -> Self {
        let mut decision = Self::new(at_us, Op::Reserve, id, interface, ledger);
        decision.charged = charged;
        decision.message =
            format!("{interface}: admitted, sending {} and receiving {}", charged.sending, charged.receiving);
        decision
    }

    /// A flow was refused; the ledger is as it was.
    pub fn refused(at_us: u64, id: &str, interface: &str, refusal: &Refusal, ledger: &Ledger) -> Self {
        let error = refusal.wsa();
        Self {
            ok: false,
            error: Some(error),
            code: error.code(),
            status: Some(refusal.status()),
            reason: Some(refusal.reason()),
            message: refusal.to_string(),
            would_fit: refusal.would_fit(),
            ..Self::new(at_us, Op::Reserve, id, interface, ledger)
        }
    }

    /// A flow ended.
    pub fn released(at_us: u64, id: &str, interface: &str, ledger: &Ledger) -> Self {
        let mut decision = Self::new(at_us, Op::Release, id, interface, ledger);
        decision.message = format!("{interface}: released");
        decision
    }

    fn new(at_us: u64, op: Op, id: &str, interface: &str, ledger: &Ledger) -> Self {
        let totals = ledger.totals(interface).unwrap_or_default();
        let one = |pick: fn(&Totals) -> Rate| {
            let both = Both { sending: pick(&totals.sending), receiving: pick(&totals.receiving) };
            BTreeMap::from([(interface.to_owned(), both)])
        };
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
            reserved: one(|totals| totals.reserved),
            available: one(Totals::available),
            preempted: Vec::new(),
            shed: Vec::new(),
            would_fit: None,
            enforced: None,
        }
    }
}
