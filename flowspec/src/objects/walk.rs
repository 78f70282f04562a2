//! The list of objects as it lies in the buffer, every bit pattern allowed.

use crate::abi::le_u32;
use crate::invalid::{Invalid, Problem};

use super::object_type;

/// QOS_OBJECT_HDR: ObjectType and ObjectLength.
pub const HEADER_SIZE: usize = 8;

/// An object, its bytes uninterpreted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RawObject<'a> {
    /// Which of the list it is, from 0.
    pub index: usize,
    /// Where it begins, from the start of what was read.
    pub offset: usize,
    /// ObjectType.
    pub object_type: u32,
    /// The object with its header; ObjectLength is its length.
    pub bytes: &'a [u8],
}

/// The objects of a buffer, in order, up to and including QOS_OBJECT_END_OF_LIST.
///
/// Ends after an error: where a length is wrong, nothing behind it can be found.
#[derive(Clone, Debug)]
pub struct RawObjects<'a> {
    buffer: &'a [u8],
    origin: usize,
    at: usize,
    index: usize,
    ended: bool,
}

impl<'a> RawObjects<'a> {
    /// The objects in a buffer that begins `origin` bytes into what is being read.
    pub const fn new(buffer: &'a [u8], origin: usize) -> Self {
        Self { buffer, origin, at: 0, index: 0, ended: false }
    }

    /// Where in the buffer the walk stands: after the last object, once it has ended well.
    pub const fn position(&self) -> usize {
        self.at
    }

    fn step(&mut self) -> Result<RawObject<'a>, Invalid> {
        let rest = &self.buffer[self.at..];
        let (index, offset) = (self.index, self.origin + self.at);
        let invalid = |name, at, value, problem| {
            Err(Invalid { field: format!("provider_specific[{index}].{name}"), offset: at, value, problem })
        };
        if rest.len() < HEADER_SIZE {
            let found = rest.len();
            return invalid("object_type", offset, found as u64, Problem::HeaderCutShort { found });
        }
        let (object_type, length) = (le_u32(rest, 0), le_u32(rest, 4));
        let fits = usize::try_from(length).ok().filter(|&length| length >= HEADER_SIZE);
        let Some(bytes) = fits.and_then(|length| rest.get(..length)) else {
            let expected = format!("an object takes 8 bytes at least, and {} are left", rest.len());
            let problem = Problem::ObjectLength { expected };
            return invalid("object_length", offset + 4, u64::from(length), problem);
        };
        self.at += bytes.len();
        self.index += 1;
        Ok(RawObject { index, offset, object_type, bytes })
    }
}

impl<'a> Iterator for RawObjects<'a> {
    type Item = Result<RawObject<'a>, Invalid>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended || self.at == self.buffer.len() {
            return None;
        }
        let object = self.step();
        self.ended = match &object {
            Ok(object) => object.object_type == object_type::END_OF_LIST,
            Err(_) => true,
        };
        Some(object)
    }
}
