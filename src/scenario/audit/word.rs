//! A word of the log that this version may not know.

use std::cmp::Ordering;
use std::fmt;

use serde::de::{DeserializeOwned, IntoDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::admission::{OperationKind, Reason};

/// A word of a log: an operation or the reason for a refusal. Ordered as text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LoggedWord<T> {
    /// A word of this version.
    Known(T),
    /// A word of another version.
    Other(String),
}

/// What a log names by one word.
pub trait Word: DeserializeOwned {
    /// The word of the log.
    fn word(&self) -> &str;
}

impl Word for OperationKind {
    fn word(&self) -> &str {
        self.name()
    }
}

impl Word for Reason {
    fn word(&self) -> &str {
        self.name()
    }
}

impl<T: Word> LoggedWord<T> {
    /// The word as it is in the log.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(known) => known.word(),
            Self::Other(word) => word,
        }
    }
}

impl<T: Word> From<String> for LoggedWord<T> {
    fn from(word: String) -> Self {
        let text: serde::de::value::StrDeserializer<'_, serde::de::value::Error> =
            word.as_str().into_deserializer();
        match T::deserialize(text) {
            Ok(known) => Self::Known(known),
            Err(_) => Self::Other(word),
        }
    }
}

impl<'de, T: Word> Deserialize<'de> for LoggedWord<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

impl<T: Word> Serialize for LoggedWord<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<T: Word> fmt::Display for LoggedWord<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl<T: Word + Eq> Ord for LoggedWord<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl<T: Word + Eq> PartialOrd for LoggedWord<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_another_version_are_kept() {
        let check = |json: &str, expected: &LoggedWord<Reason>| {
            let read: LoggedWord<Reason> = serde_json::from_str(json).unwrap();
            assert_eq!(&read, expected);
            assert_eq!(serde_json::to_string(&read).unwrap(), json);
        };
        check("\"buffer\"", &LoggedWord::Known(Reason::Buffer));
        check("\"moon_phase\"", &LoggedWord::Other("moon_phase".into()));
        check("\"\"", &LoggedWord::Other(String::new()));
        assert!(serde_json::from_str::<LoggedWord<OperationKind>>("7").is_err());
        assert!(LoggedWord::Known(Reason::InterfaceBudget) > LoggedWord::Known(Reason::Buffer), "as text");
    }
}
