//! The functions that SIO_GET_EXTENSION_FUNCTION_POINTER returns.

use super::{accept_ex, connect_ex, message, select, transmit};

/// The GUIDs of `mswsock.h` as numbers: their 16 bytes, of which the first three fields are little endian in memory.
const TRANSMITFILE: u128 = 0xb536_7df0_cbac_11cf_95ca_0080_5f48_a192;
const ACCEPTEX: u128 = 0xb536_7df1_cbac_11cf_95ca_0080_5f48_a192;
const GETACCEPTEXSOCKADDRS: u128 = 0xb536_7df2_cbac_11cf_95ca_0080_5f48_a192;
const TRANSMITPACKETS: u128 = 0xd968_9da0_1f90_11d3_9971_00c0_4f68_c876;
const CONNECTEX: u128 = 0x25a2_07b9_ddf3_4660_8ee9_76e5_8c74_063e;
const DISCONNECTEX: u128 = 0x7fda_2e11_8630_436f_a031_f536_a6ee_c157;
const WSARECVMSG: u128 = 0xf689_d7c8_6f1f_436b_8a53_e54f_e351_c322;
const WSASENDMSG: u128 = 0xa441_e712_754f_43ca_84a7_0dee_44cf_606d;
const WSAPOLL: u128 = 0x18c7_6f85_dc66_4964_972e_23c2_7238_312b;

/// The function with this GUID, as it lies in memory; `None` for an unknown one.
pub(super) fn extension_function(guid: [u8; 16]) -> Option<usize> {
    let [a, b, c, d, e, f, g, h, rest @ ..] = guid;
    let mut big_endian = [d, c, b, a, f, e, h, g, 0, 0, 0, 0, 0, 0, 0, 0];
    big_endian[8..].copy_from_slice(&rest);
    Some(match u128::from_be_bytes(big_endian) {
        TRANSMITFILE => transmit::gqos_TransmitFile as *const () as usize,
        ACCEPTEX => accept_ex::gqos_AcceptEx as *const () as usize,
        GETACCEPTEXSOCKADDRS => accept_ex::gqos_GetAcceptExSockaddrs as *const () as usize,
        TRANSMITPACKETS => transmit::gqos_TransmitPackets as *const () as usize,
        CONNECTEX => connect_ex::gqos_ConnectEx as *const () as usize,
        DISCONNECTEX => accept_ex::gqos_DisconnectEx as *const () as usize,
        WSARECVMSG => message::gqos_WSARecvMsg as *const () as usize,
        WSASENDMSG => message::gqos_WSASendMsg as *const () as usize,
        WSAPOLL => select::gqos_WSAPoll as *const () as usize,
        _ => return None,
    })
}
