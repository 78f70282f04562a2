//! WSPStartup and the table of the SPI's functions.

use flowspec::Wsa;

use super::handle::endpoint;
use super::{
    Address, SOCKET_ERROR, address_text, events, ioctl, last_error, memory, named_qos, options, overlapped,
    select, sockets, startup, transfer,
};
use crate::Result;
use crate::startup::startup as start_provider;

/// The size of WSPDATA: two versions and a description of 256 WCHARs.
const WSPDATA_SIZE: usize = 516;

/// WSPPROC_TABLE, in the order of `ws2spi.h`.
fn procedure_table() -> [usize; 30] {
    [
        sockets::gqos_WSPAccept as *const () as usize,
        address_text::gqos_WSPAddressToString as *const () as usize,
        events::gqos_WSPAsyncSelect as *const () as usize,
        sockets::gqos_WSPBind as *const () as usize,
        startup::gqos_WSPCancelBlockingCall as *const () as usize,
        startup::gqos_WSPCleanup as *const () as usize,
        sockets::gqos_WSPCloseSocket as *const () as usize,
        sockets::gqos_WSPConnect as *const () as usize,
        gqos_WSPDuplicateSocket as *const () as usize,
        events::gqos_WSPEnumNetworkEvents as *const () as usize,
        events::gqos_WSPEventSelect as *const () as usize,
        overlapped::gqos_WSPGetOverlappedResult as *const () as usize,
        sockets::gqos_WSPGetPeerName as *const () as usize,
        sockets::gqos_WSPGetSockName as *const () as usize,
        options::gqos_WSPGetSockOpt as *const () as usize,
        named_qos::gqos_WSPGetQOSByName as *const () as usize,
        ioctl::gqos_WSPIoctl as *const () as usize,
        sockets::gqos_WSPJoinLeaf as *const () as usize,
        sockets::gqos_WSPListen as *const () as usize,
        transfer::gqos_WSPRecv as *const () as usize,
        sockets::gqos_WSPRecvDisconnect as *const () as usize,
        transfer::gqos_WSPRecvFrom as *const () as usize,
        select::gqos_WSPSelect as *const () as usize,
        transfer::gqos_WSPSend as *const () as usize,
        sockets::gqos_WSPSendDisconnect as *const () as usize,
        transfer::gqos_WSPSendTo as *const () as usize,
        options::gqos_WSPSetSockOpt as *const () as usize,
        sockets::gqos_WSPShutdown as *const () as usize,
        sockets::gqos_WSPSocket as *const () as usize,
        address_text::gqos_WSPStringToAddress as *const () as usize,
    ]
}

fn start(version: u16, data: Address, procedures: Address) -> Result<()> {
    let [major, _] = version.to_le_bytes();
    if major < 2 {
        return Err(Wsa::VerNotSupported);
    }
    let mut bytes = [0; WSPDATA_SIZE];
    bytes[..4].copy_from_slice(&[2, 2, 2, 2]);
    for (index, character) in b"gqos".iter().enumerate() {
        bytes[4 + index * 2] = *character;
    }
    memory::write(data, &bytes)?;
    let table: Vec<u8> = procedure_table().into_iter().flat_map(usize::to_ne_bytes).collect();
    memory::write(procedures, &table)?;
    start_provider()
}

/// WSPStartup: fills WSPDATA and the table of functions. The error is the result.
///
/// # Safety
///
/// See [`abi`](crate::abi#safety).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gqos_WSPStartup(
    version: u16,
    data: Address,
    _info: Address,
    procedures: Address,
) -> i32 {
    last_error::as_result(|| start(version, data, procedures))
}

pub(super) fn duplicate(s: usize) -> Result<i32> {
    let has_reservation = endpoint(s)?.decision().is_some();
    Err(if has_reservation { Wsa::Einval } else { Wsa::Eopnotsupp })
}

c_functions! {
    /// WSPDuplicateSocket, which is not supported: WSAEINVAL for a socket with a reservation, as on Windows,
    /// WSAEOPNOTSUPP for others.
    spi gqos_WSPDuplicateSocket(s: usize, _process: u32, _info: Address) -> i32, or SOCKET_ERROR => duplicate(s);
}
