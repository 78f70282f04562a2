//! TBF: one token bucket in front of one queue. The lab gives a wire its rate with it.
//!
//! It counts packets as HTB does, and cuts aggregates that are larger than its burst.
//!
//! Source: `linux/pkt_sched.h` (`tc_tbf_qopt`), kernel `net/sched/sch_tbf.c`.

use flowspec::{Bytes, Rate};
use netlink_packet_core::DefaultNla;

use super::attributes::emit;
use super::htb::{NotEncodable, TICK_NANOS};

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
    /// TCA_KIND.
    pub const KIND: &'static str = "tbf";

    /// TCA_OPTIONS.
    ///
    /// - **Errors**: a burst or a limit above 32 bits; a burst that lasts longer at the rate than the 32 bits of ticks in
    ///   the kernel's dump express.
    pub fn options(&self) -> Result<Vec<u8>, NotEncodable> {
        let fits = |size: Bytes| {
            let low = u32::try_from(size.get());
            low.map_err(|_| NotEncodable::QueueSize { queue: Self::KIND, size })
        };
        let (burst, limit) = (fits(self.burst)?, fits(self.limit)?);
        // In ticks, rounded down. Without a rate a bucket lasts for ever.
        let nanos = u64::from(burst).saturating_mul(1_000_000_000).checked_div(self.rate.get());
        if nanos.is_none_or(|nanos| nanos / TICK_NANOS > u64::from(u32::MAX)) {
            return Err(NotEncodable::BucketTooLong { queue: Self::KIND, size: self.burst, rate: self.rate });
        }
        let mut parms = vec![0, LINK_LAYER_ETHERNET, 0, 0, 0, 0, 0, 0];
        // TCA_TBF_RATE64 carries a rate that does not fit; the kernel takes the larger of both.
        let rate = u32::try_from(self.rate.get()).unwrap_or(u32::MAX);
        parms.extend(rate.to_ne_bytes());
        parms.extend([0; 12]); // no peak rate
        // The kernel uses neither the bucket in ticks nor the mtu where TCA_TBF_BURST gives the bucket in bytes.
        parms.extend([limit, 0, 0].into_iter().flat_map(u32::to_ne_bytes));
        let attributes = [
            DefaultNla::new(TCA_TBF_PARMS, parms),
            DefaultNla::new(TCA_TBF_RATE64, self.rate.get().to_ne_bytes().to_vec()),
            DefaultNla::new(TCA_TBF_BURST, burst.to_ne_bytes().to_vec()),
        ];
        Ok(emit(&attributes))
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
        assert_eq!(tbf.options(), Ok(golden.to_vec()));
    }

    #[test]
    fn a_bucket_that_wraps_in_a_dump_is_refused_in_words() {
        let tbf = |rate, burst| {
            Tbf { rate: Rate::new(rate), burst: Bytes::new(burst), limit: Bytes::new(1000) }.options()
        };
        // 2^32 ticks are 274,877,906,944 ns.
        assert!(tbf(1_000, 274_877).is_ok());
        let refused = |rate, burst| tbf(rate, burst).expect_err("2^32 ticks").to_string();
        assert_eq!(
            refused(1_000, 274_878),
            "tbf: burst 274878 B lasts longer at 8 kbit/s than the kernel can express, 274 s"
        );
        assert!(refused(0, 1).contains("lasts longer at 0"));
    }

    #[test]
    fn sizes_above_32_bits_are_refused_in_words() {
        let tbf =
            Tbf { rate: Rate::new(1 << 40), burst: Bytes::new(1000), limit: Bytes::new(u64::from(u32::MAX)) };
        assert!(tbf.options().is_ok());
        let refused = |tbf: Tbf| tbf.options().expect_err("33 bits").to_string();
        let large = Bytes::new(1 << 32);
        assert_eq!(
            refused(Tbf { burst: large, ..tbf }),
            "tbf: 4096 MiB do not fit the 32 bits of its limit or burst"
        );
        assert_eq!(
            refused(Tbf { limit: large, ..tbf }),
            "tbf: 4096 MiB do not fit the 32 bits of its limit or burst"
        );
    }
}
