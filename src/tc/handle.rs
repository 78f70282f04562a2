//! Handles: the 32 bits that name a qdisc or a class.

use std::fmt;

/// A qdisc (`major:`) or a class (`major:minor`). Written in hexadecimal, as `tc` does.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Handle(u32);

impl Handle {
    /// The parent of a root qdisc. Source: `TC_H_ROOT`, `linux/pkt_sched.h`.
    pub const ROOT: Self = Self(u32::MAX);

    /// A class, or with minor 0 a qdisc.
    pub const fn new(major: u16, minor: u16) -> Self {
        Self((major as u32) << 16 | minor as u32)
    }

    /// From the number on the wire.
    pub const fn from_u32(handle: u32) -> Self {
        Self(handle)
    }

    /// The number on the wire. As a socket's `SO_PRIORITY` it sends the socket's packets to the class.
    pub const fn to_u32(self) -> u32 {
        self.0
    }

    /// The qdisc's number.
    pub const fn major(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// The class's number within its qdisc.
    #[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
    pub const fn minor(self) -> u16 {
        self.0 as u16
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ROOT {
            return f.pad("root");
        }
        match self.minor() {
            0 => f.pad(&format!("{:x}:", self.major())),
            minor => f.pad(&format!("{:x}:{minor:x}", self.major())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_written_as_tc_does() {
        assert_eq!(Handle::new(0x6771, 0).to_string(), "6771:");
        assert_eq!(Handle::new(0x6771, 0x10a).to_string(), "6771:10a");
        assert_eq!(Handle::ROOT.to_string(), "root");
        assert_eq!(Handle::new(1, 0x10).to_u32(), 0x0001_0010);
    }
}
