//! What a ledger answers to each operation.

use std::fmt;

use flowspec::{Both, Direction, Micros, Moment, Rate};
use serde::{Deserialize, Serialize};

use super::enforcement::Enforced;
use super::limits::{Holder, counted, without_preempting};
use super::not_programmed::NotProgrammed;
use super::operation::OperationKind;
use super::peer::{PeerLoss, PeerState};
use super::refusal::Refusal;
use crate::policy::{Place, Policy};

/// What became of an operation: the fields that this operation can have.
///
/// - **JSON**: by variants, and reads back to the same value; the flat record of a decision is [`Decision`](super::Decision)'s.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[expect(missing_docs, reason = "fields that their names describe")]
pub enum Response {
    /// A reservation for a new flow.
    Reserve {
        id: String,
        /// The reservation, or why there is none.
        result: Result<Box<AdmittedFlow>, Box<Refused>>,
        /// Whether the flow waits for capacity: it was refused, or got a lower rendition.
        waiting: bool,
    },
    /// Another reservation for a flow.
    Renegotiate {
        id: String,
        /// The new reservation, or why the flow keeps the old one.
        result: Result<Box<RenegotiatedFlow>, Box<Refused>>,
    },
    /// A flow's soft state was prolonged.
    Refresh {
        id: String,
        /// How long it lasts, or why not.
        result: Result<RefreshedFlow, Box<Refused>>,
    },
    /// The end of a flow.
    Release {
        id: String,
        /// What ended, or why nothing did.
        result: Result<ReleasedFlow, Box<Refused>>,
    },
    /// A flow's peer was seen.
    Peer {
        id: String,
        /// What follows, or why the report does not count.
        result: Result<ReportedPeer, Box<Refused>>,
    },
    /// A group was made or changed.
    Group {
        id: String,
        /// Its reservation, or why there is none.
        result: Result<AdmittedGroup, Box<Refused>>,
    },
    /// The end of a group.
    Ungroup {
        id: String,
        /// When it ends, or why it does not.
        result: Result<EndedGroup, Box<Refused>>,
    },
    /// A link carries another rate.
    Capacity(Result<Box<ChangedCapacity>, Box<Refused>>),
    /// What the flows of a class were measured to send.
    Measure(Result<Box<MeasuredClass>, Box<Refused>>),
    /// What [`Operation::Query`](super::Operation::Query) asked for; the ledger is unchanged.
    Query(Result<FreeCapacity, Box<Refused>>),
    /// Time passed.
    Tick {
        /// How many flows are admitted.
        flows: usize,
    },
}

/// The reservation of a new flow.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct AdmittedFlow {
    /// The name of the link that it is charged on: `eth0`.
    pub interface: String,
    /// What it takes from its budgets.
    pub charged: Both<Rate>,
    /// The flows that were preempted for it, least important first.
    pub preempted: Vec<String>,
    /// The rendition it got: its template, or the first of a ladder that fitted. `None` where the request names none.
    pub rendition: Option<String>,
    /// Why each better rendition was refused, best first.
    pub refused_renditions: Vec<RefusedRendition>,
    /// What enforces it, as soon as that is known.
    pub enforced: Option<Enforced>,
}

/// A rendition that its request ranked above the one that was admitted, if any.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct RefusedRendition {
    /// The name of the template, as the request's ladder has it; `None` for flowspecs of the request's own.
    pub name: Option<String>,
    /// Why it was refused.
    pub refusal: Refusal,
}

/// Another reservation of a flow.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct RenegotiatedFlow {
    /// The name of the link that it is charged on; a renegotiation never changes it.
    pub interface: String,
    /// What it takes from its budgets now.
    pub charged: Both<Rate>,
    /// What enforces it, as soon as that is known.
    pub enforced: Option<Enforced>,
}

/// A flow whose soft state was prolonged.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct RefreshedFlow {
    /// The name of the link that it is charged on.
    pub interface: String,
    /// How long it lasts from now on.
    pub time_to_live: Micros,
}

/// What [`Operation::Release`](super::Operation::Release) found under the id.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ReleasedFlow {
    /// A flow with a reservation, which is free now.
    Flow {
        /// The name of the link that it was charged on.
        interface: String,
        /// What it took from its budgets; `None` where the ledger had taken that back before.
        charged: Option<Both<Rate>>,
    },
    /// A refused request's wait for capacity.
    Waiting,
}

/// A flow whose peer was seen.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ReportedPeer {
    /// The name of the link that the flow is charged on.
    pub interface: String,
    /// What the request reports of the peer.
    pub state: PeerState,
    /// Why the flow has ended, where that has ended it.
    pub loss: Option<PeerLoss>,
    /// When the flow ends unless its peer is active before, and why.
    pub ends: Option<(Moment, PeerLoss)>,
}

/// A group that was made, or that has another flowspec from now on.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct AdmittedGroup {
    /// The name of the link that all its members use.
    pub interface: String,
    /// What it takes from its budgets.
    pub charged: Both<Rate>,
}

/// A group whose owner has ended it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct EndedGroup {
    /// The name of the link that all its members use.
    pub interface: String,
    /// Whether members keep it until the last of them ends.
    pub has_members: bool,
}

/// A link that carries another rate.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ChangedCapacity {
    /// The name of the link: `eth0`.
    pub interface: String,
    /// The direction that the rate is for; the other keeps its rate.
    pub direction: Direction,
    /// Bytes per second on the wire, as the request reports it.
    pub capacity: Rate,
    /// When a larger capacity counts, where the policy has a hysteresis; `None` where it counts now.
    pub counts_from: Option<Moment>,
    /// The flows that were ended for lack of capacity, least important first.
    pub shed: Vec<String>,
    /// Why the kernel's tree keeps the rate it had, where it does.
    pub not_programmed: Option<NotProgrammed>,
}

/// The measured rate of a class, by which its flows are counted from now on.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct MeasuredClass {
    /// The name of the link: `eth0`.
    pub interface: String,
    /// The name of a class with `admission = "measured"`.
    pub class: String,
    /// What its flows sent on average.
    pub rate: Both<Rate>,
    /// By how much less is taken of the interface than its flows have declared.
    pub relief: Both<Rate>,
}

/// What [`Operation::Query`](super::Operation::Query) finds.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct FreeCapacity {
    /// The name of the link: `eth0`.
    pub interface: String,
    /// What is left of its budgets, and of those of its parents: the least of them.
    pub available: Both<Rate>,
    /// When the flow that was asked about would fit first, where one was.
    pub fits: Option<Fits>,
    /// Whether the policy allows preemption, which `fits` does not count on.
    pub preemption: bool,
}

/// When a flow would fit first.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fits {
    /// The flow fits from this moment on, as far as reservations are booked.
    At(Moment),
    /// Never, by what is booked now.
    Never,
}

/// A refusal, with the place in the policy that decided.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Refused {
    /// The constraint that decided, with its numbers.
    pub refusal: Refusal,
    /// Where in the policy the constraint stands that decided, if it stands there.
    pub rule: Option<Place>,
    /// The same as text: `streaming.toml:12`.
    pub rule_line: Option<String>,
    /// Why each rendition was refused, best first, `refusal` being the first; empty for a request with one rendition,
    /// and where every rendition is refused alike.
    pub refused_renditions: Vec<RefusedRendition>,
}

impl Refused {
    /// Finds the place in the policy that states the constraint.
    pub(crate) fn under(policy: &Policy, refusal: Refusal) -> Box<Self> {
        let rule = refusal.decided_by(policy);
        let rule_line = rule.as_ref().and_then(|place| policy.locate(place));
        Box::new(Self { refusal, rule, rule_line, refused_renditions: Vec::new() })
    }

    /// Names none of the flows that hold the most, except those that may be seen.
    pub(crate) fn retain_holders(&mut self, may_see: &dyn Fn(&str) -> bool) {
        self.refusal.retain_holders(may_see);
        for rendition in &mut self.refused_renditions {
            rendition.refusal.retain_holders(may_see);
        }
    }
}

impl Response {
    /// Names none of the flows that lost their capacity to it or that hold the most, except those that may be seen.
    pub(crate) fn retain_named(&mut self, may_see: &dyn Fn(&str) -> bool) {
        let renditions = match self {
            Self::Reserve { result: Ok(admitted), .. } => {
                admitted.preempted.retain(|id| may_see(id));
                &mut admitted.refused_renditions
            }
            Self::Capacity(Ok(changed)) => {
                changed.shed.retain(|id| may_see(id));
                return;
            }
            Self::Reserve { result: Err(refused), .. }
            | Self::Renegotiate { result: Err(refused), .. }
            | Self::Group { result: Err(refused), .. }
            | Self::Query(Err(refused)) => return refused.retain_holders(may_see),
            _ => return,
        };
        for rendition in renditions {
            rendition.refusal.retain_holders(may_see);
        }
    }

    /// By the variant: each kind of operation has an answer of its own.
    pub const fn operation(&self) -> OperationKind {
        match self {
            Self::Reserve { .. } => OperationKind::Reserve,
            Self::Renegotiate { .. } => OperationKind::Renegotiate,
            Self::Refresh { .. } => OperationKind::Refresh,
            Self::Release { .. } => OperationKind::Release,
            Self::Peer { .. } => OperationKind::Peer,
            Self::Group { .. } => OperationKind::Group,
            Self::Ungroup { .. } => OperationKind::Ungroup,
            Self::Capacity(_) => OperationKind::Capacity,
            Self::Measure(_) => OperationKind::Measure,
            Self::Query(_) => OperationKind::Query,
            Self::Tick { .. } => OperationKind::Tick,
        }
    }

    /// The flow or the group; `None` for an operation on an interface or on the whole ledger, and for an empty id, which
    /// names nothing.
    pub fn id(&self) -> Option<&str> {
        let id = match self {
            Self::Reserve { id, .. }
            | Self::Renegotiate { id, .. }
            | Self::Refresh { id, .. }
            | Self::Release { id, .. }
            | Self::Peer { id, .. }
            | Self::Group { id, .. }
            | Self::Ungroup { id, .. } => id.as_str(),
            Self::Capacity(_) | Self::Measure(_) | Self::Query(_) | Self::Tick { .. } => "",
        };
        (!id.is_empty()).then_some(id)
    }

    /// The refusal, where there is one.
    pub fn refused(&self) -> Option<&Refused> {
        match self {
            Self::Reserve { result: Err(refused), .. }
            | Self::Renegotiate { result: Err(refused), .. }
            | Self::Refresh { result: Err(refused), .. }
            | Self::Release { result: Err(refused), .. }
            | Self::Peer { result: Err(refused), .. }
            | Self::Group { result: Err(refused), .. }
            | Self::Ungroup { result: Err(refused), .. }
            | Self::Capacity(Err(refused))
            | Self::Measure(Err(refused))
            | Self::Query(Err(refused)) => Some(refused),
            _ => None,
        }
    }

    /// What the flow or group takes from its budgets; zero for everything else.
    pub fn charged(&self) -> Both<Rate> {
        match self {
            Self::Reserve { result: Ok(flow), .. } => flow.charged,
            Self::Renegotiate { result: Ok(flow), .. } => flow.charged,
            Self::Group { result: Ok(group), .. } => group.charged,
            _ => Both::default(),
        }
    }

    /// What enforces the flow, as soon as that is known.
    pub(crate) fn enforced(&self) -> Option<&Enforced> {
        match self {
            Self::Reserve { result: Ok(flow), .. } => flow.enforced.as_ref(),
            Self::Renegotiate { result: Ok(flow), .. } => flow.enforced.as_ref(),
            _ => None,
        }
    }

    /// The same, to be filled in; `None` where nothing was reserved.
    pub(crate) fn enforced_mut(&mut self) -> Option<&mut Option<Enforced>> {
        match self {
            Self::Reserve { result: Ok(flow), .. } => Some(&mut flow.enforced),
            Self::Renegotiate { result: Ok(flow), .. } => Some(&mut flow.enforced),
            _ => None,
        }
    }
}

/// The answer in a sentence; for a refusal with all numbers.
impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reserve { result, .. } => describe(result, f),
            Self::Renegotiate { result, .. } => describe(result, f),
            Self::Refresh { result, .. } => describe(result, f),
            Self::Release { result, .. } => describe(result, f),
            Self::Peer { result, .. } => describe(result, f),
            Self::Group { result, .. } => describe(result, f),
            Self::Ungroup { result, .. } => describe(result, f),
            Self::Capacity(result) => describe(result, f),
            Self::Measure(result) => describe(result, f),
            Self::Query(result) => describe(result, f),
            Self::Tick { flows } => f.write_str(&counted(*flows as u64, "flow")),
        }
    }
}

fn describe<T: fmt::Display>(result: &Result<T, Box<Refused>>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match result {
        Ok(done) => write!(f, "{done}"),
        Err(refused) => write!(f, "{refused}"),
    }
}

/// The refusal in a sentence, with all numbers; of each rendition where each was refused for itself.
impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.refused_renditions.is_empty() {
            true => write!(f, "{}", self.refusal),
            false => describe_renditions(&self.refused_renditions, f),
        }
    }
}

impl RefusedRendition {
    fn name(&self) -> &str {
        self.name.as_deref().unwrap_or("its own flowspecs")
    }
}

fn describe_renditions(refused: &[RefusedRendition], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    // Renditions that are refused alike are named together, and flows that hold the same are named once.
    let mut named: Vec<Vec<Holder>> = Vec::new();
    for (index, alike) in refused.chunk_by(|a, b| a.refusal == b.refusal).enumerate() {
        let lead = if index == 0 { "" } else { "; " };
        let names: Vec<_> = alike.iter().map(RefusedRendition::name).collect();
        if let Some(RefusedRendition { refusal, .. }) = alike.first() {
            let (short, holders) = refusal.clone().without_holders();
            let shown = if named.contains(&holders) { &short } else { refusal };
            write!(f, "{lead}{}: {shown}", names.join(", "))?;
            named.push(holders);
        }
    }
    Ok(())
}

fn describe_reservation(interface: &str, charged: Both<Rate>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{interface}: admitted, sending {} and receiving {}", charged.sending, charged.receiving)
}

impl fmt::Display for AdmittedFlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe_reservation(&self.interface, self.charged, f)?;
        if !self.preempted.is_empty() {
            write!(f, "; preempted {}", self.preempted.join(", "))?;
        }
        if self.refused_renditions.is_empty() {
            return Ok(());
        }
        if let Some(name) = &self.rendition {
            write!(f, ", as {name}")?;
        }
        f.write_str("; ")?;
        describe_renditions(&self.refused_renditions, f)
    }
}

impl fmt::Display for RenegotiatedFlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe_reservation(&self.interface, self.charged, f)
    }
}

impl fmt::Display for AdmittedGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe_reservation(&self.interface, self.charged, f)
    }
}

impl fmt::Display for RefreshedFlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: refreshed for {}", self.interface, self.time_to_live)
    }
}

impl fmt::Display for ReleasedFlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flow { interface, .. } => write!(f, "{interface}: released"),
            Self::Waiting => f.write_str("waits no longer"),
        }
    }
}

impl fmt::Display for ReportedPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { interface, state, loss, ends } = self;
        write!(f, "{interface}: the peer is {}", state.name())?;
        match (loss, ends) {
            (Some(loss), _) => write!(f, "; released as {}", loss.name()),
            (None, Some((at, loss))) => write!(f, "; released as {} at {} us", loss.name(), at.as_micros()),
            (None, None) => Ok(()),
        }
    }
}

impl fmt::Display for EndedGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.has_members { "ends with its last member" } else { "ended" };
        write!(f, "{}: {what}", self.interface)
    }
}

impl fmt::Display for ChangedCapacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { interface, direction, capacity, counts_from, shed, not_programmed } = self;
        write!(f, "{interface} {direction}: carries {capacity}")?;
        match counts_from {
            Some(at) => write!(f, ", which counts from {} us on", at.as_micros())?,
            None => f.write_str(" from now on")?,
        }
        if !shed.is_empty() {
            let were = if shed.len() == 1 { "was" } else { "were" };
            write!(f, "; {} {were} shed", counted(shed.len() as u64, "flow"))?;
        }
        match not_programmed {
            Some(why) => write!(f, "; the kernel keeps the rate it had: {why}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for MeasuredClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { interface, class, rate, relief } = self;
        write!(
            f,
            "{interface}, class {class}: measured at {} sending and {} receiving; its interface takes {} and {} less than was declared",
            rate.sending, rate.receiving, relief.sending, relief.receiving
        )
    }
}

impl fmt::Display for FreeCapacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { interface, available, fits, preemption } = self;
        let without = without_preempting(*preemption);
        write!(
            f,
            "{interface}: {} sending and {} receiving are free",
            available.sending, available.receiving
        )?;
        match fits {
            Some(Fits::At(at)) => {
                write!(f, "; the flow fits first at {} us{without}", at.as_micros())
            }
            Some(Fits::Never) => write!(f, "; the flow never fits{without}"),
            None => Ok(()),
        }
    }
}
