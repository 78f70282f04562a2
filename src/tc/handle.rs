//! Handles: the 32 bits that name a qdisc or a class.

use std::fmt;

/// A qdisc (`major:`) or a class (`major:minor`). Written in hexadecimal, as `tc` does.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Handle(u32);

impl Handle {
    /// The parent of a root qdisc. Source: `TC_H_ROOT`, `linux/pkt_sched.h`.
    pub const ROOT: Self = Self(u32::MAX);

    /// `major:`, whose minor number is zero.
    pub const fn qdisc(major: u16) -> Self {
        Self((major as u32) << 16)
    }

    /// The class of the same qdisc with this minor number.
    #[must_use]
    pub const fn class(self, minor: u16) -> Self {
        Self(self.0 & 0xffff_0000 | minor as u32)
    }

    /// The handle as the kernel's structures carry it.
    pub const fn from_u32(handle: u32) -> Self {
        Self(handle)
    }

    /// The number in the kernel's structures. A socket whose `SO_PRIORITY` is this number sends to the class.
    pub const fn to_u32(self) -> u32 {
        self.0
    }

    /// The number of the qdisc.
    pub const fn major(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// The number of the class within its qdisc; 0 for the qdisc itself.
    #[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
    pub const fn minor(self) -> u16 {
        self.0 as u16
    }
}

/// In `tc`'s notation.
impl serde::Serialize for Handle {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
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
        assert_eq!(Handle::qdisc(0x6771).to_string(), "6771:");
        assert_eq!(Handle::qdisc(0x6771).class(0x10a).to_string(), "6771:10a");
        assert_eq!(Handle::ROOT.to_string(), "root");
        assert_eq!(Handle::qdisc(1).class(0x10).to_u32(), 0x0001_0010);
        assert_eq!(Handle::qdisc(1).class(0x10).class(0x11), Handle::qdisc(1).class(0x11));
    }
}
