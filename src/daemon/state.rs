//! What all connections share, and the policy that is read again.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::confined::Confined;
use super::error::DaemonStartError;
use super::group_requests::GroupRequests;
use super::holdings::Reservations;
use super::marks::Marks;
use super::notices::Notices;
use super::notifications::tell_reloading;
use super::observed::Observed;
use super::requests::{failed, value};
use super::sockets::HostSockets;
use super::users::Users;
use super::watched::Watched;
use crate::admission::ClassTotals;
use crate::control::{ClientNotice, ControlError, PolicyClassRecord, ReportedProblem};
use crate::engine::{EngineSnapshot, LocalEngine};
use crate::failure::KernelFailure;
use crate::files::{InvalidPolicy, PolicyFiles};
use crate::policy::{Policy, PolicyChanges};
use crate::telemetry::plain;

/// What all connections share.
pub(super) struct DaemonServer {
    pub(super) engine: Arc<LocalEngine>,
    pub(super) holdings: Arc<Reservations>,
    pub(super) group_requests: Arc<GroupRequests>,
    pub(super) notices: Arc<Notices>,
    pub(super) sockets: Arc<dyn HostSockets>,
    pub(super) marks: Marks,
    pub(super) users: Arc<Users>,
    pub(super) files: Vec<PathBuf>,
    /// The policy that it was started with.
    pub(super) begun_with: Policy,
    /// One reload at a time: the files that were read last count.
    pub(super) reload: tokio::sync::Mutex<()>,
    pub(super) draining: AtomicBool,
    pub(super) connections: AtomicU64,
    pub(super) observed: Observed,
    pub(super) watched: Watched,
    pub(super) confined: Confined,
    /// The group whose members are administrators.
    pub(super) administrators: Mutex<Option<u32>>,
}

/// How many classes of the policy a status names at most.
const MOST_POLICY_CLASSES: usize = 1024;

impl DaemonServer {
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(super) fn drain(&self, draining: bool) {
        self.draining.store(draining, Ordering::Relaxed);
    }

    pub(super) fn policy_names(&self) -> Vec<String> {
        self.files.iter().map(|path| path.display().to_string()).collect()
    }

    /// The classes of the policy, as far as the ledger knows their interfaces.
    pub(super) fn policy_classes(snapshot: &EngineSnapshot) -> Vec<PolicyClassRecord> {
        let classes = snapshot.classes.iter().take(MOST_POLICY_CLASSES).cloned();
        let record = |ClassTotals { interface, class, totals, flows }| PolicyClassRecord {
            interface,
            class,
            totals,
            flows,
            traffic: None,
        };
        classes.map(record).collect()
    }

    /// Reads the policy's files again and uses them from now on.
    pub(super) async fn reload(&self) -> Result<Value, ControlError> {
        let _one = self.reload.lock().await;
        tell_reloading();
        let reloaded = self.replace_policy().await;
        self.observed.reloaded(reloaded.is_ok());
        self.tell_ready();
        if let Err(error) = &reloaded {
            log_failure(error);
        }
        reloaded
    }

    async fn replace_policy(&self) -> Result<Value, ControlError> {
        let policy = self.read_again().await?;
        let administrators = administrators(&policy)
            .map_err(|error| ControlError::UnsupportedPolicy { part: error.to_string() })?;
        let needs_restart = PolicyChanges::between(&self.begun_with, &policy).taken_at_start();
        let changes = self.engine.reload(policy).map_err(failed)?;
        if !needs_restart.is_empty() {
            let keys = needs_restart.join(", ");
            tracing::warn!(keys, "the policy has keys that take effect once the daemon is started again");
        }
        *self.administrators.lock().unwrap_or_else(PoisonError::into_inner) = administrators;
        self.notices.notify_all(&ClientNotice::Degrade { policy: self.engine.policy_for_clients() });
        with_restart(value(&changes)?, needs_restart)
    }

    /// What a reload would change.
    pub(super) async fn plan(&self) -> Result<Value, ControlError> {
        let policy = self.read_again().await?;
        let needs_restart = PolicyChanges::between(&self.begun_with, &policy).taken_at_start();
        with_restart(value(&self.engine.compare(&policy))?, needs_restart)
    }

    async fn read_again(&self) -> Result<Policy, ControlError> {
        let files = self.files.clone();
        let read = tokio::task::spawn_blocking(move || read(&files)).await;
        // The runtime is shutting down.
        let read = read.map_err(|_| ControlError::Stopped {})?;
        read.map_err(|invalid| ControlError::InvalidPolicy { problems: problems(&invalid) })
    }
}

/// A reload that has failed is in the log, whatever asked for it.
fn log_failure(error: &ControlError) {
    let ControlError::InvalidPolicy { problems } = error else {
        let failure = error.to_string();
        tracing::error!(event = "policy_not_reloaded", failure, "the policy was not reloaded: {failure}");
        return;
    };
    tracing::error!(
        event = "policy_invalid",
        problems = problems.len(),
        "the policy is invalid, and the one before stays"
    );
    for problem in problems.iter().map(ToString::to_string) {
        tracing::error!(event = "policy_problem", problem, "{}", plain(&problem));
    }
}

/// The changes, with the keys that need a restart of the daemon.
fn with_restart(mut changes: Value, needs_restart: Vec<String>) -> Result<Value, ControlError> {
    if let Some(fields) = changes.as_object_mut().filter(|_| !needs_restart.is_empty()) {
        fields.insert("needs_restart".to_owned(), needs_restart.into());
    }
    Ok(changes)
}

pub(super) fn read(paths: &[PathBuf]) -> Result<Policy, InvalidPolicy> {
    PolicyFiles::read_all(paths).check().map(|(policy, _)| policy)
}

fn problems(invalid: &InvalidPolicy) -> Vec<ReportedProblem> {
    let sources = invalid.files().sources();
    let problem = |problem: &crate::policy::Problem| {
        let source = sources.get(problem.place.source);
        let (line, column) = source.map_or((0, 0), |source| source.position(problem.place.span.start));
        ReportedProblem {
            code: problem.code.to_string(),
            message: problem.message.clone(),
            file: source.map_or_else(String::new, |source| source.name.to_owned()),
            line,
            column,
            help: problem.help.clone(),
        }
    };
    invalid.problems().iter().map(problem).collect()
}

/// The group of the policy whose members are administrators.
///
/// - **Errors**: the system has no group of that name.
pub(super) fn administrators(policy: &Policy) -> Result<Option<u32>, DaemonStartError> {
    let Some(name) = policy.daemon.as_ref().and_then(|daemon| daemon.group.as_ref()) else { return Ok(None) };
    let found: Result<Option<u32>, KernelFailure> = crate::linux::group_id(name);
    match found? {
        Some(gid) => Ok(Some(gid)),
        None => Err(DaemonStartError::UnknownGroup { name: name.clone() }),
    }
}
