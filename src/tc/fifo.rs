//! The queue of a class: bytes in order, up to a limit.

use flowspec::Bytes;
use netlink_packet_core::DecodeError;

/// A first-in first-out queue limited in bytes. Source: kernel `net/sched/sch_fifo.c`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bfifo {
    /// Most bytes it holds.
    pub limit: Bytes,
}

impl Bfifo {
    /// The kind as the kernel calls it.
    pub const KIND: &'static str = "bfifo";

    /// TCA_OPTIONS: a bare `tc_fifo_qopt`, 32 bits of limit; a larger limit is the largest there is.
    pub fn options(&self) -> Vec<u8> {
        u32::try_from(self.limit.get()).unwrap_or(u32::MAX).to_ne_bytes().to_vec()
    }

    /// Reads what [`options`](Self::options) writes.
    ///
    /// - **Errors**: too few bytes.
    pub fn parse(options: &[u8]) -> Result<Self, DecodeError> {
        let bytes =
            options.first_chunk().ok_or_else(|| DecodeError::from("a bfifo's options are 4 bytes"))?;
        Ok(Self { limit: Bytes::new(u64::from(u32::from_ne_bytes(*bytes))) })
    }
}
