//! The queue of a class: packets in order, up to a number of bytes.

use std::fmt;

use flowspec::Bytes;
use netlink_packet_core::DecodeError;

use super::htb::NotEncodable;

/// A first-in first-out queue limited in bytes. Source: kernel `net/sched/sch_fifo.c`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bfifo {
    /// Most bytes that it holds.
    pub limit: Bytes,
}

impl Bfifo {
    /// TCA_KIND.
    pub const KIND: &'static str = "bfifo";

    /// The largest limit that its 32 bits hold, in bytes.
    pub const LARGEST: Self = Self { limit: Bytes::new(0xffff_ffff) };

    /// TCA_OPTIONS: a bare `tc_fifo_qopt`, 32 bits of limit.
    ///
    /// - **Errors**: a limit above 32 bits.
    pub fn options(&self) -> Result<Vec<u8>, NotEncodable> {
        let limit = u32::try_from(self.limit.get());
        let limit = limit.map_err(|_| NotEncodable::QueueSize { queue: Self::KIND, size: self.limit })?;
        Ok(limit.to_ne_bytes().to_vec())
    }

    /// Reads what [`options`](Self::options) writes.
    ///
    /// - **Errors**: fewer than 4 bytes.
    pub fn parse(options: &[u8]) -> Result<Self, DecodeError> {
        let bytes =
            options.first_chunk().ok_or_else(|| DecodeError::from("a bfifo's options are 4 bytes"))?;
        Ok(Self { limit: Bytes::new(u64::from(u32::from_ne_bytes(*bytes))) })
    }
}

impl fmt::Display for Bfifo {
    /// In `tc`'s words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} limit {}", Self::KIND, self.limit.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn golden() {
        let queue = Bfifo { limit: Bytes::new(625_000) };
        assert_eq!(queue.options(), Ok(vec![0x68, 0x89, 0x09, 0x00]));
        assert_eq!(Bfifo::parse(&[0x68, 0x89, 0x09, 0x00]).ok(), Some(queue));
    }

    #[test]
    fn a_limit_above_32_bits_is_refused_in_words() {
        let check = |queue: Bfifo| queue.options().map(|options| Bfifo::parse(&options).ok());
        assert_eq!(check(Bfifo::LARGEST), Ok(Some(Bfifo::LARGEST)));
        let error = check(Bfifo { limit: Bytes::new(1 << 32) }).expect_err("33 bits").to_string();
        assert_eq!(error, "bfifo: 4096 MiB do not fit the 32 bits of its limit or burst");
        assert!(Bfifo::parse(&[0, 0, 0]).is_err());
    }
}
