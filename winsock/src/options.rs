//! Socket options, by Winsock's names.

use std::sync::Arc;
use std::time::Duration;

use flowspec::Wsa;

use super::Result;
use super::provider::running;
use super::socket::{Endpoint, Family, Phase, Sharing};
use super::waiting::now;
use crate::sys::raw::{self, Knob};

/// An option.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Choice {
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
    /// SO_LINGER, and SO_DONTLINGER its contrary.
    Linger,
    /// SO_SNDBUF.
    SendBuffer,
    /// SO_RCVBUF.
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
    /// SO_CONNECT_TIME.
    ConnectTime,
    /// SO_GROUP_ID.
    GroupId,
    /// SO_GROUP_PRIORITY.
    GroupPriority,
    /// SO_CONDITIONAL_ACCEPT.
    ConditionalAccept,
    /// SO_MAX_MSG_SIZE.
    LargestMessage,
    /// TCP_NODELAY.
    NoDelay,
    /// IPV6_V6ONLY.
    OnlyIpv6,
    /// IP_TTL, IPV6_UNICAST_HOPS.
    Ttl,
    /// IP_TOS.
    Tos,
    /// IP_MULTICAST_TTL.
    MulticastTtl,
    /// IP_MULTICAST_LOOP.
    MulticastLoop,
}

/// What an option is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Value {
    /// A number, or a truth.
    Number(i32),
    /// Seconds to go on sending; nothing where nobody waits for that.
    Linger(Option<u16>),
}

/// SO_CONNECT_TIME of a socket that is not connected.
const NOT_CONNECTED: i32 = -1;

impl Endpoint {
    /// Sets an option.
    ///
    /// - **Errors**: WSAENOPROTOOPT where it cannot be set; WSAEINVAL where it cannot be set any more, or not
    ///   with another.
    /// - **Source**: WSPSetSockOpt.
    pub fn set_option(&self, choice: Choice, value: Value) -> Result<()> {
        running()?;
        let number = match value {
            Value::Number(number) => number,
            Value::Linger(linger) if choice == Choice::Linger => {
                return raw::set_linger(&*self.fd, linger).map_err(|error| raw::code(&error));
            }
            Value::Linger(_) => return Err(Wsa::Einval),
        };
        let on = number != 0;
        match choice {
            Choice::ReuseAddress | Choice::ExclusiveAddressUse => {
                let mut state = self.state();
                let asked = if choice == Choice::ReuseAddress { Sharing::Reuse } else { Sharing::Exclusive };
                state.sharing = match (state.sharing, on) {
                    (Sharing::Usual, true) => asked,
                    (sharing, true) if sharing == asked => asked,
                    // They exclude each other.
                    (_, true) => return Err(Wsa::Einval),
                    (sharing, false) if sharing == asked => Sharing::Usual,
                    (sharing, false) => sharing,
                };
                Ok(())
            }
            Choice::Broadcast => {
                self.state().broadcast = on;
                self.turn_knob(Knob::Broadcast, i32::from(on))
            }
            Choice::KeepAlive => self.turn_knob(Knob::KeepAlive, i32::from(on)),
            Choice::OutOfBandInline => self.turn_knob(Knob::OutOfBandInline, i32::from(on)),
            Choice::DontRoute => self.turn_knob(Knob::DontRoute, i32::from(on)),
            Choice::SendBuffer => self.turn_knob(Knob::SendBuffer, number),
            Choice::ReceiveBuffer => self.turn_knob(Knob::ReceiveBuffer, number),
            Choice::NoDelay if self.is_stream() => self.turn_knob(Knob::NoDelay, i32::from(on)),
            Choice::OnlyIpv6 if self.family == Family::Inet6 => self.turn_knob(Knob::OnlyIpv6, i32::from(on)),
            Choice::Ttl if self.family == Family::Inet6 => self.turn_knob(Knob::Hops, number),
            Choice::Ttl => self.turn_knob(Knob::Ttl, number),
            Choice::Tos => self.turn_knob(Knob::Tos, number),
            Choice::MulticastTtl => self.turn_knob(Knob::MulticastTtl, number),
            Choice::MulticastLoop => self.turn_knob(Knob::MulticastLoop, i32::from(on)),
            Choice::SendTimeout | Choice::ReceiveTimeout => {
                // Milliseconds; 0 is no timeout. Windows takes the number as one without sign.
                let millis = u64::from(number.cast_unsigned());
                let timeout = (millis > 0).then(|| Duration::from_millis(millis));
                let mut state = self.state();
                if choice == Choice::SendTimeout {
                    state.send_timeout = timeout;
                } else {
                    state.receive_timeout = timeout;
                }
                Ok(())
            }
            Choice::ConditionalAccept => {
                let mut state = self.state();
                if state.phase == Phase::Listening {
                    return Err(Wsa::Einval);
                }
                state.conditional_accept = on;
                Ok(())
            }
            Choice::GroupPriority => {
                self.state().group_priority = number;
                Ok(())
            }
            Choice::Error => {
                self.state().error = u32::try_from(number).ok().and_then(Wsa::from_code);
                Ok(())
            }
            Choice::Linger
            | Choice::NoDelay
            | Choice::OnlyIpv6
            | Choice::Type
            | Choice::AcceptConnections
            | Choice::ConnectTime
            | Choice::GroupId
            | Choice::LargestMessage => Err(Wsa::Enoprotoopt),
        }
    }

    /// An option.
    ///
    /// - **Errors**: WSAENOPROTOOPT where the socket has none such.
    /// - **Source**: WSPGetSockOpt.
    pub fn option(self: &Arc<Self>, choice: Choice) -> Result<Value> {
        running()?;
        let knob = |knob| raw::get(&*self.fd, knob).map_err(|error| raw::code(&error));
        Ok(Value::Number(match choice {
            Choice::Linger => {
                let linger = raw::linger(&*self.fd).map_err(|error| raw::code(&error))?;
                return Ok(Value::Linger(linger));
            }
            Choice::ReuseAddress => i32::from(self.state().sharing == Sharing::Reuse),
            Choice::ExclusiveAddressUse => i32::from(self.state().sharing == Sharing::Exclusive),
            Choice::Broadcast => i32::from(self.state().broadcast),
            Choice::KeepAlive => knob(Knob::KeepAlive)?,
            Choice::OutOfBandInline => knob(Knob::OutOfBandInline)?,
            Choice::DontRoute => knob(Knob::DontRoute)?,
            // Linux counts its own overhead as well, and says twice what was asked for.
            Choice::SendBuffer => knob(Knob::SendBuffer)? / 2,
            Choice::ReceiveBuffer => knob(Knob::ReceiveBuffer)? / 2,
            Choice::Error => {
                let error = self.state().error;
                error.map_or(0, |error| i32::try_from(error.code()).unwrap_or(0))
            }
            Choice::Type => {
                if self.is_stream() {
                    1
                } else {
                    2
                }
            }
            Choice::AcceptConnections => i32::from(self.state().phase == Phase::Listening),
            Choice::ConnectTime => {
                let state = self.state();
                match (self.is_stream(), state.phase, state.connected_at) {
                    (true, Phase::Connected, Some(at)) => {
                        i32::try_from(now().saturating_duration_since(at).as_secs()).unwrap_or(i32::MAX)
                    }
                    _ => NOT_CONNECTED,
                }
            }
            Choice::SendTimeout => millis(self.state().send_timeout),
            Choice::ReceiveTimeout => millis(self.state().receive_timeout),
            Choice::GroupId => self.group_id().cast_signed(),
            Choice::GroupPriority => self.state().group_priority,
            Choice::ConditionalAccept => i32::from(self.state().conditional_accept),
            Choice::LargestMessage if self.is_stream() => return Err(Wsa::Enoprotoopt),
            Choice::LargestMessage => 65_507,
            Choice::NoDelay if self.is_stream() => knob(Knob::NoDelay)?,
            Choice::OnlyIpv6 if self.family == Family::Inet6 => knob(Knob::OnlyIpv6)?,
            Choice::NoDelay | Choice::OnlyIpv6 => return Err(Wsa::Enoprotoopt),
            Choice::Ttl if self.family == Family::Inet6 => knob(Knob::Hops)?,
            Choice::Ttl => knob(Knob::Ttl)?,
            Choice::Tos => knob(Knob::Tos)?,
            Choice::MulticastTtl => knob(Knob::MulticastTtl)?,
            Choice::MulticastLoop => knob(Knob::MulticastLoop)?,
        }))
    }

    fn turn_knob(&self, knob: Knob, value: i32) -> Result<()> {
        raw::set(&*self.fd, knob, value).map_err(|error| raw::code(&error))
    }
}

fn millis(timeout: Option<Duration>) -> i32 {
    timeout.map_or(0, |timeout| i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX))
}
