//! RSVP_RESERVE_INFO: the reservation that a receiver requests.

use core::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::abi::Abi;
use crate::flowspec::Flowspec;

use super::pointer::Pointee;
use super::policy::PolicyInfo;

/// RSVP_RESERVE_INFO. Source: `qossp.h`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReserveInfo {
    /// Which senders share the reservation.
    pub style: ReservationStyle,
    /// ConfirmRequest: not zero requests WSA_QOS_REQUEST_CONFIRMED.
    #[serde(default)]
    pub confirm_request: u32,
    /// PolicyElementList; absent where the pointer is null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_element_list: Option<Pointee<PolicyInfo>>,
    /// FlowDescList; absent where NumFlowDesc is zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow_desc_list: Option<Pointee<Vec<FlowDescriptor>>>,
}

/// The reservation style: which senders share a reservation. Source: RFC 2205 section 1.3; `qossp.h`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReservationStyle {
    /// Fixed filter for TCP and connected UDP, wildcard for unconnected UDP and multicast.
    Default,
    /// One reservation, shared by all senders.
    Wildcard,
    /// One reservation for each sender.
    FixedFilter,
    /// One reservation, shared by a list of senders.
    SharedExplicit,
}

/// FLOWDESCRIPTOR: a reservation and its senders. Source: `qossp.h`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowDescriptor {
    /// FlowSpec: what the senders may use, together or each, by the style.
    pub flowspec: Flowspec,
    /// FilterList; absent where NumFilters is zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter_list: Option<Pointee<Vec<FilterSpec>>>,
}

/// RSVP_FILTERSPEC: a sender. Ports are in network byte order, as in RSVP. Source: `qossp.h`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum FilterSpec {
    /// FILTERSPECV4: TCP or UDP over IPv4.
    V4 {
        /// The sender's.
        address: Ipv4Addr,
        /// The sender's.
        port: u16,
    },
    /// FILTERSPECV6: TCP or UDP over IPv6.
    V6 {
        /// The sender's.
        address: Ipv6Addr,
        /// The sender's.
        port: u16,
    },
    /// FILTERSPECV6_FLOW: packets with a flow label.
    V6Flow {
        /// The sender's.
        address: Ipv6Addr,
        /// FlowLabel, 24 bits.
        flow_label: u32,
    },
    /// FILTERSPECV4_GPI: a flow of IPsec by its security parameter index.
    V4Gpi {
        /// The sender's.
        address: Ipv4Addr,
        /// The security parameter index. Source: RFC 2207.
        general_port_id: u32,
    },
    /// FILTERSPECV6_GPI: the same over IPv6.
    V6Gpi {
        /// The sender's.
        address: Ipv6Addr,
        /// The security parameter index. Source: RFC 2207.
        general_port_id: u32,
    },
}

/// RSVP_FILTERSPEC's size in both ABIs.
pub(super) const FILTERSPEC_SIZE: usize = 24;

/// FLOWDESCRIPTOR's size.
pub(super) const fn descriptor_size(abi: Abi) -> usize {
    match abi {
        Abi::Win32 => 40,
        Abi::Win64 => 48,
    }
}

impl ReservationStyle {
    /// Every style, in the order of their values, which begin at 0.
    pub const ALL: [Self; 4] = [Self::Default, Self::Wildcard, Self::FixedFilter, Self::SharedExplicit];

    /// The value in `qossp.h`.
    pub const fn value(self) -> u32 {
        match self {
            Self::Default => 0,
            Self::Wildcard => 1,
            Self::FixedFilter => 2,
            Self::SharedExplicit => 3,
        }
    }

    /// The style with this value; `None` where the value is not assigned.
    pub fn from_value(value: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|style| style.value() == value)
    }
}

impl FilterSpec {
    /// Reads a filterspec; `None` where its type is not assigned.
    pub(super) fn read(bytes: &[u8; FILTERSPEC_SIZE]) -> Option<Self> {
        let [kind, body @ ..] = bytes.as_chunks::<4>().0 else { return None };
        let v4 = Ipv4Addr::from(body[0]);
        let mut v6 = [0; 16];
        v6.copy_from_slice(body[..4].as_flattened());
        let v6 = Ipv6Addr::from(v6);
        let port = |word: [u8; 4]| u16::from_be_bytes([word[2], word[3]]);
        Some(match u32::from_le_bytes(*kind) {
            1 => Self::V4 { address: v4, port: port(body[1]) },
            2 => Self::V6 { address: v6, port: port(body[4]) },
            3 => {
                let [_, a, b, c] = body[4];
                Self::V6Flow { address: v6, flow_label: u32::from_be_bytes([0, a, b, c]) }
            }
            4 => Self::V4Gpi { address: v4, general_port_id: u32::from_le_bytes(body[1]) },
            5 => Self::V6Gpi { address: v6, general_port_id: u32::from_le_bytes(body[4]) },
            _ => return None,
        })
    }

    pub(super) fn bytes(&self) -> [u8; FILTERSPEC_SIZE] {
        let mut bytes = [0; FILTERSPEC_SIZE];
        let (kind, address, word): (u8, &[u8], [u8; 4]) = match self {
            Self::V4 { address, port } => (1, &address.octets(), port_word(*port)),
            Self::V6 { address, port } => (2, &address.octets(), port_word(*port)),
            // The upper byte of the word is unused.
            Self::V6Flow { address, flow_label } => {
                (3, &address.octets(), (flow_label & 0xFF_FFFF).to_be_bytes())
            }
            Self::V4Gpi { address, general_port_id } => (4, &address.octets(), general_port_id.to_le_bytes()),
            Self::V6Gpi { address, general_port_id } => (5, &address.octets(), general_port_id.to_le_bytes()),
        };
        bytes[0] = kind;
        bytes[4..4 + address.len()].copy_from_slice(address);
        bytes[4 + address.len()..8 + address.len()].copy_from_slice(&word);
        bytes
    }
}

const fn port_word(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [0, 0, high, low]
}
