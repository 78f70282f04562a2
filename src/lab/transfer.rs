//! A transfer for real: what a flow gets on a private network, beside somebody who takes all he can.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use flowspec::{Bytes, Micros, Peak, Qos, Rate};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::network::{CLIENT_V4, Network, SERVER_V4};
use super::service::{CONGESTION_CONTROL, bulk};
use crate::connect::{Ask, ConnectError, Host};
use crate::failure::KernelFailure;
use crate::linux::capture::{Filter, Packet, Tap, Transport};
use crate::linux::socket;
use crate::policy::{InterfacePolicy, Policy};

/// What is to be sent.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// What the link may promise, and how.
    pub interface: InterfacePolicy,
    /// What it carries.
    pub capacity: Rate,
    /// The policy whose class the flow has.
    pub policy: Arc<Policy>,
    /// The flow's class.
    pub class: Option<String>,
    /// The flow's QOS; what it sends is measured.
    pub qos: Qos,
    /// How long it is measured, once its bucket is spent.
    pub duration: Micros,
    /// Until so much has been sent, if that is sooner.
    pub bytes: Option<Bytes>,
}

/// Why a transfer could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The network could not be made, or nothing be heard on it.
    #[error("the private network: {0}")]
    Network(#[from] KernelFailure),
    /// No connection was made.
    #[error("the flow: {0}")]
    Connect(#[from] ConnectError),
    /// Too little came for a rate.
    #[error("next to nothing was sent")]
    Silence,
}

const PORT: u16 = 5000;
const BULK_PORT: u16 = 5001;

/// Ethernet's MTU, which the private network has, less IPv4's and TCP's headers with timestamps.
const SEGMENT: Bytes = Bytes::new(1448);

/// What is not measured: the connection's first second, in which its window opens.
const START: Duration = Duration::from_secs(1);

/// The longest that a bucket is waited for.
const LONGEST_DRAIN_MICROS: u64 = 10_000_000;

/// Acknowledgements are smaller than this, full segments larger.
const SMALLEST_DATA: Bytes = Bytes::new(100);

/// The rate at which the flow's IP datagrams leave, headers included, by TCP with `cubic`, while another
/// connection without a reservation sends as much as it can.
///
/// - **Errors**: namespaces cannot be made, the flow is refused, the connection fails.
pub fn measure(transfer: &Transfer) -> Result<Rate, TransferError> {
    let network = Network::new(transfer.capacity)?;
    network.client.run(async move {
        let listener = TcpListener::bind((CLIENT_V4, PORT)).await;
        let listener = listener.map_err(|error| KernelFailure::new("bind", "the receiver", error))?;
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
        let listener = listener.map_err(|error| KernelFailure::new("bind", "the bulk sender", error))?;
        tokio::spawn(bulk(listener));
        Ok::<_, KernelFailure>(())
    })??;
    network.client.run(async move {
        let stream = TcpStream::connect((SERVER_V4, BULK_PORT)).await;
        let stream = stream.map_err(|error| KernelFailure::new("connect", "the bulk sender", error))?;
        tokio::spawn(discard(stream));
        Ok::<_, KernelFailure>(())
    })??;
    network.server.run(async move { send(&transfer).await })?
}

async fn discard(mut stream: TcpStream) {
    let mut buffer = vec![0; 1 << 18];
    while stream.read(&mut buffer).await.is_ok_and(|came| came > 0) {}
}

async fn send(transfer: &Transfer) -> Result<Rate, TransferError> {
    let Transfer { interface, policy, class, qos, duration, bytes, .. } = transfer;
    let mut own = Policy { classes: policy.classes.clone(), ..Policy::default() };
    own.interfaces.insert("eth0".into(), interface.clone());
    let tap = Tap::open()?;
    let host = Host::start(Arc::new(own)).await?;
    let ask = Ask { class: class.clone(), ..Ask::qos(*qos) };
    let peer = SocketAddr::from((CLIENT_V4, PORT));
    let mut connection = host.connector().connect(peer, &ask).await?;
    // A kernel without cubic keeps its default.
    let _ = socket::set_congestion_control(connection.socket(), CONGESTION_CONTROL);
    let start = START + Duration::from_micros(drain_micros(transfer));
    let data = vec![0; 64 << 10];
    let sending = async { while connection.write_all(&data).await.is_ok() {} };
    // It is over when the time is, or when so much has been sent: looked at as often as the tap is read.
    let mut packets = Vec::new();
    let filter = Filter { transport: Transport::Tcp, port: PORT, segment: SEGMENT };
    let whole = start + Duration::from_micros(duration.get());
    let reading = async {
        let began = tokio::time::Instant::now();
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            packets.extend(tap.take(filter)?);
            let measured = count(&packets, start);
            if began.elapsed() >= whole || bytes.is_some_and(|bytes| measured.1 >= bytes) {
                return Ok::<_, KernelFailure>(measured);
            }
        }
    };
    let (time, sent) = tokio::select! {
        measured = reading => measured?,
        () = sending => count(&packets, start),
    };
    drop(connection);
    host.stop().await;
    let rate = u128::from(sent.get()) * 1_000_000_000 / time.as_nanos().max(1);
    match u64::try_from(rate) {
        Ok(rate) if time > Duration::ZERO => Ok(Rate::new(rate)),
        _ => Err(TransferError::Silence),
    }
}

/// How long a full bucket lasts at the peak, or at the link's rate, in microseconds; twice that, rounded up.
fn drain_micros(transfer: &Transfer) -> u64 {
    let spec = &transfer.qos.sending;
    let (Some(rate), Some(bucket)) = (spec.token_rate, spec.token_bucket_size) else { return 0 };
    let peak = match spec.peak_bandwidth {
        Some(Peak::Finite(peak)) => peak.min(transfer.capacity),
        Some(Peak::Infinite) | None => transfer.capacity,
    };
    let excess = u128::from(peak.saturating_sub(rate).get().max(1));
    let micros = (2 * u128::from(bucket.get()) * 1_000_000).div_ceil(excess);
    u64::try_from(micros).unwrap_or(u64::MAX).min(LONGEST_DRAIN_MICROS)
}

/// The time from the first packet after the start to the last, and the bytes after the first.
fn count(packets: &[Packet], start: Duration) -> (Duration, Bytes) {
    let mut data = packets.iter().filter(|packet| packet.size > SMALLEST_DATA);
    let nothing = (Duration::ZERO, Bytes::ZERO);
    let Some(first) = data.next() else { return nothing };
    let start = first.at.saturating_add(start);
    let mut measured = data.skip_while(|packet| packet.at < start);
    let Some(first) = measured.next() else { return nothing };
    measured.fold(nothing, |(_, bytes), packet| {
        (packet.at.saturating_sub(first.at), bytes.saturating_add(packet.size))
    })
}
