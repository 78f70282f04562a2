//! A measured transfer: the rate that a flow gets on a private network beside a greedy connection without a reservation.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use flowspec::{Bytes, Micros, Peak, Qos, Rate};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::network::{CLIENT_V4, LabNetwork, SERVER_V4};
use super::service::{CONGESTION_CONTROL, send_bulk};
use crate::connect::{Ask, ConnectError, Host};
use crate::failure::{KernelCall, KernelFailure};
use crate::linux::capture::{CaptureFilter, Packet, Tap, Transport};
use crate::linux::socket;
use crate::policy::{InterfacePolicy, Policy};

/// A flow, and the link that it is measured on.
#[derive(Clone, Debug)]
pub struct MeasuredTransfer {
    /// Budgets and enforcement of the link.
    pub interface: InterfacePolicy,
    /// Bytes per second on the wire, in both directions.
    pub capacity: Rate,
    /// The policy that defines the flow's class.
    pub policy: Arc<Policy>,
    /// The flow's class.
    pub class: Option<String>,
    /// The flow's flowspecs; the sending direction is measured.
    pub qos: Qos,
    /// How long the rate is measured, once the flow's bucket is empty.
    pub duration: Micros,
    /// The measurement ends earlier once so much has been sent.
    pub bytes: Option<Bytes>,
}

/// Why a transfer could not be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The network could not be set up or observed.
    #[error("the private network: {0}")]
    Network(#[from] KernelFailure),
    /// The flow was refused, or the connection failed.
    #[error("the flow: {0}")]
    Connect(#[from] ConnectError),
    /// Too little was sent to compute a rate.
    #[error("too little was sent to measure a rate")]
    Silence,
}

const PORT: u16 = 5000;
const BULK_PORT: u16 = 5001;

/// The payload of a full segment: the private network's MTU of 1500 bytes less the headers of IPv4 and of TCP with
/// time stamps.
const SEGMENT: Bytes = Bytes::new(1448);

/// The first second of the connection is not measured: its window opens in it.
const START: Duration = Duration::from_secs(1);

/// The longest wait for the bucket to become empty.
const LONGEST_DRAIN: Duration = Duration::from_secs(10);

/// How often captured packets are read.
const POLL: Duration = Duration::from_millis(20);

/// Smaller packets are acknowledgements, larger ones carry data.
const SMALLEST_DATA: Bytes = Bytes::new(100);

/// The rate at which the flow's IP datagrams leave, headers included. The flow sends by TCP with cubic, while another
/// connection without a reservation sends as much as it can.
///
/// - **Errors**: the namespaces cannot be created, the flow is refused, or the connection fails.
pub fn measure(transfer: &MeasuredTransfer) -> Result<Rate, TransferError> {
    let network = LabNetwork::new(transfer.capacity)?;
    network.client.run(async move {
        let listener = TcpListener::bind((CLIENT_V4, PORT)).await;
        let listener = listener.map_err(|error| KernelCall("bind").failed("the receiver", error))?;
        tokio::spawn(async move {
            if let Ok((stream, _)) = listener.accept().await {
                discard(stream).await;
            }
        });
        Ok::<_, KernelFailure>(())
    })??;
    let transfer = transfer.clone();
    network.server.run(async move {
        let listener = TcpListener::bind((SERVER_V4, BULK_PORT)).await;
        let listener = listener.map_err(|error| KernelCall("bind").failed("the bulk sender", error))?;
        tokio::spawn(send_bulk(listener));
        Ok::<_, KernelFailure>(())
    })??;
    network.client.run(async move {
        let stream = TcpStream::connect((SERVER_V4, BULK_PORT)).await;
        let stream = stream.map_err(|error| KernelCall("connect").failed("the bulk sender", error))?;
        tokio::spawn(discard(stream));
        Ok::<_, KernelFailure>(())
    })??;
    network.server.run(async move { send(&transfer).await })?
}

async fn discard(mut stream: TcpStream) {
    let mut buffer = vec![0; 1 << 18];
    while stream.read(&mut buffer).await.is_ok_and(|received| received > 0) {}
}

async fn send(transfer: &MeasuredTransfer) -> Result<Rate, TransferError> {
    let MeasuredTransfer { interface, policy, class, qos, duration, bytes, .. } = transfer;
    let mut own = Policy { classes: policy.classes.clone(), ..Policy::default() };
    own.interfaces.insert("eth0".into(), interface.clone());
    let tap = Tap::open()?;
    let host = Host::start(Arc::new(own)).await?;
    let ask = Ask { class: class.clone(), ..Ask::qos(*qos) };
    let peer = SocketAddr::from((CLIENT_V4, PORT));
    let mut connection = host.connector().connect(peer, &ask).await?;
    // A kernel without cubic keeps its default.
    let _ = socket::set_congestion_control(connection.socket(), CONGESTION_CONTROL);
    let start = START + drain_time(transfer);
    let data = vec![0; 64 << 10];
    let sending = async { while connection.write_all(&data).await.is_ok() {} };
    let mut packets = Vec::new();
    let filter = CaptureFilter { transport: Transport::Tcp, port: PORT, segment: SEGMENT };
    let longest = start + Duration::from_micros(duration.get());
    let reading = async {
        let began = tokio::time::Instant::now();
        loop {
            tokio::time::sleep(POLL).await;
            packets.extend(tap.take(filter)?);
            let measured = CaptureMeasure::of(&packets, start);
            if began.elapsed() >= longest || bytes.is_some_and(|bytes| measured.bytes >= bytes) {
                return Ok::<_, KernelFailure>(measured);
            }
        }
    };
    let measured = tokio::select! {
        measured = reading => measured?,
        () = sending => CaptureMeasure::of(&packets, start),
    };
    drop(connection);
    host.stop().await;
    measured.rate().ok_or(TransferError::Silence)
}

/// The time until a full bucket is empty at the peak rate, or at the link's rate; twice that, rounded up, to be safe.
fn drain_time(transfer: &MeasuredTransfer) -> Duration {
    let spec = &transfer.qos.sending;
    let (Some(rate), Some(bucket)) = (spec.token_rate, spec.token_bucket_size) else { return Duration::ZERO };
    let peak = match spec.peak_bandwidth {
        Some(Peak::Finite(peak)) => peak.min(transfer.capacity),
        Some(Peak::Infinite) | None => transfer.capacity,
    };
    let excess = u128::from(peak.saturating_sub(rate).get().max(1));
    let micros = (2 * u128::from(bucket.get()) * 1_000_000).div_ceil(excess);
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)).min(LONGEST_DRAIN)
}

#[derive(Clone, Copy, Debug, Default)]
struct CaptureMeasure {
    /// The time from its first packet to its last.
    time: Duration,
    /// The size of all its packets but the first.
    bytes: Bytes,
}

impl CaptureMeasure {
    /// The data packets that left `start` or more after the first.
    fn of(packets: &[Packet], start: Duration) -> Self {
        let mut data = packets.iter().filter(|packet| packet.size > SMALLEST_DATA);
        let Some(first) = data.next() else { return Self::default() };
        let start = first.at.saturating_add(start);
        let mut measured = data.skip_while(|packet| packet.at < start);
        let Some(first) = measured.next() else { return Self::default() };
        measured.fold(Self::default(), |sum, packet| Self {
            time: packet.at.saturating_sub(first.at),
            bytes: sum.bytes.saturating_add(packet.size),
        })
    }

    /// Bytes per second, rounded down; `None` if no time has passed.
    fn rate(self) -> Option<Rate> {
        let rate = u128::from(self.bytes.get()) * 1_000_000_000 / self.time.as_nanos().max(1);
        u64::try_from(rate).ok().filter(|_| self.time > Duration::ZERO).map(Rate::new)
    }
}
