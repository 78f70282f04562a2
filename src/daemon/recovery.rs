//! What a daemon that was killed has held: read at the start, granted again, and ended where no client and no socket
//! claims it.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::holdings::Reservations;
use super::saved::{SavedFlow, SavedState, read};
use super::sockets::HostSockets;
use super::state::DaemonServer;
use crate::engine::{Adoptions, Engine, KeptReservation, KeptReservations};
use crate::tc::Handle;

/// What became of the reservations of a daemon that was killed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Recovered {
    /// How many were granted again.
    pub adopted: usize,
    /// How many have ended meanwhile, since their sockets have.
    pub ended: usize,
    /// Those that were not granted again, each with the reason.
    pub refused: Vec<(String, String)>,
    /// What was wrong with the state file, with its path.
    pub problems: Vec<String>,
}

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
    pub(super) fn of(contents: io::Result<Option<Vec<u8>>>, (path, system): (&Path, &str)) -> Self {
        let mut recovery = Self::default();
        let problem = |problem: &dyn fmt::Display| format!("{}: {problem}; it is ignored", path.display());
        match contents {
            Ok(None) => return recovery,
            Err(error) => recovery.report.problems.push(problem(&error)),
            Ok(Some(bytes)) => match read(&bytes, system) {
                Err(unusable) => recovery.report.problems.push(problem(&unusable)),
                Ok(state) => recovery.state = state,
            },
        }
        if recovery.state.damaged > 0 {
            let lines = recovery.state.damaged;
            let damaged = format!("{}: {lines} damaged lines were skipped", path.display());
            recovery.report.problems.push(damaged);
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

    /// The processes of what is to be granted again, by its ids.
    pub(super) fn processes(&self) -> HashMap<String, u32> {
        let flows = self.state.flows.iter();
        flows.filter_map(|(id, flow)| Some((id.clone(), flow.pid?))).collect()
    }

    /// The engine has granted them again: they are held from now on.
    pub(super) fn adopt(self, adoptions: Adoptions, holdings: &Arc<Reservations>) -> Recovered {
        let Self { state, mut report } = self;
        state.groups.values().for_each(|group| holdings.adopt_group(group));
        for (flow, adopted) in state.flows.values().zip(adoptions) {
            let id = &flow.reservation.id;
            let result = match adopted {
                Err(why) => Err(why.to_string()),
                Ok(granted) if loses_class(flow, granted.admitted.class) => {
                    Err("its class in the kernel is another flow's".to_owned())
                }
                Ok(granted) => match holdings.adopt(flow, granted) {
                    true => Ok(()),
                    false => Err("another reservation has its socket".to_owned()),
                },
            };
            match result {
                Ok(()) => report.adopted += 1,
                Err(why) => report.refused.push((id.clone(), why)),
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
            self.report.problems.push(format!("the sockets of reservations cannot be listed: {failure}"));
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
fn contents(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let other = |problem: &str| io::Error::other(problem.to_owned());
    let file = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        found => found?,
    };
    if !file.is_file() {
        return Err(other("it is not a regular file"));
    }
    if file.uid() != crate::linux::owner().uid {
        return Err(other("it belongs to another user"));
    }
    let opened = File::open(path)?;
    let metadata = opened.metadata()?;
    if (metadata.dev(), metadata.ino()) != (file.dev(), file.ino()) {
        return Err(other("it is being replaced"));
    }
    if metadata.len() > MOST_BYTES {
        return Err(other("it is too large"));
    }
    let mut bytes = Vec::new();
    opened.take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Ends what no client has claimed after this time, and no socket keeps.
pub(super) async fn end_unclaimed(server: Arc<DaemonServer>, grace: Duration) {
    tokio::time::sleep(grace).await;
    let live = server.sockets.live().await.unwrap_or_default();
    let (_, groups) = server.holdings.end_unclaimed(&live);
    groups.into_iter().for_each(|id| server.engine.end_group(id));
}

impl Recovered {
    /// Whether there was nothing to recover.
    pub const fn is_nothing(&self) -> bool {
        self.adopted == 0 && self.ended == 0 && self.refused.is_empty() && self.problems.is_empty()
    }
}

impl fmt::Display for Recovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { adopted, ended, refused, problems } = self;
        for problem in problems {
            writeln!(f, "{problem}")?;
        }
        let reservations = if *adopted == 1 { "reservation" } else { "reservations" };
        write!(f, "of the daemon before: {adopted} {reservations} adopted, {ended} ended meanwhile")?;
        for (id, why) in refused {
            write!(f, "\n{id} was not adopted: {why}")?;
        }
        Ok(())
    }
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
        let said = report.problems.join("\n");
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
