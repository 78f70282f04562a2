//! The provider of this process, as long as it is started.

use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, mpsc};

use flowspec::Wsa;
use gqos::policy::Policy;

use super::Result;
use super::blocking::in_callback;
use super::group::Groups;
use super::qos_host::QosHost;
use crate::sys;

/// What all sockets of the process share.
pub(crate) struct Provider {
    pub(crate) host: Arc<QosHost>,
    pub(crate) groups: Arc<Groups>,
    pub(crate) policy: Arc<Policy>,
    /// The queue of the thread that runs callbacks; made for the first selection of one.
    callbacks: Mutex<Option<mpsc::Sender<CallbackRun>>>,
    process: u32,
}

/// One run of a callback of the program's.
type CallbackRun = Box<dyn FnOnce() + Send>;

/// A provider with the number of its starts that have no cleanup yet.
pub(crate) struct Started {
    pub(crate) starts: u64,
    pub(crate) provider: Arc<Provider>,
}

static STARTED: RwLock<Option<Started>> = RwLock::new(None);

/// The started provider, for `startup` and `cleanup`.
pub(crate) fn started() -> RwLockWriteGuard<'static, Option<Started>> {
    // The value is consistent between any two statements that can panic.
    STARTED.write().unwrap_or_else(PoisonError::into_inner)
}

/// The same, if no other thread holds it.
pub(crate) fn try_started() -> Option<RwLockWriteGuard<'static, Option<Started>>> {
    STARTED.try_write().ok()
}

/// Checks that this process has started the provider.
///
/// - **Errors**: WSANOTINITIALISED.
pub(crate) fn check_started() -> Result<()> {
    own(&STARTED.read().unwrap_or_else(PoisonError::into_inner)).map(drop)
}

/// The provider that this process has started.
///
/// - **Errors**: WSANOTINITIALISED.
pub(crate) fn provider() -> Result<Arc<Provider>> {
    own(&STARTED.read().unwrap_or_else(PoisonError::into_inner)).cloned()
}

/// A child after fork has none of its parent's threads: to the child the parent's provider is not started.
fn own<'a>(started: &'a RwLockReadGuard<'_, Option<Started>>) -> Result<&'a Arc<Provider>> {
    match &**started {
        Some(started) if started.provider.is_own() => Ok(&started.provider),
        _ => Err(Wsa::NotInitialised),
    }
}

impl Provider {
    /// Starts the reactor and the host.
    ///
    /// - **Errors**: WSASYSNOTREADY.
    pub(crate) fn start(policy: Option<Arc<Policy>>, on_overcommitment: fn(&str, bool)) -> Result<Self> {
        let host = Arc::new(QosHost::start(policy.clone(), on_overcommitment)?);
        Ok(Self {
            groups: Arc::new(Groups::new(Arc::clone(&host))),
            host,
            policy: policy.unwrap_or_default(),
            callbacks: Mutex::default(),
            process: sys::process_id(),
        })
    }

    /// Whether this process started it, and not its parent.
    pub(crate) fn is_own(&self) -> bool {
        self.process == sys::process_id()
    }

    /// Starts the thread that runs callbacks, unless it runs.
    ///
    /// - **Errors**: WSAENOBUFS.
    pub(crate) fn start_callbacks(&self) -> Result<()> {
        let mut callbacks = self.callbacks.lock().unwrap_or_else(PoisonError::into_inner);
        if callbacks.is_none() {
            let (queue, runs) = mpsc::channel::<CallbackRun>();
            let body = move || runs.into_iter().for_each(in_callback);
            let thread = std::thread::Builder::new().name("gqos-callbacks".into()).spawn(body);
            thread.map_err(|_| Wsa::Enobufs)?;
            *callbacks = Some(queue);
        }
        Ok(())
    }

    /// Runs a callback after those that are queued. It does not run on the reactor, since its calls may wait for that.
    pub(crate) fn run_callback(&self, callback: CallbackRun) {
        let callbacks = self.callbacks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(callbacks) = &*callbacks {
            // An error means that a callback has panicked and ended the thread.
            let _ = callbacks.send(callback);
        }
    }
}
