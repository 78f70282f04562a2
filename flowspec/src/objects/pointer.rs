//! Pointers in the buffer. One that leads into the buffer is followed, another is kept as a number.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::invalid::{FieldProblem, Invalid};

use super::walk::RawObjects;

/// The target of a pointer.
///
/// JSON: the target itself, or `{"pointer": "0x…", "count": n}`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "the value itself, or a table of \"pointer\" and \"count\"")]
pub enum Pointee<T> {
    /// A target in the buffer.
    Inside(T),
    /// A target elsewhere in the process that wrote the buffer.
    Outside(Outside),
}

/// A pointer that leads out of the buffer, with the size of its target.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outside {
    /// The address, in the process that wrote the buffer.
    #[serde(with = "address")]
    pub pointer: u64,
    /// The size of the target: bytes of a socket address, elements of a list.
    pub count: u32,
}

/// The part of the buffer after the list, into which pointers may lead.
#[derive(Debug)]
pub(super) struct Tail<'a> {
    buffer: &'a [u8],
    /// ProviderSpecific.buf: the buffer's address in the process that wrote it.
    base: u64,
    /// Where the list ends, once that is known. No pointer is followed before.
    start: Option<usize>,
    /// Where the buffer begins, in bytes from the start of what is read.
    origin: usize,
    /// The ranges that other pointers lead to, after the first.
    taken: Vec<(usize, usize)>,
    /// The range that the first pointer leads to. Most buffers have one pointer, and then allocate nothing here.
    first: Option<(usize, usize)>,
}

/// A pointer and the size of its target. The path of its field is built only for an error.
#[derive(Clone, Copy)]
pub(super) struct PointerTarget {
    /// The index of the object that holds the pointer, directly or in a list of its own.
    pub index: usize,
    /// The index of the flow descriptor that holds the pointer, where one does.
    pub descriptor: Option<usize>,
    /// The name of the pointer's field.
    pub name: &'static str,
    /// Where the pointer is, in bytes from the start of what is read.
    pub offset: usize,
    /// The pointer's value.
    pub pointer: u64,
    /// The size of the target in bytes; not zero.
    pub needed: u64,
}

impl<'a> Tail<'a> {
    pub(super) const fn new(buffer: &'a [u8], base: u64, origin: usize) -> Self {
        Self { buffer, base, start: None, origin, taken: Vec::new(), first: None }
    }

    /// Finds the end of the list, from any place in it.
    pub(super) fn begin(&mut self, mut walk: RawObjects<'_>) -> Result<(), Invalid> {
        if self.start.is_none() {
            while walk.advance().is_some() {}
            walk.end()?;
            self.start = Some(walk.position());
        }
        Ok(())
    }

    /// The target of a pointer and its offset, or `None` where the pointer leads out of the buffer.
    pub(super) fn follow(&mut self, lead: &PointerTarget) -> Result<Option<(&'a [u8], usize)>, Invalid> {
        let invalid = |problem| Err(lead.invalid(problem));
        if lead.pointer == 0 {
            return invalid(FieldProblem::NullPointer);
        }
        let at = lead.pointer.wrapping_sub(self.base);
        let Some(at) = usize::try_from(at).ok().filter(|&at| at < self.buffer.len()) else {
            return Ok(None);
        };
        if self.start.is_none_or(|start| at < start) {
            return invalid(FieldProblem::Overlap);
        }
        let found = self.buffer.len() - at;
        let Some(needed) = usize::try_from(lead.needed).ok().filter(|&needed| needed <= found) else {
            return invalid(FieldProblem::PointeeCutShort { needed: lead.needed, found });
        };
        let end = at + needed;
        if self.first.iter().chain(&self.taken).any(|&(from, to)| at < to && from < end) {
            return invalid(FieldProblem::Overlap);
        }
        match self.first {
            None => self.first = Some((at, end)),
            Some(_) => self.taken.push((at, end)),
        }
        Ok(Some((&self.buffer[at..end], self.origin + at)))
    }

    /// The buffer from an offset on that [`follow`](Self::follow) has returned.
    pub(super) fn rest_from(&self, offset: usize) -> &'a [u8] {
        &self.buffer[offset - self.origin..]
    }
}

impl PointerTarget {
    pub(super) fn invalid(&self, problem: FieldProblem) -> Invalid {
        let Self { index, name, .. } = self;
        let field = match self.descriptor {
            None => format!("provider_specific[{index}].{name}"),
            Some(nth) => format!("provider_specific[{index}].flow_desc_list[{nth}].{name}"),
        };
        Invalid { field, offset: self.offset, value: self.pointer, problem }
    }
}

mod address {
    use super::*;

    pub(super) fn serialize<S: Serializer>(pointer: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{pointer:#x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.strip_prefix("0x").filter(|digits| !digits.starts_with('+'));
        digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).ok_or_else(|| {
            D::Error::custom(format_args!("{text:?} is not an address such as \"0x7ffe0000\""))
        })
    }
}
