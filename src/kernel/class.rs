//! A class of the kernel, with the device that it is on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::handle::Handle;

/// The class in the kernel that carries a flow. In JSON and in text as in `tc`'s commands: `6771:100 dev eth0`.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct KernelClass {
    /// The class.
    pub handle: Handle,
    /// The name of the link whose qdisc has the class: `eth0`, or the ifb of an interface.
    pub device: String,
}

/// Why a text is not a class with its device.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text:?} is not a class of a device; write \"6771:10a dev eth0\"")]
pub struct NotAKernelClass {
    /// What stands in the place of a class.
    pub text: String,
}

impl fmt::Display for KernelClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} dev {}", self.handle, self.device)
    }
}

impl FromStr for KernelClass {
    type Err = NotAKernelClass;

    fn from_str(text: &str) -> Result<Self, NotAKernelClass> {
        let parts = text.split_once(" dev ").filter(|(_, device)| !device.is_empty());
        parts
            .and_then(|(handle, device)| {
                Some(Self { handle: handle.parse().ok()?, device: device.to_owned() })
            })
            .ok_or_else(|| NotAKernelClass { text: text.to_owned() })
    }
}

impl TryFrom<String> for KernelClass {
    type Error = NotAKernelClass;

    fn try_from(text: String) -> Result<Self, NotAKernelClass> {
        text.parse()
    }
}

impl From<KernelClass> for String {
    fn from(class: KernelClass) -> Self {
        class.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_written_as_in_the_commands_of_tc_and_read_back() {
        let class = KernelClass { handle: Handle::qdisc(0x6771).class(0x10a), device: "eth0".into() };
        assert_eq!(class.to_string(), "6771:10a dev eth0");
        assert_eq!(serde_json::to_string(&class).unwrap(), "\"6771:10a dev eth0\"");
        assert_eq!(serde_json::from_str::<KernelClass>("\"6771:10a dev eth0\"").unwrap(), class);
        for text in ["", "6771:10a", "6771:10a dev ", "6771 dev eth0", "6771:10a  dev eth0"] {
            assert_eq!(text.parse::<KernelClass>(), Err(NotAKernelClass { text: text.into() }));
        }
    }
}
