//! What a policy decides in place of the one that decided then.

use std::collections::BTreeMap;

use flowspec::Moment;
use serde::Serialize;

use super::line::{AuditLine, RecordedDecision};
use super::word::LoggedWord;
use crate::admission::{Decision, OperationKind, Reason, Refusal};

/// How two verdicts differ.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ComparedKind {
    /// Both admit, or both refuse for the same reason.
    Same,
    /// Admitted then, refused now.
    RefusedNow,
    /// Refused then, admitted now.
    AdmittedNow,
    /// Refused by both, for another reason.
    OtherReason,
    /// Admitted by both, as another rendition.
    OtherRendition,
}

/// The verdict of a line, then and now.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct ComparedVerdict {
    /// From 1970 on.
    pub at_us: Moment,
    /// The same, as people write it.
    pub time: String,
    /// How they differ.
    pub kind: ComparedKind,
    /// The operation.
    pub op: LoggedWord<OperationKind>,
    /// The flow or the group.
    pub id: String,
    /// The flow's class.
    pub class: Option<String>,
    /// The first template that it asked for.
    pub template: Option<String>,
    /// The client that it is counted for.
    pub client: Option<String>,
    /// Why it was refused then.
    pub reason_then: Option<LoggedWord<Reason>>,
    /// Why it is refused now.
    pub reason_now: Option<Reason>,
    /// Whether it was held when the log began.
    pub held: bool,
    /// The decision now, in a sentence.
    pub message: String,
}

/// How many verdicts differ, and in what.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct AuditComparison {
    /// The files, or runs, that were read.
    pub files: u64,
    /// Whether all of them were made under a policy that says the same.
    pub same_policy: bool,
    /// The requests that were decided again.
    pub decided: u64,
    /// Those that were admitted then.
    pub admitted_then: u64,
    /// Those that were refused then.
    pub refused_then: u64,
    /// Those with the same verdict.
    pub same: u64,
    /// Admitted then, refused now.
    pub refused_now: u64,
    /// Refused then, admitted now.
    pub admitted_now: u64,
    /// Refused for another reason.
    pub other_reason: u64,
    /// Admitted as another rendition.
    pub other_rendition: u64,
    /// The flows that were held when the log began, and still are.
    pub held: u64,
    /// Refusals that do not follow from a policy: the kernel's, and those of requests that overtake others.
    pub not_by_policy: u64,
    /// How often another policy was loaded meanwhile.
    pub reloads: u64,
    /// Facts that are missing from the log.
    pub missing: u64,
    /// Runs of the daemon that have no end in the log, and are followed by another: what they did last may be missing.
    pub without_end: u64,
    /// The differing verdicts of reservations by template, class and reason.
    pub by: Vec<Differing>,
    #[serde(skip)]
    groups: BTreeMap<DifferingKey, u64>,
}

/// How verdicts differ, with the template, the class and the reason.
type DifferingKey = (ComparedKind, [Option<String>; 2], Option<LoggedWord<Reason>>);

/// Verdicts that differ in the same way.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Differing {
    /// How they differ.
    pub kind: ComparedKind,
    /// The first template that was asked for.
    pub template: Option<String>,
    /// The name of the class in the policy.
    pub class: Option<String>,
    /// Why refused: now, or then where they are admitted now.
    pub reason: Option<LoggedWord<Reason>>,
    /// How many.
    pub count: u64,
}

impl Default for AuditComparison {
    fn default() -> Self {
        Self {
            files: 0,
            same_policy: true,
            decided: 0,
            admitted_then: 0,
            refused_then: 0,
            same: 0,
            refused_now: 0,
            admitted_now: 0,
            other_reason: 0,
            other_rendition: 0,
            held: 0,
            not_by_policy: 0,
            reloads: 0,
            missing: 0,
            without_end: 0,
            by: Vec::new(),
            groups: BTreeMap::new(),
        }
    }
}

impl ComparedVerdict {
    pub(super) fn of(line: &AuditLine, then: &RecordedDecision, now: &Decision) -> Self {
        let reason_now = now.reason();
        let kind = match (then.ok, now.is_ok()) {
            (true, false) => ComparedKind::RefusedNow,
            (false, true) => ComparedKind::AdmittedNow,
            (false, false) if then.reason != reason_now.map(LoggedWord::Known) => ComparedKind::OtherReason,
            (true, true) if then.rendition.as_deref() != now.rendition() => ComparedKind::OtherRendition,
            _ => ComparedKind::Same,
        };
        let id = line.text("id").or_else(|| line.text("interface")).unwrap_or_default().to_owned();
        let reason_then = then.reason.clone();
        Self { kind, reason_then, reason_now, message: now.message(), ..Self::named(line, id) }
    }

    pub(super) fn of_held(line: &AuditLine, id: String, refusal: &Refusal) -> Self {
        let reason_now = Some(refusal.reason());
        let (kind, message) = (ComparedKind::RefusedNow, refusal.to_string());
        Self { kind, reason_now, message, ..Self::named(line, id) }
    }

    /// Whether the line is a request for a reservation or a group. The verdict on a release is that on its reservation.
    pub const fn is_of_a_request(&self) -> bool {
        use OperationKind::{Group, Renegotiate, Reserve};
        matches!(self.op, LoggedWord::Known(Reserve | Renegotiate | Group))
    }

    fn named(line: &AuditLine, id: String) -> Self {
        let text = |field| line.text(field).map(str::to_owned);
        let first = |field| line.fields.get(field)?.get(0)?.as_str().map(str::to_owned);
        Self {
            at_us: line.at,
            time: text("time").unwrap_or_default(),
            kind: ComparedKind::Same,
            op: line.operation().to_owned().into(),
            id,
            class: text("class"),
            template: text("template").or_else(|| first("templates")),
            client: text("client"),
            reason_then: None,
            reason_now: None,
            held: line.held,
            message: String::new(),
        }
    }
}

impl AuditComparison {
    /// Counts a verdict. Those of releases and the like tell nothing.
    pub(super) fn count(&mut self, verdict: &ComparedVerdict) {
        if !verdict.is_of_a_request() {
            return;
        }
        self.decided += 1;
        match verdict.reason_then {
            None => self.admitted_then += 1,
            Some(_) => self.refused_then += 1,
        }
        *match verdict.kind {
            ComparedKind::Same => &mut self.same,
            ComparedKind::RefusedNow => &mut self.refused_now,
            ComparedKind::AdmittedNow => &mut self.admitted_now,
            ComparedKind::OtherReason => &mut self.other_reason,
            ComparedKind::OtherRendition => &mut self.other_rendition,
        } += 1;
        if verdict.kind == ComparedKind::Same {
            return;
        }
        let reason = verdict.reason_now.map(LoggedWord::Known).or_else(|| verdict.reason_then.clone());
        let key = (verdict.kind, [verdict.template.clone(), verdict.class.clone()], reason);
        // Names come from a policy or a client: those beyond a bound are counted in the sums alone.
        if self.groups.len() < MOST_GROUPS || self.groups.contains_key(&key) {
            *self.groups.entry(key).or_default() += 1;
        }
    }

    /// The same with [`by`](Self::by), the most frequent first.
    #[must_use]
    pub fn summed_up(&self) -> Self {
        let mut by: Vec<_> = self
            .groups
            .iter()
            .map(|((kind, [template, class], reason), count)| Differing {
                kind: *kind,
                template: template.clone(),
                class: class.clone(),
                reason: reason.clone(),
                count: *count,
            })
            .collect();
        by.sort_by_key(|differing| std::cmp::Reverse(differing.count));
        Self { by, ..self.clone() }
    }
}

/// The most ways of differing that are told apart.
const MOST_GROUPS: usize = 10_000;
