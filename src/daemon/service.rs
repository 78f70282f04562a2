//! The daemon as a service of systemd: that it is ready and alive.

use std::fmt::Write;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};

use super::notifications::tell;
use super::state::DaemonServer;
use crate::admission::Operation;
use crate::engine::Engine;
use crate::linux::service_manager::watchdog;

/// How often the status is sent where no watchdog waits.
const STATUS: Duration = Duration::from_secs(10);

impl DaemonServer {
    /// The daemon serves: its socket listens, and the kernel has answered about the interfaces of the policy.
    pub(super) fn tell_ready(&self) {
        tell(&format!("READY=1\n{}", self.status_line()));
    }

    fn status_line(&self) -> String {
        let (flows, connections) = (self.holdings.count(), self.users.connections());
        let mut status = format!("STATUS={flows} reservations, {connections} connections");
        if self.is_draining() {
            // Writing to a String cannot fail.
            let _ = write!(status, ", draining");
        }
        status
    }
}

/// Sends WATCHDOG=1 until the daemon ends, each time after the engine has answered an operation: while it does
/// not, nothing is sent, and the service manager ends the daemon.
pub(super) async fn keep_alive(server: &DaemonServer) {
    let limit = watchdog();
    // Half of the limit, as sd_watchdog_enabled(3) recommends.
    let period = limit.map_or(STATUS, |limit| limit / 2).max(Duration::from_millis(1));
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let answer = timeout(period, server.engine.submit(Operation::Tick)).await;
        match (answer, limit) {
            (Ok(Ok(_)), Some(_)) => tell(&format!("WATCHDOG=1\n{}", server.status_line())),
            (Ok(Ok(_)), None) => tell(&server.status_line()),
            (Ok(Err(error)), _) => tracing::error!(%error, "the engine does not admit"),
            (Err(_), _) => tracing::error!("the engine does not answer"),
        }
    }
}
