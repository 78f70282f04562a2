//! The peers of the daemon's flows: their sockets are in this process, which looks at them by itself.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::admission::PeerState;
use crate::engine::clock::ManagerClock;
use crate::engine::watches::{PeerReport, Watches};
use crate::manager::Loss;
use crate::policy::{PeerTimeouts, Timeout};

/// Looks at the sockets whenever they are due, for ever; `lose` ends the reservation of a flow by its id.
pub(super) async fn look(
    (watches, clock): (Watches, ManagerClock),
    wake: Arc<Notify>,
    lose: impl Fn(&str, Loss) + Send,
) {
    loop {
        let next = watches.next();
        let due = async {
            match next {
                Some(next) => tokio::time::sleep_until(next).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Something is watched.
            () = wake.notified() => continue,
            () = due => {}
        }
        for report in watches.look(clock.now()) {
            if let Some(why) = loss(&report, clock.now()) {
                lose(&report.id, why);
            }
        }
    }
}

/// Why a reservation ends by what is reported of its peer, where it does.
fn loss(report: &PeerReport, now: flowspec::Moment) -> Option<Loss> {
    let PeerTimeouts { dead_after, stalled_after } = report.timeouts;
    let is_over = |timeout: Timeout, since: Option<flowspec::Moment>| {
        let limit = timeout.limit();
        limit.zip(since).is_some_and(|(limit, since)| now.saturating_since(since) >= limit)
    };
    report.reports.iter().find_map(|(state, since)| match state {
        PeerState::Gone => Some(Loss::Dead),
        PeerState::Silent => is_over(dead_after, *since).then_some(Loss::Dead),
        PeerState::Stalled => is_over(stalled_after, *since).then_some(Loss::Stalled),
        PeerState::Active => None,
    })
}
