//! The result of a test: its verdict, its decisions, and the expectations that would hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use flowspec::Direction;

use super::coverage::CoverageItem;
use super::snapshot::LedgerSnapshot;
use crate::admission::Decision;
use crate::policy::Place;

/// What came of one test: its verdict, its decisions, and how it could be corrected.
#[derive(Clone, Debug)]
pub struct TestOutcome {
    /// Whether the test passed.
    pub verdict: Verdict,
    /// The parts of the test's own policy that the test used.
    pub covered: BTreeSet<CoverageItem>,
    /// The parts of each policy that the test reloads, used after that, by the names that the test gives the policies.
    pub covered_after_reload: BTreeMap<String, BTreeSet<CoverageItem>>,
    /// Every decision, in the order of the steps.
    pub decisions: Vec<StepDecision>,
    /// For each step whose expectations do not hold, those that would.
    pub corrections: Vec<Correction>,
    /// The steps that fail whatever their expectations are.
    pub uncorrectable: Vec<Uncorrectable>,
}

/// One decision, with the step that led to it.
#[derive(Clone, Debug)]
pub struct StepDecision {
    /// The step's index.
    pub step: usize,
    /// The request as a test file states it, defaults included.
    pub requested: Requested,
    /// The ledger's answer, with the totals after it.
    pub decision: Decision,
}

/// What a step requested, by the names of the policy.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Requested {
    /// The rule that gave the templates, by its number from 1.
    pub rule: Option<usize>,
    /// The templates, best first; empty if flowspecs were requested, or no flow.
    pub templates: Vec<String>,
    /// The policy that was reloaded last, by the name that the test gives it; `None` for the test's own.
    pub policy: Option<String>,
}

/// A step that fails whatever its expectations are.
#[derive(Clone, Debug)]
pub struct Uncorrectable {
    /// The place of the expectations in the test file, or else of the step.
    pub place: Place,
    /// Why no correction is possible.
    pub reason: NoExpectations,
}

/// Why no expectations of a step hold.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NoExpectations {
    /// Every quantity that the step names is absent after it.
    #[error("nothing that it expects exists after this step")]
    NothingExists,
    /// A quantity has another value in each of the step's decisions.
    #[error(
        "its {decisions} decisions differ in {compared}: {first} and {second}; give each part a step of its own"
    )]
    DecisionsDiffer {
        /// How many there are.
        decisions: usize,
        /// The quantity whose value differs.
        compared: Compared,
        /// The value of one decision.
        first: String,
        /// The value of another.
        second: String,
    },
    /// The step could not be carried out.
    #[error("{compared}: expected {expected}, found {actual}")]
    StepFails {
        /// The quantity that the step is about.
        compared: Compared,
        /// What the step needs, in words.
        expected: String,
        /// What there is in its place, in words.
        actual: String,
    },
}

/// Expectations that would hold.
#[derive(Clone, Debug)]
pub struct Correction {
    /// The place of the expectations in the test file.
    pub place: Place,
    /// What would hold there: an inline table with the same keys.
    pub expectations: String,
}

/// Whether a test passed.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// All expectations hold.
    Ok,
    /// An expectation does not hold.
    Failed(Box<TestFailure>),
    /// The test was not run.
    Skipped(SkipReason),
}

/// Why a test was not run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SkipReason {
    /// It has a `transfer` step, and there is no [`Laboratory`](super::Laboratory).
    NeedsLaboratory,
}

/// The first expectation of a test that does not hold.
#[derive(Clone, Debug, PartialEq)]
pub struct TestFailure {
    /// The place of the expectation, or else of the step.
    pub place: Place,
    /// The quantity that differs.
    pub compared: Compared,
    /// The value in the file, in its notation.
    pub expected: String,
    /// The value that was decided, in the notation of the file.
    pub actual: String,
    /// The decision whose quantity differs, if it is one of a decision.
    pub decision: Option<Decision>,
    /// The policy that was reloaded last, by the name that the test gives it; `None` for the test's own.
    pub policy: Option<String>,
    /// The ledger after the step.
    pub ledger: LedgerSnapshot,
}

/// A quantity that a test compares.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Compared {
    /// The time of the step, which is not before that of the step before it.
    Time,
    /// Whether a transfer could be measured.
    Transfer,
    /// The measured rate of a transfer.
    Rate,
    /// Whether the request was admitted.
    Decision,
    /// Whether the flow waits for capacity.
    Waiting,
    /// The code of the refusal: `WSAEOPNOTSUPP`.
    Error,
    /// The WSA_QOS status.
    Status,
    /// The word of the refusal: `interface_budget`.
    Reason,
    /// Which of several renditions was admitted.
    Rendition,
    /// The interface that a step with a decision is about.
    Interface,
    /// The decision's message.
    Message,
    /// The largest charge that would fit.
    WouldFit,
    /// What a flow is charged, or a total of an interface.
    Charge {
        /// Which part of the charge.
        quantity: ChargeQuantity,
        /// The interface and direction; none if it is not compared in one of them.
        place: Option<(String, Direction)>,
    },
    /// The ids of the flows that were preempted, least important first.
    Preempted,
    /// The ids of the flows that were shed, least important first.
    Shed,
    /// The flows that ended at their time.
    Expired,
    /// The flows whose peers were gone.
    Dead,
    /// The flows whose peers accepted nothing.
    Stalled,
    /// The flows that were notified of capacity.
    Notified,
    /// The number of admitted flows.
    Flows,
}

/// A rate that a test compares per direction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ChargeQuantity {
    /// Bytes per second that the interface's flows and groups are charged.
    Reserved,
    /// Bytes per second that are left of the interface's budget.
    Available,
    /// What the last flow of the step is charged.
    Charged,
}

impl Compared {
    /// The key of a test file that states what is expected of the quantity.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Charge { quantity, .. } => quantity.name(),
            Self::Time => "at",
            Self::Transfer => "transfer",
            Self::Rate => "rate",
            Self::Decision => "decision",
            Self::Waiting => "waiting",
            Self::Error => "error",
            Self::Status => "status",
            Self::Reason => "reason",
            Self::Rendition => "rendition",
            Self::Interface => "interface",
            Self::Message => "message",
            Self::WouldFit => "would_fit",
            Self::Preempted => "preempted",
            Self::Shed => "shed",
            Self::Expired => "expired",
            Self::Dead => "dead",
            Self::Stalled => "stalled",
            Self::Notified => "notified",
            Self::Flows => "flows",
        }
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Charge { quantity, place: Some((interface, direction)) } => {
                write!(f, "{} ({interface} {direction})", quantity.name())
            }
            other => f.write_str(other.key()),
        }
    }
}

impl ChargeQuantity {
    /// The key in a test file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Available => "available",
            Self::Charged => "charged",
        }
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeedsLaboratory => {
                f.write_str("a transfer is measured on a private network: run it with --lab")
            }
        }
    }
}

impl TestFailure {
    /// The id and the message of the decision, with its error if it is a refusal; empty if there is no decision.
    pub fn explanation(&self) -> String {
        self.decision.as_ref().map_or_else(String::new, |decision| {
            let error = decision.error().map_or_else(String::new, |error| format!("{error}, "));
            format!("{}: {error}{}", decision.id().unwrap_or_default(), decision.message())
        })
    }

    /// The place in the policy of the constraint that refused the request.
    pub fn rule(&self) -> Option<&Place> {
        self.decision.as_ref()?.rule()
    }
}
