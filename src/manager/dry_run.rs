//! The reducer without a kernel, for tests, traces and what-if questions.

use std::sync::Arc;

use flowspec::Moment;

use super::message::{Effect, Input, Output, RequestId};
use super::state::Manager;
use crate::admission::{Decision, EndedIds, Ledger, Operation, RefusedRequest, Renegotiation};
#[cfg(feature = "cli")]
use crate::admission::{Refusal, Request};
use crate::ordered::OrderedMap;
use crate::policy::Policy;
use crate::telemetry::Recorded;
use crate::telemetry::audit::Audited;

/// A [`Manager`] that has seen no interface: it has no kernel to wait for, and decides each request at once, in virtual
/// time.
///
/// ```
/// use std::sync::Arc;
///
/// use gqos::admission::{NewFlow, Operation, Request};
/// use gqos::flowspec::Moment;
/// use gqos::manager::DryRun;
/// use gqos::policy::Policy;
///
/// let policy = Arc::new(Policy::from_path("examples/policies/streaming.toml")?);
/// let viewer = policy.templates["1080p"].qos;
/// let mut dry_run = DryRun::new(policy);
/// let mut admitted = 0;
/// let refused = loop {
///     let mut request = Request::new(NewFlow { id: &format!("v{admitted}"), interface: "eth0" }, viewer);
///     request.class = Some("viewer".into());
///     let decision = dry_run.decide(Operation::Reserve(Box::new(request.into())), Moment::START);
///     if !decision.is_ok() {
///         break decision;
///     }
///     admitted += 1;
/// };
/// println!("{admitted} viewers fit; the next one: {}", refused.message());
/// # assert!(admitted > 10);
/// # Ok::<(), gqos::files::PolicyError>(())
/// ```
#[derive(Debug)]
pub struct DryRun {
    pub(super) manager: Manager,
    events: Vec<Recorded>,
    audit: Vec<Audited>,
    /// Renegotiations that a kernel would have to answer, by flow.
    pub(super) renegotiating: OrderedMap<String, Renegotiation>,
}

impl DryRun {
    /// A manager without flows, under this policy.
    pub fn new(policy: Arc<Policy>) -> Self {
        let (events, audit) = (Vec::new(), Vec::new());
        Self { manager: Manager::new(policy), events, audit, renegotiating: OrderedMap::new() }
    }

    /// From now on events are kept for [`take_events`](Self::take_events).
    pub fn record_events(&mut self) {
        self.manager.record_events();
    }

    /// From now on the facts of an audit trail are kept for [`take_audit`](Self::take_audit).
    pub fn record_audit(&mut self) {
        self.manager.record_audit();
    }

    /// The facts of the audit trail since the last call.
    pub fn take_audit(&mut self) -> Vec<Audited> {
        std::mem::take(&mut self.audit)
    }

    /// Checks the manager's invariants.
    ///
    /// # Panics
    /// Where they do not hold, with what differs.
    pub fn invariants(&self) {
        self.manager.invariants();
    }

    /// The events since the last call.
    pub fn take_events(&mut self) -> Vec<Recorded> {
        std::mem::take(&mut self.events)
    }

    /// Decides a request that is made now.
    pub fn decide(&mut self, operation: Operation, now: Moment) -> Decision {
        let request = RequestId(0);
        let output = self.manager.handle(Input::Request { id: request, operation: Box::new(operation) }, now);
        let effects = self.keep(output);
        let answer = effects.into_iter().find_map(|effect| match effect {
            Effect::Answer { id, answer } if id == request => Some(answer.decision),
            _ => None,
        });
        // A request waits for an interface's tree or for a change in the kernel; there are neither.
        answer.expect("without a kernel every request is answered at once")
    }

    /// A refusal that was made before the request reached the manager, as a decision.
    pub fn refuse(&mut self, request: RefusedRequest, now: Moment) -> Decision {
        self.manager.ledger.refuse(now, request).decision
    }

    /// Time passes: the flows that it has ended by then.
    pub fn advance(&mut self, now: Moment) -> EndedIds {
        let (ended, output) = self.manager.advance(now);
        self.keep(output);
        ended
    }

    /// Another policy from now on; flows keep what they have. Gives the decision of a tick: the flows that have ended by
    /// then, by the timeouts of either policy, and those that are notified of capacity.
    pub fn reload(&mut self, policy: Arc<Policy>, now: Moment) -> Decision {
        let (decision, output) = self.manager.replace_policy(policy, now);
        self.keep(output);
        decision
    }

    /// Whether a flow would be admitted now without preemption. Nothing is reserved.
    ///
    /// - **Errors**: the refusal.
    #[cfg(feature = "cli")]
    pub(crate) fn consider(&mut self, request: &Request) -> Result<(), Refusal> {
        self.manager.consider(request)
    }

    /// For its totals and flows.
    pub const fn ledger(&self) -> &Ledger {
        self.manager.ledger()
    }

    fn keep(&mut self, output: Output) -> Vec<Effect> {
        self.events.extend(output.events);
        self.audit.extend(output.audit);
        output.effects
    }
}
