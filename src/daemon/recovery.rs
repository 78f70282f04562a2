//! What a daemon that was killed has held: read at the start, granted again, and ended where no client and no socket
//! claims it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::holdings::Reservations;
use super::notices::Process;
use super::recovered::{AdoptionRefusal, Recovered, RecoveryProblem, RefusedAdoption, UnusableState};
use super::saved::{SavedFlow, SavedState, read};
use super::sockets::HostSockets;
use super::state::DaemonServer;
use crate::engine::{Adoptions, Engine, KeptReservation, KeptReservations};
use crate::tc::Handle;

/// What the state file says, without what has ended meanwhile.
#[derive(Default)]
pub(super) struct Recovery {
    state: SavedState,
    report: Recovered,
}

/// The most bytes of a state file that are read: those of more reservations than there may be with names of ordinary length.
const MOST_BYTES: u64 = 64 << 20;

impl Recovery {
    /// Reads a state file that was written on this system; whatever is wrong with it is reported and ignored.
    pub(super) fn read(path: &Path, system: &str) -> Self {
        Self::of(contents(path), (path, system))
    }

    /// The same from the contents of the file; `None` where the file does not exist.
    pub(super) fn of(
        contents: Result<Option<Vec<u8>>, UnusableState>,
        (path, system): (&Path, &str),
    ) -> Self {
        let mut recovery = Self::default();
        let path = path.to_owned();
        match contents.and_then(|bytes| bytes.map(|bytes| read(&bytes, system)).transpose()) {
            Ok(None) => return recovery,
            Err(why) => recovery.report.problems.push(RecoveryProblem::UnusableFile { path, why }),
            Ok(Some(state)) => {
                if state.damaged > 0 {
                    let damaged = RecoveryProblem::DamagedLines { path, lines: state.damaged };
                    recovery.report.problems.push(damaged);
                }
                recovery.state = state;
            }
        }
        recovery
    }

    /// What the engine is to grant again, in the order of [`Self::adopt`].
    pub(super) fn kept(&self) -> KeptReservations {
        let flows: Vec<KeptReservation> =
            self.state.flows.values().map(|flow| flow.reservation.clone()).collect();
        let groups = self.state.groups.values().map(|group| group.request()).collect();
        KeptReservations { groups, flows, marked: Vec::new() }
    }

    /// The groups that end with their last members.
    pub(super) fn groups_ended(&self) -> Vec<String> {
        self.state.groups_ended()
    }

    /// The processes of the flows that are to be granted again, by their ids.
    pub(super) fn processes(&self) -> HashMap<String, Process> {
        let flows = self.state.flows.iter();
        flows.map(|(id, flow)| (id.clone(), Process { uid: flow.uid, pid: flow.pid })).collect()
    }

    /// The processes of the groups that are to be made again.
    pub(super) fn group_processes(&self) -> HashMap<String, Process> {
        let groups = self.state.groups.iter();
        groups.map(|(id, group)| (id.clone(), Process { uid: group.uid, pid: group.pid })).collect()
    }

    /// The engine has granted them again: they are held from now on.
    pub(super) fn adopt(self, adoptions: Adoptions, holdings: &Arc<Reservations>) -> Recovered {
        let Self { state, mut report } = self;
        state.groups.values().for_each(|group| holdings.adopt_group(group));
        for (flow, adopted) in state.flows.values().zip(adoptions) {
            let refusal = match adopted {
                Err(why) => Some(AdoptionRefusal::NotGranted(why)),
                Ok(granted) if loses_class(flow, granted.admitted.class) => Some(AdoptionRefusal::ClassTaken),
                Ok(granted) => (!holdings.adopt(flow, granted)).then_some(AdoptionRefusal::SocketTaken),
            };
            match refusal {
                None => report.adopted += 1,
                Some(why) => {
                    report.refused.push(RefusedAdoption { id: flow.reservation.id.clone(), why });
                }
            }
        }
        holdings.groups_had_ended(&state.groups_ended());
        report
    }

    /// Leaves out the flows whose sockets have ended. Where the kernel does not say, they wait for their clients.
    pub(super) async fn leave_out_ended(&mut self, sockets: &dyn HostSockets) {
        if self.state.flows.is_empty() {
            return;
        }
        let live = sockets.live().await;
        if let Err(failure) = &live {
            self.report.problems.push(RecoveryProblem::SocketsNotListed(failure.clone()));
        }
        let before = self.state.flows.len();
        self.state.flows.retain(|_, flow| {
            let Some(socket) = &mut flow.socket else { return true };
            let is_live = live.as_ref().is_ok_and(|live| live.contains(&socket.cookie));
            let may_live = is_live || live.is_err() || !socket.is_listed;
            socket.is_listed = is_live;
            may_live
        });
        self.report.ended = before - self.state.flows.len();
    }
}

/// Whether a flow has got another class than that to which its socket sends. A flow that had none sends to none.
fn loses_class(flow: &SavedFlow, class: Option<Handle>) -> bool {
    let before = flow.reservation.kernel_class.filter(|_| flow.socket.is_some());
    before.is_some() && class.is_some() && class != before
}

/// The state file that belongs to a control socket.
pub(super) fn state_path(socket: &Path) -> PathBuf {
    let mut path = socket.as_os_str().to_owned();
    path.push(".state");
    path.into()
}

/// The bytes of a state file; `None` where it does not exist.
///
/// - **Errors**: it cannot be read, or is not what a daemon of this user writes.
fn contents(path: &Path) -> Result<Option<Vec<u8>>, UnusableState> {
    let unreadable = |error: io::Error| UnusableState::Unreadable(error.into());
    let file = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        found => found.map_err(unreadable)?,
    };
    if !file.is_file() {
        return Err(UnusableState::NotAFile);
    }
    if file.uid() != crate::linux::owner().uid {
        return Err(UnusableState::OtherUser);
    }
    let opened = File::open(path).map_err(unreadable)?;
    let metadata = opened.metadata().map_err(unreadable)?;
    if (metadata.dev(), metadata.ino()) != (file.dev(), file.ino()) {
        return Err(UnusableState::BeingReplaced);
    }
    if metadata.len() > MOST_BYTES {
        return Err(UnusableState::TooLarge);
    }
    let mut bytes = Vec::new();
    opened.take(MOST_BYTES).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(Some(bytes))
}

/// Ends what no client has claimed after this time, and no socket keeps.
pub(super) async fn end_unclaimed(server: Arc<DaemonServer>, grace: Duration) {
    tokio::time::sleep(grace).await;
    let live = server.sockets.live().await.unwrap_or_default();
    let (_, groups) = server.holdings.end_unclaimed(&live);
    groups.into_iter().for_each(|id| server.engine.end_group(id));
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::saved::{append, header};
    use super::*;

    #[track_caller]
    fn check(make: impl Fn(&Path), expected: &str) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gqos.sock.state");
        make(&path);
        let Recovery { state, report } = Recovery::read(&path, "s");
        assert_eq!(state, SavedState::default());
        let said: Vec<_> = report.problems.iter().map(ToString::to_string).collect();
        let said = said.join("\n");
        assert!(said.contains(expected) && said.is_empty() == expected.is_empty(), "{said:?}: {expected}");
    }

    #[test]
    fn a_flow_loses_its_class_where_its_socket_sends_to_another() {
        let [own, other] = [0x100, 0x101].map(|minor| Some(Handle::qdisc(0x6771).class(minor)));
        let check = |before, socket: bool, now, expected| {
            let flowspec = flowspec::Flowspec::BEST_EFFORT;
            let flow = serde_json::json!({
                "uid": 1, "pid": 2, "epoch": "e",
                "socket": socket.then(|| serde_json::json!({ "cookie": 7, "is_listed": true })),
                "reservation": {
                    "id": "v1", "interface": "eth0", "qos": { "sending": flowspec, "receiving": flowspec },
                    "kernel_class": before,
                },
            });
            let flow: SavedFlow = serde_json::from_value(flow).unwrap();
            assert_eq!(loses_class(&flow, now), expected, "{before:?}, {socket}: {now:?}");
        };
        check(own, true, own, false);
        check(own, true, other, true);
        check(own, true, None, false);
        check(own, false, other, false);
        check(None, true, other, false);
    }

    #[test]
    fn whatever_is_wrong_with_a_file_is_said_and_it_is_ignored() {
        check(|_| {}, "");
        check(|path| std::fs::create_dir(path).unwrap(), "not a regular file");
        check(|path| symlink("/etc/passwd", path).unwrap(), "not a regular file");
        check(|path| std::fs::write(path, "").unwrap(), "does not begin as");
        check(|path| std::fs::write(path, [0; 4096]).unwrap(), "does not begin as");
        check(|path| File::create(path).unwrap().set_len(MOST_BYTES + 1).unwrap(), "too large");
        let mut elsewhere = Vec::new();
        append(&header("other"), &mut elsewhere);
        check(|path| std::fs::write(path, &elsewhere).unwrap(), "another network namespace");
    }
}
