//! cargo +nightly fuzz run capi
//!
//! Every pointer-and-length parameter of the C face: names, QOS with their objects, buffers, sets, options. In a
//! network namespace of its own, without any interface that is up (root, or CAP_SYS_ADMIN).
#![no_main]

use std::cell::Cell;
use std::sync::Once;
use std::sync::atomic::AtomicU64;

use gqos::linux::namespace::Namespace;
use gqos_winsock::abi::{
    calls, events, hosts, ioctl, leaf, names, options, overlapped, provider, sets, templates, text, transfer,
};

static STARTED: Once = Once::new();

/// OVERLAPPED structures stay longer than the input does.
fn overlapped() -> usize {
    static PLACE: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];
    PLACE.as_ptr().expose_provenance()
}

/// Hints: numbers alone, so that nobody is asked.
static NUMBERS: [i32; 12] = [4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Takes the input apart.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().map_or((0, self.0), |(first, rest)| (*first, rest));
        self.0 = rest;
        first
    }

    fn word(&mut self) -> u32 {
        u32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()])
    }

    /// Memory of the program's with some of the input in it, and pointers at strange places as well.
    fn memory(&mut self) -> Vec<u8> {
        let length = usize::from(self.byte()).min(self.0.len());
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        let mut memory = taken.to_vec();
        memory.resize(4096, 0);
        memory
    }

    fn pointer(&mut self, memory: &[u8]) -> usize {
        match self.byte() {
            0 => 0,
            1 => 8,
            2 => usize::MAX - 16,
            3 => memory.as_ptr().addr() + 1,
            _ => memory.as_ptr().addr(),
        }
    }
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    thread_local!(static SOCKETS: Cell<[usize; 4]> = const { Cell::new([0; 4]) });
    STARTED.call_once(|| {
        Namespace::new().and_then(|fresh| fresh.enter()).expect("root, or CAP_SYS_ADMIN");
        let data = [0_u8; 408];
        assert_eq!(calls::gqos_WSAStartup(0x0202, data.as_ptr().addr()), 0);
    });
    let open = [
        calls::gqos_socket(2, 1, 0),
        calls::gqos_socket(2, 2, 0),
        calls::gqos_socket(23, 1, 0),
        calls::gqos_socket(23, 2, 0),
    ];
    SOCKETS.set(open);
    for socket in open {
        let on = 1_u32.to_le_bytes();
        calls::gqos_WSAGetLastError();
        ioctl::gqos_ioctlsocket(socket, 0x8004_667e_u32.cast_signed(), on.as_ptr().addr());
    }
    let mut bytes = Bytes(input);
    for _ in 0..8 {
        if bytes.0.is_empty() {
            break;
        }
        let s = open[usize::from(bytes.byte()) % 4];
        let memory = bytes.memory();
        let other = bytes.memory();
        let (one, two) = (bytes.pointer(&memory), bytes.pointer(&other));
        // The memory is larger: what goes to the kernel as a buffer stays within it.
        let length = i32::from(bytes.byte() % 129);
        let number = bytes.word().cast_signed();
        match bytes.byte() % 32 {
            0 => drop(calls::gqos_WSAConnect(s, one, number, 0, 0, two, 0)),
            1 => drop(calls::gqos_WSAConnect(s, one, length, two, two, two, two)),
            2 => drop(calls::gqos_bind(s, one, number)),
            3 => drop(calls::gqos_connect(s, one, length)),
            4 => drop(calls::gqos_getsockname(s, one, two)),
            5 => drop(calls::gqos_getpeername(s, one, two)),
            6 => drop(options::gqos_setsockopt(s, number, length, one, number)),
            7 => drop(options::gqos_getsockopt(s, 0xffff, number, one, two)),
            8 => {
                drop(ioctl::gqos_WSAIoctl(s, 0x8800_000B, one, bytes.word(), two, bytes.word(), two, 0, None))
            }
            9 => drop(ioctl::gqos_WSAIoctl(
                s,
                bytes.word(),
                one,
                bytes.word(),
                two,
                bytes.word(),
                one,
                0,
                None,
            )),
            10 => drop(templates::gqos_WSAGetQOSByName(s, one, two)),
            11 => drop(provider::gqos_WSAEnumProtocolsA(0, one, two)),
            12 => {
                let time = [0_u8; 16];
                let _ = sets::gqos_select(0, one, two, one, time.as_ptr().addr());
            }
            13 => drop(sets::gqos_WSAPoll(one, u32::from(bytes.byte() % 9), 0)),
            14 => drop(events::gqos_WSAEnumNetworkEvents(s, one, two)),
            15 => drop(transfer::gqos_WSASend(s, one, u32::from(bytes.byte()), two, 0, 0, None)),
            16 => drop(transfer::gqos_sendto(s, memory.as_ptr().addr(), length, 0, two, number)),
            17 => drop(leaf::gqos_WSAJoinLeaf(s, one, number, two, two, two, one, bytes.word() % 6)),
            18 => drop(text::gqos_WSAAddressToStringA(one, number.cast_unsigned(), 0, two, two)),
            19 => drop(text::gqos_WSAStringToAddressA(one, 2 + 21 * (number & 1), 0, two, two)),
            20 => drop(leaf::gqos_ConnectEx(s, one, number, two, bytes.word(), two, 0)),
            21 => {
                let group = bytes.word() % 5;
                let made = calls::gqos_WSASocket(2, 1 + (number & 1), 0, one, group, 0);
                if made != usize::MAX {
                    let _ = calls::gqos_WSAConnect(made, two, length, 0, 0, two, two);
                    let _ = ioctl::gqos_WSAIoctl(
                        made,
                        0x8800_000C,
                        one,
                        bytes.word(),
                        two,
                        bytes.word(),
                        two,
                        0,
                        None,
                    );
                    calls::gqos_closesocket(made);
                }
            }
            22 => drop(calls::gqos_WSAAccept(s, one, two, None, 0)),
            23 => drop(text::gqos_inet_pton(2 + 21 * (number & 1), one, two)),
            24 => drop(text::gqos_inet_ntop(number, one, two, usize::from(bytes.byte()))),
            25 => drop(names::gqos_getaddrinfo(one, two, NUMBERS.as_ptr().addr(), two)),
            26 => drop(names::gqos_getnameinfo(one, number, two, 64, two, 64, 2 | 8)),
            27 => drop(options::gqos_setsockopt(s, 41 * (number & 1), 12 | (number >> 1 & 1), one, length)),
            28 => {
                let (list, count) = (one, u32::from(bytes.byte()));
                let _ = transfer::gqos_WSASend(s, list, count, 0, 0, overlapped(), None);
                let _ = transfer::gqos_WSARecv(s, list, count, 0, two, overlapped(), None);
                let _ = overlapped::gqos_WSAGetOverlappedResult(s, overlapped(), two, 0, one);
            }
            29 => {
                drop(ioctl::gqos_WSAIoctl(s, 0xC800_0007, one, 0, two, bytes.word(), one, overlapped(), None))
            }
            30 => drop(hosts::gqos_getservbyname(one, two)),
            _ => drop(transfer::gqos_recvfrom(s, memory.as_ptr().addr(), length, 0, one, two)),
        }
    }
    for socket in open {
        calls::gqos_closesocket(socket);
    }
});
