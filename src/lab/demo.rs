//! The demo: the same viewers and the same bulk transfer over one small link, first as the network
//! will have it, then with gqos.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flowspec::{Bytes, Flowspec, Micros, Qos, Rate, Ratio};
use serde::Serialize;
use serde_json::Value;
use shaper::headers::{IpVersion, tcp_header_size, token_rate_for_goodput, udp_header_size};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::media::Media;
use super::network::{Network, SERVER_V4, WIRE_HEADER};
use super::player::START_MS;
use super::service::{self, DATAGRAM, Rendition, Service};
use super::viewer::{Shared, Transport, Viewer, Watched, lock};
use crate::connect::{Ask, ConnectError, Host, What};
use crate::failure::KernelFailure;
use crate::policy::{Budget, Capacity, Policy};

/// What the demo is run with.
#[derive(Clone)]
pub struct Options {
    /// How many viewers arrive.
    pub viewers: usize,
    /// The link's rate, link headers included.
    pub link: Rate,
    /// How long each phase lasts.
    pub seconds: u64,
    /// The policy of the managed phase.
    pub policy: Policy,
    /// The renditions, best first.
    pub ladder: Vec<Rung>,
}

/// A rendition of the ladder.
#[derive(Clone)]
pub struct Rung {
    /// Its name, which is its template's.
    pub name: String,
    /// The stream.
    pub media: Media,
    /// What is asked for it; the policy's template of that name where nothing is given.
    pub qos: Option<Qos>,
}

/// Everything that was measured. Rates are payload bytes per second.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The link's rate, link headers included.
    pub link_bytes_per_second: u64,
    /// The congestion control of the TCP senders.
    pub congestion_control: &'static str,
    /// Without gqos, then with it.
    pub phases: Vec<Phase>,
}

/// One phase.
#[derive(Clone, Debug, Serialize)]
pub struct Phase {
    /// `unmanaged` or `managed`.
    pub name: &'static str,
    /// How long it lasted.
    pub seconds: u64,
    /// In the order in which they arrived.
    pub viewers: Vec<ViewerResult>,
    /// The refusals, in full.
    pub refused: Vec<Value>,
    /// The competing transfer.
    pub bulk: Bulk,
    /// What the kernel counted.
    pub kernel: Kernel,
}

/// What one viewer got.
#[derive(Clone, Debug, Serialize)]
pub struct ViewerResult {
    /// Its name.
    pub id: String,
    /// How it was served.
    pub transport: Transport,
    /// What it asked for.
    pub template: String,
    /// Whether it was let in.
    pub admitted: bool,
    /// The payload rate that its token rate carries on any transport.
    pub token_rate: u64,
    /// The token rate itself, IP headers included: what is charged to the budget.
    pub charged: u64,
    /// What playing takes: the stream's own mean rate.
    pub media_rate: u64,
    /// What it got.
    pub achieved: Achieved,
    /// How often play stopped.
    pub stalls: u64,
    /// For how long in all.
    pub stall_ms: u64,
    /// Datagrams that never came.
    pub lost: u64,
}

/// Payload by second.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Achieved {
    /// The least of its whole seconds.
    pub worst_second: u64,
    /// The middle one.
    pub median_second: u64,
    /// All of it over all of the time.
    pub mean: u64,
    /// Each whole second.
    pub by_second: Vec<u64>,
}

/// The competing transfer.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Bulk {
    /// Its payload rate once all viewers had arrived.
    pub mean: u64,
    /// How much of what the viewers left of the wire it got.
    pub share_of_rest: f64,
}

/// What the kernel counted on the server's interface.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Kernel {
    /// Packets that bypassed every class.
    pub direct_packets: u32,
    /// The classes as they stood at the end.
    pub classes: Vec<crate::connect::ClassReport>,
    /// Why there are none, where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lacking: Option<String>,
}

/// How it stands while it runs.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The phase.
    pub phase: &'static str,
    /// Seconds into it, and its length.
    pub elapsed: u64,
    /// Its length.
    pub seconds: u64,
    /// By rendition: how many watch, were refused, stall, and their rates in the last second.
    pub rungs: Vec<RungProgress>,
    /// The bulk transfer's payload in the last second.
    pub bulk: u64,
}

/// One rendition while it runs.
#[derive(Clone, Debug, Default)]
pub struct RungProgress {
    /// Its name.
    pub name: String,
    /// How many watch.
    pub watching: usize,
    /// How many were refused.
    pub refused: usize,
    /// How often they have stalled.
    pub stalls: u64,
    /// The least that one of them got in the last second.
    pub least: u64,
    /// What is promised to each.
    pub promised: u64,
}

/// Why the demo could not run.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The kernel refused.
    #[error(transparent)]
    Linux(#[from] KernelFailure),
    /// The service could not be started.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The policy lacks what the demo needs.
    #[error("the policy has no template {0:?}")]
    Template(String),
    /// A flowspec that does not work out.
    #[error(transparent)]
    NoPayload(#[from] shaper::NoPayload),
    /// A task of the demo ended early.
    #[error("a task of the demo ended early: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// Viewers arrive this far apart.
const ARRIVAL: Duration = Duration::from_millis(60);

/// After the last arrival the bulk transfer is given this long before it is measured.
const SETTLE: Duration = Duration::from_secs(2);

/// Between the phases the wire's queue runs empty.
const DRAIN: Duration = Duration::from_secs(1);

/// The bucket of a flow that no template describes: it rides out a late timer, and the buckets of all
/// viewers together fit the wire's queue.
const BUCKET: Micros = Micros::new(60_000);

/// Eight packets: below that the shaper wakes for each of them.
const LEAST_BUCKET: Bytes = Bytes::new(12_000);

/// Connections of the bulk transfer.
const BULK_FLOWS: usize = 4;

const MEDIA_PORT: u16 = 8080;
const BULK_PORT: u16 = 5201;

/// Headers of a full TCP segment on the wire, for turning payload into what the wire carried.
const TCP_PAYLOAD: u64 = 1448;
const TCP_ON_WIRE: u64 = 1500 + WIRE_HEADER;

impl Rung {
    /// A rung for a file that no template is made for: asks for the least rate at which no viewer
    /// waits, with a fiftieth on top.
    ///
    /// # Errors
    /// The rate cannot be asked for.
    pub fn for_file(name: &str, media: Media) -> Result<Self, DemoError> {
        let goodput =
            Rate::new(media.least_rate(START_MS)).scale_up(Ratio { numerator: 51, denominator: 50 });
        let mut spec = Flowspec::new(flowspec::ServiceType::Guaranteed);
        spec.minimum_policed_size = Some(Bytes::new(1000));
        let rate = token_rate_for_goodput(goodput, &spec)?;
        spec.token_rate = Some(rate);
        spec.token_bucket_size = Some(rate.bytes_in(BUCKET).max(LEAST_BUCKET));
        Ok(Self { name: name.to_owned(), media, qos: Some(Qos::sending(spec)) })
    }

    fn qos(&self, policy: &Policy) -> Result<Qos, DemoError> {
        match (self.qos, policy.templates.get(&self.name)) {
            (Some(qos), _) => Ok(qos),
            (None, Some(template)) => Ok(template.qos),
            (None, None) => Err(DemoError::Template(self.name.clone())),
        }
    }

    fn ask(&self) -> Ask {
        let what = match self.qos {
            Some(qos) => What::Qos(Box::new(qos)),
            None => What::Template(self.name.clone()),
        };
        Ask { class: Some("viewer".into()), what, ..Ask::default() }
    }
}

/// The policy with the link's capacity in place of its own.
pub fn fit_policy(policy: &mut Policy, link: Rate) {
    for interface in policy.interfaces.values_mut().chain(&mut policy.any_interface) {
        let fitted = |budget: Budget| Budget { capacity: Capacity::Rate(link), ..budget };
        interface.budgets = interface.budgets.map(fitted);
    }
}

/// Runs both phases. `progress` is called about twice a second.
///
/// # Errors
/// The lab or the service could not be made.
pub async fn run(
    options: Options,
    mut namespace: impl FnMut(&str),
    mut progress: impl FnMut(&Progress),
) -> Result<Outcome, DemoError> {
    let link = options.link;
    let network = tokio::task::spawn_blocking(move || Network::new(link)).await??;
    namespace(&network.server.namespace_path());
    let mut phases = Vec::new();
    for managed in [false, true] {
        let running = Running::start(&options, &network, managed).await?;
        phases.push(running.watch(&options, &network, &mut progress).await?);
        // What is still in the wire's queue belongs to nobody's phase.
        tokio::time::sleep(DRAIN).await;
    }
    // The sites' threads are joined where blocking is allowed.
    tokio::task::spawn_blocking(move || drop(network)).await?;
    let congestion_control = service::CONGESTION_CONTROL;
    Ok(Outcome { link_bytes_per_second: link.get(), congestion_control, phases })
}

/// A phase under way.
struct Running {
    name: &'static str,
    host: Option<Host>,
    server: JoinSet<()>,
    clients: JoinSet<()>,
    viewers: Vec<(Viewer, Shared, Instant)>,
    bulk: Arc<AtomicU64>,
    started: Instant,
    charged: BTreeMap<String, Rate>,
}

impl Running {
    async fn start(options: &Options, network: &Network, managed: bool) -> Result<Self, DemoError> {
        let policy = Arc::new(options.policy.clone());
        let server = network.server.runtime();
        let host = if managed { Some(server.spawn(Host::start(policy)).await??) } else { None };
        let mut renditions = BTreeMap::new();
        let mut charged = BTreeMap::new();
        for rung in &options.ladder {
            let qos = rung.qos(&options.policy)?;
            charged.insert(rung.name.clone(), qos.sending.token_rate.unwrap_or_default());
            renditions.insert(rung.name.clone(), Rendition { media: rung.media.clone(), ask: rung.ask() });
        }
        let service = Service { renditions, host: host.clone() };
        let any = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let doors = server.spawn(service.open(any(MEDIA_PORT))).await??;
        let bulk = server.spawn(TcpListener::bind(any(BULK_PORT))).await?;
        let failed = |cause: std::io::Error| ConnectError::socket("bind", any(BULK_PORT), cause);
        let bulk = bulk.map_err(failed)?;
        let mut tasks = JoinSet::new();
        tasks.spawn_on(doors.serve(), server);
        tasks.spawn_on(service::bulk(bulk), server);
        Ok(Self {
            name: if managed { "managed" } else { "unmanaged" },
            host,
            server: tasks,
            clients: JoinSet::new(),
            viewers: Vec::new(),
            bulk: Arc::default(),
            started: Instant::now(),
            charged,
        })
    }

    async fn watch(
        mut self,
        options: &Options,
        network: &Network,
        progress: &mut impl FnMut(&Progress),
    ) -> Result<Phase, DemoError> {
        let client = network.client.runtime();
        for _ in 0..BULK_FLOWS {
            let bulk = Arc::clone(&self.bulk);
            self.clients.spawn_on(async move { drop(download(&bulk).await) }, client);
        }
        let end = self.started + Duration::from_secs(options.seconds);
        let mut settled: Option<(Instant, u64, u64)> = None;
        let mut shown = (self.started, 0);
        while Instant::now() < end {
            let arrived = self.viewers.len();
            let next = if arrived < options.viewers {
                let arrival = ARRIVAL * u32::try_from(arrived).unwrap_or(u32::MAX);
                if self.started + arrival <= Instant::now() {
                    self.arrive(options, network, arrived);
                    continue;
                }
                self.started + arrival
            } else {
                let last = ARRIVAL * u32::try_from(arrived).unwrap_or(u32::MAX);
                if settled.is_none() && Instant::now() >= self.started + last + SETTLE {
                    settled = Some((Instant::now(), self.bulk_bytes(), self.viewers_on_wire()));
                }
                end
            };
            if shown.0.elapsed() >= Duration::from_millis(500) {
                let bulk = self.bulk_bytes();
                progress(&self.progress(options, rate_of(bulk - shown.1, shown.0.elapsed())));
                shown = (Instant::now(), bulk);
            }
            let step = Instant::now() + Duration::from_millis(100);
            tokio::time::sleep_until(next.min(step).min(end)).await;
        }
        let now = Instant::now();
        let bulk = self.bulk(settled, now, options.link);
        let kernel = self.kernel().await?;
        let viewers = self.results(now);
        let refused =
            self.viewers.iter().filter_map(|(_, watched, _)| lock(watched).refusal.clone()).collect();
        self.clients.shutdown().await;
        self.server.shutdown().await;
        if let Some(host) = self.host.take() {
            host.stop().await;
        }
        Ok(Phase { name: self.name, seconds: options.seconds, viewers, refused, bulk, kernel })
    }

    fn arrive(&mut self, options: &Options, network: &Network, number: usize) {
        let rung = &options.ladder[number % options.ladder.len()];
        let transport = if number % 4 == 3 { Transport::Udp } else { Transport::Tcp };
        let viewer = Viewer {
            id: format!("v{}", number + 1),
            transport,
            rendition: rung.name.clone(),
            media_rate: rung.media.mean_rate(),
        };
        let watched = Shared::default();
        let server = SocketAddr::from((SERVER_V4, MEDIA_PORT));
        let task = viewer.clone().watch(server, Arc::clone(&watched));
        // How it went is in what it noted.
        self.clients.spawn_on(async move { drop(task.await) }, network.client.runtime());
        self.viewers.push((viewer, watched, Instant::now()));
    }

    fn bulk_bytes(&self) -> u64 {
        self.bulk.load(Ordering::Relaxed)
    }

    /// What the viewers' payload has been on the wire, headers included.
    fn viewers_on_wire(&self) -> u64 {
        let each = self.viewers.iter().map(|(viewer, watched, _)| {
            let payload: u64 = lock(watched).seconds.iter().sum();
            on_wire(viewer.transport, payload)
        });
        each.sum()
    }

    #[expect(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "a ratio that is only shown")]
    fn bulk(&self, settled: Option<(Instant, u64, u64)>, now: Instant, link: Rate) -> Bulk {
        let Some((since, bulk, viewers)) = settled else { return Bulk::default() };
        let span = now - since;
        let payload = self.bulk_bytes() - bulk;
        let carried = u128::from(link.get()) * span.as_micros() / 1_000_000;
        let carried = u64::try_from(carried).unwrap_or(u64::MAX);
        let rest = carried.saturating_sub(self.viewers_on_wire() - viewers);
        let share = on_wire(Transport::Tcp, payload) as f64 / rest.max(1) as f64;
        Bulk { mean: rate_of(payload, span), share_of_rest: (share * 1000.0).round() / 1000.0 }
    }

    async fn kernel(&self) -> Result<Kernel, DemoError> {
        let Some(host) = &self.host else { return Ok(Kernel::default()) };
        let report = host.report().await?.into_iter().find(|report| report.interface == "eth0");
        Ok(report.map_or_else(Kernel::default, |report| Kernel {
            direct_packets: report.direct_packets,
            classes: report.classes,
            lacking: report.status.kernel.err().map(|why| why.to_string()),
        }))
    }

    fn results(&self, now: Instant) -> Vec<ViewerResult> {
        let each = self.viewers.iter().map(|(viewer, watched, joined)| {
            let mut watched = lock(watched);
            let charged = self.charged.get(&viewer.rendition).copied().unwrap_or_default();
            let admitted = watched.admitted == Some(true);
            let (stalls, stall_ms) = match watched.admitted {
                Some(false) => (0, 0),
                _ => watched.stalls(now, *joined),
            };
            ViewerResult {
                id: viewer.id.clone(),
                transport: viewer.transport,
                template: viewer.rendition.clone(),
                admitted,
                token_rate: promised(charged).get(),
                charged: charged.get(),
                media_rate: viewer.media_rate,
                achieved: achieved(&watched, now),
                stalls,
                stall_ms,
                lost: watched.lost,
            }
        });
        each.collect()
    }

    fn progress(&self, options: &Options, bulk: u64) -> Progress {
        let now = Instant::now();
        let rungs = options.ladder.iter().map(|rung| {
            let promised = promised(self.charged.get(&rung.name).copied().unwrap_or_default()).get();
            let mut shown = RungProgress { name: rung.name.clone(), promised, ..RungProgress::default() };
            let mut least = None;
            for (_, watched, joined) in
                self.viewers.iter().filter(|(viewer, ..)| viewer.rendition == rung.name)
            {
                let mut watched = lock(watched);
                if watched.admitted == Some(false) {
                    shown.refused += 1;
                    continue;
                }
                shown.watching += 1;
                if watched.player.has_started() {
                    shown.stalls += watched.stalls(now, *joined).0;
                }
                let last = watched.whole_seconds(now).last().copied();
                least = least.into_iter().chain(last).min();
            }
            shown.least = least.unwrap_or(0);
            shown
        });
        Progress {
            phase: self.name,
            elapsed: self.started.elapsed().as_secs(),
            seconds: options.seconds,
            rungs: rungs.collect(),
            bulk,
        }
    }
}

/// The payload that a token rate carries whatever the transport: TCP over IPv6 has most headers.
fn promised(token_rate: Rate) -> Rate {
    token_rate.scale_down(Ratio { numerator: 1500 - tcp_header_size(IpVersion::V6), denominator: 1500 })
}

fn on_wire(transport: Transport, payload: u64) -> u64 {
    let (payload_size, size) = match transport {
        Transport::Tcp => (TCP_PAYLOAD, TCP_ON_WIRE),
        Transport::Udp => (DATAGRAM as u64, DATAGRAM as u64 + udp_header_size(IpVersion::V4) + WIRE_HEADER),
    };
    Rate::new(payload).scale_up(Ratio { numerator: size, denominator: payload_size }).get()
}

fn achieved(watched: &Watched, now: Instant) -> Achieved {
    let by_second = watched.whole_seconds(now);
    let mut sorted = by_second.clone();
    sorted.sort_unstable();
    let total: u64 = watched.seconds.iter().sum();
    let span = watched.began.map_or(Duration::ZERO, |began| now - began);
    Achieved {
        worst_second: sorted.first().copied().unwrap_or(0),
        median_second: sorted.get(sorted.len() / 2).copied().unwrap_or(0),
        mean: rate_of(total, span),
        by_second,
    }
}

/// Bytes per second, rounded down.
fn rate_of(bytes: u64, span: Duration) -> u64 {
    let micros = span.as_micros().max(1);
    u64::try_from(u128::from(bytes) * 1_000_000 / micros).unwrap_or(u64::MAX)
}

/// Takes what the bulk server sends, and counts.
async fn download(counted: &AtomicU64) -> std::io::Result<()> {
    let mut stream = TcpStream::connect((SERVER_V4, BULK_PORT)).await?;
    let mut buf = vec![0; 256 << 10];
    loop {
        let came = stream.read(&mut buf).await?;
        if came == 0 {
            return Ok(());
        }
        counted.fetch_add(came as u64, Ordering::Relaxed);
    }
}
