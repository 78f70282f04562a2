//! Winsock's structures as bytes, for both of its ABIs: FLOWSPEC, WSABUF and QOS.
//!
//! Lossless: every bit pattern of the right length can be read, and is written back to the same bytes, padding
//! included. [`Flowspec::from_raw`](crate::Flowspec) checks afterwards what the numbers mean.
//!
//! Little endian. Source: `qos.h`, `winsock2.h`, layouts compiled for both ABIs.

use crate::raw::RawFlowspec;

/// The layout of a program's structures: the size of a pointer, and its alignment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Abi {
    /// Pointers of 4 bytes: WSABUF is 8 bytes, QOS 72.
    Win32,
    /// Pointers of 8 bytes: WSABUF is 16 bytes, QOS 80.
    Win64,
}

/// WSABUF: a length, and a pointer that is valid in its own process only.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RawWsabuf {
    /// Bytes in the buffer.
    pub len: u32,
    /// The padding between the two in the 64-bit layout; zero in the 32-bit layout.
    pub padding: u32,
    /// The buffer's address; the upper half is zero in the 32-bit layout.
    pub buf: u64,
}

/// QOS, every bit pattern allowed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RawQos {
    /// SendingFlowspec, at offset 0.
    pub sending: RawFlowspec,
    /// ReceivingFlowspec, at offset 32.
    pub receiving: RawFlowspec,
    /// ProviderSpecific, at offset 64: where the objects are.
    pub provider_specific: RawWsabuf,
}

/// There are fewer bytes than the structure takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{name} takes {needed} bytes, and there {} {found}", if *found == 1 { "is" } else { "are" })]
pub struct Truncated {
    /// The structure, by Winsock's name.
    pub name: &'static str,
    /// How many bytes the structure takes in the caller's layout.
    pub needed: usize,
    /// The bytes that there are.
    pub found: usize,
}

/// FLOWSPEC: eight words.
pub const FLOWSPEC_SIZE: usize = 32;

impl Abi {
    /// The name in options and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Win32 => "win32",
            Self::Win64 => "win64",
        }
    }

    /// In bytes; a pointer is aligned to as many.
    pub const fn pointer_size(self) -> usize {
        match self {
            Self::Win32 => 4,
            Self::Win64 => 8,
        }
    }

    /// In bytes: a length, in the 64-bit layout padding, and a pointer.
    pub const fn wsabuf_size(self) -> usize {
        match self {
            Self::Win32 => 8,
            Self::Win64 => 16,
        }
    }

    /// In bytes: two FLOWSPECs and a WSABUF.
    pub const fn qos_size(self) -> usize {
        2 * FLOWSPEC_SIZE + self.wsabuf_size()
    }
}

impl RawFlowspec {
    /// Reads FLOWSPEC from the start of the bytes.
    ///
    /// - **Errors**: fewer than 32 bytes.
    pub fn read(bytes: &[u8]) -> Result<Self, Truncated> {
        let too_few = Truncated { name: "FLOWSPEC", needed: FLOWSPEC_SIZE, found: bytes.len() };
        let fields = bytes.get(..FLOWSPEC_SIZE).ok_or(too_few)?;
        Ok(Self::from_words(std::array::from_fn(|word| le_u32(fields, word * 4))))
    }

    /// Appends FLOWSPEC.
    pub fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.words().into_iter().flat_map(u32::to_le_bytes));
    }
}

impl RawQos {
    /// Reads QOS from the start of the bytes.
    ///
    /// - **Errors**: fewer bytes than the layout takes.
    pub fn read(bytes: &[u8], abi: Abi) -> Result<Self, Truncated> {
        let too_few = Truncated { name: "QOS", needed: abi.qos_size(), found: bytes.len() };
        let fields = bytes.get(..abi.qos_size()).ok_or(too_few)?;
        let wsabuf = &fields[2 * FLOWSPEC_SIZE..];
        let provider_specific = match abi {
            Abi::Win32 => RawWsabuf { len: le_u32(wsabuf, 0), padding: 0, buf: u64::from(le_u32(wsabuf, 4)) },
            Abi::Win64 => RawWsabuf {
                len: le_u32(wsabuf, 0),
                padding: le_u32(wsabuf, 4),
                buf: u64::from(le_u32(wsabuf, 12)) << 32 | u64::from(le_u32(wsabuf, 8)),
            },
        };
        Ok(Self {
            sending: RawFlowspec::read(fields)?,
            receiving: RawFlowspec::read(&fields[FLOWSPEC_SIZE..])?,
            provider_specific,
        })
    }

    /// Appends QOS. The 32-bit layout keeps the lower half of the pointer.
    pub fn write(&self, abi: Abi, bytes: &mut Vec<u8>) {
        self.sending.write(bytes);
        self.receiving.write(bytes);
        let RawWsabuf { len, padding, buf } = self.provider_specific;
        let buf = buf.to_le_bytes();
        bytes.extend(len.to_le_bytes());
        match abi {
            Abi::Win32 => bytes.extend(&buf[..4]),
            Abi::Win64 => {
                bytes.extend(padding.to_le_bytes());
                bytes.extend(buf);
            }
        }
    }
}

/// The word at an offset. The callers have checked that it is inside the bytes.
pub(crate) fn le_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Flowspec, Peak, Rate, ServiceType};
    use proptest::prelude::*;

    /// A guaranteed flow of 6 Mbit/s in the memory of a 64-bit program.
    #[rustfmt::skip]
    const GOLDEN: [u8; 80] = [
        0xb0, 0x71, 0x0b, 0x00,  // SendingFlowspec.TokenRate: 750 000 B/s
        0x00, 0x00, 0x01, 0x00,  // .TokenBucketSize: 65 536 B
        0xfe, 0xff, 0xff, 0xff,  // .PeakBandwidth: POSITIVE_INFINITY_RATE
        0x50, 0xc3, 0x00, 0x00,  // .Latency: 50 000 us
        0xff, 0xff, 0xff, 0xff,  // .DelayVariation: QOS_NOT_SPECIFIED
        0x03, 0x00, 0x00, 0x00,  // .ServiceType: GUARANTEED
        0xdc, 0x05, 0x00, 0x00,  // .MaxSduSize: 1500 B
        0x40, 0x00, 0x00, 0x00,  // .MinimumPolicedSize: 64 B
        0xff, 0xff, 0xff, 0xff,  // ReceivingFlowspec.TokenRate
        0xff, 0xff, 0xff, 0xff,  // .TokenBucketSize
        0xff, 0xff, 0xff, 0xff,  // .PeakBandwidth
        0xff, 0xff, 0xff, 0xff,  // .Latency
        0xff, 0xff, 0xff, 0xff,  // .DelayVariation
        0x01, 0x00, 0x00, 0x00,  // .ServiceType: BESTEFFORT
        0xff, 0xff, 0xff, 0xff,  // .MaxSduSize
        0xff, 0xff, 0xff, 0xff,  // .MinimumPolicedSize
        0x0c, 0x00, 0x00, 0x00,  // ProviderSpecific.len: 12
        0xcc, 0xcc, 0xcc, 0xcc,  // padding
        0x00, 0x10, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00,  // .buf
    ];

    #[test]
    fn golden_bytes_of_a_64_bit_program() {
        let raw = RawQos::read(&GOLDEN, Abi::Win64).expect("80 bytes");
        let sending = Flowspec::from_raw(&raw.sending).expect("a guaranteed flowspec");
        assert_eq!(sending.service_type, ServiceType::Guaranteed);
        assert_eq!(sending.token_rate, Some(Rate::from_mbit(6)));
        assert_eq!(sending.peak_bandwidth, Some(Peak::Infinite));
        assert_eq!(sending.delay_variation, None);
        assert_eq!(Flowspec::from_raw(&raw.receiving), Ok(Flowspec::BEST_EFFORT));
        assert_eq!(raw.provider_specific, RawWsabuf { len: 12, padding: 0xcccc_cccc, buf: 0x1_0000_1000 });
        let mut win32 = Vec::new();
        raw.write(Abi::Win32, &mut win32);
        assert_eq!(win32.len(), 72);
        assert_eq!(win32[..64], GOLDEN[..64]);
        assert_eq!(win32[64..], [0x0c, 0, 0, 0, 0x00, 0x10, 0, 0]);
    }

    #[test]
    fn every_shorter_length_is_refused() {
        for abi in [Abi::Win32, Abi::Win64] {
            for length in 0..abi.qos_size() {
                let expected = Truncated { name: "QOS", needed: abi.qos_size(), found: length };
                assert_eq!(RawQos::read(&GOLDEN[..length], abi), Err(expected));
            }
            assert!(RawQos::read(&GOLDEN, abi).is_ok());
        }
    }

    proptest! {
        #[test]
        fn every_bit_pattern_is_kept(bytes in prop::collection::vec(any::<u8>(), 80), wide: bool) {
            let abi = if wide { Abi::Win64 } else { Abi::Win32 };
            let raw = RawQos::read(&bytes, abi).expect("enough bytes");
            let mut written = Vec::new();
            raw.write(abi, &mut written);
            prop_assert_eq!(&written[..], &bytes[..abi.qos_size()]);
        }
    }
}
