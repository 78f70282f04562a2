//! The numbers of IP's and TCP's options.

use flowspec::Wsa;

use crate::Result;
use crate::endpoint::Endpoint;
use crate::sys::NetworkOption;

const IPPROTO_IP: i32 = 0;
const IPPROTO_TCP: i32 = 6;
const IPPROTO_IPV6: i32 = 41;

const DONT_FRAGMENT: i32 = 14;
const MTU_DISCOVER: i32 = 71;
const MAX_RETRANSMISSION_TIME: i32 = 5;

/// The kinds of path discovery by Windows' numbers (NOT_SET, DO, DONT, PROBE), as Linux': WANT, DO, DONT, PROBE.
const MTU_DISCOVERY: [i32; 4] = [1, 2, 0, 3];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct OptionNumber {
    pub(super) level: i32,
    pub(super) name: i32,
}

fn network_option(number: OptionNumber) -> Option<NetworkOption> {
    Some(match (number.level, number.name) {
        (IPPROTO_IP | IPPROTO_IPV6, 9) => NetworkOption::MulticastInterface,
        (IPPROTO_IPV6, 10) => NetworkOption::MulticastHops,
        (IPPROTO_IPV6, 11) => NetworkOption::MulticastLoop,
        (IPPROTO_IP | IPPROTO_IPV6, DONT_FRAGMENT | MTU_DISCOVER) => NetworkOption::MtuDiscovery,
        (IPPROTO_IP | IPPROTO_IPV6, 19) => NetworkOption::PacketInfo,
        (IPPROTO_IP | IPPROTO_IPV6, 21) => NetworkOption::ReceiveHopLimit,
        (IPPROTO_IPV6, 39) => NetworkOption::TrafficClass,
        (IPPROTO_IP | IPPROTO_IPV6, 40 | 50) => NetworkOption::ReceiveTrafficClass,
        (IPPROTO_IPV6, 72) | (IPPROTO_IP, 73) => NetworkOption::Mtu,
        (IPPROTO_TCP, 3) => NetworkOption::KeepIdle,
        (IPPROTO_TCP, 4) => NetworkOption::MaxSegment,
        (IPPROTO_TCP, MAX_RETRANSMISSION_TIME) => NetworkOption::UserTimeout,
        (IPPROTO_TCP, 16) => NetworkOption::KeepCount,
        (IPPROTO_TCP, 17) => NetworkOption::KeepInterval,
        _ => return None,
    })
}

/// Sets an option of IP or TCP; `None` where the number is not of one.
pub(super) fn set(endpoint: &Endpoint, number: OptionNumber, value: i32) -> Option<Result<()>> {
    let option = network_option(number)?;
    let value = match number.name {
        DONT_FRAGMENT => Ok(NetworkOption::mtu_discovery(value != 0)),
        MTU_DISCOVER => {
            let known = usize::try_from(value).ok().and_then(|value| MTU_DISCOVERY.get(value));
            known.copied().ok_or(Wsa::Einval)
        }
        // In seconds; Linux counts milliseconds.
        MAX_RETRANSMISSION_TIME if number.level == IPPROTO_TCP => value.checked_mul(1000).ok_or(Wsa::Einval),
        _ => Ok(value),
    };
    Some(value.and_then(|value| endpoint.set_network_option(option, value)))
}

/// The value of an option of IP or TCP; `None` where the number is not of one.
pub(super) fn get(endpoint: &Endpoint, number: OptionNumber) -> Option<Result<i32>> {
    let option = network_option(number)?;
    Some(endpoint.network_option(option).map(|value| match number.name {
        DONT_FRAGMENT => i32::from(value == NetworkOption::mtu_discovery(true)),
        MTU_DISCOVER => {
            let index = MTU_DISCOVERY.iter().position(|&known| known == value).unwrap_or(0);
            i32::try_from(index).unwrap_or(0)
        }
        MAX_RETRANSMISSION_TIME if number.level == IPPROTO_TCP => value / 1000,
        _ => value,
    }))
}
