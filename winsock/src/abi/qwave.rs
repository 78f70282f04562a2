//! qWAVE: handles, and flows with their structures of a 64-bit program.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use flowspec::Wsa;

use super::handle::endpoint;
use super::last_error::{Win32, win32};
use super::{Address, memory, overlapped, sockaddr};
use crate::operations::Completion;
use crate::provider::provider;
use crate::qwave::{FlowError, OutgoingRate, QosShaping, QwaveFlow, TrafficType, path_rates};

type Result<T> = core::result::Result<T, Win32>;

// Source: `winerror.h`.
const ACCESS_DENIED: Win32 = Win32(5);
const INVALID_HANDLE: Win32 = Win32(6);
const NOT_SUPPORTED: Win32 = Win32(50);
const NETWORK_BUSY: Win32 = Win32(54);
const INVALID_PARAMETER: Win32 = Win32(87);
const INSUFFICIENT_BUFFER: Win32 = Win32(122);
const ALREADY_EXISTS: Win32 = Win32(183);
const NO_DATA: Win32 = Win32(232);
const NOT_FOUND: Win32 = Win32(1168);
const NO_SYSTEM_RESOURCES: Win32 = Win32(1450);

/// QOS_NON_ADAPTIVE_FLOW.
const NON_ADAPTIVE_FLOW: u32 = 2;

/// QOS_QUERYFLOW_FRESH: every answer is fresh.
const QUERY_FRESH: u32 = 1;

/// QOS_SET_FLOW.
const SET_TRAFFIC_TYPE: i32 = 0;
const SET_OUTGOING_RATE: i32 = 1;
const SET_OUTGOING_DSCP: i32 = 2;

/// QOS_QUERY_FLOW.
const QUERY_FUNDAMENTALS: i32 = 0;
const QUERY_PACKET_PRIORITY: i32 = 1;
const QUERY_OUTGOING_RATE: i32 = 2;

/// The size of QOS_FLOWRATE_OUTGOING: bits per second (8 bytes), shaping, reason.
const FLOWRATE_SIZE: u32 = 16;

/// Handles are larger than those of events and of layered sockets.
const FIRST_HANDLE: usize = 1 << 52;

/// The most handles, flows of a handle, and sockets of a flow.
const MAX_HANDLES: usize = 4096;
const MAX_FLOWS: usize = 65_536;
const MAX_SOCKETS: usize = 1024;

/// The most notifications of a handle: each occupies a thread.
const MAX_NOTIFICATIONS: usize = 64;

/// How often a notification looks at its flow.
const NOTIFICATION_INTERVAL: Duration = Duration::from_millis(100);

/// A handle of QOSCreateHandle.
#[derive(Default)]
struct Subsystem {
    last_flow: u32,
    flows: BTreeMap<u32, QwaveFlow>,
    /// QOSStartTrackingClient.
    tracked: Vec<IpAddr>,
    notifications: Vec<FlowNotification>,
    last_notification: u64,
}

/// A QOSNotifyFlow that is under way.
struct FlowNotification {
    number: u64,
    flow: u32,
    awaited: Awaited,
    overlapped: Address,
    /// `None` once it was cancelled.
    completion: Option<Completion>,
}

/// What a notification waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Awaited {
    Congested,
    Uncongested,
    /// A rate in bits per second.
    Available(u64),
}

impl Awaited {
    /// Of each kind a flow has one notification.
    fn is_of_kind(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}

struct QosHandles {
    /// Handles made so far: they are not used again.
    made: usize,
    open: BTreeMap<usize, Subsystem>,
}

static HANDLES: Mutex<QosHandles> = Mutex::new(QosHandles { made: 0, open: BTreeMap::new() });

fn handles() -> MutexGuard<'static, QosHandles> {
    // The value is consistent between any two statements that can panic.
    HANDLES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does something with a handle's subsystem. Nothing in it may wait or call back.
fn with<T>(handle: usize, work: impl FnOnce(&mut Subsystem) -> Result<T>) -> Result<T> {
    work(handles().open.get_mut(&handle).ok_or(INVALID_HANDLE)?)
}

fn flow(handle: usize, id: u32) -> Result<QwaveFlow> {
    with(handle, |subsystem| subsystem.flows.get(&id).cloned().ok_or(NOT_FOUND))
}

impl From<FlowError> for Win32 {
    fn from(error: FlowError) -> Self {
        match error {
            FlowError::NetworkBusy => NETWORK_BUSY,
            FlowError::NotSupported => NOT_SUPPORTED,
            FlowError::NotFound => NOT_FOUND,
            FlowError::Failed(Wsa::Eacces) => ACCESS_DENIED,
            FlowError::Failed(code) => code.into(),
        }
    }
}

fn create_handle(version: Address, to: Address) -> Result<i32> {
    if version.is_null() || to.is_null() {
        return Err(INVALID_PARAMETER);
    }
    // Major and minor version.
    if memory::read_bytes::<4>(version)? != [1, 0, 0, 0] {
        return Err(INVALID_PARAMETER);
    }
    let handle = {
        let mut handles = handles();
        if handles.open.len() >= MAX_HANDLES {
            return Err(NO_SYSTEM_RESOURCES);
        }
        handles.made += 1;
        let handle = FIRST_HANDLE + handles.made * 4;
        handles.open.insert(handle, Subsystem::default());
        handle
    };
    memory::write(to, &handle.to_ne_bytes())?;
    Ok(1)
}

fn close_handle(handle: usize) -> Result<i32> {
    let subsystem = handles().open.remove(&handle).ok_or(INVALID_HANDLE)?;
    abort(subsystem.notifications);
    for flow in subsystem.flows.values() {
        release_all(flow);
    }
    Ok(1)
}

fn abort(notifications: Vec<FlowNotification>) {
    for mut notification in notifications {
        if let Some(completion) = notification.completion.take() {
            completion(Err(Wsa::OperationAborted));
        }
    }
}

fn release_all(flow: &QwaveFlow) {
    for socket in flow.open_sockets() {
        // An error means that the provider was cleaned up or the socket closed, which has released everything.
        let _ = flow.release(&socket);
    }
}

/// The parameters of QOSAddSocketToFlow.
struct AddSocket {
    handle: usize,
    s: usize,
    destination: Address,
    traffic_type: u32,
    flags: u32,
    flow: Address,
}

impl AddSocket {
    fn run(&self) -> Result<i32> {
        with(self.handle, |_| Ok(()))?;
        if self.flags & !NON_ADAPTIVE_FLOW != 0 || self.flow.is_null() {
            return Err(INVALID_PARAMETER);
        }
        let traffic_type = TrafficType::from_number(self.traffic_type).ok_or(INVALID_PARAMETER)?;
        let socket = endpoint(self.s)?;
        let peer = socket.peer_address().ok();
        let destination = if self.destination.is_null() {
            None
        } else {
            Some(sockaddr::read(self.destination, i32::MAX, socket.family).map_err(|_| INVALID_PARAMETER)?)
        };
        match (peer, destination) {
            (None, None) => return Err(INVALID_PARAMETER),
            (Some(peer), Some(destination)) if peer != destination => return Err(INVALID_PARAMETER),
            _ => {}
        }
        let non_adaptive = self.flags & NON_ADAPTIVE_FLOW != 0;
        let id = memory::read_u32(self.flow)?;
        let member = Arc::downgrade(&socket);
        let added = with(self.handle, |subsystem| {
            let is_member = |known: &Weak<_>| Weak::ptr_eq(known, &member);
            if subsystem.flows.values().any(|flow| flow.sockets.iter().any(is_member)) {
                return Err(ALREADY_EXISTS);
            }
            if id != 0 {
                let flow = subsystem.flows.get_mut(&id).ok_or(NOT_FOUND)?;
                flow.sockets.retain(|socket| socket.strong_count() > 0);
                // Several sockets share a flow for which nothing is measured.
                if !flow.non_adaptive || !non_adaptive || flow.sockets.len() >= MAX_SOCKETS {
                    return Err(INVALID_PARAMETER);
                }
                if flow.rate.is_some() {
                    return Err(NOT_SUPPORTED);
                }
                flow.sockets.push(member.clone());
                return Ok(id);
            }
            if subsystem.flows.len() >= MAX_FLOWS {
                return Err(NO_SYSTEM_RESOURCES);
            }
            // Numbers are used again after 2³² flows.
            loop {
                subsystem.last_flow = subsystem.last_flow.wrapping_add(1).max(1);
                if !subsystem.flows.contains_key(&subsystem.last_flow) {
                    break;
                }
            }
            let sockets = vec![member.clone()];
            let flow =
                QwaveFlow { sockets, destination, traffic_type, non_adaptive, rate: None, code_point: None };
            subsystem.flows.insert(subsystem.last_flow, flow);
            Ok(subsystem.last_flow)
        })?;
        memory::write_u32(self.flow, added)?;
        Ok(1)
    }
}

fn remove_socket(handle: usize, s: usize, id: u32, flags: u32) -> Result<i32> {
    if flags != 0 {
        return Err(INVALID_PARAMETER);
    }
    let known = flow(handle, id)?;
    // Without a socket the whole flow ends.
    let leaving = if s == 0 { known.open_sockets() } else { vec![endpoint(s)?] };
    let stays =
        |socket: &Weak<_>| !leaving.iter().any(|left| std::ptr::eq(Arc::as_ptr(left), socket.as_ptr()));
    if s != 0 && known.sockets.iter().all(stays) {
        return Err(NOT_FOUND);
    }
    let ended = with(handle, |subsystem| {
        let flow = subsystem.flows.get_mut(&id).ok_or(NOT_FOUND)?;
        flow.sockets.retain(stays);
        if s != 0 && !flow.sockets.is_empty() {
            return Ok(Vec::new());
        }
        subsystem.flows.remove(&id);
        Ok(subsystem.notifications.extract_if(.., |notification| notification.flow == id).collect())
    })?;
    abort(ended);
    for socket in &leaving {
        known.release(socket)?;
    }
    Ok(1)
}

/// The parameters that QOSSetFlow, QOSQueryFlow and QOSNotifyFlow have.
struct FlowCall {
    handle: usize,
    id: u32,
    operation: i32,
    buffer: Address,
    flags: u32,
    overlapped: Address,
}

impl FlowCall {
    fn set(&self, size: u32) -> Result<i32> {
        let mut changed = flow(self.handle, self.id)?;
        let needed = if self.operation == SET_OUTGOING_RATE { FLOWRATE_SIZE } else { 4 };
        if self.flags != 0 || self.buffer.is_null() || size < needed {
            return Err(INVALID_PARAMETER);
        }
        match self.operation {
            SET_TRAFFIC_TYPE => {
                let number = memory::read_u32(self.buffer)?;
                changed.traffic_type = TrafficType::from_number(number).ok_or(INVALID_PARAMETER)?;
            }
            SET_OUTGOING_RATE => changed.rate = Some(self.outgoing_rate()?),
            SET_OUTGOING_DSCP => {
                let number = memory::read_u32(self.buffer)?;
                let code_point = u8::try_from(number).ok().filter(|&code_point| code_point < 64);
                changed.code_point = Some(code_point.ok_or(INVALID_PARAMETER)?);
            }
            _ => return Err(INVALID_PARAMETER),
        }
        // A refusal keeps what was in force.
        changed.apply()?;
        with(self.handle, |subsystem| {
            let flow = subsystem.flows.get_mut(&self.id).ok_or(NOT_FOUND)?;
            *flow = changed;
            Ok(())
        })?;
        self.complete(0)
    }

    fn outgoing_rate(&self) -> Result<OutgoingRate> {
        let bits_per_second = u64::from_ne_bytes(memory::read_bytes(self.buffer)?);
        let shaping = match memory::read_u32(self.buffer.offset(8))? {
            0 => QosShaping::ShapeOnly,
            1 => QosShaping::ShapeAndMark,
            2 => QosShaping::UseNonConformantMarkings,
            _ => return Err(INVALID_PARAMETER),
        };
        // QOS_FLOWRATE_REASON has five values.
        if bits_per_second == 0 || memory::read_u32(self.buffer.offset(12))? > 4 {
            return Err(INVALID_PARAMETER);
        }
        Ok(OutgoingRate { bits_per_second, shaping })
    }

    fn query(&self, size: Address) -> Result<i32> {
        let flow = flow(self.handle, self.id)?;
        if size.is_null() || self.flags & !QUERY_FRESH != 0 {
            return Err(INVALID_PARAMETER);
        }
        let bytes = match self.operation {
            QUERY_FUNDAMENTALS => fundamentals(&flow)?,
            QUERY_PACKET_PRIORITY => packet_priority(&flow)?,
            QUERY_OUTGOING_RATE => flow.rate.ok_or(NO_DATA)?.bits_per_second.to_ne_bytes().to_vec(),
            _ => return Err(INVALID_PARAMETER),
        };
        write_sized(size, self.buffer, &bytes)?;
        self.complete(memory::length_u32(bytes.len())?)
    }

    fn notify(&self) -> Result<i32> {
        let known = flow(self.handle, self.id)?;
        let awaited = match (self.operation, self.buffer.is_null()) {
            (0, true) => Awaited::Congested,
            (1, true) => Awaited::Uncongested,
            (2, false) => Awaited::Available(u64::from_ne_bytes(memory::read_bytes(self.buffer)?)),
            _ => return Err(INVALID_PARAMETER),
        };
        if self.flags != 0 {
            return Err(INVALID_PARAMETER);
        }
        if known.non_adaptive {
            return Err(NOT_SUPPORTED);
        }
        if self.overlapped.is_null() {
            return wait_for(self.handle, self.id, awaited, None);
        }
        let (handle, id, overlapped) = (self.handle, self.id, self.overlapped);
        let is_same = |other: &FlowNotification| {
            other.flow == id && other.awaited.is_of_kind(awaited) && other.completion.is_some()
        };
        with(handle, |subsystem| match &subsystem.notifications {
            known if known.iter().any(is_same) => Err(ALREADY_EXISTS),
            known if known.len() >= MAX_NOTIFICATIONS => Err(NO_SYSTEM_RESOURCES),
            _ => Ok(()),
        })?;
        let completion = Some(overlapped::begin(overlapped, None)?);
        let number = with(handle, |subsystem| {
            subsystem.last_notification += 1;
            let number = subsystem.last_notification;
            subsystem.notifications.push(FlowNotification {
                number,
                flow: id,
                awaited,
                overlapped,
                completion,
            });
            Ok(number)
        })?;
        let provider = provider()?;
        provider.host.spawn_blocking(move || {
            let result = wait_for(handle, id, awaited, Some(number));
            let ended = with(handle, |subsystem| {
                let own = |other: &mut FlowNotification| other.number == number;
                Ok(subsystem.notifications.extract_if(.., own).collect::<Vec<_>>())
            });
            for mut notification in ended.unwrap_or_default() {
                if let Some(completion) = notification.completion.take() {
                    completion(if result.is_ok() { Ok(0) } else { Err(Wsa::OperationAborted) });
                }
            }
        });
        Err(Wsa::IoPending.into())
    }

    /// Completes the call's OVERLAPPED, where it has one.
    fn complete(&self, transferred: u32) -> Result<i32> {
        if !self.overlapped.is_null() {
            overlapped::begin(self.overlapped, None)?(Ok(transferred));
        }
        Ok(1)
    }
}

/// Waits until a flow is in the awaited state, or does not exist any more, or the notification was cancelled.
fn wait_for(handle: usize, id: u32, awaited: Awaited, notification: Option<u64>) -> Result<i32> {
    // Never signalled: the wait is a pause, which a cancelled call ends.
    let pause = crate::event::EventObject::new()?;
    loop {
        let flow = flow(handle, id)?;
        if flow.open_sockets().is_empty() {
            return Err(NOT_FOUND);
        }
        let is_met = match awaited {
            Awaited::Congested => flow.is_congested(),
            Awaited::Uncongested => !flow.is_congested(),
            Awaited::Available(wanted) => {
                let rates = path_rates(flow.peer().ok_or(NOT_FOUND)?)?;
                rates.available.is_some_and(|available| available >= wanted)
            }
        };
        if is_met {
            return Ok(1);
        }
        let is_cancelled = with(handle, |subsystem| Ok(subsystem.is_cancelled(notification)))?;
        if is_cancelled {
            return Err(Wsa::OperationAborted.into());
        }
        crate::event::wait_for_events(std::slice::from_ref(&pause), false, Some(NOTIFICATION_INTERVAL))?;
    }
}

impl Subsystem {
    fn is_cancelled(&self, notification: Option<u64>) -> bool {
        let own = |other: &&FlowNotification| Some(other.number) == notification;
        self.notifications.iter().find(own).is_some_and(|known| known.completion.is_none())
    }
}

fn cancel(handle: usize, overlapped: Address) -> Result<i32> {
    let completion = with(handle, |subsystem| {
        let mut known = subsystem.notifications.iter_mut();
        let found = known.find(|notification| notification.overlapped == overlapped).ok_or(NOT_FOUND)?;
        found.completion.take().ok_or(NOT_FOUND)
    })?;
    completion(Err(Wsa::OperationAborted));
    Ok(1)
}

/// QOS_FLOW_FUNDAMENTALS: for each of bottleneck, available and round trip a BOOL and the value.
fn fundamentals(flow: &QwaveFlow) -> Result<Vec<u8>> {
    if flow.non_adaptive {
        return Err(NOT_SUPPORTED);
    }
    let rates = path_rates(flow.peer().ok_or(NO_DATA)?)?;
    let mut bytes = Vec::with_capacity(40);
    for rate in [rates.bottleneck, rates.available] {
        bytes.extend(u64::from(rate.is_some()).to_ne_bytes());
        bytes.extend(rate.unwrap_or(0).to_ne_bytes());
    }
    let round_trip = flow.open_sockets().iter().find_map(|socket| socket.round_trip_micros());
    bytes.extend(u32::from(round_trip.is_some()).to_ne_bytes());
    bytes.extend(round_trip.unwrap_or(0).to_ne_bytes());
    Ok(bytes)
}

/// QOS_PACKET_PRIORITY: DSCP and 802.1p priority of conforming packets, and of others, which are best effort.
fn packet_priority(flow: &QwaveFlow) -> Result<Vec<u8>> {
    let sockets = flow.open_sockets();
    let code_point = sockets.first().ok_or(NOT_FOUND)?.code_point()?;
    let words = [code_point, 0, code_point >> 3, 0];
    Ok(words.into_iter().flat_map(u32::to_ne_bytes).collect())
}

/// Writes an answer and its size.
///
/// - **Errors**: ERROR_INSUFFICIENT_BUFFER, with the size that is needed.
fn write_sized(size: Address, buffer: Address, bytes: &[u8]) -> Result<()> {
    let capacity = memory::read_u32(size)? as usize;
    memory::write_u32(size, memory::length_u32(bytes.len())?)?;
    if capacity < bytes.len() || buffer.is_null() && !bytes.is_empty() {
        return Err(INSUFFICIENT_BUFFER);
    }
    memory::write(buffer, bytes)?;
    Ok(())
}

fn enumerate_flows(handle: usize, size: Address, buffer: Address) -> Result<i32> {
    let ids: Vec<u32> = with(handle, |subsystem| Ok(subsystem.flows.keys().copied().collect()))?;
    if size.is_null() {
        return Err(INVALID_PARAMETER);
    }
    let bytes: Vec<u8> = ids.into_iter().flat_map(u32::to_ne_bytes).collect();
    write_sized(size, buffer, &bytes)?;
    Ok(1)
}

/// Starts or stops to track a peer. The path is the interface's, which the ledger knows already.
fn track(handle: usize, peer: Address, flags: u32, starts: bool) -> Result<i32> {
    with(handle, |_| Ok(()))?;
    if flags != 0 {
        return Err(INVALID_PARAMETER);
    }
    let peer = sockaddr::read_any(peer, u32::from(u16::MAX)).map_err(|_| INVALID_PARAMETER)?.ip();
    with(handle, |subsystem| {
        let known = subsystem.tracked.iter().position(|tracked| *tracked == peer);
        match (starts, known) {
            (true, Some(_)) => Err(ALREADY_EXISTS),
            (true, None) if subsystem.tracked.len() >= MAX_FLOWS => Err(NO_SYSTEM_RESOURCES),
            (true, None) => {
                subsystem.tracked.push(peer);
                Ok(1)
            }
            (false, Some(index)) => {
                subsystem.tracked.swap_remove(index);
                Ok(1)
            }
            (false, None) => Err(NOT_FOUND),
        }
    })
}

/// Functions that return a BOOL and set the thread's error to one of Windows'.
macro_rules! qwave_functions {
    ($($(#[doc = $doc:literal])+ $name:ident($($argument:ident: $type:ty),* $(,)?) => $body:expr;)*) => {
        $(
            $(#[doc = $doc])+
            ///
            /// # Safety
            ///
            /// See [`abi`](crate::abi#safety).
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $name($($argument: $type),*) -> i32 {
                win32(0, || $body)
            }
        )*
    };
}

qwave_functions! {
    /// QOSCreateHandle, of version 1.0.
    gqos_QOSCreateHandle(version: Address, handle: Address) => create_handle(version, handle);
    /// QOSCloseHandle: its flows end, and its notifications are aborted.
    gqos_QOSCloseHandle(handle: usize) => close_handle(handle);
    /// QOSAddSocketToFlow. Traffic does not change before QOSSetFlow.
    gqos_QOSAddSocketToFlow(
        handle: usize, s: usize, destination: Address, traffic_type: u32, flags: u32, flow: Address,
    ) => AddSocket { handle, s, destination, traffic_type, flags, flow }.run();
    /// QOSRemoveSocketFromFlow; the whole flow where the SOCKET is 0.
    gqos_QOSRemoveSocketFromFlow(handle: usize, s: usize, id: u32, flags: u32)
        => remove_socket(handle, s, id, flags);
    /// QOSSetFlow.
    gqos_QOSSetFlow(
        handle: usize, id: u32, operation: i32, size: u32, buffer: Address, flags: u32, overlapped: Address,
    ) => FlowCall { handle, id, operation, buffer, flags, overlapped }.set(size);
    /// QOSQueryFlow.
    gqos_QOSQueryFlow(
        handle: usize, id: u32, operation: i32, size: Address, buffer: Address, flags: u32, overlapped: Address,
    ) => FlowCall { handle, id, operation, buffer, flags, overlapped }.query(size);
    /// QOSNotifyFlow.
    gqos_QOSNotifyFlow(
        handle: usize, id: u32, operation: i32, _size: Address, buffer: Address, flags: u32, overlapped: Address,
    ) => FlowCall { handle, id, operation, buffer, flags, overlapped }.notify();
    /// QOSCancel.
    gqos_QOSCancel(handle: usize, overlapped: Address) => cancel(handle, overlapped);
    /// QOSEnumerateFlows, of this handle.
    gqos_QOSEnumerateFlows(handle: usize, size: Address, buffer: Address) => enumerate_flows(handle, size, buffer);
    /// QOSStartTrackingClient.
    gqos_QOSStartTrackingClient(handle: usize, peer: Address, flags: u32) => track(handle, peer, flags, true);
    /// QOSStopTrackingClient.
    gqos_QOSStopTrackingClient(handle: usize, peer: Address, flags: u32) => track(handle, peer, flags, false);
}
