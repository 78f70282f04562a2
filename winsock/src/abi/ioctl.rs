//! ioctlsocket and WSAIoctl.

use flowspec::{Flowspec, Qos, ServiceType, Wsa};

use super::extensions::extension_function;
use super::handle::endpoint;
use super::interfaces::{Query, SIO_ADDRESS_LIST_QUERY, SIO_ROUTING_INTERFACE_QUERY};
use super::overlapped::{self, Routine};
use super::qos::{self, QOS_SIZE, QOS_WITH_STATUS_SIZE};
use super::{Address, SOCKET_ERROR, memory};
use crate::Result;
use crate::endpoint::Endpoint;
use crate::network_options::KeepAlive;
use crate::provider::provider;
use std::sync::Arc;
use std::time::Duration;

const FIONREAD: u32 = 0x4004_667f;
const FIONBIO: u32 = 0x8004_667e;
const SIOCATMARK: u32 = 0x4004_7307;
const SIO_GET_EXTENSION_FUNCTION_POINTER: u32 = 0xC800_0006;
const SIO_UDP_CONNRESET: u32 = 0x9800_000C;
const SIO_KEEPALIVE_VALS: u32 = 0x9800_0004;
const SIO_GET_QOS: u32 = 0xC800_0007;
const SIO_GET_GROUP_QOS: u32 = 0xC800_0008;
const SIO_SET_QOS: u32 = 0x8800_000B;
const SIO_SET_GROUP_QOS: u32 = 0x8800_000C;
const SIO_CHK_QOS: u32 = 0xDC00_0001;

// The queries of SIO_CHK_QOS.
const ALLOWED_TO_SEND_DATA: u32 = 50001;
const ABLE_TO_RECV_RSVP: u32 = 50002;
const LINE_RATE: u32 = 50003;
const LOCAL_TRAFFIC_CONTROL: u32 = 50004;
const LOCAL_QOSABILITY: u32 = 50005;
const END_TO_END_QOSABILITY: u32 = 50006;
const INFO_NOT_AVAILABLE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Buffers {
    input: Address,
    input_length: u32,
    output: Address,
    output_length: u32,
}

impl Buffers {
    /// - **Errors**: WSAEFAULT where the input is shorter than `size`.
    fn input(self, size: u32) -> Result<Address> {
        if self.input.is_null() || self.input_length < size { Err(Wsa::Efault) } else { Ok(self.input) }
    }

    /// - **Errors**: WSAEFAULT where the output is shorter than `size`.
    fn output(self, size: u32) -> Result<Address> {
        if self.output.is_null() || self.output_length < size { Err(Wsa::Efault) } else { Ok(self.output) }
    }

    /// The output of a call that returns a QOS of at most `size` bytes. A call without output asks for that size, and so
    /// does one whose output is a number, which receives it.
    ///
    /// - **Errors**: WSAENOBUFS for a query of the size; WSAEFAULT for another output that holds no QOS.
    fn qos_output(self, size: u32) -> Result<Address> {
        match self.output_length {
            0 => Err(Wsa::Enobufs),
            _ if self.output.is_null() => Err(Wsa::Enobufs),
            4 => memory::write_u32(self.output, size).and(Err(Wsa::Enobufs)),
            _ => self.output(QOS_SIZE),
        }
    }
}

/// Performs an ioctl and returns the size of its output.
fn ioctl(endpoint: &Arc<Endpoint>, code: u32, buffers: Buffers) -> Result<u32> {
    match code {
        FIONBIO => {
            let input = buffers.input(4)?;
            endpoint.set_nonblocking(memory::read_u32(input)? != 0).map(|()| 0)
        }
        FIONREAD => {
            let output = buffers.output(4)?;
            memory::write_u32(output, endpoint.available()?).map(|()| 4)
        }
        SIOCATMARK => {
            let output = buffers.output(4)?;
            memory::write_u32(output, u32::from(endpoint.at_mark()?)).map(|()| 4)
        }
        SIO_UDP_CONNRESET => {
            let input = buffers.input(4)?;
            endpoint.set_reports_resets(memory::read_u32(input)? != 0).map(|()| 0)
        }
        SIO_KEEPALIVE_VALS => {
            let input = buffers.input(12)?;
            let field = |index: usize| memory::read_u32(input.offset(index * 4));
            let time = |millis: u32| Duration::from_millis(u64::from(millis));
            let keep_alive = KeepAlive { idle: time(field(1)?), interval: time(field(2)?) };
            endpoint.set_keepalive((field(0)? != 0).then_some(keep_alive)).map(|()| 0)
        }
        SIO_GET_EXTENSION_FUNCTION_POINTER => {
            let (input, output) = (buffers.input(16)?, buffers.output(8)?);
            let pointer = extension_function(memory::read_bytes(input)?).ok_or(Wsa::Einval)?;
            memory::write(output, &pointer.to_ne_bytes()).map(|()| 8)
        }
        SIO_SET_QOS => {
            let read = qos::read(buffers.input(QOS_SIZE)?);
            let (requested, objects) = read.map_err(|error| error.keep_on(endpoint))?;
            endpoint.set_qos_with(&requested, objects).map(|()| 0)
        }
        SIO_GET_QOS => {
            let output = buffers.qos_output(QOS_WITH_STATUS_SIZE)?;
            let (qos, status) = endpoint.qos()?;
            qos::write_with_status(&qos, status, output, buffers.output_length)
        }
        SIO_SET_GROUP_QOS => {
            let (requested, _) = qos::read(buffers.input(QOS_SIZE)?).map_err(|error| {
                // Of other sockets the group's QOS is not considered.
                if endpoint.is_group_creator() { error.keep_on(endpoint) } else { error.code() }
            })?;
            endpoint.set_group_qos(&requested).map(|()| 0)
        }
        SIO_GET_GROUP_QOS => {
            let output = buffers.qos_output(QOS_SIZE)?;
            let no_traffic = Flowspec::new(ServiceType::NoTraffic);
            let none = Qos { sending: no_traffic, receiving: no_traffic };
            qos::write(&endpoint.group_qos()?.unwrap_or(none), output).map(|()| QOS_SIZE)
        }
        SIO_CHK_QOS => {
            let (input, output) = (buffers.input(4)?, buffers.output(4)?);
            memory::write_u32(output, check_qos(endpoint, memory::read_u32(input)?)?).map(|()| 4)
        }
        _ => Err(Wsa::Eopnotsupp),
    }
}

/// Answers a query of SIO_CHK_QOS.
///
/// - **Errors**: WSAEINVAL for an unknown one.
fn check_qos(endpoint: &Endpoint, query: u32) -> Result<u32> {
    Ok(match query {
        ALLOWED_TO_SEND_DATA => 1,
        LOCAL_TRAFFIC_CONTROL | LOCAL_QOSABILITY => u32::from(endpoint.can_reserve()),
        ABLE_TO_RECV_RSVP => 0,
        // In bytes per second, as in FLOWSPEC.
        LINE_RATE => endpoint.line_rate().map_or(INFO_NOT_AVAILABLE, |rate| {
            u32::try_from(rate.get()).unwrap_or(u32::MAX).min(INFO_NOT_AVAILABLE - 1)
        }),
        END_TO_END_QOSABILITY => INFO_NOT_AVAILABLE,
        _ => return Err(Wsa::Einval),
    })
}

/// The parameters of WSAIoctl.
struct IoctlCall {
    s: usize,
    code: u32,
    buffers: Buffers,
    /// Where the size of the output is written.
    returned: Address,
    overlapped: Address,
    routine: Option<Routine>,
}

impl IoctlCall {
    fn run(self) -> Result<i32> {
        let endpoint = endpoint(self.s)?;
        let Buffers { input, input_length, output, output_length } = self.buffers;
        let query = Query { input, input_length, output, output_length, returned: self.returned };
        match self.code {
            SIO_ADDRESS_LIST_QUERY => return query.address_list(&endpoint),
            SIO_ROUTING_INTERFACE_QUERY => return query.routing_interface(&endpoint),
            _ => {}
        }
        if !self.overlapped.is_null() {
            let size = self.run_overlapped(endpoint)?;
            return if self.returned.is_null() {
                Ok(0)
            } else {
                memory::write_u32(self.returned, size).map(|()| 0)
            };
        }
        // Checked before anything is done.
        memory::read_u32(self.returned)?;
        let size = ioctl(&endpoint, self.code, self.buffers);
        if let (Err(_), Some(needed)) = (size, self.needed_size()) {
            memory::write_u32(self.returned, needed)?;
        }
        memory::write_u32(self.returned, size?).map(|()| 0)
    }

    /// The size of the output that a call needs whose output is too small for a QOS.
    fn needed_size(&self) -> Option<u32> {
        let size = match self.code {
            SIO_GET_QOS => QOS_WITH_STATUS_SIZE,
            SIO_GET_GROUP_QOS => QOS_SIZE,
            _ => return None,
        };
        (self.buffers.output.is_null() || self.buffers.output_length < QOS_SIZE).then_some(size)
    }

    /// An overlapped SIO_GET_QOS completes with the next status that FD_QOS announces; everything else completes at once.
    fn run_overlapped(&self, endpoint: Arc<Endpoint>) -> Result<u32> {
        let Self { code, buffers, overlapped, routine, .. } = *self;
        if code != SIO_GET_QOS {
            let size = ioctl(&endpoint, code, buffers)?;
            overlapped::begin(overlapped, routine)?(Ok(size));
            return Ok(size);
        }
        let output = buffers.qos_output(QOS_WITH_STATUS_SIZE)?;
        let provider = provider()?;
        let completion = overlapped::begin(overlapped, routine)?;
        provider.host.spawn(async move {
            let next = endpoint.next_status().await;
            let written = next.and_then(|(qos, status)| {
                qos::write_with_status(&qos, Some(status), output, buffers.output_length)
            });
            completion(written);
        });
        Err(Wsa::IoPending)
    }
}

/// ioctlsocket: the argument is input or output.
fn ioctl_with_argument(s: usize, code: u32, argument: Address) -> Result<i32> {
    let endpoint = endpoint(s)?;
    let none = Buffers { input: Address::NULL, input_length: 0, output: Address::NULL, output_length: 0 };
    let buffers = match code {
        FIONBIO => Buffers { input: argument, input_length: 4, ..none },
        FIONREAD | SIOCATMARK => Buffers { output: argument, output_length: 4, ..none },
        _ => return Err(Wsa::Eopnotsupp),
    };
    ioctl(&endpoint, code, buffers).map(|_| 0)
}

c_functions! {
    /// ioctlsocket.
    api gqos_ioctlsocket(s: usize, command: i32, argument: Address) -> i32, or SOCKET_ERROR
        => ioctl_with_argument(s, command.cast_unsigned(), argument);
    /// WSAIoctl, WSPIoctl.
    threaded gqos_WSAIoctl, gqos_WSPIoctl(
        s: usize, code: u32, input: Address, input_length: u32, output: Address, output_length: u32,
        returned: Address, overlapped: Address, routine: Option<Routine>,
    ) -> i32, or SOCKET_ERROR => {
        let buffers = Buffers { input, input_length, output, output_length };
        IoctlCall { s, code, buffers, returned, overlapped, routine }.run()
    };
}
