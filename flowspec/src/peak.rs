//! The peak bandwidth, which may be infinite.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::unit_error::UnitError;
use crate::units::Rate;

/// p: the largest rate inside a burst.
///
/// JSON: an integer in bytes per second, or `"infinite"`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Peak {
    /// A valid TSpec has at least its token rate here.
    Finite(Rate),
    /// POSITIVE_INFINITY_RATE: a burst may leave at the speed of the link.
    Infinite,
}

impl fmt::Display for Peak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finite(rate) => rate.fmt(f),
            Self::Infinite => f.pad("infinite"),
        }
    }
}

impl FromStr for Peak {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        match text.trim() {
            "infinite" => Ok(Self::Infinite),
            rate => rate.parse().map(Self::Finite),
        }
    }
}

impl Serialize for Peak {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Finite(rate) => rate.serialize(serializer),
            Self::Infinite => serializer.serialize_str("infinite"),
        }
    }
}

impl<'de> Deserialize<'de> for Peak {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "an integer in bytes per second or \"infinite\"")]
        enum PeakForm {
            Finite(Rate),
            Infinite(Infinite),
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Infinite {
            Infinite,
        }
        Ok(match PeakForm::deserialize(deserializer)? {
            PeakForm::Finite(rate) => Self::Finite(rate),
            PeakForm::Infinite(Infinite::Infinite) => Self::Infinite,
        })
    }
}
