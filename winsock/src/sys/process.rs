//! This process: its number, and what runs when it ends.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use flowspec::Errno;
use nix::libc;

use super::errno::Result;

/// Has a function called when the process ends by `exit` or by returning from `main`.
///
/// - **Errors**: ENOMEM.
pub(crate) fn at_exit(function: extern "C" fn()) -> Result<()> {
    // SAFETY: the function belongs to this library, which is not unloaded while its handler is registered.
    if unsafe { libc::atexit(function) } == 0 { Ok(()) } else { Err(Errno::ENOMEM) }
}

/// The number of this process. It is read once, and again after a fork.
pub(crate) fn process_id() -> u32 {
    match PROCESS.load(Ordering::Relaxed) {
        0 => {
            REGISTER.call_once(|| {
                // SAFETY: the handler stores a number, which a child may do whatever its parent was doing.
                let registered = unsafe { libc::pthread_atfork(None, None, Some(forget_process)) } == 0;
                FORK_IS_WATCHED.store(registered, Ordering::Relaxed);
            });
            let process = std::process::id();
            // Where the handler could not be registered, every call asks the kernel.
            if FORK_IS_WATCHED.load(Ordering::Relaxed) {
                PROCESS.store(process, Ordering::Relaxed);
            }
            process
        }
        process => process,
    }
}

/// 0 where it is not known.
static PROCESS: AtomicU32 = AtomicU32::new(0);
static FORK_IS_WATCHED: AtomicBool = AtomicBool::new(false);
static REGISTER: Once = Once::new();

extern "C" fn forget_process() {
    PROCESS.store(0, Ordering::Relaxed);
}
