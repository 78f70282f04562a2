//! setsockopt and getsockopt.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use flowspec::Wsa;

use super::handle::endpoint;
use super::memory::{self, Encoding};
use super::network_options::{self, OptionNumber};
use super::protocol_info;
use super::{Address, SOCKET_ERROR};
use crate::Result;
use crate::endpoint::Endpoint;
use crate::options::{OptionValue, SocketOption};
use crate::sys::MulticastInterface;

const SOL_SOCKET: i32 = 0xffff;
const IPPROTO_IP: i32 = 0;
const IPPROTO_TCP: i32 = 6;
const IPPROTO_IPV6: i32 = 41;

const ADD_MEMBERSHIP: i32 = 12;
const DROP_MEMBERSHIP: i32 = 13;

const SO_PROTOCOL_INFOA: i32 = 0x2004;
const SO_PROTOCOL_INFOW: i32 = 0x2005;

const SO_LINGER: i32 = 0x80;
const SO_DONTLINGER: i32 = !SO_LINGER;
const SO_UPDATE_ACCEPT_CONTEXT: i32 = 0x700B;
const SO_UPDATE_CONNECT_CONTEXT: i32 = 0x7010;

/// The option of a level and a name.
///
/// - **Errors**: WSAENOPROTOOPT for an unknown name; WSAEINVAL for an unknown level.
fn socket_option(number: OptionNumber) -> Result<SocketOption> {
    Ok(match (number.level, number.name) {
        (SOL_SOCKET, 0x2) => SocketOption::AcceptConnections,
        (SOL_SOCKET, 0x4) => SocketOption::ReuseAddress,
        (SOL_SOCKET, -5) => SocketOption::ExclusiveAddressUse,
        (SOL_SOCKET, 0x8) => SocketOption::KeepAlive,
        (SOL_SOCKET, 0x10) => SocketOption::DontRoute,
        (SOL_SOCKET, 0x20) => SocketOption::Broadcast,
        (SOL_SOCKET, SO_LINGER | SO_DONTLINGER) => SocketOption::Linger,
        (SOL_SOCKET, 0x100) => SocketOption::OutOfBandInline,
        (SOL_SOCKET, 0x1001) => SocketOption::SendBuffer,
        (SOL_SOCKET, 0x1002) => SocketOption::ReceiveBuffer,
        (SOL_SOCKET, 0x1005) => SocketOption::SendTimeout,
        (SOL_SOCKET, 0x1006) => SocketOption::ReceiveTimeout,
        (SOL_SOCKET, 0x1007) => SocketOption::Error,
        (SOL_SOCKET, 0x1008) => SocketOption::Type,
        (SOL_SOCKET, 0x2001) => SocketOption::GroupId,
        (SOL_SOCKET, 0x2002) => SocketOption::GroupPriority,
        (SOL_SOCKET, 0x2003) => SocketOption::MaxMessageSize,
        (SOL_SOCKET, 0x3002) => SocketOption::ConditionalAccept,
        (SOL_SOCKET, 0x700c) => SocketOption::ConnectTime,
        (IPPROTO_TCP, 1) => SocketOption::NoDelay,
        (IPPROTO_IP, 3) => SocketOption::TypeOfService,
        (IPPROTO_IP | IPPROTO_IPV6, 4) => SocketOption::TimeToLive,
        (IPPROTO_IP, 10) => SocketOption::MulticastTimeToLive,
        (IPPROTO_IP, 11) => SocketOption::MulticastLoop,
        (IPPROTO_IPV6, 27) => SocketOption::Ipv6Only,
        (SOL_SOCKET | IPPROTO_IP | IPPROTO_TCP | IPPROTO_IPV6, _) => return Err(Wsa::Enoprotoopt),
        _ => return Err(Wsa::Einval),
    })
}

/// The parameters of setsockopt.
struct SetCall {
    s: usize,
    option: OptionNumber,
    value: Address,
    length: i32,
}

impl SetCall {
    fn run(&self) -> Result<i32> {
        let endpoint = endpoint(self.s)?;
        let OptionNumber { level, name } = self.option;
        // ConnectEx and accept leave nothing for these options to update.
        if level == SOL_SOCKET && matches!(name, SO_UPDATE_CONNECT_CONTEXT | SO_UPDATE_ACCEPT_CONTEXT) {
            return Ok(0);
        }
        if self.value.is_null() || self.length <= 0 {
            return Err(Wsa::Efault);
        }
        if matches!(level, IPPROTO_IP | IPPROTO_IPV6) && matches!(name, ADD_MEMBERSHIP | DROP_MEMBERSHIP) {
            let (group, interface) = self.membership()?;
            return match name {
                ADD_MEMBERSHIP => endpoint.join_multicast(group, interface),
                _ => endpoint.leave_multicast(group, interface),
            }
            .map(|()| 0);
        }
        if let Some(set) = network_options::set(&endpoint, self.option, self.number()?) {
            return set.map(|()| 0);
        }
        let option = socket_option(self.option)?;
        let value = match (option, name) {
            (SocketOption::Linger, SO_LINGER) => {
                if self.length < 4 {
                    return Err(Wsa::Efault);
                }
                // LINGER: two u_short, a BOOL and seconds.
                let [on_low, on_high, low, high] = memory::read_bytes(self.value)?;
                let on = on_low != 0 || on_high != 0;
                OptionValue::Linger(on.then(|| u16::from_ne_bytes([low, high])))
            }
            (SocketOption::Linger, _) if self.number()? != 0 => OptionValue::Linger(None),
            (SocketOption::Linger, _) => return Ok(0),
            _ => OptionValue::Number(self.number()?),
        };
        endpoint.set_option(option, value).map(|()| 0)
    }

    /// A number of four bytes; a BOOL may have one.
    fn number(&self) -> Result<i32> {
        if self.length >= 4 {
            return memory::read_bytes(self.value).map(i32::from_ne_bytes);
        }
        memory::read_bytes::<1>(self.value).map(|[byte]| i32::from(byte))
    }

    /// ip_mreq or ipv6_mreq: the group and the interface.
    fn membership(&self) -> Result<(IpAddr, MulticastInterface)> {
        if self.option.level == IPPROTO_IP {
            if self.length < 8 {
                return Err(Wsa::Efault);
            }
            let [a, b, c, d, local @ ..] = memory::read_bytes::<8>(self.value)?;
            let local = Ipv4Addr::from(local);
            let interface = match local.is_unspecified() {
                true => MulticastInterface::Default,
                false => MulticastInterface::Address(local),
            };
            return Ok((Ipv4Addr::new(a, b, c, d).into(), interface));
        }
        if self.length < 20 {
            return Err(Wsa::Efault);
        }
        let group = IpAddr::from(memory::read_bytes::<16>(self.value)?);
        let interface = match memory::read_u32(self.value.offset(16))? {
            0 => MulticastInterface::Default,
            index => MulticastInterface::Index(index),
        };
        Ok((group, interface))
    }
}

fn number_or_option(endpoint: &Arc<Endpoint>, number: OptionNumber) -> Result<OptionValue> {
    match network_options::get(endpoint, number) {
        Some(value) => value.map(OptionValue::Number),
        None => endpoint.option(socket_option(number)?),
    }
}

/// The parameters of getsockopt.
struct GetCall {
    s: usize,
    option: OptionNumber,
    value: Address,
    length: Address,
}

impl GetCall {
    fn run(&self) -> Result<i32> {
        let endpoint = endpoint(self.s)?;
        if self.value.is_null() {
            return Err(Wsa::Efault);
        }
        let capacity = memory::read_u32(self.length)?.cast_signed();
        let OptionNumber { level, name } = self.option;
        let bytes = match (level, name) {
            (SOL_SOCKET, SO_PROTOCOL_INFOA) => protocol_info::bytes_of(endpoint.protocol(), Encoding::Narrow),
            (SOL_SOCKET, SO_PROTOCOL_INFOW) => protocol_info::bytes_of(endpoint.protocol(), Encoding::Wide),
            _ => match (number_or_option(&endpoint, self.option)?, name) {
                (OptionValue::Linger(seconds), SO_LINGER) => {
                    let [low, high] = seconds.unwrap_or(0).to_ne_bytes();
                    vec![u8::from(seconds.is_some()), 0, low, high]
                }
                (OptionValue::Linger(seconds), _) => i32::from(seconds.is_none()).to_ne_bytes().to_vec(),
                (OptionValue::Number(number), _) => number.to_ne_bytes().to_vec(),
            },
        };
        if usize::try_from(capacity).map_or(true, |capacity| capacity < bytes.len()) {
            return Err(Wsa::Efault);
        }
        memory::write(self.value, &bytes)?;
        memory::write_u32(self.length, memory::length_u32(bytes.len())?).map(|()| 0)
    }
}

c_functions! {
    /// setsockopt, WSPSetSockOpt.
    both gqos_setsockopt, gqos_WSPSetSockOpt(s: usize, level: i32, name: i32, value: Address, length: i32)
        -> i32, or SOCKET_ERROR => SetCall { s, option: OptionNumber { level, name }, value, length }.run();
    /// getsockopt, WSPGetSockOpt.
    both gqos_getsockopt, gqos_WSPGetSockOpt(s: usize, level: i32, name: i32, value: Address, length: Address)
        -> i32, or SOCKET_ERROR => GetCall { s, option: OptionNumber { level, name }, value, length }.run();
}
