//! TBF: one token bucket in front of one queue. The lab gives a wire its rate with it.
//!
//! It counts packets as HTB does, and cuts aggregates that are larger than its burst.
//!
//! Source: `linux/pkt_sched.h` (`tc_tbf_qopt`), kernel `net/sched/sch_tbf.c`.

use flowspec::{Bytes, Rate};
use netlink_packet_core::{DefaultNla, Emitable};

/// A token bucket filter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tbf {
    /// The rate of the packets that leave, link headers included.
    pub rate: Rate,
    /// How much may leave at once.
    pub burst: Bytes,
    /// The most bytes that may wait.
    pub limit: Bytes,
}

const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_TBF_BURST: u16 = 6;
const LINK_LAYER_ETHERNET: u8 = 1;

impl Tbf {
    /// The kind in TCA_KIND.
    pub const KIND: &'static str = "tbf";

    /// TCA_OPTIONS. A burst or a limit above 32 bits is sent as the largest.
    pub fn options(&self) -> Vec<u8> {
        let low = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let mut parms = vec![0, LINK_LAYER_ETHERNET, 0, 0, 0, 0, 0, 0];
        parms.extend(low(self.rate.get()).to_ne_bytes());
        parms.extend([0; 12]); // no peak rate
        // The kernel uses neither the bucket in ticks nor the mtu where TCA_TBF_BURST gives the bucket in bytes.
        parms.extend([low(self.limit.get()), 0, 0].into_iter().flat_map(u32::to_ne_bytes));
        let attributes = [
            DefaultNla::new(TCA_TBF_PARMS, parms),
            DefaultNla::new(TCA_TBF_RATE64, self.rate.get().to_ne_bytes().to_vec()),
            DefaultNla::new(TCA_TBF_BURST, low(self.burst.get()).to_ne_bytes().to_vec()),
        ];
        let mut bytes = vec![0; attributes.as_slice().buffer_len()];
        attributes.as_slice().emit(&mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn golden() {
        let tbf =
            Tbf { rate: Rate::new(12_500_000), burst: Bytes::new(25_000), limit: Bytes::new(1_250_000) };
        #[rustfmt::skip]
        let golden = [
            0x28, 0x00, 0x01, 0x00,  // length 40, TCA_TBF_PARMS
            0x00, 0x01, 0x00, 0x00,  // rate.cell_log, linklayer: Ethernet, overhead
            0x00, 0x00, 0x00, 0x00,  // rate.cell_align, mpu
            0x20, 0xbc, 0xbe, 0x00,  // rate.rate
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  // peakrate
            0xd0, 0x12, 0x13, 0x00,  // limit
            0x00, 0x00, 0x00, 0x00,  // buffer
            0x00, 0x00, 0x00, 0x00,  // mtu
            0x0c, 0x00, 0x04, 0x00, 0x20, 0xbc, 0xbe, 0x00, 0x00, 0x00, 0x00, 0x00,  // TCA_TBF_RATE64
            0x08, 0x00, 0x06, 0x00, 0xa8, 0x61, 0x00, 0x00,  // TCA_TBF_BURST
        ];
        assert_eq!(tbf.options(), golden);
    }
}
