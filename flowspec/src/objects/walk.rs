//! The list of objects as it lies in the buffer, every bit pattern allowed.

use crate::abi::le_u32;
use crate::invalid::{ExpectedLength, Invalid, Problem};

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

    /// The next object; nothing at the end, and where what is left has no whole object at its start.
    #[inline]
    pub(super) fn advance(&mut self) -> Option<RawObject<'a>> {
        let rest = self.buffer.get(self.at..).filter(|rest| !self.ended && rest.len() >= HEADER_SIZE)?;
        let (object_type, length) = (le_u32(rest, 0), le_u32(rest, 4));
        let length = usize::try_from(length).ok().filter(|&length| length >= HEADER_SIZE)?;
        let bytes = rest.get(..length)?;
        let object = RawObject { index: self.index, offset: self.origin + self.at, object_type, bytes };
        self.at += length;
        self.index += 1;
        self.ended = object_type == object_type::END_OF_LIST;
        Some(object)
    }

    /// Whether the walk has come to its end as it should.
    pub(super) fn end(&self) -> Result<(), Invalid> {
        if self.ended || self.at == self.buffer.len() { Ok(()) } else { Err(self.cut_short()) }
    }
}

impl RawObjects<'_> {
    /// What is left has no whole object at its start.
    #[cold]
    fn cut_short(&self) -> Invalid {
        let rest = &self.buffer[self.at..];
        let (index, offset, found) = (self.index, self.origin + self.at, rest.len());
        let invalid = |name, offset, value, problem| {
            let field = format!("provider_specific[{index}].{name}");
            Invalid { field, offset, value, problem }
        };
        if found < HEADER_SIZE {
            return invalid("object_type", offset, found as u64, Problem::HeaderCutShort { found });
        }
        let problem = Problem::ObjectLength(ExpectedLength::Header { left: found });
        invalid("object_length", offset + 4, u64::from(le_u32(rest, 4)), problem)
    }
}

impl<'a> Iterator for RawObjects<'a> {
    type Item = Result<RawObject<'a>, Invalid>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.advance() {
            Some(object) => Some(Ok(object)),
            None => {
                let error = self.end().err();
                self.ended = true;
                error.map(Err)
            }
        }
    }
}
