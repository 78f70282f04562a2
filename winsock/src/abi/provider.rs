//! The catalogue and the provider's table of procedures.

use flowspec::Wsa;

use super::address::{AF_INET, AF_INET6};
use super::{
    SOCKET_ERROR, api, calls, events, ioctl, leaf, memory, options, overlapped, sets, spi, templates, text,
    transfer,
};
use crate::Result;
use crate::catalogue::{Catalogued, PROTOCOLS};
use crate::provider::{running, startup};
use crate::socket::{Family, Kind};

/// Sizes of WSAPROTOCOL_INFO with narrow and with wide characters.
const INFO_A: usize = 372;
const INFO_W: usize = 628;

/// Where its fields are.
const CATALOG_ENTRY: usize = 36;
const CHAIN_LENGTH: usize = 40;
const NAME: usize = 116;

/// Our own, of no other meaning than to be ours.
const PROVIDER_ID: [u8; 16] = *b"gqos-provider-01";

/// WSAPROTOCOL_INFO of an entry.
pub(super) fn info(entry: &Catalogued, wide: bool) -> Vec<u8> {
    let mut bytes = vec![0; if wide { INFO_W } else { INFO_A }];
    let mut put = |at: usize, value: u32| bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    let (family, size) = match entry.family {
        Family::Inet => (AF_INET, 16),
        Family::Inet6 => (AF_INET6, 28),
    };
    let (kind, protocol) = match entry.kind {
        Kind::Stream => (1, 6),
        Kind::Datagram => (2, 17),
    };
    for (at, value) in [
        (0, entry.flags),
        (CATALOG_ENTRY, entry.entry),
        (CHAIN_LENGTH, 1),
        (72, 2),
        (76, u32::from(family)),
        (80, size),
        (84, size),
        (88, kind),
        (92, protocol),
        (108, entry.message_size),
    ] {
        put(at, value);
    }
    bytes[20..36].copy_from_slice(&PROVIDER_ID);
    for (index, character) in entry.name.bytes().enumerate() {
        bytes[NAME + index * if wide { 2 } else { 1 }] = character;
    }
    bytes
}

/// The entries whose protocol is among those asked for, all of them where none is.
fn list(asked: usize, place: usize, length: usize, wide: bool) -> Result<i32> {
    running()?;
    let mut wanted = Vec::new();
    if asked != 0 {
        for index in 0..64 {
            match memory::u32_at(asked.wrapping_add(index * 4))? {
                0 => break,
                protocol => wanted.push(protocol),
            }
        }
    }
    let of = |kind: Kind| if kind == Kind::Stream { 6 } else { 17 };
    let chosen: Vec<&Catalogued> =
        PROTOCOLS.iter().filter(|known| wanted.is_empty() || wanted.contains(&of(known.kind))).collect();
    let all: Vec<u8> = chosen.iter().flat_map(|&&known| info(&known, wide)).collect();
    let room = memory::u32_at(length)?;
    let needed = u32::try_from(all.len()).map_err(|_| Wsa::Enobufs)?;
    if room < needed || place == 0 {
        memory::write_u32(length, needed)?;
        return Err(Wsa::Enobufs);
    }
    memory::write(place, &all)?;
    i32::try_from(chosen.len()).map_err(|_| Wsa::Enobufs)
}

/// WSAEnumProtocolsA.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_WSAEnumProtocolsA(asked: usize, place: usize, length: usize) -> i32 {
    api(SOCKET_ERROR, || list(asked, place, length, false))
}

/// WSAEnumProtocolsW.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_WSAEnumProtocolsW(asked: usize, place: usize, length: usize) -> i32 {
    api(SOCKET_ERROR, || list(asked, place, length, true))
}

/// WSPDuplicateSocket, which is not offered: WSAEINVAL for a socket with quality, as on Windows, WSAEOPNOTSUPP for
/// others.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_WSPDuplicateSocket(s: usize, _process: u32, _info: usize, lp_errno: usize) -> i32 {
    spi(SOCKET_ERROR, lp_errno, || {
        let asked = calls::socket(s)?.decision().is_some();
        Err(if asked { Wsa::Einval } else { Wsa::Eopnotsupp })
    })
}

/// WSPPROC_TABLE, in the header's order.
fn table() -> [usize; 30] {
    [
        calls::gqos_WSPAccept as *const () as usize,
        text::gqos_WSPAddressToString as *const () as usize,
        events::gqos_WSPAsyncSelect as *const () as usize,
        calls::gqos_WSPBind as *const () as usize,
        calls::gqos_WSPCancelBlockingCall as *const () as usize,
        calls::gqos_WSPCleanup as *const () as usize,
        calls::gqos_WSPCloseSocket as *const () as usize,
        calls::gqos_WSPConnect as *const () as usize,
        gqos_WSPDuplicateSocket as *const () as usize,
        events::gqos_WSPEnumNetworkEvents as *const () as usize,
        events::gqos_WSPEventSelect as *const () as usize,
        overlapped::gqos_WSPGetOverlappedResult as *const () as usize,
        calls::gqos_WSPGetPeerName as *const () as usize,
        calls::gqos_WSPGetSockName as *const () as usize,
        options::gqos_WSPGetSockOpt as *const () as usize,
        templates::gqos_WSPGetQOSByName as *const () as usize,
        ioctl::gqos_WSPIoctl as *const () as usize,
        leaf::gqos_WSPJoinLeaf as *const () as usize,
        calls::gqos_WSPListen as *const () as usize,
        transfer::gqos_WSPRecv as *const () as usize,
        calls::gqos_WSPRecvDisconnect as *const () as usize,
        transfer::gqos_WSPRecvFrom as *const () as usize,
        sets::gqos_WSPSelect as *const () as usize,
        transfer::gqos_WSPSend as *const () as usize,
        calls::gqos_WSPSendDisconnect as *const () as usize,
        transfer::gqos_WSPSendTo as *const () as usize,
        options::gqos_WSPSetSockOpt as *const () as usize,
        calls::gqos_WSPShutdown as *const () as usize,
        calls::gqos_WSPSocket as *const () as usize,
        text::gqos_WSPStringToAddress as *const () as usize,
    ]
}

/// WSPStartup: fills WSPDATA and the table of procedures; the error is the result.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_WSPStartup(version: u16, data: usize, _info: usize, procedures: usize) -> i32 {
    let started = super::guarded(|| {
        let [major, _] = version.to_le_bytes();
        if major < 2 {
            return Err(Wsa::VerNotSupported);
        }
        // WSPDATA: two versions and a description of 256 wide characters.
        let mut bytes = vec![0; 516];
        bytes[..4].copy_from_slice(&[2, 2, 2, 2]);
        for (index, character) in b"gqos".iter().enumerate() {
            bytes[4 + index * 2] = *character;
        }
        memory::write(data, &bytes)?;
        let table: Vec<u8> = table().into_iter().flat_map(usize::to_ne_bytes).collect();
        memory::write(procedures, &table)?;
        startup()
    });
    started.map_or_else(|wsa| wsa.code().cast_signed(), |()| 0)
}
