//! From one moment until another.

/// A moment without end.
pub const FOREVER: u64 = u64::MAX;

/// From a moment on, up to another that is not part of it; microseconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Window {
    /// The first moment.
    pub start: u64,
    /// The first moment after it; [`FOREVER`] where there is none.
    pub end: u64,
}

impl Window {
    /// From a moment on, for ever.
    pub const fn from(start: u64) -> Self {
        Self { start, end: FOREVER }
    }

    /// Whether two windows have a moment in common.
    pub const fn overlaps(&self, other: &Self) -> bool {
        self.start < other.end && other.start < self.end
    }
}
