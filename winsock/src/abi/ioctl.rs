//! Ioctl: what of it there is.

use flowspec::abi::{Abi, RawWsabuf};
use flowspec::{Flowspec, Qos, RawQos, ServiceType, Wsa};

use super::calls::{qos, socket, write_qos};
use super::overlapped::{self, Routine};
use super::{SOCKET_ERROR, api, memory, spi};
use crate::Result;
use crate::provider::provider;
use crate::wishes::Status;

const FIONREAD: u32 = 0x4004_667f;
const FIONBIO: u32 = 0x8004_667e;
const SIOCATMARK: u32 = 0x4004_7307;
const SIO_GET_EXTENSION_FUNCTION_POINTER: u32 = 0xC800_0006;
const SIO_UDP_CONNRESET: u32 = 0x9800_000C;
const SIO_GET_QOS: u32 = 0xC800_0007;
const SIO_GET_GROUP_QOS: u32 = 0xC800_0008;
const SIO_SET_QOS: u32 = 0x8800_000B;
const SIO_SET_GROUP_QOS: u32 = 0x8800_000C;
const SIO_CHK_QOS: u32 = 0xDC00_0001;

/// WSAID_CONNECTEX, as it lies in memory. Source: `mswsock.h`.
const CONNECTEX: [u8; 16] =
    [0xb9, 0x07, 0xa2, 0x25, 0xf3, 0xdd, 0x60, 0x46, 0x8e, 0xe9, 0x76, 0xe5, 0x8c, 0x74, 0x06, 0x3e];

/// QOS of a 64-bit program, and RSVP_STATUS_INFO.
const QOS_SIZE: usize = 80;
const STATUS_SIZE: usize = 20;
const STATUS_TYPE: u32 = 1000;

/// SIO_CHK_QOS.
const ALLOWED_TO_SEND_DATA: u32 = 50001;
const ABLE_TO_RECV_RSVP: u32 = 50002;
const LINE_RATE: u32 = 50003;
const LOCAL_TRAFFIC_CONTROL: u32 = 50004;
const LOCAL_QOSABILITY: u32 = 50005;
const END_TO_END_QOSABILITY: u32 = 50006;
const INFO_NOT_AVAILABLE: u32 = u32::MAX;

/// What an ioctl takes and gives.
#[derive(Clone, Copy)]
struct Buffers {
    input: usize,
    input_length: u32,
    output: usize,
    output_length: u32,
}

fn ioctl(s: usize, code: u32, buffers: Buffers) -> Result<u32> {
    let endpoint = socket(s)?;
    let Buffers { input, input_length, output, output_length } = buffers;
    let taken = |needed: u32| if input == 0 || input_length < needed { Err(Wsa::Efault) } else { Ok(()) };
    let room = |needed: u32| if output == 0 || output_length < needed { Err(Wsa::Efault) } else { Ok(()) };
    match code {
        FIONBIO => {
            taken(4)?;
            endpoint.set_nonblocking(memory::u32_at(input)? != 0)?;
            Ok(0)
        }
        FIONREAD => {
            room(4)?;
            memory::write_u32(output, endpoint.available()?)?;
            Ok(4)
        }
        SIOCATMARK => {
            room(4)?;
            memory::write_u32(output, u32::from(endpoint.at_mark()?))?;
            Ok(4)
        }
        SIO_SET_QOS => {
            taken(80)?;
            let (asked, wishes) = qos(input)?.ok_or(Wsa::Efault)?;
            endpoint.set_qos_with(&asked, wishes)?;
            Ok(0)
        }
        SIO_GET_QOS => {
            room(80)?;
            let (qos, status) = endpoint.qos()?;
            tell_qos(&qos, status, output, output_length)
        }
        SIO_GET_EXTENSION_FUNCTION_POINTER => {
            taken(16)?;
            room(8)?;
            if memory::bytes::<16>(input)? != CONNECTEX {
                return Err(Wsa::Einval);
            }
            let pointer = super::leaf::gqos_ConnectEx as *const () as usize;
            memory::write(output, &pointer.to_ne_bytes())?;
            Ok(8)
        }
        SIO_UDP_CONNRESET => {
            taken(4)?;
            endpoint.tell_resets(memory::u32_at(input)? != 0)?;
            Ok(0)
        }
        SIO_GET_GROUP_QOS => {
            room(80)?;
            // Where there is no group, both flowspecs are empty.
            let nothing = Flowspec::new(ServiceType::NoTraffic);
            let qos = endpoint.group_qos()?.unwrap_or(Qos { sending: nothing, receiving: nothing });
            write_qos(&qos, output)?;
            Ok(80)
        }
        SIO_SET_GROUP_QOS => {
            taken(80)?;
            let (asked, _) = qos(input)?.ok_or(Wsa::Efault)?;
            endpoint.set_group_qos(&asked)?;
            Ok(0)
        }
        SIO_CHK_QOS => {
            taken(4)?;
            room(4)?;
            let answer = match memory::u32_at(input)? {
                ALLOWED_TO_SEND_DATA => 1,
                LOCAL_TRAFFIC_CONTROL | LOCAL_QOSABILITY => u32::from(endpoint.may_guarantee()),
                ABLE_TO_RECV_RSVP => 0,
                // In bytes a second, as everything in a FLOWSPEC.
                LINE_RATE => endpoint.line_rate().map_or(INFO_NOT_AVAILABLE, |rate| {
                    u32::try_from(rate.get()).unwrap_or(INFO_NOT_AVAILABLE - 1).min(INFO_NOT_AVAILABLE - 1)
                }),
                END_TO_END_QOSABILITY => INFO_NOT_AVAILABLE,
                _ => return Err(Wsa::Einval),
            };
            memory::write_u32(output, answer)?;
            Ok(4)
        }
        _ => Err(Wsa::Eopnotsupp),
    }
}

/// Writes a QOS, and behind it as an object what was last said of it, where there is room for that.
fn tell_qos(qos: &Qos, status: Option<Status>, output: usize, room: u32) -> Result<u32> {
    let told = status.filter(|_| room as usize >= QOS_SIZE + STATUS_SIZE);
    let Some(status) = told else {
        write_qos(qos, output)?;
        return Ok(80);
    };
    let raw = |spec: &Flowspec| spec.to_raw().map_err(|_| Wsa::Enobufs);
    let object = RawWsabuf { len: 20, padding: 0, buf: (output.wrapping_add(QOS_SIZE)) as u64 };
    let structure =
        RawQos { sending: raw(&qos.sending)?, receiving: raw(&qos.receiving)?, provider_specific: object };
    let mut bytes = Vec::with_capacity(QOS_SIZE + STATUS_SIZE);
    structure.write(Abi::Win64, &mut bytes);
    for word in [STATUS_TYPE, 20, status.code.code(), status.extended, status.value] {
        bytes.extend(word.to_ne_bytes());
    }
    memory::write(output, &bytes)?;
    Ok(100)
}

/// The same with an OVERLAPPED: SIO_GET_QOS waits for the next that is told, everything else is done now.
fn call_later(
    s: usize,
    code: u32,
    buffers: Buffers,
    overlapped: usize,
    routine: Option<Routine>,
) -> Result<u32> {
    if code != SIO_GET_QOS {
        let size = ioctl(s, code, buffers)?;
        overlapped::begin(overlapped, routine)?(Ok(size));
        return Ok(size);
    }
    let endpoint = socket(s)?;
    let Buffers { output, output_length, .. } = buffers;
    if output == 0 || output_length < 80 {
        return Err(Wsa::Efault);
    }
    let provider = provider()?;
    let told = overlapped::begin(overlapped, routine)?;
    provider.spawn(async move {
        let next = endpoint.next_told().await;
        told(next.and_then(|(qos, status)| tell_qos(&qos, Some(status), output, output_length)));
    });
    Err(Wsa::IoPending)
}

fn call(
    s: usize,
    code: u32,
    buffers: Buffers,
    returned: usize,
    overlapped: usize,
    routine: Option<Routine>,
) -> Result<i32> {
    if overlapped != 0 {
        let size = call_later(s, code, buffers, overlapped, routine)?;
        return if returned == 0 { Ok(0) } else { memory::write_u32(returned, size).map(|()| 0) };
    }
    // Where the size goes has to be there before anything is done.
    if memory::bytes::<4>(returned).is_err() {
        socket(s)?;
        return Err(Wsa::Efault);
    }
    let size = ioctl(s, code, buffers)?;
    memory::write_u32(returned, size).map(|()| 0)
}

/// ioctlsocket: one argument, in and out.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_ioctlsocket(s: usize, command: i32, argument: usize) -> i32 {
    let code = command.cast_unsigned();
    api(SOCKET_ERROR, || {
        let buffers = match code {
            FIONBIO => Buffers { input: argument, input_length: 4, output: 0, output_length: 0 },
            FIONREAD | SIOCATMARK => {
                Buffers { input: 0, input_length: 0, output: argument, output_length: 4 }
            }
            _ => {
                socket(s)?;
                return Err(Wsa::Eopnotsupp);
            }
        };
        ioctl(s, code, buffers).map(|_| 0)
    })
}

/// WSAIoctl.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_WSAIoctl(
    s: usize,
    code: u32,
    input: usize,
    input_length: u32,
    output: usize,
    output_length: u32,
    returned: usize,
    overlapped: usize,
    routine: Option<Routine>,
) -> i32 {
    let buffers = Buffers { input, input_length, output, output_length };
    api(SOCKET_ERROR, || call(s, code, buffers, returned, overlapped, routine))
}

/// WSPIoctl.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_WSPIoctl(
    s: usize,
    code: u32,
    input: usize,
    input_length: u32,
    output: usize,
    output_length: u32,
    returned: usize,
    overlapped: usize,
    routine: Option<Routine>,
    _thread: usize,
    lp_errno: usize,
) -> i32 {
    let buffers = Buffers { input, input_length, output, output_length };
    spi(SOCKET_ERROR, lp_errno, || call(s, code, buffers, returned, overlapped, routine))
}
