//! The threads of a host that send files and bytes.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shaper::transfer::{Limits, Workers};

/// The workers of a host, which the first transfer starts. Its clones share them.
#[derive(Clone, Default)]
pub(super) struct HostWorkers(Arc<Mutex<Option<Workers>>>);

impl HostWorkers {
    /// The workers.
    ///
    /// - **Errors**: no descriptors or threads are left.
    pub(super) fn get(&self) -> io::Result<Workers> {
        let mut workers = self.lock();
        if let Some(workers) = &*workers {
            return Ok(workers.clone());
        }
        Ok(workers.insert(Workers::start(Limits::default())?).clone())
    }

    /// Starts them with these limits.
    ///
    /// - **Errors**: they have started; no descriptors or threads are left.
    pub(super) fn start(&self, limits: Limits) -> io::Result<()> {
        let mut workers = self.lock();
        if workers.is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        *workers = Some(Workers::start(limits)?);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Workers>> {
        // It is whole between any two statements that can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
