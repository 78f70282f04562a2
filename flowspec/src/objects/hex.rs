//! Bytes as hexadecimal digits.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Bytes, in JSON as hexadecimal digits.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Hex(pub Vec<u8>);

/// Why a text is not hexadecimal bytes. Characters count from 0.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HexError {
    /// A character that is neither a digit nor a space.
    #[error("{character:?} at character {at} is not a hexadecimal digit")]
    NotADigit {
        /// The character in a digit's place.
        character: char,
        /// How many characters precede it.
        at: usize,
    },
    /// A byte with one digit.
    #[error("the byte that begins at character {at} has one digit")]
    HalfByte {
        /// Where the byte begins.
        at: usize,
    },
}

impl Hex {
    /// Reads hexadecimal digits. Whitespace between bytes is ignored.
    ///
    /// - **Errors**: a character that is not a digit; a byte with one digit.
    pub fn parse(text: &str) -> Result<Self, HexError> {
        let mut bytes = Vec::with_capacity(text.len() / 2);
        let mut high = None;
        for (at, character) in text.char_indices() {
            if character.is_ascii_whitespace() {
                if let Some((first, _)) = high {
                    return Err(HexError::HalfByte { at: first });
                }
                continue;
            }
            let digit = character.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let digit = digit.ok_or(HexError::NotADigit { character, at })?;
            high = match high {
                None => Some((at, digit)),
                Some((_, first)) => {
                    bytes.push(first << 4 | digit);
                    None
                }
            };
        }
        match high {
            Some((first, _)) => Err(HexError::HalfByte { at: first }),
            None => Ok(Self(bytes)),
        }
    }
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(self.0.len() * 2);
        for byte in &self.0 {
            text.push_str(&format!("{byte:02x}"));
        }
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}
