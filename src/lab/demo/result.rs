//! What the demo measures. Rates are payload rates unless stated otherwise; the JSON of a [`DemoResult`] is an output
//! contract.

use std::time::Duration;

use flowspec::Rate;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::admission::NotProgrammed;
use crate::connect::ClassReport;
use crate::linux::capture::Transport;

/// What both phases measured, with the sizes of the network.
#[derive(Clone, Debug, Serialize)]
pub struct DemoResult {
    /// The link's rate, link headers included.
    pub link_bytes_per_second: Rate,
    /// The congestion control of the TCP senders.
    pub congestion_control: &'static str,
    /// Without gqos, then with it.
    pub phases: Vec<PhaseResult>,
}

/// Whether gqos took part.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PhaseName {
    /// Without gqos.
    Unmanaged,
    /// Every viewer has asked gqos for a reservation.
    Managed,
}

/// What was measured while all viewers and the bulk transfer ran.
#[derive(Clone, Debug, Serialize)]
pub struct PhaseResult {
    /// Whether gqos took part.
    pub name: PhaseName,
    /// Whole seconds that were measured.
    pub seconds: u64,
    /// In the order of their arrival.
    pub viewers: Vec<ViewerResult>,
    /// The decisions of refused requests.
    pub refused: Vec<Value>,
    /// The transfer that competes with the viewers for the link.
    pub bulk: Bulk,
    /// Read at the end of the phase, on the server's interface.
    pub kernel: KernelCounts,
    /// The daemon and the servers under it, where programs of their own have served the viewers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daemon: Option<DaemonResult>,
}

/// The daemon of a phase, which was killed in the middle and started again.
#[derive(Clone, Debug, Serialize)]
pub struct DaemonResult {
    /// The servers that reserved by it.
    pub servers: Vec<ServerProcess>,
    /// The process that was killed by SIGKILL.
    pub killed_pid: u32,
    /// When that was, in milliseconds since the start of the phase.
    pub killed_at_ms: u64,
    /// The process that was started in its place.
    pub next_pid: u32,
    /// How long after the kill the next one served, in milliseconds.
    pub served_after_ms: u64,
    /// Reservations just before the kill.
    pub reservations_before: usize,
    /// Reservations of the next daemon when it began to serve.
    pub reservations_after: usize,
}

/// A server that is a process of its own.
#[derive(Clone, Debug, Serialize)]
pub struct ServerProcess {
    /// By this number its viewers name it; the first is 1.
    pub number: usize,
    /// The number of the process.
    pub pid: u32,
    /// The port at which it listens.
    pub port: u16,
}

/// The daemon while a phase runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DaemonState {
    /// It serves.
    Serving {
        /// Its process.
        pid: u32,
    },
    /// It was killed, and none is there.
    Killed {
        /// Its process.
        pid: u32,
    },
    /// The next one serves.
    ServingAgain {
        /// Its process.
        pid: u32,
        /// How long none was there.
        after: Duration,
    },
}

/// What one viewer requested, received and played.
#[derive(Clone, Debug, Serialize)]
pub struct ViewerResult {
    /// The viewer's id.
    pub id: String,
    /// The protocol that it used.
    pub transport: Transport,
    /// The policy's template, by which it asks for a rendition.
    pub template: String,
    /// The number of the server that served it, where programs of their own have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<usize>,
    /// Whether its request was admitted.
    pub admitted: bool,
    /// The payload rate that its token rate carries on any transport.
    pub token_rate: Rate,
    /// The token rate itself, IP headers included: what the budget is charged.
    pub charged: Rate,
    /// The mean rate of its stream.
    pub media_rate: Rate,
    /// The rate that it received.
    pub achieved: Achieved,
    /// How often play stopped.
    pub stalls: u64,
    /// The sum of all stalls, in milliseconds.
    pub stall_ms: u64,
    /// Datagrams that were sent and not received.
    pub lost: u64,
}

/// What came of a viewer's request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ViewerVerdict {
    /// Not admitted: it gets the refusal and no stream.
    Refused,
    /// Play stopped at least once.
    Stalled,
    /// Play never stopped, and the median second carried less than [`ViewerVerdict::KEPT_PERCENT`] of the promised rate.
    Short,
    /// Play never stopped, and the promised rate was carried.
    Kept,
    /// Play never stopped; nothing was promised.
    Undisturbed,
}

/// The viewers of a phase, counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ViewerTotals {
    /// How many received their stream.
    pub admitted: usize,
    /// How many requests were refused.
    pub refused: usize,
    /// How many viewers stalled.
    pub stalled: usize,
    /// How many promises were kept.
    pub kept: usize,
    /// For how long play stopped, for all viewers together, in milliseconds.
    pub stall_ms: u64,
    /// What the reservations are charged together; zero without gqos.
    pub reserved: Rate,
}

/// Received rates.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Achieved {
    /// The lowest of all whole seconds.
    pub worst_second: Rate,
    /// The median of the rates of all whole seconds.
    pub median_second: Rate,
    /// The mean from the first byte on.
    pub mean: Rate,
    /// Payload per second, for each whole second in order.
    pub by_second: Vec<Rate>,
}

/// The measurements of the bulk transfer.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Bulk {
    /// Its mean rate once all viewers had arrived.
    pub mean: Rate,
    /// The part that it got of what the viewers left of the link.
    pub share_of_rest: f64,
}

/// What the kernel counted on the server's interface.
#[derive(Clone, Debug, Default, Serialize)]
pub struct KernelCounts {
    /// Packets that bypassed all classes.
    pub direct_packets: u32,
    /// The classes at the end of the phase.
    pub classes: Vec<ClassReport>,
    /// Why there are no classes.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    pub lacking: Option<NotProgrammed>,
}

/// The state of a phase while it runs.
#[derive(Clone, Debug)]
pub struct PhaseProgress {
    /// Whether gqos takes part.
    pub phase: PhaseName,
    /// Seconds since its start.
    pub elapsed: u64,
    /// Whole seconds that will be measured.
    pub seconds: u64,
    /// The renditions, best first.
    pub rungs: Vec<RungProgress>,
    /// The bulk transfer's rate since the last progress.
    pub bulk: Rate,
    /// The daemon, of a phase that has one.
    pub daemon: Option<DaemonState>,
}

/// The state of one rendition while a phase runs.
#[derive(Clone, Debug, Default)]
pub struct RungProgress {
    /// The rendition's name.
    pub name: String,
    /// How many viewers watch it.
    pub watching: usize,
    /// How many requests were refused.
    pub refused: usize,
    /// How often its viewers have stalled.
    pub stalls: u64,
    /// The lowest rate of one of its viewers in the last second.
    pub least: Rate,
    /// The payload rate that each viewer's reservation carries.
    pub payload_rate: Rate,
    /// The mean rate of the stream: what a viewer needs.
    pub media_rate: Rate,
}

impl ViewerVerdict {
    /// A second with this part of a rate, in per cent, has carried it: a packet more or less falls on either side of a
    /// second's end.
    pub const KEPT_PERCENT: u64 = 98;
}

impl DaemonResult {
    /// What happened, in two sentences. So many viewers have stalled.
    pub fn sentence(&self, stalled: usize) -> String {
        let Self { servers, killed_pid, next_pid, reservations_before, reservations_after, .. } = self;
        let numbers: Vec<_> = servers.iter().map(|server| server.pid.to_string()).collect();
        let tenths = |millis: u64| format!("{}.{} s", millis / 1000, millis % 1000 / 100);
        let stalls = match stalled {
            0 => "No promised viewer stalled.".to_owned(),
            1 => "1 promised viewer stalled.".to_owned(),
            stalled => format!("{stalled} promised viewers stalled."),
        };
        format!(
            "{} servers (processes {}) reserved by one daemon (process {killed_pid}), which was killed by SIGKILL after {}; the next (process {next_pid}) served {} later with {reservations_after} of {reservations_before} reservations. {stalls}",
            servers.len(),
            numbers.join(", "),
            tenths(self.killed_at_ms),
            tenths(self.served_after_ms),
        )
    }
}

impl PhaseResult {
    /// What came of the request of a viewer of this phase.
    pub fn verdict(&self, viewer: &ViewerResult) -> ViewerVerdict {
        let carried = u128::from(viewer.achieved.median_second.get()) * 100;
        let promised = u128::from(viewer.token_rate.get()) * u128::from(ViewerVerdict::KEPT_PERCENT);
        match self.name {
            // A viewer without any answer counts as stalled.
            _ if viewer.stalls > 0 => ViewerVerdict::Stalled,
            _ if !viewer.admitted => ViewerVerdict::Refused,
            PhaseName::Unmanaged => ViewerVerdict::Undisturbed,
            PhaseName::Managed if carried < promised => ViewerVerdict::Short,
            PhaseName::Managed => ViewerVerdict::Kept,
        }
    }

    /// How promises are judged, and what the judgement leaves out: the second in which a viewer got least.
    pub fn judgement(&self) -> String {
        let kept = self.viewers.iter().filter(|viewer| self.verdict(viewer) == ViewerVerdict::Kept);
        let worst = |viewer: &ViewerResult| {
            let percent = u128::from(viewer.achieved.worst_second.get()) * 100
                / u128::from(viewer.token_rate.get().max(1));
            u64::try_from(percent).unwrap_or(u64::MAX)
        };
        let dipped: Vec<_> = kept.filter(|viewer| worst(viewer) < ViewerVerdict::KEPT_PERCENT).collect();
        let percent = ViewerVerdict::KEPT_PERCENT;
        let rule =
            format!("A promise is kept if play never stops and the median second carries {percent} % of it");
        let Some(least) = dipped.iter().min_by_key(|viewer| worst(viewer)) else {
            return format!("{rule}; every second of those that are kept did.");
        };
        let count = match dipped.len() {
            1 => "1 viewer".to_owned(),
            count => format!("{count} viewers"),
        };
        format!(
            "{rule}. The worst second carried less for {count} of those that are kept, {} % for {}.",
            worst(least),
            least.id
        )
    }

    /// How many viewers played, stalled and were refused.
    pub fn totals(&self) -> ViewerTotals {
        let mut totals = ViewerTotals { refused: self.refused.len(), ..ViewerTotals::default() };
        let mut reserved = 0;
        for viewer in &self.viewers {
            totals.admitted += usize::from(viewer.admitted);
            totals.stalled += usize::from(viewer.stalls > 0);
            totals.kept += usize::from(self.verdict(viewer) == ViewerVerdict::Kept);
            totals.stall_ms += viewer.stall_ms;
            reserved += if viewer.admitted { viewer.charged.get() } else { 0 };
        }
        if self.name == PhaseName::Managed {
            totals.reserved = Rate::new(reserved);
        }
        totals
    }
}

#[expect(clippy::ref_option, reason = "the signature that serde asks for")]
fn as_text<S: Serializer>(lacking: &Option<NotProgrammed>, serializer: S) -> Result<S::Ok, S::Error> {
    match lacking {
        Some(lacking) => serializer.collect_str(lacking),
        None => serializer.serialize_none(),
    }
}
