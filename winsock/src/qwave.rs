//! Flows of qWAVE: sockets with a traffic type, an outgoing rate and a DSCP, on the same reservations as SIO_SET_QOS.
//!
//! Knows neither handles nor the program's memory: those are [`abi::qwave`](crate::abi::qwave)'s.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};

use flowspec::objects::ShapeDiscardMode;
use flowspec::{Bytes, Direction, Flowspec, Qos, Rate, ServiceType, Wsa};
use gqos::admission::{Operation, Response};

use super::Result;
use super::endpoint::{ConnectionPhase, Endpoint};
use super::options::{OptionValue, SocketOption};
use super::protocol::Family;
use super::provider::provider;
use super::provider_specific::ProviderSpecific;
use crate::sys::{self, NetworkOption};

/// QOS_TRAFFIC_TYPE.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum TrafficType {
    BestEffort,
    Background,
    ExcellentEffort,
    AudioVideo,
    Voice,
    Control,
}

impl TrafficType {
    pub(crate) const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::BestEffort,
            1 => Self::Background,
            2 => Self::ExcellentEffort,
            3 => Self::AudioVideo,
            4 => Self::Voice,
            5 => Self::Control,
            _ => return None,
        })
    }

    /// The DSCP of its packets. Source: QOS_TRAFFIC_TYPE.
    pub(crate) const fn code_point(self) -> u8 {
        match self {
            Self::BestEffort => 0,
            Self::Background => 0x08,
            Self::ExcellentEffort | Self::AudioVideo => 0x28,
            Self::Voice | Self::Control => 0x38,
        }
    }

    /// The service that a flow with an outgoing rate requests.
    const fn service_type(self) -> ServiceType {
        match self {
            Self::AudioVideo | Self::Voice | Self::Control => ServiceType::Guaranteed,
            Self::BestEffort | Self::Background | Self::ExcellentEffort => ServiceType::ControlledLoad,
        }
    }
}

/// QOS_SHAPING.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum QosShaping {
    /// Excess waits; packets are marked as the policy's class says.
    ShapeOnly,
    /// Excess waits; packets are marked as the traffic type says.
    ShapeAndMark,
    /// Excess is sent at once: only the kernel's class shapes.
    UseNonConformantMarkings,
}

/// QOS_FLOWRATE_OUTGOING without its reason.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct OutgoingRate {
    /// In bits per second, of IP packets.
    pub(crate) bits_per_second: u64,
    pub(crate) shaping: QosShaping,
}

#[derive(Clone, Debug)]
pub(crate) struct QwaveFlow {
    pub(crate) sockets: Vec<Weak<Endpoint>>,
    /// Where it goes, where its sockets have no peer.
    pub(crate) destination: Option<SocketAddr>,
    pub(crate) traffic_type: TrafficType,
    /// QOS_NON_ADAPTIVE_FLOW: nothing is measured for it, and it may have several sockets.
    pub(crate) non_adaptive: bool,
    pub(crate) rate: Option<OutgoingRate>,
    /// QOSSetOutgoingDSCPValue.
    pub(crate) code_point: Option<u8>,
}

/// Why a flow was not changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FlowError {
    /// The network has not the capacity that the flow asks for.
    NetworkBusy,
    /// There is no policy to reserve by, or several sockets share the flow.
    NotSupported,
    /// The flow has no socket any more.
    NotFound,
    /// The call that carried the change out has failed.
    Failed(Wsa),
}

impl From<Wsa> for FlowError {
    fn from(code: Wsa) -> Self {
        Self::Failed(code)
    }
}

/// How long a burst may last at the outgoing rate: a bucket of rate / 20.
const BURSTS_PER_SECOND: u64 = 20;

/// The least bucket: two packets of Ethernet.
const LEAST_BUCKET: u64 = 3000;

impl QwaveFlow {
    pub(crate) fn open_sockets(&self) -> Vec<Arc<Endpoint>> {
        self.sockets.iter().filter_map(Weak::upgrade).filter(|socket| !socket.is_closed()).collect()
    }

    /// Reserves, shapes and marks as the flow says.
    pub(crate) fn apply(&self) -> core::result::Result<(), FlowError> {
        let sockets = self.open_sockets();
        if sockets.is_empty() {
            return Err(FlowError::NotFound);
        }
        match self.rate {
            Some(_) if sockets.len() > 1 => Err(FlowError::NotSupported),
            Some(rate) => self.reserve(&sockets[0], rate),
            None => sockets.iter().try_for_each(|socket| Ok(socket.mark(self.code_point)?)),
        }
    }

    fn reserve(&self, socket: &Arc<Endpoint>, rate: OutgoingRate) -> core::result::Result<(), FlowError> {
        if !socket.can_reserve() {
            return Err(FlowError::NotSupported);
        }
        // Demand is rounded up.
        let bytes = rate.bits_per_second.div_ceil(8);
        let sending = Flowspec {
            token_rate: Some(Rate::new(bytes)),
            token_bucket_size: Some(Bytes::new((bytes / BURSTS_PER_SECOND).max(LEAST_BUCKET))),
            ..Flowspec::new(self.traffic_type.service_type())
        };
        let marked = match rate.shaping {
            QosShaping::ShapeOnly => None,
            QosShaping::ShapeAndMark | QosShaping::UseNonConformantMarkings => {
                Some(self.traffic_type.code_point())
            }
        };
        let objects = ProviderSpecific {
            shape_discard_mode: Some(match rate.shaping {
                QosShaping::ShapeOnly | QosShaping::ShapeAndMark => ShapeDiscardMode::Shape,
                QosShaping::UseNonConformantMarkings => ShapeDiscardMode::Borrow,
            }),
            ds_field: self.code_point.or(marked),
            destination: self.destination,
            ..ProviderSpecific::default()
        };
        let qos = Qos { sending, receiving: Flowspec::new(ServiceType::NoChange) };
        socket.set_qos_with(&qos, objects).map_err(|code| match code {
            Wsa::Eopnotsupp => FlowError::NetworkBusy,
            code => FlowError::Failed(code),
        })
    }

    /// Releases what a socket of the flow holds.
    pub(crate) fn release(&self, socket: &Arc<Endpoint>) -> Result<()> {
        if self.rate.is_some() {
            let qos = Qos { sending: Flowspec::BEST_EFFORT, receiving: Flowspec::new(ServiceType::NoChange) };
            // Without a peer the destination says which reservation ends.
            let objects = ProviderSpecific { destination: self.destination, ..ProviderSpecific::default() };
            socket.set_qos_with(&qos, objects)?;
        }
        if self.code_point.is_some() { socket.mark(None) } else { Ok(()) }
    }

    /// Whether the flow has an outgoing rate that is not reserved any more.
    pub(crate) fn is_congested(&self) -> bool {
        let lost = |socket: &Arc<Endpoint>| socket.has_peer() && socket.decision().is_none();
        self.rate.is_some() && self.open_sockets().iter().any(lost)
    }

    /// The address to which the flow goes.
    pub(crate) fn peer(&self) -> Option<IpAddr> {
        let connected = self.open_sockets().iter().find_map(|socket| socket.peer_address().ok());
        connected.or(self.destination).map(|peer| peer.ip())
    }
}

impl Endpoint {
    fn has_peer(&self) -> bool {
        self.state().phase == ConnectionPhase::Connected
    }

    /// Marks the socket's packets with a DSCP, without a reservation; `None` marks them no more.
    fn mark(&self, code_point: Option<u8>) -> Result<()> {
        let value = i32::from(code_point.unwrap_or(0)) << 2;
        match self.family {
            Family::Inet => self.set_option(SocketOption::TypeOfService, OptionValue::Number(value)),
            Family::Inet6 => self.set_network_option(NetworkOption::TrafficClass, value),
        }
    }

    /// The DSCP of the socket's packets.
    pub(crate) fn code_point(self: &Arc<Self>) -> Result<u32> {
        let value = match self.family {
            Family::Inet => match self.option(SocketOption::TypeOfService)? {
                OptionValue::Number(value) => value,
                OptionValue::Linger(_) => 0,
            },
            Family::Inet6 => self.network_option(NetworkOption::TrafficClass)?,
        };
        Ok(value.cast_unsigned() >> 2)
    }

    /// The smoothed round-trip time of a stream, in microseconds; `None` where it is not known.
    pub(crate) fn round_trip_micros(&self) -> Option<u32> {
        if self.is_stream() && self.has_peer() { sys::round_trip_micros(&self.fd) } else { None }
    }
}

/// Bits per second of a path.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct PathRates {
    /// The interface's capacity.
    pub(crate) bottleneck: Option<u64>,
    /// What can still be reserved on the interface.
    pub(crate) available: Option<u64>,
}

fn bits(rate: Rate) -> u64 {
    rate.get().saturating_mul(8)
}

/// The rates on the way to a peer. Waits for the reactor.
///
/// - **Errors**: WSANOTINITIALISED.
pub(crate) fn path_rates(peer: IpAddr) -> Result<PathRates> {
    let host = &provider()?.host;
    let Some(interface) = host.interface(peer) else { return Ok(PathRates::default()) };
    let decision = host.submit(Operation::Query { interface, request: None })?;
    let available = match &decision.response {
        Response::Query(Ok(free)) => Some(bits(*free.available.get(Direction::Sending))),
        _ => None,
    };
    Ok(PathRates { bottleneck: host.line_rate(peer).map(bits), available })
}
