//! One phase: starts the service, lets viewers and a bulk transfer arrive, and measures them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flowspec::{Rate, Ratio};
use shaper::headers::{IpVersion, tcp_header_size, udp_header_size};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::error::DemoError;
use super::options::{Options, Rung};
use super::programs::RunningPrograms;
use super::result::{
    Achieved, Bulk, KernelCounts, PhaseName, PhaseProgress, PhaseResult, RungProgress, ViewerResult,
};
use crate::connect::{ConnectError, Host};
use crate::lab::network::{LabNetwork, SERVER_V4, WIRE_HEADER};
use crate::lab::player::Stalls;
use crate::lab::service::{DATAGRAM, MediaService, send_bulk};
use crate::lab::viewer::{SharedRecord, Viewer, ViewerRecord, lock};
use crate::linux::capture::Transport;

/// The time between two arrivals.
const ARRIVAL: Duration = Duration::from_millis(60);

/// The bulk transfer is measured from so long after the last arrival.
const SETTLING: Duration = Duration::from_secs(2);

/// The time between two progress reports.
const PROGRESS: Duration = Duration::from_millis(500);

/// The longest time without a look at the clock.
const TICK: Duration = Duration::from_millis(100);

/// The connections of the bulk transfer.
const BULK_FLOWS: usize = 4;

const MEDIA_PORT: u16 = 8080;
const BULK_PORT: u16 = 5201;

/// A full TCP segment: its payload, and what the wire counts for it.
const TCP_PAYLOAD: u64 = 1448;
const TCP_ON_WIRE: u64 = 1500 + WIRE_HEADER;

/// A phase while it runs.
pub(super) struct RunningPhase {
    name: PhaseName,
    host: Option<Host>,
    programs: Option<RunningPrograms>,
    server: JoinSet<()>,
    clients: JoinSet<()>,
    viewers: Vec<Watching>,
    /// The payload bytes of the bulk transfer.
    bulk: Arc<AtomicU64>,
    started: Instant,
    /// The token rate of each rendition.
    charged: BTreeMap<String, Rate>,
}

/// A viewer that has arrived.
struct Watching {
    viewer: Viewer,
    /// The number of its server, where programs serve.
    server: Option<usize>,
    record: SharedRecord,
    joined: Instant,
}

/// The state when the measurement of the bulk transfer began.
#[derive(Clone, Copy)]
struct BulkStart {
    at: Instant,
    bulk_bytes: u64,
    /// What the wire had carried for the viewers.
    viewers_on_wire: u64,
}

impl RunningPhase {
    /// Starts the service and the bulk sender on the server.
    pub(super) async fn start(
        options: &Options,
        network: &LabNetwork,
        name: PhaseName,
    ) -> Result<Self, DemoError> {
        let policy = Arc::new(options.policy.clone());
        let server = network.server.runtime();
        let programs = match (name, &options.programs) {
            (PhaseName::Managed, Some(programs)) => {
                Some(RunningPrograms::start(programs, server, MEDIA_PORT).await?)
            }
            _ => None,
        };
        let host = match (name, &programs) {
            (PhaseName::Managed, Some(programs)) => Some(programs.host()),
            (PhaseName::Managed, None) => Some(server.spawn(Host::start(policy)).await??),
            (PhaseName::Unmanaged, _) => None,
        };
        let mut charged = BTreeMap::new();
        for rung in &options.ladder {
            let qos = rung.qos(&options.policy)?;
            charged.insert(rung.name.clone(), qos.sending.token_rate.unwrap_or_default());
        }
        let any = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let mut tasks = JoinSet::new();
        if programs.is_none() {
            let renditions =
                options.ladder.iter().map(|rung| (rung.name.clone(), rung.rendition())).collect();
            let service = MediaService { renditions, host: host.clone() };
            let service = server.spawn(service.listen(any(MEDIA_PORT))).await??;
            tasks.spawn_on(service.serve(), server);
        }
        let bulk = server.spawn(TcpListener::bind(any(BULK_PORT))).await?;
        let failed = |cause: std::io::Error| ConnectError::socket("bind", any(BULK_PORT), cause);
        let bulk = bulk.map_err(failed)?;
        tasks.spawn_on(send_bulk(bulk), server);
        Ok(Self {
            name,
            host,
            programs,
            server: tasks,
            clients: JoinSet::new(),
            viewers: Vec::new(),
            bulk: Arc::default(),
            started: Instant::now(),
            charged,
        })
    }

    /// Runs the phase to its end and measures it.
    pub(super) async fn run(
        mut self,
        options: &Options,
        network: &LabNetwork,
        progress: &mut impl FnMut(&PhaseProgress),
    ) -> Result<PhaseResult, DemoError> {
        for _ in 0..BULK_FLOWS {
            let bulk = Arc::clone(&self.bulk);
            // A download ends with the phase, by whatever error.
            let download = async move { drop(download(&bulk).await) };
            self.clients.spawn_on(download, network.client.runtime());
        }
        let bulk_start = self.watch(options, network, progress).await;
        let now = Instant::now();
        let bulk = bulk_start.map_or_else(Bulk::default, |start| self.bulk(start, now, options.link));
        let finished = match self.programs.take() {
            Some(programs) => Some(programs.finish(self.started).await?),
            None => None,
        };
        let kernel = self.kernel().await?;
        let viewers = self.results(now);
        let refused = self.viewers.iter().filter_map(|watching| lock(&watching.record).refusal.clone());
        let refused = refused.collect();
        self.clients.shutdown().await;
        self.server.shutdown().await;
        if let Some(host) = self.host.take() {
            host.stop().await;
        }
        let daemon = finished.map(|finished| finished.result);
        let (name, seconds) = (self.name, options.seconds);
        Ok(PhaseResult { name, seconds, viewers, refused, bulk, kernel, daemon })
    }

    /// Lets viewers arrive and reports progress until the end of the phase. `None` if it ended before the measurement of
    /// the bulk transfer began.
    async fn watch(
        &mut self,
        options: &Options,
        network: &LabNetwork,
        progress: &mut impl FnMut(&PhaseProgress),
    ) -> Option<BulkStart> {
        let end = self.started + Duration::from_secs(options.seconds);
        let mut bulk_start = None;
        let mut shown = (self.started, 0);
        let middle = self.started + Duration::from_secs(options.seconds) / 2;
        while Instant::now() < end {
            if let Some(programs) = self.programs.as_mut().filter(|_| Instant::now() >= middle) {
                programs.kill_daemon();
            }
            let arrived = self.viewers.len();
            let arrival = self.started + ARRIVAL * u32::try_from(arrived).unwrap_or(u32::MAX);
            let next = if arrived < options.viewers {
                if arrival <= Instant::now() {
                    self.arrive(options, network, arrived);
                    continue;
                }
                arrival
            } else {
                if bulk_start.is_none() && Instant::now() >= arrival + SETTLING {
                    bulk_start = Some(self.bulk_start());
                }
                end
            };
            if shown.0.elapsed() >= PROGRESS {
                let bulk = self.bulk_bytes();
                progress(&self.progress(options, rate_of(bulk - shown.1, shown.0.elapsed())));
                shown = (Instant::now(), bulk);
            }
            tokio::time::sleep_until(next.min(Instant::now() + TICK).min(end)).await;
        }
        bulk_start
    }

    /// Starts the next viewer. Every fourth uses UDP; the renditions take turns.
    fn arrive(&mut self, options: &Options, network: &LabNetwork, number: usize) {
        let rung = &options.ladder[number % options.ladder.len()];
        let transport = if number % 4 == 3 { Transport::Udp } else { Transport::Tcp };
        let viewer = Viewer {
            id: format!("v{}", number + 1),
            transport,
            rendition: rung.name.clone(),
            media_rate: rung.media.mean_rate(),
        };
        let record = SharedRecord::default();
        let server = self.programs.as_ref().and_then(|programs| programs.server_of(number));
        let (port, server) = server.map_or((MEDIA_PORT, None), |server| (server.port, Some(server.number)));
        let address = SocketAddr::from((SERVER_V4, port));
        let task = viewer.clone().watch(address, Arc::clone(&record));
        // The result is in the record.
        self.clients.spawn_on(async move { drop(task.await) }, network.client.runtime());
        self.viewers.push(Watching { viewer, server, record, joined: Instant::now() });
    }

    fn bulk_bytes(&self) -> u64 {
        self.bulk.load(Ordering::Relaxed)
    }

    fn bulk_start(&self) -> BulkStart {
        let (bulk_bytes, viewers_on_wire) = (self.bulk_bytes(), self.viewers_on_wire());
        BulkStart { at: Instant::now(), bulk_bytes, viewers_on_wire }
    }

    /// The bytes that the wire has carried for the viewers, headers included.
    fn viewers_on_wire(&self) -> u64 {
        let each = self.viewers.iter().map(|Watching { viewer, record, .. }| {
            let payload: u64 = lock(record).seconds.iter().sum();
            on_wire(viewer.transport, payload)
        });
        each.sum()
    }

    #[expect(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "a ratio that is only shown")]
    fn bulk(&self, start: BulkStart, now: Instant, link: Rate) -> Bulk {
        let span = now - start.at;
        let payload = self.bulk_bytes() - start.bulk_bytes;
        let carried = u128::from(link.get()) * span.as_micros() / 1_000_000;
        let carried = u64::try_from(carried).unwrap_or(u64::MAX);
        let rest = carried.saturating_sub(self.viewers_on_wire() - start.viewers_on_wire);
        let share = on_wire(Transport::Tcp, payload) as f64 / rest.max(1) as f64;
        Bulk { mean: rate_of(payload, span), share_of_rest: (share * 1000.0).round() / 1000.0 }
    }

    async fn kernel(&self) -> Result<KernelCounts, DemoError> {
        let Some(host) = &self.host else { return Ok(KernelCounts::default()) };
        let report = host.report().await?.into_iter().find(|report| report.interface == "eth0");
        Ok(report.map_or_else(KernelCounts::default, |report| KernelCounts {
            direct_packets: report.direct_packets,
            classes: report.classes,
            lacking: report.status.kernel.err(),
        }))
    }

    fn results(&self, now: Instant) -> Vec<ViewerResult> {
        let each = self.viewers.iter().map(|Watching { viewer, server, record, joined }| {
            let mut record = lock(record);
            let charged = self.charged.get(&viewer.rendition).copied().unwrap_or_default();
            let stalls = match record.admitted {
                Some(false) => Stalls::default(),
                _ => record.stalls(now, *joined),
            };
            ViewerResult {
                id: viewer.id.clone(),
                transport: viewer.transport,
                template: viewer.rendition.clone(),
                server: *server,
                admitted: record.admitted == Some(true),
                token_rate: payload_rate(charged),
                charged,
                media_rate: viewer.media_rate,
                achieved: achieved(&record, now),
                stalls: stalls.count,
                stall_ms: u64::try_from(stalls.time.as_millis()).unwrap_or(u64::MAX),
                lost: record.lost,
            }
        });
        each.collect()
    }

    fn progress(&self, options: &Options, bulk: Rate) -> PhaseProgress {
        let now = Instant::now();
        PhaseProgress {
            phase: self.name,
            elapsed: self.started.elapsed().as_secs(),
            seconds: options.seconds,
            rungs: options.ladder.iter().map(|rung| self.rung_progress(rung, now)).collect(),
            bulk,
            daemon: self.programs.as_ref().map(RunningPrograms::state),
        }
    }

    fn rung_progress(&self, rung: &Rung, now: Instant) -> RungProgress {
        let name = rung.name.as_str();
        let payload_rate = payload_rate(self.charged.get(name).copied().unwrap_or_default());
        let media_rate = rung.media.mean_rate();
        let mut shown =
            RungProgress { name: name.to_owned(), payload_rate, media_rate, ..RungProgress::default() };
        let mut least: Option<Rate> = None;
        for Watching { record, joined, .. } in
            self.viewers.iter().filter(|watching| watching.viewer.rendition == name)
        {
            let mut record = lock(record);
            if record.admitted == Some(false) {
                shown.refused += 1;
                continue;
            }
            shown.watching += 1;
            if record.player.has_started() {
                shown.stalls += record.stalls(now, *joined).count;
            }
            let last = record.whole_seconds(now).last().copied();
            least = least.into_iter().chain(last).min();
        }
        shown.least = least.unwrap_or_default();
        shown
    }
}

/// The payload rate that a token rate carries on any transport: TCP over IPv6 has the largest headers.
fn payload_rate(token_rate: Rate) -> Rate {
    token_rate.scale_down(Ratio { numerator: 1500 - tcp_header_size(IpVersion::V6), denominator: 1500 })
}

/// The bytes that the wire counts for a payload sent in full packets, rounded up.
fn on_wire(transport: Transport, payload: u64) -> u64 {
    let (denominator, numerator) = match transport {
        Transport::Tcp => (TCP_PAYLOAD, TCP_ON_WIRE),
        Transport::Udp => (DATAGRAM as u64, DATAGRAM as u64 + udp_header_size(IpVersion::V4) + WIRE_HEADER),
    };
    Rate::new(payload).scale_up(Ratio { numerator, denominator }).get()
}

fn achieved(record: &ViewerRecord, now: Instant) -> Achieved {
    let by_second = record.whole_seconds(now);
    let mut sorted = by_second.clone();
    sorted.sort_unstable();
    let total: u64 = record.seconds.iter().sum();
    let span = record.began.map_or(Duration::ZERO, |began| now - began);
    Achieved {
        worst_second: sorted.first().copied().unwrap_or_default(),
        median_second: sorted.get(sorted.len() / 2).copied().unwrap_or_default(),
        mean: rate_of(total, span),
        by_second,
    }
}

/// Bytes per second, rounded down.
fn rate_of(bytes: u64, span: Duration) -> Rate {
    let micros = span.as_micros().max(1);
    Rate::new(u64::try_from(u128::from(bytes) * 1_000_000 / micros).unwrap_or(u64::MAX))
}

/// Receives from the bulk sender and counts the bytes.
async fn download(counted: &AtomicU64) -> std::io::Result<()> {
    let mut stream = TcpStream::connect((SERVER_V4, BULK_PORT)).await?;
    let mut buf = vec![0; 256 << 10];
    loop {
        let received = stream.read(&mut buf).await?;
        if received == 0 {
            return Ok(());
        }
        counted.fetch_add(received as u64, Ordering::Relaxed);
    }
}
