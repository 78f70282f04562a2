//! The queue of a class: packets in order, up to a number of bytes.

use flowspec::Bytes;
use netlink_packet_core::DecodeError;

/// A first-in first-out queue limited in bytes. Source: kernel `net/sched/sch_fifo.c`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bfifo {
    /// Most bytes that it holds.
    pub limit: Bytes,
}

impl Bfifo {
    /// The kind in TCA_KIND.
    pub const KIND: &'static str = "bfifo";

    /// TCA_OPTIONS: a bare `tc_fifo_qopt`, 32 bits of limit. A larger limit is sent as the largest.
    pub fn options(&self) -> Vec<u8> {
        u32::try_from(self.limit.get()).unwrap_or(u32::MAX).to_ne_bytes().to_vec()
    }

    /// Reads what [`options`](Self::options) writes.
    ///
    /// - **Errors**: fewer than 4 bytes.
    pub fn parse(options: &[u8]) -> Result<Self, DecodeError> {
        let bytes =
            options.first_chunk().ok_or_else(|| DecodeError::from("a bfifo's options are 4 bytes"))?;
        Ok(Self { limit: Bytes::new(u64::from(u32::from_ne_bytes(*bytes))) })
    }

    /// The queue as the kernel reports it.
    #[must_use]
    pub fn as_kept(&self) -> Self {
        Self { limit: self.limit.min(Bytes::new(u64::from(u32::MAX))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn golden() {
        let queue = Bfifo { limit: Bytes::new(625_000) };
        assert_eq!(queue.options(), [0x68, 0x89, 0x09, 0x00]);
        assert_eq!(Bfifo::parse(&queue.options()).ok(), Some(queue));
    }

    #[test]
    fn limits_end_at_32_bits() {
        let queue = Bfifo { limit: Bytes::new(1 << 40) };
        assert_eq!(Bfifo::parse(&queue.options()).ok(), Some(queue.as_kept()));
        assert!(Bfifo::parse(&[0, 0, 0]).is_err());
    }
}
