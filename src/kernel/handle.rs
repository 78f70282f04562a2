//! Handles: the 32 bits that name a qdisc or a class.

use std::fmt;
use std::str::FromStr;

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

/// From `tc`'s notation.
impl<'de> serde::Deserialize<'de> for Handle {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Why a text is not a handle.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text:?} is not a handle; write \"6771:\", \"6771:10a\" or \"root\", in hexadecimal")]
pub struct NotAHandle {
    /// What stands in the place of a handle.
    pub text: String,
}

impl FromStr for Handle {
    type Err = NotAHandle;

    fn from_str(text: &str) -> Result<Self, NotAHandle> {
        let number = |digits: &str| match digits.starts_with('+') {
            true => None,
            false => u16::from_str_radix(digits, 16).ok(),
        };
        let handle = match text.split_once(':') {
            None => (text == "root").then_some(Self::ROOT),
            Some((major, "")) => number(major).map(Self::qdisc),
            Some((major, minor)) => {
                number(major).zip(number(minor)).map(|(major, minor)| Self::qdisc(major).class(minor))
            }
        };
        handle.ok_or_else(|| NotAHandle { text: text.to_owned() })
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

    #[test]
    fn handles_read_back_and_other_texts_do_not() {
        for handle in [Handle::qdisc(0x6771), Handle::qdisc(0x6771).class(0x10a), Handle::ROOT] {
            assert_eq!(handle.to_string().parse(), Ok(handle));
        }
        for text in ["", ":", "6771", ":10", "1:+2", "10000:1", "1:2:3", "1:g"] {
            assert_eq!(text.parse::<Handle>(), Err(NotAHandle { text: text.into() }));
        }
    }
}
