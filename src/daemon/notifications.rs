//! What the daemon tells its service manager, by sd_notify.
//!
//! Without a service manager nothing is sent. What cannot be sent is logged, and nothing else fails.

use crate::linux::service_manager::{monotonic, notify};

/// The policy is being read again; that the daemon is ready follows.
pub(super) fn tell_reloading() {
    tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic().get()));
}

/// The daemon ends.
pub(super) fn tell_stopping() {
    tell("STOPPING=1\nSTATUS=stopping");
}

/// Sends lines of `NAME=VALUE`.
pub(super) fn tell(state: &str) {
    if let Err(error) = notify(state) {
        tracing::warn!(%error, "NOTIFY_SOCKET: the service manager was not notified");
    }
}
