//! Options by Winsock's numbers.

use std::net::{IpAddr, Ipv4Addr};

use flowspec::Wsa;

use super::calls::socket;
use super::provider::info;
use super::{SOCKET_ERROR, api, memory, spi};
use crate::Result;
use crate::options::{Choice, Value};
use crate::sys::raw::By;

const SOL_SOCKET: i32 = 0xffff;
const IPPROTO_IP: i32 = 0;
const IPPROTO_TCP: i32 = 6;
const IPPROTO_IPV6: i32 = 41;

const ADD_MEMBERSHIP: i32 = 12;
const DROP_MEMBERSHIP: i32 = 13;

const SO_PROTOCOL_INFOA: i32 = 0x2004;
const SO_PROTOCOL_INFOW: i32 = 0x2005;

const SO_LINGER: i32 = 0x80;
const SO_UPDATE_ACCEPT_CONTEXT: i32 = 0x700B;
const SO_UPDATE_CONNECT_CONTEXT: i32 = 0x7010;
const SO_DONTLINGER: i32 = !SO_LINGER;

fn choice(level: i32, name: i32) -> Result<Choice> {
    Ok(match (level, name) {
        (SOL_SOCKET, 0x2) => Choice::AcceptConnections,
        (SOL_SOCKET, 0x4) => Choice::ReuseAddress,
        (SOL_SOCKET, -5) => Choice::ExclusiveAddressUse,
        (SOL_SOCKET, 0x8) => Choice::KeepAlive,
        (SOL_SOCKET, 0x10) => Choice::DontRoute,
        (SOL_SOCKET, 0x20) => Choice::Broadcast,
        (SOL_SOCKET, SO_LINGER | SO_DONTLINGER) => Choice::Linger,
        (SOL_SOCKET, 0x100) => Choice::OutOfBandInline,
        (SOL_SOCKET, 0x1001) => Choice::SendBuffer,
        (SOL_SOCKET, 0x1002) => Choice::ReceiveBuffer,
        (SOL_SOCKET, 0x1005) => Choice::SendTimeout,
        (SOL_SOCKET, 0x1006) => Choice::ReceiveTimeout,
        (SOL_SOCKET, 0x1007) => Choice::Error,
        (SOL_SOCKET, 0x1008) => Choice::Type,
        (SOL_SOCKET, 0x2001) => Choice::GroupId,
        (SOL_SOCKET, 0x2002) => Choice::GroupPriority,
        (SOL_SOCKET, 0x2003) => Choice::LargestMessage,
        (SOL_SOCKET, 0x3002) => Choice::ConditionalAccept,
        (SOL_SOCKET, 0x700c) => Choice::ConnectTime,
        (IPPROTO_TCP, 1) => Choice::NoDelay,
        (IPPROTO_IP, 3) => Choice::Tos,
        (IPPROTO_IP, 4) | (IPPROTO_IPV6, 4) => Choice::Ttl,
        (IPPROTO_IP, 10) => Choice::MulticastTtl,
        (IPPROTO_IP, 11) => Choice::MulticastLoop,
        (IPPROTO_IPV6, 27) => Choice::OnlyIpv6,
        (SOL_SOCKET | IPPROTO_IP | IPPROTO_TCP | IPPROTO_IPV6, _) => return Err(Wsa::Enoprotoopt),
        _ => return Err(Wsa::Einval),
    })
}

fn set(s: usize, level: i32, name: i32, value: usize, length: i32) -> Result<i32> {
    let endpoint = socket(s)?;
    // What ConnectEx and AcceptEx leave to be done is done already.
    if level == SOL_SOCKET && matches!(name, SO_UPDATE_CONNECT_CONTEXT | SO_UPDATE_ACCEPT_CONTEXT) {
        return Ok(0);
    }
    if value == 0 || length <= 0 {
        return Err(Wsa::Efault);
    }
    if matches!(level, IPPROTO_IP | IPPROTO_IPV6) && matches!(name, ADD_MEMBERSHIP | DROP_MEMBERSHIP) {
        let (group, by) = membership(level, value, length)?;
        return endpoint.take_part(group, by, name == ADD_MEMBERSHIP).map(|()| 0);
    }
    let choice = choice(level, name)?;
    let value = match (choice, name) {
        (Choice::Linger, SO_LINGER) => {
            if length < 4 {
                return Err(Wsa::Efault);
            }
            // Two u_short: whether, and for how many seconds.
            let [on, also, low, high] = memory::bytes(value)?;
            Value::Linger((on != 0 || also != 0).then(|| u16::from_ne_bytes([low, high])))
        }
        (Choice::Linger, _) if number(value, length)? != 0 => Value::Linger(None),
        (Choice::Linger, _) => return Ok(0),
        _ => Value::Number(number(value, length)?),
    };
    endpoint.set_option(choice, value).map(|()| 0)
}

/// ip_mreq and ipv6_mreq: which address, and by which link.
fn membership(level: i32, value: usize, length: i32) -> Result<(IpAddr, By)> {
    if level == IPPROTO_IP {
        if length < 8 {
            return Err(Wsa::Efault);
        }
        let [a, b, c, d, local @ ..] = memory::bytes::<8>(value)?;
        let local = Ipv4Addr::from(local);
        let by = if local.is_unspecified() { By::Routes } else { By::Address(local) };
        return Ok((Ipv4Addr::new(a, b, c, d).into(), by));
    }
    if length < 20 {
        return Err(Wsa::Efault);
    }
    let group = IpAddr::from(memory::bytes::<16>(value)?);
    let index = memory::u32_at(value.wrapping_add(16))?;
    Ok((group, if index == 0 { By::Routes } else { By::Index(index) }))
}

/// A number of four bytes; a truth may be one byte long.
fn number(value: usize, length: i32) -> Result<i32> {
    if length >= 4 {
        return memory::bytes(value).map(i32::from_ne_bytes);
    }
    memory::bytes::<1>(value).map(|[byte]| i32::from(byte))
}

fn get(s: usize, level: i32, name: i32, value: usize, length: usize) -> Result<i32> {
    let endpoint = socket(s)?;
    if value == 0 {
        return Err(Wsa::Efault);
    }
    let room = memory::u32_at(length)?.cast_signed();
    if level == SOL_SOCKET && matches!(name, SO_PROTOCOL_INFOA | SO_PROTOCOL_INFOW) {
        let bytes = info(endpoint.protocol(), name == SO_PROTOCOL_INFOW);
        if usize::try_from(room).map_or(true, |room| room < bytes.len()) {
            return Err(Wsa::Efault);
        }
        memory::write(value, &bytes)?;
        return memory::write_u32(length, u32::try_from(bytes.len()).unwrap_or(u32::MAX)).map(|()| 0);
    }
    let bytes: [u8; 4] = match (endpoint.option(choice(level, name)?)?, name) {
        (Value::Linger(linger), SO_LINGER) => {
            let [low, high] = linger.unwrap_or(0).to_ne_bytes();
            [u8::from(linger.is_some()), 0, low, high]
        }
        (Value::Linger(linger), _) => i32::from(linger.is_none()).to_ne_bytes(),
        (Value::Number(number), _) => number.to_ne_bytes(),
    };
    if room < 4 {
        return Err(Wsa::Efault);
    }
    memory::write(value, &bytes)?;
    memory::write_u32(length, 4).map(|()| 0)
}

/// setsockopt.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_setsockopt(s: usize, level: i32, name: i32, value: usize, length: i32) -> i32 {
    api(SOCKET_ERROR, || set(s, level, name, value, length))
}

/// WSPSetSockOpt.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_WSPSetSockOpt(
    s: usize,
    level: i32,
    name: i32,
    value: usize,
    length: i32,
    lp_errno: usize,
) -> i32 {
    spi(SOCKET_ERROR, lp_errno, || set(s, level, name, value, length))
}

/// getsockopt.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_getsockopt(s: usize, level: i32, name: i32, value: usize, length: usize) -> i32 {
    api(SOCKET_ERROR, || get(s, level, name, value, length))
}

/// WSPGetSockOpt.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_WSPGetSockOpt(
    s: usize,
    level: i32,
    name: i32,
    value: usize,
    length: usize,
    lp_errno: usize,
) -> i32 {
    spi(SOCKET_ERROR, lp_errno, || get(s, level, name, value, length))
}
