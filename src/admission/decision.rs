//! A decision: what a ledger answers to an operation, with the interfaces' totals after it.
//!
//! Its JSON is one flat record, the same wherever the decision was made: the output contract of traces,
//! `gqos replay` and logs.

use std::collections::BTreeMap;

use flowspec::{Both, Micros, Moment, Rate, Wsa};
use serde::{Serialize, Serializer};

use super::ended::{EndedFlow, EndedIds};
use super::enforcement::{Enforced, Lack};
use super::not_programmed::NotProgrammed;
use super::operation::OperationKind;
use super::reason::Reason;
use super::refusal::Refusal;
use super::request::Grant;
use super::response::{Fits, Refused, ReleasedFlow, Response};
use super::totals::Totals;
use crate::kernel::KernelClass;
use crate::policy::Place;

/// What was decided, with the interface's totals after it.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The ledger's time when it decided.
    pub at: Moment,
    /// What became of the operation.
    pub response: Response,
    /// Budget and reservations after the decision, of those interfaces it is about that the policy has.
    pub totals: BTreeMap<String, Both<Totals>>,
    /// Flows whose time was over by then.
    pub expired: Vec<String>,
    /// Flows whose peers were gone by then.
    pub dead: Vec<String>,
    /// Flows whose peers had accepted nothing for too long by then.
    pub stalled: Vec<String>,
    /// Flows that wait for capacity and are notified that there is enough now.
    pub notified: Vec<String>,
}

/// What came of an operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What was decided, with the totals after it.
    pub decision: Decision,
    /// What a flow was granted that requested something and got it.
    pub grant: Option<Grant>,
    /// The flows that have ended by then though their owners have not ended them, in the order in which they ended.
    pub ended: Vec<EndedFlow>,
}

impl Decision {
    /// A refusal to reserve by something that does not know the ledger's totals.
    #[cfg(feature = "host")]
    pub(crate) fn without_totals(at: Moment, id: String, refusal: Refusal) -> Self {
        let refused =
            Box::new(Refused { refusal, rule: None, rule_line: None, refused_renditions: Vec::new() });
        let response = Response::Reserve { id, result: Err(refused), waiting: false };
        let (expired, dead, stalled, notified) = Default::default();
        Self { at, response, totals: BTreeMap::new(), expired, dead, stalled, notified }
    }

    /// The kind of the operation that the response answers.
    pub const fn operation(&self) -> OperationKind {
        self.response.operation()
    }

    /// The flow or the group; `None` for an operation on an interface or on the whole ledger, and for an empty id.
    pub fn id(&self) -> Option<&str> {
        self.response.id()
    }

    /// Whether the operation was not refused.
    pub fn is_ok(&self) -> bool {
        self.response.refused().is_none()
    }

    /// The refusal with its rule, where there is one.
    pub fn refused(&self) -> Option<&Refused> {
        self.response.refused()
    }

    /// The refusal, where there is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.refused().map(|refused| &refused.refusal)
    }

    /// Whether time has ended a flow by then.
    pub(crate) const fn ended_any(&self) -> bool {
        !(self.expired.is_empty() && self.dead.is_empty() && self.stalled.is_empty())
    }

    /// Says which flows time has ended by then.
    pub(crate) fn set_ended(&mut self, ended: EndedIds) {
        (self.expired, self.dead, self.stalled) = (ended.expired, ended.dead, ended.stalled);
    }

    /// The flows that time had ended by then, which are no longer named.
    pub(crate) fn take_ended(&mut self) -> EndedIds {
        let take = std::mem::take::<Vec<String>>;
        EndedIds {
            expired: take(&mut self.expired),
            dead: take(&mut self.dead),
            stalled: take(&mut self.stalled),
        }
    }

    /// The Winsock error of a refusal.
    pub fn error(&self) -> Option<Wsa> {
        self.refusal().map(Refusal::wsa)
    }

    /// The number of the Winsock error, 0 where there is none.
    pub fn code(&self) -> u32 {
        self.error().map_or(0, Wsa::code)
    }

    /// The WSA_QOS_* status of a refusal.
    pub fn status(&self) -> Option<Wsa> {
        self.refusal().map(Refusal::status)
    }

    /// The kind of refusal.
    pub fn reason(&self) -> Option<Reason> {
        self.refusal().map(Refusal::reason)
    }

    /// The decision in a sentence; for a refusal with all numbers.
    pub fn message(&self) -> String {
        self.response.to_string()
    }

    /// What the flow or group takes from its budgets; zero for everything else.
    pub fn charged(&self) -> Both<Rate> {
        self.response.charged()
    }

    /// What an ended flow took from its budgets.
    pub fn released(&self) -> Option<Both<Rate>> {
        match &self.response {
            Response::Release { result: Ok(ReleasedFlow::Flow { charged, .. }), .. } => *charged,
            _ => None,
        }
    }

    /// The flows that were preempted for this one, least important first.
    pub fn preempted(&self) -> &[String] {
        match &self.response {
            Response::Reserve { result: Ok(flow), .. } => &flow.preempted,
            _ => &[],
        }
    }

    /// The flows that were ended for lack of capacity, least important first.
    pub fn shed(&self) -> &[String] {
        match &self.response {
            Response::Capacity(Ok(change)) => &change.shed,
            _ => &[],
        }
    }

    /// Whether the flow waits for capacity.
    pub const fn is_waiting(&self) -> bool {
        matches!(self.response, Response::Reserve { waiting: true, .. })
    }

    /// Whether a flow got the best of the renditions that it accepts.
    pub fn is_first_rendition(&self) -> bool {
        match &self.response {
            Response::Reserve { result: Ok(flow), .. } => flow.refused_renditions.is_empty(),
            _ => false,
        }
    }

    /// The rendition that a flow got: its template, or the first of a ladder that fitted. `None` where the request names
    /// none.
    pub fn rendition(&self) -> Option<&str> {
        match &self.response {
            Response::Reserve { result: Ok(flow), .. } => flow.rendition.as_deref(),
            _ => None,
        }
    }

    /// When the flow of a query would fit first.
    pub fn earliest(&self) -> Option<Moment> {
        match &self.response {
            Response::Query(Ok(free)) => match free.fits {
                Some(Fits::At(at)) => Some(at),
                Some(Fits::Never) | None => None,
            },
            _ => None,
        }
    }

    /// The largest charge that would fit instead of the refused one, where that is known.
    pub fn would_fit(&self) -> Option<Rate> {
        self.refusal().and_then(Refusal::would_fit)
    }

    /// The least delay that such a charge would meet, where the flow requested one.
    pub fn least_latency(&self) -> Option<Micros> {
        self.refusal().and_then(Refusal::least_latency)
    }

    /// Where in the policy the constraint stands that refused.
    pub fn rule(&self) -> Option<&Place> {
        self.refused()?.rule.as_ref()
    }

    /// The same as text: `streaming.toml:12`.
    pub fn rule_line(&self) -> Option<&str> {
        self.refused()?.rule_line.as_deref()
    }

    /// What enforces the flow's reservation, as soon as that is known.
    pub fn enforced(&self) -> Option<&Enforced> {
        self.response.enforced()
    }

    /// The same, to be changed.
    pub fn enforced_mut(&mut self) -> Option<&mut Enforced> {
        self.response.enforced_mut()?.as_mut()
    }

    /// Names no flows beside the one that it is about, except those that may be seen: what another user holds is that
    /// user's.
    pub fn retain_named(&mut self, may_see: impl Fn(&str) -> bool) {
        let own = self.id().map(str::to_owned);
        let may_see = |id: &str| own.as_deref() == Some(id) || may_see(id);
        for named in [&mut self.expired, &mut self.dead, &mut self.stalled, &mut self.notified] {
            named.retain(|id| may_see(id));
        }
        self.response.retain_named(&may_see);
    }

    /// Whether the flow goes on without a reservation until the daemon is back.
    pub fn lacks_reservation(&self) -> bool {
        self.enforced().is_some_and(|enforced| enforced.lacking.contains(&Lack::Reservation))
    }

    /// Whether the daemon is still to grant the reservation: it was not there, or the flow was admitted within a
    /// [slice](Enforced::slice) a moment ago.
    pub fn is_unconfirmed(&self) -> bool {
        let is_unconfirmed = |lack: &Lack| matches!(lack, Lack::Reservation | Lack::Confirmation);
        self.enforced().is_some_and(|enforced| enforced.lacking.iter().any(is_unconfirmed))
    }

    /// The daemon is back, or has answered, and has granted the reservation. The interface of its class in the kernel is not known
    /// here.
    pub fn reserved_later(&mut self) {
        if let Some(enforced) = self.enforced_mut() {
            enforced.lacking.retain(|lack| !matches!(lack, Lack::Reservation | Lack::Confirmation));
        }
    }

    /// Says what enforces the reservation; of no effect where nothing was reserved.
    pub fn set_enforced(&mut self, enforced: Enforced) {
        if let Some(place) = self.response.enforced_mut() {
            *place = Some(enforced);
        }
    }

    /// Says that the kernel's tree keeps the rate it had; of no effect unless a capacity was changed.
    pub fn set_not_programmed(&mut self, why: NotProgrammed) {
        if let Response::Capacity(Ok(change)) = &mut self.response {
            change.not_programmed = Some(why);
        }
    }
}

/// The flat record of the output contract.
#[derive(Serialize)]
struct DecisionRecord<'a> {
    at_us: Moment,
    op: OperationKind,
    id: Option<&'a str>,
    ok: bool,
    error: Option<Wsa>,
    code: u32,
    status: Option<Wsa>,
    reason: Option<Reason>,
    message: String,
    charged: Both<Rate>,
    reserved: BTreeMap<&'a str, Both<Rate>>,
    available: BTreeMap<&'a str, Both<Rate>>,
    preempted: &'a [String],
    shed: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    expired: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    dead: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stalled: &'a [String],
    #[serde(skip_serializing_if = "is_false")]
    waiting: bool,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    notified: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    rendition: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    earliest_us: Option<Moment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    would_fit: Option<Rate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    least_latency: Option<Micros>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enforced: Option<EnforcedRecord<'a>>,
}

/// The part of the record about [`Enforced`]: what is lacking is a sentence.
#[derive(Serialize)]
struct EnforcedRecord<'a> {
    class: Option<&'a KernelClass>,
    shared: bool,
    sending: bool,
    receiving: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    receiving_class: Option<&'a KernelClass>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lacking: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slice: Option<&'a str>,
}

impl<'a> From<&'a Enforced> for EnforcedRecord<'a> {
    fn from(enforced: &'a Enforced) -> Self {
        Self {
            class: enforced.class.as_ref(),
            shared: enforced.shared,
            sending: enforced.sending,
            receiving: enforced.receiving,
            receiving_class: enforced.receiving_class.as_ref(),
            lacking: enforced.lacking_text(),
            slice: enforced.slice.as_deref(),
        }
    }
}

impl Serialize for Decision {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let totals = |of: fn(&Totals) -> Rate| {
            self.totals
                .iter()
                .map(|(name, totals)| (name.as_str(), totals.map(|totals| of(&totals))))
                .collect()
        };
        let record = DecisionRecord {
            at_us: self.at,
            op: self.operation(),
            id: self.id(),
            ok: self.is_ok(),
            error: self.error(),
            code: self.code(),
            status: self.status(),
            reason: self.reason(),
            message: self.message(),
            charged: self.charged(),
            reserved: totals(|totals| totals.reserved),
            available: totals(Totals::available),
            preempted: self.preempted(),
            shed: self.shed(),
            expired: &self.expired,
            dead: &self.dead,
            stalled: &self.stalled,
            waiting: self.is_waiting(),
            notified: &self.notified,
            rendition: self.rendition(),
            earliest_us: self.earliest(),
            would_fit: self.would_fit(),
            least_latency: self.least_latency(),
            rule: self.rule_line(),
            enforced: self.enforced().map(EnforcedRecord::from),
        };
        record.serialize(serializer)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}
