//! The list of objects in the buffer, raw: every bit pattern is allowed.

use crate::abi::le_u32;
use crate::invalid::{ExpectedLength, FieldProblem, Invalid};

use super::object_type;

/// QOS_OBJECT_HDR: ObjectType and ObjectLength.
pub const HEADER_SIZE: usize = 8;

/// An object whose body is not interpreted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RawObject<'a> {
    /// The index in the list, from 0.
    pub index: usize,
    /// Where the object begins, in bytes from the start of what is read.
    pub offset: usize,
    /// The first word of its header; any number, assigned or not.
    pub object_type: u32,
    /// The object with its header, ObjectLength bytes.
    pub bytes: &'a [u8],
}

/// The objects of a buffer, in order, up to and including QOS_OBJECT_END_OF_LIST.
///
/// Ends after an error: after a wrong length the next object cannot be found.
#[derive(Clone, Debug)]
pub struct RawObjects<'a> {
    buffer: &'a [u8],
    origin: usize,
    at: usize,
    index: usize,
    ended: bool,
}

impl<'a> RawObjects<'a> {
    /// The objects in a buffer that begins `origin` bytes after the start of what is read.
    pub const fn new(buffer: &'a [u8], origin: usize) -> Self {
        Self { buffer, origin, at: 0, index: 0, ended: false }
    }

    /// The offset in the buffer after the objects that have been returned.
    pub const fn position(&self) -> usize {
        self.at
    }

    /// The next object; `None` at the end, and where the rest of the buffer does not begin with a whole object.
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

    /// Checks that the list has ended with an END_OF_LIST or with the buffer.
    pub(super) fn end(&self) -> Result<(), Invalid> {
        if self.ended || self.at == self.buffer.len() { Ok(()) } else { Err(self.cut_short()) }
    }
}

impl RawObjects<'_> {
    /// The problem of a buffer whose rest does not begin with a whole object.
    #[cold]
    fn cut_short(&self) -> Invalid {
        let rest = &self.buffer[self.at..];
        let (index, offset, found) = (self.index, self.origin + self.at, rest.len());
        let invalid = |name, offset, value, problem| {
            let field = format!("provider_specific[{index}].{name}");
            Invalid { field, offset, value, problem }
        };
        if found < HEADER_SIZE {
            return invalid("object_type", offset, found as u64, FieldProblem::HeaderCutShort { found });
        }
        let problem = FieldProblem::ObjectLength(ExpectedLength::Header { left: found });
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
