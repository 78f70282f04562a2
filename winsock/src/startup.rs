//! Starting and ending the provider.

use std::sync::{Arc, Once};

use flowspec::Wsa;
use gqos::admission::{Decision, Operation};
use gqos::policy::{Policy, Source};

use super::Result;
use super::close::close_all;
use super::group_qos::on_overcommitment;
use super::provider::{Provider, Started, provider, started, try_started};
use crate::sys;

/// The paths of the policy's files, separated by colons.
const POLICY_VARIABLE: &str = "GQOS_POLICY";

/// Starts the provider, or counts one start more. The policy is read from the files that `GQOS_POLICY` names. Without
/// that variable there is no policy, and every flow specification that needs a reservation is refused.
///
/// - **Errors**: WSASYSNOTREADY where the policy cannot be read or the host cannot be started.
/// - **Source**: WSAStartup.
pub fn startup() -> Result<()> {
    start(|| match std::env::var(POLICY_VARIABLE) {
        Err(_) => Ok(None),
        Ok(paths) => read_policy(&paths).map(Some),
    })
}

fn read_policy(paths: &str) -> Result<Arc<Policy>> {
    let paths: Vec<_> = paths.split(':').filter(|path| !path.is_empty()).collect();
    let texts = paths.iter().map(std::fs::read_to_string).collect::<std::io::Result<Vec<_>>>();
    let texts = texts.map_err(|_| Wsa::SysNotReady)?;
    let sources: Vec<_> = paths.iter().zip(&texts).map(|(name, text)| Source { name, text }).collect();
    let (policy, _) = Policy::parse(&sources).map_err(|_| Wsa::SysNotReady)?;
    Ok(Arc::new(policy))
}

/// Starts the provider under this policy, or counts one start more of the provider that is started.
///
/// - **Errors**: WSASYSNOTREADY where the host cannot be started.
pub fn startup_with(policy: Arc<Policy>) -> Result<()> {
    start(|| Ok(Some(policy)))
}

fn start(policy: impl FnOnce() -> Result<Option<Arc<Policy>>>) -> Result<()> {
    let mut started = started();
    match &mut *started {
        Some(known) if known.provider.is_own() => {
            known.starts += 1;
            return Ok(());
        }
        // A child after fork: the parent's provider cannot be ended without its threads.
        Some(of_parent) => std::mem::forget(Arc::clone(&of_parent.provider)),
        None => {}
    }
    sys::prepare_placeholder().map_err(|_| Wsa::SysNotReady)?;
    let provider = Provider::start(policy()?, on_overcommitment)?;
    AT_EXIT.call_once(|| {
        // An error means that the kernel's classes stay after a program that does not clean up.
        let _ = sys::at_exit(end_at_exit);
    });
    *started = Some(Started { starts: 1, provider: Arc::new(provider) });
    Ok(())
}

static AT_EXIT: Once = Once::new();

/// Removes what was programmed, in a process that exits without a cleanup.
extern "C" fn end_at_exit() {
    // A thread that holds the lock is inside of a startup or cleanup, and may never finish it.
    let started = (0..100).find_map(|_| {
        std::thread::yield_now();
        try_started()
    });
    let Some(mut started) = started else { return };
    if let Some(Started { provider, .. }) = started.take_if(|started| started.provider.is_own()) {
        drop(started);
        provider.host.stop();
    }
}

/// Submits an operation to the ledger of this process: a change of capacity, a query.
///
/// - **Errors**: WSANOTINITIALISED; WSAEOPNOTSUPP without a policy; WSAENETDOWN where the host has ended. A refusal
///   is a decision.
pub fn submit(operation: Operation) -> Result<Decision> {
    provider()?.host.submit(operation)
}

/// Takes one start back. The last one closes all sockets and ends the provider.
///
/// - **Errors**: WSANOTINITIALISED, also in a child after fork that has not started the provider itself.
/// - **Source**: WSACleanup.
pub fn cleanup() -> Result<()> {
    let ended = {
        let mut started = started();
        let Some(known) = started.as_mut().filter(|known| known.provider.is_own()) else {
            return Err(Wsa::NotInitialised);
        };
        known.starts -= 1;
        if known.starts > 0 {
            return Ok(());
        }
        started.take()
    };
    close_all();
    if let Some(Started { provider, .. }) = ended {
        provider.host.stop();
    }
    Ok(())
}
