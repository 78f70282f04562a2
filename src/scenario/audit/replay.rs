//! An audit log under a policy.

use std::collections::HashSet;
use std::sync::Arc;

use super::comparison::{AuditComparison, ComparedKind, ComparedVerdict};
use super::line::{AuditHeader, AuditLine, AuditRecord};
use crate::admission::{Decision, Operation, RefusedRequest, RequestKind};
use crate::manager::{DryRun, Restore};
use crate::policy::Policy;
use crate::telemetry::audit::policy_digest;

/// Decides the requests of an audit log again.
///
/// Under the policy that decided then, every verdict is the same. Under another one, the flows that are admitted take what
/// they take under it, for as long as they lasted then. A flow that was refused then has no end in the log: its verdict
/// counts, and it takes nothing from those after it.
#[derive(Debug)]
pub struct AuditReplay {
    policy: Arc<Policy>,
    digest: String,
    dry_run: DryRun,
    run: Option<String>,
    /// The run of the last header, if its end has not come.
    unended: Option<String>,
    last_seq: u64,
    /// Whether the lines that say what is held are known already.
    continues: bool,
    restore: Restore,
    /// The flows that were admitted then, whose requests are refused: the next run states them again.
    refused: HashSet<String>,
    comparison: AuditComparison,
}

/// What became of a line.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ReplayedLine {
    /// The policy has decided it.
    Decided(Box<Decision>, Option<Box<ComparedVerdict>>),
    /// It says what is held, and the policy refuses that. The log does not have the request.
    HeldRefused(Box<ComparedVerdict>),
    /// It says what is held, or what the kernel has done.
    Followed,
}

impl AuditReplay {
    /// A replay under a policy.
    pub fn new(policy: Arc<Policy>) -> Self {
        let (digest, dry_run) = (policy_digest(&policy), DryRun::new(Arc::clone(&policy)));
        let (run, unended, last_seq, continues, restore) = (None, None, 0, false, Restore::Admitted);
        let (refused, comparison) = Default::default();
        Self { policy, digest, dry_run, run, unended, last_seq, continues, restore, refused, comparison }
    }

    /// The policy's templates are those that lines may name.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What was counted so far.
    pub const fn comparison(&self) -> &AuditComparison {
        &self.comparison
    }

    /// The state after the lines so far.
    pub const fn dry_run(&self) -> &DryRun {
        &self.dry_run
    }

    /// The next line.
    pub fn line(&mut self, line: &AuditLine) -> ReplayedLine {
        let is_next = line.seq == self.last_seq + 1;
        self.last_seq = line.seq;
        match &line.record {
            AuditRecord::Header(header) => self.header(header, is_next),
            AuditRecord::Reload(header) => {
                self.comparison.reloads += 1;
                self.restore = self.restore_under(&header.policy.digest);
            }
            AuditRecord::Gap { missing } => {
                self.comparison.missing += missing;
                // The header after it says what is held.
                self.run = None;
            }
            AuditRecord::Stop => {
                (self.run, self.unended) = (None, None);
                self.refused.clear();
            }
            AuditRecord::Link { interface, mtu, speed, again } => {
                if !self.is_known(line) {
                    self.dry_run.observe_link(interface, (*mtu, *speed), *again);
                }
            }
            AuditRecord::Programmed { interface, programmed } => {
                self.dry_run.set_programmed(interface, *programmed);
            }
            AuditRecord::TakenBack { id } => {
                self.refused.remove(id);
                self.dry_run.take_back(id);
            }
            AuditRecord::Failed => {}
            AuditRecord::Refused => self.comparison.not_by_policy += 1,
            AuditRecord::Begun { id, flowspecs } => {
                drop(self.dry_run.begin_renegotiation(id, flowspecs, line.at));
            }
            AuditRecord::Concluded { id, agreed } => return self.concluded(line, id, *agreed),
            AuditRecord::Request(request) => return self.request(line, request),
        }
        ReplayedLine::Followed
    }

    fn restore_under(&self, digest: &str) -> Restore {
        if digest == self.digest { Restore::Unchecked } else { Restore::Admitted }
    }

    fn is_known(&self, line: &AuditLine) -> bool {
        line.held && self.continues
    }

    fn header(&mut self, header: &AuditHeader, is_next: bool) {
        self.comparison.files += 1;
        self.restore = self.restore_under(&header.policy.digest);
        self.comparison.same_policy &= self.restore == Restore::Unchecked;
        let before = self.unended.replace(header.run.clone());
        self.comparison.without_end += u64::from(before.is_some_and(|before| before != header.run));
        // The next file of a run goes on where the one before has ended.
        self.continues = is_next && self.run.as_ref() == Some(&header.run);
        if !self.continues {
            self.dry_run = DryRun::new(Arc::clone(&self.policy));
            self.run = Some(header.run.clone());
        }
    }

    fn request(
        &mut self,
        line: &AuditLine,
        request: &Result<Box<Operation>, Box<RefusedRequest>>,
    ) -> ReplayedLine {
        if self.is_known(line) {
            return ReplayedLine::Followed;
        }
        if line.held {
            // What was not taken over after a kill has ended with it.
            if line.decision.as_ref().is_none_or(|decision| decision.ok) {
                return self.held(line, request);
            }
            return ReplayedLine::Followed;
        }
        let then_ok = line.decision.as_ref().is_none_or(|decision| decision.ok);
        let decision = match request {
            Err(refused) => self.dry_run.refuse((**refused).clone(), line.at),
            Ok(operation) => self.dry_run.decide((**operation).clone(), line.at),
        };
        let is_new = matches!(request, Ok(operation) if matches!(**operation, Operation::Reserve(_)));
        if is_new && decision.is_ok() && !then_ok {
            // The log does not say how long it would have lasted.
            let id = decision.id().unwrap_or_default().to_owned();
            self.dry_run.take_back(&id);
        }
        self.note_refused(line, &decision, then_ok);
        self.compared(line, decision)
    }

    /// Remembers a flow that was admitted then and is refused now, until it ends.
    fn note_refused(&mut self, line: &AuditLine, decision: &Decision, then_ok: bool) {
        let Some(id) = line.text("id") else { return };
        match line.text("op") {
            Some("reserve") if then_ok && !decision.is_ok() => self.refused.insert(id.to_owned()),
            Some("reserve" | "release") => self.refused.remove(id),
            _ => false,
        };
    }

    fn concluded(&mut self, line: &AuditLine, id: &str, agreed: bool) -> ReplayedLine {
        match self.dry_run.conclude(id, agreed, line.at) {
            // What the kernel refuses, no policy decides.
            Some(decision) if agreed => self.compared(line, decision),
            _ => ReplayedLine::Followed,
        }
    }

    fn compared(&mut self, line: &AuditLine, decision: Decision) -> ReplayedLine {
        let verdict = line.decision.as_ref().map(|then| {
            let verdict = ComparedVerdict::of(line, then, &decision);
            self.comparison.count(&verdict);
            Box::new(verdict)
        });
        ReplayedLine::Decided(Box::new(decision), verdict)
    }

    /// Something that was held when the file began.
    fn held(
        &mut self,
        line: &AuditLine,
        request: &Result<Box<Operation>, Box<RefusedRequest>>,
    ) -> ReplayedLine {
        let refusal = match request {
            Err(refused) => Some((id_of(&refused.kind), refused.refusal.clone())),
            Ok(operation) => match &**operation {
                Operation::Reserve(ladder) => {
                    let restored = self.dry_run.restore(&ladder.request, self.restore, line.at);
                    restored.err().map(|why| (Some(ladder.request.id.clone()), why))
                }
                operation => {
                    drop(self.dry_run.decide(operation.clone(), line.at));
                    None
                }
            },
        };
        if let Some((id, refusal)) = refusal {
            let id = id.unwrap_or_default();
            // Its request may be in an earlier file, and has its verdict then.
            if line.text("op") == Some("reserve") && !self.refused.insert(id.clone()) {
                return ReplayedLine::Followed;
            }
            let verdict = ComparedVerdict::of_held(line, id, &refusal);
            self.comparison.count(&verdict);
            return ReplayedLine::HeldRefused(Box::new(verdict));
        }
        if line.text("op") == Some("reserve") {
            self.comparison.held += 1;
        }
        ReplayedLine::Followed
    }
}

fn id_of(kind: &RequestKind) -> Option<String> {
    match kind {
        RequestKind::Reserve { id }
        | RequestKind::Renegotiate { id }
        | RequestKind::Release { id }
        | RequestKind::Group { id } => Some(id.clone()),
        RequestKind::Query => None,
    }
}

impl ReplayedLine {
    /// The verdict, where the line has one.
    pub fn verdict(&self) -> Option<&ComparedVerdict> {
        match self {
            Self::Decided(_, verdict) => verdict.as_deref(),
            Self::HeldRefused(verdict) => Some(verdict),
            Self::Followed => None,
        }
    }

    /// Whether the policy decides otherwise than the one then.
    pub fn differs(&self) -> bool {
        self.verdict().is_some_and(|verdict| verdict.kind != ComparedKind::Same)
    }
}
