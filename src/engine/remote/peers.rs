//! The peers of the daemon's flows: their sockets are in this process, which looks at them by itself.

use std::sync::{Arc, Weak};

use tokio::sync::Notify;

use super::remote_engine::RemoteEngine;
use crate::admission::PeerState;
use crate::engine::watches::PeerReport;
use crate::manager::Loss;
use crate::policy::{PeerTimeouts, Timeout};

/// Looks at the sockets whenever they are due, until the engine is dropped.
pub(super) async fn look(engine: Weak<RemoteEngine>, wake: Arc<Notify>) {
    loop {
        let Some(next) = engine.upgrade().map(|engine| engine.watches().next()) else { return };
        let due = async {
            match next {
                Some(next) => tokio::time::sleep_until(next).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Something is watched, or the engine is dropped.
            () = wake.notified() => continue,
            () = due => {}
        }
        let Some(engine) = engine.upgrade() else { return };
        for report in engine.watches().look(engine.now()) {
            if let Some(why) = loss(&report, engine.now()) {
                engine.lose_peer(&report.id, why);
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
