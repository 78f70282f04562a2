//! cargo +nightly fuzz run capi
//!
//! Every parameter of the C functions that is a pointer with a length: names, QOS structures with their objects,
//! buffers, sets, options. Runs in a network namespace of its own without any interface that is up, which needs root or
//! CAP_SYS_ADMIN.
#![no_main]

use std::sync::Once;
use std::sync::atomic::AtomicU64;

use gqos::linux::namespace::Namespace;
use gqos_winsock::abi::{
    Address, address_info, address_text, connect_ex, events, ioctl, named_qos, netdb, options, overlapped,
    protocols, select, sockets, startup, transfer,
};

static STARTED: Once = Once::new();

const NULL: Address = Address::NULL;

/// An address that a C program would pass.
fn address(number: usize) -> Address {
    // SAFETY: the numbers are those of memory below, which no reference uses during a call, or of none.
    unsafe { Address::new(number) }
}

/// An OVERLAPPED structure, which outlives the input.
fn overlapped_structure() -> Address {
    static STRUCTURE: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];
    address(STRUCTURE.as_ptr().expose_provenance())
}

/// Hints of getaddrinfo: AI_NUMERICHOST, so that no resolver is asked.
static NUMERIC_HINTS: [i32; 12] = [4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Reads the input in parts.
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

    /// A page of memory that begins with a part of the input.
    fn memory(&mut self) -> Vec<u8> {
        let length = usize::from(self.byte()).min(self.0.len());
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        let mut memory = taken.to_vec();
        memory.resize(4096, 0);
        memory
    }

    /// The address of the memory, or an invalid one.
    fn pointer(&mut self, memory: &mut [u8]) -> Address {
        address(match self.byte() {
            0 => 0,
            1 => 8,
            2 => usize::MAX - 16,
            3 => memory.as_mut_ptr().expose_provenance() + 1,
            _ => memory.as_mut_ptr().expose_provenance(),
        })
    }
}

/// One call with pointers to two pages, on one of the sockets.
struct Call {
    s: usize,
    one: Address,
    two: Address,
    /// The start of the first page, which is valid.
    data: Address,
    /// Less than a page, so that what goes to the kernel as a buffer stays inside of it.
    length: i32,
    number: i32,
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    STARTED.call_once(|| {
        Namespace::new().and_then(|fresh| fresh.enter()).expect("root, or CAP_SYS_ADMIN");
        let mut data = [0_u8; 408];
        // SAFETY: `data` is a WSADATA that no reference uses during the call.
        let started =
            unsafe { startup::gqos_WSAStartup(0x0202, address(data.as_mut_ptr().expose_provenance())) };
        assert_eq!(started, 0);
    });
    // SAFETY: these calls take no pointers, but for the flag, which is valid.
    let open = unsafe {
        let open = [(2, 1), (2, 2), (23, 1), (23, 2)].map(|(af, kind)| sockets::gqos_socket(af, kind, 0));
        for socket in open {
            let mut on = 1_u32;
            let on = address((&raw mut on).expose_provenance());
            ioctl::gqos_ioctlsocket(socket, 0x8004_667e_u32.cast_signed(), on);
        }
        open
    };
    let mut bytes = Bytes(input);
    for _ in 0..8 {
        if bytes.0.is_empty() {
            break;
        }
        let s = open[usize::from(bytes.byte()) % 4];
        let (mut memory, mut other) = (bytes.memory(), bytes.memory());
        let call = Call {
            s,
            one: bytes.pointer(&mut memory),
            two: bytes.pointer(&mut other),
            data: address(memory.as_mut_ptr().expose_provenance()),
            length: i32::from(bytes.byte() % 129),
            number: bytes.word().cast_signed(),
        };
        // SAFETY: the addresses are those of `memory` and `other`, which no reference uses during the call, or of no
        // memory. Overlapped operations are aborted when their sockets are closed, and the kernel copies what they
        // transfer at once.
        unsafe {
            match bytes.byte() % 32 {
                function @ (0..=5 | 15..=17 | 20..=22 | 28 | 31) => call.on_sockets(function, &mut bytes),
                function => call.on_structures(function, &mut bytes),
            }
        }
    }
    for socket in open {
        // SAFETY: the call takes no pointers.
        unsafe { sockets::gqos_closesocket(socket) };
    }
});

impl Call {
    /// Calls on sockets: connecting, binding, transferring data.
    ///
    /// # Safety
    ///
    /// The addresses are those of memory that no reference uses, or of none.
    unsafe fn on_sockets(&self, function: u8, bytes: &mut Bytes<'_>) {
        let Self { s, one, two, data, length, number } = *self;
        // SAFETY: as the caller has promised.
        unsafe {
            match function {
                0 => {
                    let _ = sockets::gqos_WSAConnect(s, one, number, NULL, NULL, two, NULL);
                }
                1 => {
                    let _ = sockets::gqos_WSAConnect(s, one, length, two, two, two, two);
                }
                2 => {
                    let _ = sockets::gqos_bind(s, one, number);
                }
                3 => {
                    let _ = sockets::gqos_connect(s, one, length);
                }
                4 => {
                    let _ = sockets::gqos_getsockname(s, one, two);
                }
                5 => {
                    let _ = sockets::gqos_getpeername(s, one, two);
                }
                15 => {
                    let _ = transfer::gqos_WSASend(s, one, u32::from(bytes.byte()), two, 0, NULL, None);
                }
                16 => {
                    let _ = transfer::gqos_sendto(s, data, length, 0, two, number);
                }
                17 => {
                    let flags = bytes.word() % 6;
                    let _ = sockets::gqos_WSAJoinLeaf(s, one, number, two, two, two, one, flags);
                }
                20 => {
                    let _ = connect_ex::gqos_ConnectEx(s, one, number, two, bytes.word(), two, NULL);
                }
                21 => self.on_group(bytes),
                22 => {
                    let _ = sockets::gqos_WSAAccept(s, one, two, None, 0);
                }
                28 => {
                    let (list, count) = (one, u32::from(bytes.byte()));
                    let structure = overlapped_structure();
                    let _ = transfer::gqos_WSASend(s, list, count, NULL, 0, structure, None);
                    let _ = transfer::gqos_WSARecv(s, list, count, NULL, two, structure, None);
                    let _ = overlapped::gqos_WSAGetOverlappedResult(s, structure, two, 0, one);
                }
                _ => {
                    let _ = transfer::gqos_recvfrom(s, data, length, 0, one, two);
                }
            }
        }
    }

    /// A socket in a group: its connection and SIO_SET_GROUP_QOS.
    ///
    /// # Safety
    ///
    /// That of [`on_sockets`](Self::on_sockets).
    unsafe fn on_group(&self, bytes: &mut Bytes<'_>) {
        let Self { one, two, length, number, .. } = *self;
        let group = bytes.word() % 5;
        // SAFETY: as the caller has promised.
        unsafe {
            let made = sockets::gqos_WSASocket(2, 1 + (number & 1), 0, one, group, 0);
            if made != usize::MAX {
                let _ = sockets::gqos_WSAConnect(made, two, length, NULL, NULL, two, two);
                let (input, output) = (bytes.word(), bytes.word());
                let _ = ioctl::gqos_WSAIoctl(made, 0x8800_000C, one, input, two, output, two, NULL, None);
                sockets::gqos_closesocket(made);
            }
        }
    }

    /// Calls on options, ioctls, events, sets, names and texts.
    ///
    /// # Safety
    ///
    /// That of [`on_sockets`](Self::on_sockets).
    unsafe fn on_structures(&self, function: u8, bytes: &mut Bytes<'_>) {
        let Self { s, one, two, length, number, .. } = *self;
        let family = 2 + 21 * (number & 1);
        // SAFETY: as the caller has promised.
        unsafe {
            match function {
                6 => {
                    let _ = options::gqos_setsockopt(s, number, length, one, number);
                }
                7 => {
                    let _ = options::gqos_getsockopt(s, 0xffff, number, one, two);
                }
                27 => {
                    let _ =
                        options::gqos_setsockopt(s, 41 * (number & 1), 12 | (number >> 1 & 1), one, length);
                }
                8 => {
                    let (input, output) = (bytes.word(), bytes.word());
                    let _ = ioctl::gqos_WSAIoctl(s, 0x8800_000B, one, input, two, output, two, NULL, None);
                }
                9 => {
                    let (code, input, output) = (bytes.word(), bytes.word(), bytes.word());
                    let _ = ioctl::gqos_WSAIoctl(s, code, one, input, two, output, one, NULL, None);
                }
                29 => {
                    let (output, structure) = (bytes.word(), overlapped_structure());
                    let _ = ioctl::gqos_WSAIoctl(s, 0xC800_0007, one, 0, two, output, one, structure, None);
                }
                10 => {
                    let _ = named_qos::gqos_WSAGetQOSByName(s, one, two);
                }
                11 => {
                    let _ = protocols::gqos_WSAEnumProtocolsA(NULL, one, two);
                }
                12 => {
                    let mut no_time = [0_u8; 16];
                    let no_time = address(no_time.as_mut_ptr().expose_provenance());
                    let _ = select::gqos_select(0, one, two, one, no_time);
                }
                13 => {
                    let _ = select::gqos_WSAPoll(one, u32::from(bytes.byte() % 9), 0);
                }
                14 => {
                    let _ = events::gqos_WSAEnumNetworkEvents(s, number.cast_unsigned() as usize, two);
                }
                18 => {
                    let _ =
                        address_text::gqos_WSAAddressToStringA(one, number.cast_unsigned(), NULL, two, two);
                }
                19 => {
                    let _ = address_text::gqos_WSAStringToAddressA(one, family, NULL, two, two);
                }
                23 => {
                    let _ = address_text::gqos_inet_pton(family, one, two);
                }
                24 => {
                    let _ = address_text::gqos_inet_ntop(number, one, two, usize::from(bytes.byte()));
                }
                25 => {
                    let hints = address(NUMERIC_HINTS.as_ptr().expose_provenance());
                    let _ = address_info::gqos_getaddrinfo(one, two, hints, two);
                }
                26 => {
                    let _ = address_info::gqos_getnameinfo(one, number, two, 64, two, 64, 2 | 8);
                }
                _ => {
                    let _ = netdb::gqos_getservbyname(one, two);
                }
            }
        }
    }
}
