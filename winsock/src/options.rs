//! Socket options.

use std::sync::Arc;
use std::time::Duration;

use flowspec::{Errno, Wsa};

use super::Result;
use super::blocking::now;
use super::endpoint::{AddressSharing, ConnectionPhase, Endpoint};
use super::protocol::{Family, LARGEST_DATAGRAM};
use super::provider::check_started;
use crate::sys::{self, KernelOption};

/// An option of `getsockopt` and `setsockopt` that the provider has.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum SocketOption {
    /// SO_REUSEADDR.
    ReuseAddress,
    /// SO_EXCLUSIVEADDRUSE.
    ExclusiveAddressUse,
    /// SO_BROADCAST.
    Broadcast,
    /// SO_KEEPALIVE.
    KeepAlive,
    /// SO_OOBINLINE.
    OutOfBandInline,
    /// SO_DONTROUTE.
    DontRoute,
    /// SO_LINGER, and SO_DONTLINGER, its negation.
    Linger,
    /// SO_SNDBUF, in bytes.
    SendBuffer,
    /// SO_RCVBUF, in bytes.
    ReceiveBuffer,
    /// SO_SNDTIMEO, in milliseconds.
    SendTimeout,
    /// SO_RCVTIMEO, in milliseconds.
    ReceiveTimeout,
    /// SO_ERROR.
    Error,
    /// SO_TYPE.
    Type,
    /// SO_ACCEPTCONN.
    AcceptConnections,
    /// SO_CONNECT_TIME, in seconds.
    ConnectTime,
    /// SO_GROUP_ID.
    GroupId,
    /// SO_GROUP_PRIORITY.
    GroupPriority,
    /// SO_CONDITIONAL_ACCEPT.
    ConditionalAccept,
    /// SO_MAX_MSG_SIZE, in bytes.
    MaxMessageSize,
    /// TCP_NODELAY.
    NoDelay,
    /// IPV6_V6ONLY.
    Ipv6Only,
    /// IP_TTL or IPV6_UNICAST_HOPS.
    TimeToLive,
    /// IP_TOS.
    TypeOfService,
    /// IP_MULTICAST_TTL.
    MulticastTimeToLive,
    /// IP_MULTICAST_LOOP.
    MulticastLoop,
}

/// Winsock's types of values, apart from the buffer that holds them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum OptionValue {
    /// A number, or a BOOL as 0 or 1.
    Number(i32),
    /// How many seconds close waits for unsent data; `None` where it does not wait.
    Linger(Option<u16>),
}

/// SO_CONNECT_TIME of a socket that is not connected.
const NOT_CONNECTED: i32 = -1;

/// How the value of an option that Linux has as well is converted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Conversion {
    /// A BOOL.
    Flag,
    /// A number.
    Number,
    /// A size that Linux returns doubled.
    DoubledSize,
}

impl Endpoint {
    /// The option of Linux that an option stands for; `None` where there is none for such sockets.
    fn kernel_option(&self, option: SocketOption) -> Option<(KernelOption, Conversion)> {
        use Conversion::{DoubledSize, Flag, Number};
        let is_ipv6 = self.family == Family::Inet6;
        Some(match option {
            SocketOption::Broadcast => (KernelOption::Broadcast, Flag),
            SocketOption::KeepAlive => (KernelOption::KeepAlive, Flag),
            SocketOption::OutOfBandInline => (KernelOption::OutOfBandInline, Flag),
            SocketOption::DontRoute => (KernelOption::DontRoute, Flag),
            SocketOption::SendBuffer => (KernelOption::SendBuffer, DoubledSize),
            SocketOption::ReceiveBuffer => (KernelOption::ReceiveBuffer, DoubledSize),
            SocketOption::NoDelay if self.is_stream() => (KernelOption::NoDelay, Flag),
            SocketOption::Ipv6Only if is_ipv6 => (KernelOption::Ipv6Only, Flag),
            SocketOption::TimeToLive if is_ipv6 => (KernelOption::UnicastHops, Number),
            SocketOption::TimeToLive => (KernelOption::TimeToLive, Number),
            SocketOption::TypeOfService => (KernelOption::TypeOfService, Number),
            SocketOption::MulticastTimeToLive => (KernelOption::MulticastTimeToLive, Number),
            SocketOption::MulticastLoop => (KernelOption::MulticastLoop, Flag),
            _ => return None,
        })
    }

    /// Sets an option.
    ///
    /// - **Errors**: WSAENOPROTOOPT where it cannot be set on such sockets; WSAEINVAL where it cannot be set in this
    ///   state, or not together with another option.
    /// - **Source**: WSPSetSockOpt.
    pub fn set_option(&self, option: SocketOption, value: OptionValue) -> Result<()> {
        check_started()?;
        let number = match value {
            OptionValue::Number(number) => number,
            OptionValue::Linger(seconds) if option == SocketOption::Linger => {
                return sys::set_linger(&self.fd, seconds).map_err(Errno::wsa);
            }
            OptionValue::Linger(_) => return Err(Wsa::Einval),
        };
        let on = number != 0;
        if let Some((kernel_option, conversion)) = self.kernel_option(option) {
            if option == SocketOption::Broadcast {
                self.state().broadcast = on;
            }
            let value = if conversion == Conversion::Flag { i32::from(on) } else { number };
            return sys::set(&self.fd, kernel_option, value).map_err(Errno::wsa);
        }
        let mut state = self.state();
        match option {
            SocketOption::ReuseAddress => {
                state.sharing = changed_sharing(state.sharing, AddressSharing::Reuse, on)?;
            }
            SocketOption::ExclusiveAddressUse => {
                state.sharing = changed_sharing(state.sharing, AddressSharing::Exclusive, on)?;
            }
            SocketOption::SendTimeout => state.send_timeout = timeout(number),
            SocketOption::ReceiveTimeout => state.receive_timeout = timeout(number),
            SocketOption::ConditionalAccept if state.phase == ConnectionPhase::Listening => {
                return Err(Wsa::Einval);
            }
            SocketOption::ConditionalAccept => state.conditional_accept = on,
            SocketOption::GroupPriority => state.group_priority = number,
            SocketOption::Error => state.error = u32::try_from(number).ok().and_then(Wsa::from_code),
            _ => return Err(Wsa::Enoprotoopt),
        }
        Ok(())
    }

    /// The value of an option.
    ///
    /// - **Errors**: WSAENOPROTOOPT where such sockets do not have it.
    /// - **Source**: WSPGetSockOpt.
    pub fn option(self: &Arc<Self>, option: SocketOption) -> Result<OptionValue> {
        check_started()?;
        if option == SocketOption::Linger {
            return sys::linger(&self.fd).map(OptionValue::Linger).map_err(Errno::wsa);
        }
        if let Some((kernel_option, conversion)) = self.kernel_option(option) {
            let value = sys::get(&self.fd, kernel_option).map_err(Errno::wsa)?;
            let value = if conversion == Conversion::DoubledSize { value / 2 } else { value };
            return Ok(OptionValue::Number(value));
        }
        let state = self.state();
        Ok(OptionValue::Number(match option {
            SocketOption::ReuseAddress => i32::from(state.sharing == AddressSharing::Reuse),
            SocketOption::ExclusiveAddressUse => i32::from(state.sharing == AddressSharing::Exclusive),
            SocketOption::SendTimeout => millis(state.send_timeout),
            SocketOption::ReceiveTimeout => millis(state.receive_timeout),
            SocketOption::Error => state.error.map_or(0, |error| error.code().cast_signed()),
            // SOCK_STREAM and SOCK_DGRAM.
            SocketOption::Type => i32::from(!self.is_stream()) + 1,
            SocketOption::AcceptConnections => i32::from(state.phase == ConnectionPhase::Listening),
            SocketOption::ConnectTime => match (self.is_stream(), state.phase, state.connected_at) {
                (true, ConnectionPhase::Connected, Some(at)) => {
                    i32::try_from(now().saturating_duration_since(at).as_secs()).unwrap_or(i32::MAX)
                }
                _ => NOT_CONNECTED,
            },
            SocketOption::GroupId => self.group_id().cast_signed(),
            SocketOption::GroupPriority => state.group_priority,
            SocketOption::ConditionalAccept => i32::from(state.conditional_accept),
            SocketOption::MaxMessageSize if !self.is_stream() => LARGEST_DATAGRAM.cast_signed(),
            _ => return Err(Wsa::Enoprotoopt),
        }))
    }
}

/// The sharing mode after an option was switched.
///
/// - **Errors**: WSAEINVAL: SO_REUSEADDR and SO_EXCLUSIVEADDRUSE exclude each other.
fn changed_sharing(current: AddressSharing, option: AddressSharing, on: bool) -> Result<AddressSharing> {
    match on {
        true if current == AddressSharing::Default || current == option => Ok(option),
        true => Err(Wsa::Einval),
        false if current == option => Ok(AddressSharing::Default),
        false => Ok(current),
    }
}

/// A timeout in milliseconds, a DWORD; 0 is no limit.
fn timeout(millis: i32) -> Option<Duration> {
    let millis = u64::from(millis.cast_unsigned());
    (millis > 0).then(|| Duration::from_millis(millis))
}

fn millis(timeout: Option<Duration>) -> i32 {
    timeout.map_or(0, |timeout| i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX))
}
