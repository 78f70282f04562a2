//! What the state file says: a line for each reservation and group, with a checksum in front of it.
//!
//! The file begins with what tells this run of the machine from others. A later line about an id replaces an earlier one,
//! so that the file can be appended to; a line that is cut short or damaged is skipped.

use std::collections::BTreeMap;

use flowspec::Qos;
use serde::{Deserialize, Serialize};

use super::recovered::UnusableState;
use crate::admission::GroupRequest;
use crate::engine::KeptReservation;
use crate::policy::GroupMode;

/// The version of the format that this program writes and reads.
const VERSION: u32 = 1;

/// A line of the file.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum StateLine {
    /// The first line.
    GqosState { version: u32, system: String },
    /// A reservation that is held.
    Flow(Box<SavedFlow>),
    /// It is not any more.
    FlowEnd { id: String },
    /// A group that a client has made.
    Group(Box<SavedGroup>),
    /// It has ended.
    GroupEnd { id: String },
}

/// The socket that a reservation lives with.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct HeldSocket {
    pub(super) cookie: u64,
    /// Whether the kernel lists it; one that is not connected yet lives with its connection as well.
    pub(super) is_listed: bool,
}

/// A reservation, and its client.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SavedFlow {
    pub(super) uid: u32,
    pub(super) pid: Option<u32>,
    /// The run of the daemon that has granted it.
    pub(super) epoch: String,
    pub(super) socket: Option<HeldSocket>,
    pub(super) reservation: KeptReservation,
}

/// A group that a client has made.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SavedGroup {
    pub(super) uid: u32,
    pub(super) pid: Option<u32>,
    pub(super) id: String,
    pub(super) interface: String,
    pub(super) class: Option<String>,
    pub(super) mode: GroupMode,
    pub(super) qos: Qos,
    /// Whether its owner has ended it: it ends with its last member.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) has_ended: bool,
}

impl SavedGroup {
    pub(super) fn of(request: &GroupRequest, uid: u32, pid: Option<u32>) -> Self {
        let GroupRequest { id, interface, class, mode, qos } = request.clone();
        Self { uid, pid, id, interface, class, mode, qos, has_ended: false }
    }

    /// The request that it stands for.
    pub(super) fn request(&self) -> GroupRequest {
        let Self { id, interface, class, mode, qos, .. } = self.clone();
        GroupRequest { id, interface, class, mode, qos }
    }
}

/// What a file says in all.
#[derive(Debug, Default, PartialEq)]
pub(super) struct SavedState {
    pub(super) flows: BTreeMap<String, SavedFlow>,
    pub(super) groups: BTreeMap<String, SavedGroup>,
    /// How many lines were skipped, since they are damaged.
    pub(super) damaged: usize,
}

impl SavedState {
    /// The groups that end with their last members.
    pub(super) fn groups_ended(&self) -> Vec<String> {
        let ended = self.groups.values().filter(|group| group.has_ended);
        ended.map(|group| group.id.clone()).collect()
    }
}

/// The first line of a file that is written on this system.
pub(super) fn header(system: &str) -> StateLine {
    StateLine::GqosState { version: VERSION, system: system.to_owned() }
}

/// Adds a line to the bytes of a file.
pub(super) fn append(line: &StateLine, bytes: &mut Vec<u8>) {
    // A line is made of texts and numbers, for which this does not fail.
    let json = serde_json::to_vec(line).unwrap_or_default();
    bytes.extend(format!("{:08x} ", checksum(&json)).into_bytes());
    bytes.extend(json);
    bytes.push(b'\n');
}

/// Reads a file that was written on this system.
///
/// - **Errors**: it is from elsewhere.
pub(super) fn read(bytes: &[u8], system: &str) -> Result<SavedState, UnusableState> {
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').map(line);
    match lines.next() {
        Some(Some(StateLine::GqosState { version, .. })) if version != VERSION => {
            return Err(UnusableState::Version { found: version, readable: VERSION });
        }
        Some(Some(StateLine::GqosState { system: of, .. })) if of != system => {
            return Err(UnusableState::OtherSystem);
        }
        Some(Some(StateLine::GqosState { .. })) => {}
        _ => return Err(UnusableState::Foreign),
    }
    let mut state = SavedState::default();
    for line in lines {
        match line {
            Some(StateLine::Flow(flow)) => drop(state.flows.insert(flow.reservation.id.clone(), *flow)),
            Some(StateLine::FlowEnd { id }) => drop(state.flows.remove(&id)),
            Some(StateLine::Group(group)) => drop(state.groups.insert(group.id.clone(), *group)),
            Some(StateLine::GroupEnd { id }) => drop(state.groups.remove(&id)),
            Some(StateLine::GqosState { .. }) | None => state.damaged += 1,
        }
    }
    Ok(state)
}

/// A line with its end, unless it is damaged.
fn line(bytes: &[u8]) -> Option<StateLine> {
    let (sum, json) = bytes.strip_suffix(b"\n")?.split_at_checked(9)?;
    let sum = std::str::from_utf8(sum).ok()?.strip_suffix(' ')?;
    if u32::from_str_radix(sum, 16).ok()? != checksum(json) {
        return None;
    }
    serde_json::from_slice(json).ok()
}

/// CRC-32 as in IEEE 802.3, byte by byte.
fn checksum(bytes: &[u8]) -> u32 {
    let crc = bytes.iter().fold(u32::MAX, |crc, byte| {
        let [low, ..] = crc.to_le_bytes();
        (crc >> 8) ^ REMAINDERS[usize::from(low ^ byte)]
    });
    !crc
}

/// The remainder of each byte.
static REMAINDERS: [u32; 256] = remainders();

const fn remainders() -> [u32; 256] {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    let mut table = [0; 256];
    let (mut index, mut byte) = (0, 0_u32);
    while index < table.len() {
        let (mut remainder, mut bit) = (byte, 0);
        while bit < 8 {
            remainder = (remainder >> 1) ^ (POLYNOMIAL & (remainder & 1).wrapping_neg());
            bit += 1;
        }
        table[index] = remainder;
        (index, byte) = (index + 1, byte + 1);
    }
    table
}

#[cfg(test)]
mod tests {
    use flowspec::{Bytes, Flowspec, Rate};

    use super::*;
    use crate::policy::Owner;

    const SYSTEM: &str = "boot/1";

    fn flow(id: &str) -> SavedFlow {
        let qos = Qos::sending(Flowspec::guaranteed(Rate::from_mbit(8), Bytes::new(9000)));
        let reservation = KeptReservation {
            id: id.into(),
            interface: "eth0".into(),
            class: Some("viewer".into()),
            group: None,
            client: None,
            owner: Owner { uid: Some(1000), ..Owner::default() },
            qos,
            kernel_class: "6771:100".parse().ok(),
            begins_us: None,
            ends_us: None,
            expires_us: Some(7),
            setup_priority: Some(3),
            holding_priority: None,
            is_established: true,
        };
        let socket = Some(HeldSocket { cookie: 77, is_listed: true });
        SavedFlow { uid: 1000, pid: Some(4), epoch: "e".into(), socket, reservation }
    }

    fn file(lines: &[StateLine]) -> Vec<u8> {
        let mut bytes = Vec::new();
        append(&header(SYSTEM), &mut bytes);
        lines.iter().for_each(|line| append(line, &mut bytes));
        bytes
    }

    #[test]
    fn the_checksum_is_the_standard_one() {
        assert_eq!(checksum(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn the_last_line_of_an_id_counts() {
        let changed = SavedFlow { uid: 1001, ..flow("a") };
        let group = SavedGroup {
            uid: 1000,
            pid: None,
            id: "g".into(),
            interface: "eth0".into(),
            class: None,
            mode: GroupMode::Shared,
            qos: flow("a").reservation.qos,
            has_ended: true,
        };
        let lines = [
            StateLine::Flow(Box::new(flow("a"))),
            StateLine::Group(Box::new(group.clone())),
            StateLine::Flow(Box::new(flow("b"))),
            StateLine::Flow(Box::new(changed.clone())),
            StateLine::FlowEnd { id: "b".into() },
            StateLine::GroupEnd { id: "other".into() },
        ];
        let state = read(&file(&lines), SYSTEM).unwrap();
        assert_eq!(state.flows, BTreeMap::from([("a".to_owned(), changed)]));
        assert_eq!(state.groups, BTreeMap::from([("g".to_owned(), group)]));
        assert_eq!(state.damaged, 0);
    }

    #[test]
    fn a_file_that_is_cut_anywhere_says_what_its_whole_lines_say() {
        let whole = file(&[StateLine::Flow(Box::new(flow("a"))), StateLine::Flow(Box::new(flow("b")))]);
        let header = file(&[]).len();
        let first = file(&[StateLine::Flow(Box::new(flow("a")))]).len();
        for length in 0..=whole.len() {
            let read = read(&whole[..length], SYSTEM);
            match length {
                0 => assert_eq!(read, Err(UnusableState::Foreign)),
                cut if cut < header => assert_eq!(read, Err(UnusableState::Foreign), "{length}"),
                _ => {
                    let state = read.unwrap();
                    let flows = usize::from(length >= first) + usize::from(length == whole.len());
                    let is_torn = ![header, first, whole.len()].contains(&length);
                    assert_eq!((state.flows.len(), state.damaged), (flows, usize::from(is_torn)), "{length}");
                }
            }
        }
    }

    #[test]
    fn a_damaged_byte_costs_its_line_alone() {
        let lines = ["a", "b", "c"].map(|id| StateLine::Flow(Box::new(flow(id))));
        let (whole, start) = (file(&lines), file(&lines[..1]).len());
        let end = file(&lines[..2]).len();
        for at in (start..end - 1).step_by(7) {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            let state = read(&damaged, SYSTEM).unwrap();
            let ids: Vec<_> = state.flows.keys().map(String::as_str).collect();
            assert_eq!((ids, state.damaged), (vec!["a", "c"], 1), "byte {at}");
        }
    }

    #[test]
    fn files_from_elsewhere_are_not_read() {
        assert_eq!(read(b"", SYSTEM), Err(UnusableState::Foreign));
        assert_eq!(read(b"[interface.eth0]\n", SYSTEM), Err(UnusableState::Foreign));
        assert_eq!(read(&file(&[]), "boot/2"), Err(UnusableState::OtherSystem));
        let mut later = Vec::new();
        append(&StateLine::GqosState { version: 2, system: SYSTEM.into() }, &mut later);
        assert_eq!(read(&later, SYSTEM), Err(UnusableState::Version { found: 2, readable: VERSION }));
        assert_eq!(read(&file(&[header(SYSTEM)]), SYSTEM).map(|state| state.damaged), Ok(1));
    }
}
