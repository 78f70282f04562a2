//! Buffers that the kernel reads or fills: memory of this library, or memory that a C program named.
//!
//! A buffer is an address and a length. There is no way to make a slice of one.

use std::marker::PhantomData;

use super::foreign::ForeignMemory;

/// Memory with data to send. The kernel reads it.
#[derive(Clone, Copy)]
pub(crate) struct SendBuffer<'a> {
    start: *const u8,
    length: usize,
    owner: PhantomData<&'a [u8]>,
}

impl<'a> From<&'a [u8]> for SendBuffer<'a> {
    fn from(slice: &'a [u8]) -> Self {
        Self { start: slice.as_ptr(), length: slice.len(), owner: PhantomData }
    }
}

impl From<ForeignMemory> for SendBuffer<'_> {
    fn from(memory: ForeignMemory) -> Self {
        Self { start: memory.pointer(), length: memory.len(), owner: PhantomData }
    }
}

impl SendBuffer<'_> {
    pub(super) const fn start(self) -> *const u8 {
        self.start
    }

    pub(crate) const fn len(self) -> usize {
        self.length
    }

    /// What follows the first `skipped` bytes.
    pub(crate) fn after(self, skipped: usize) -> Self {
        let skipped = skipped.min(self.length);
        Self { start: self.start.wrapping_add(skipped), length: self.length - skipped, ..self }
    }

    /// The first bytes, at most `most`.
    pub(crate) fn first(self, most: usize) -> Self {
        Self { length: self.length.min(most), ..self }
    }
}

/// Memory for data to receive. The kernel writes to it.
///
/// Copies name the same memory. That is sound because nothing but the kernel writes there while `'a` lasts.
#[derive(Clone, Copy)]
pub(crate) struct ReceiveBuffer<'a> {
    start: *mut u8,
    length: usize,
    owner: PhantomData<&'a mut [u8]>,
}

impl<'a> From<&'a mut [u8]> for ReceiveBuffer<'a> {
    fn from(slice: &'a mut [u8]) -> Self {
        Self { start: slice.as_mut_ptr(), length: slice.len(), owner: PhantomData }
    }
}

impl From<ForeignMemory> for ReceiveBuffer<'_> {
    fn from(memory: ForeignMemory) -> Self {
        Self { start: memory.pointer(), length: memory.len(), owner: PhantomData }
    }
}

impl ReceiveBuffer<'_> {
    pub(super) const fn start(self) -> *mut u8 {
        self.start
    }

    pub(crate) const fn len(self) -> usize {
        self.length
    }

    /// The first bytes, at most `most`.
    pub(crate) fn first(self, most: usize) -> Self {
        Self { length: self.length.min(most), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stay_inside_the_buffer() {
        let data = *b"0123456789";
        let all = SendBuffer::from(&data[..]);
        let check = |part: SendBuffer<'_>, offset: usize, length: usize| {
            assert_eq!((part.start().addr() - data.as_ptr().addr(), part.len()), (offset, length));
        };
        check(all.after(4), 4, 6);
        check(all.after(4).first(3), 4, 3);
        check(all.after(10), 10, 0);
        check(all.after(11), 10, 0);
        check(all.first(11), 0, 10);
    }
}
