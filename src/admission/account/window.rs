//! From one moment until another.

use flowspec::Moment;

/// The time of a reservation: from a moment on, until another that is not part of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Window {
    /// The first moment.
    pub start: Moment,
    /// The first moment after it; `None` where it has no end.
    pub end: Option<Moment>,
}

impl Window {
    /// From a moment on, without end.
    pub const fn from(start: Moment) -> Self {
        Self { start, end: None }
    }

    /// Whether the moment comes before its end.
    #[inline]
    pub fn ends_after(&self, moment: Moment) -> bool {
        self.end.is_none_or(|end| moment < end)
    }

    /// Whether two windows have a moment in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        other.ends_after(self.start) && self.ends_after(other.start)
    }

    /// Whether it is part of another.
    pub fn is_within(&self, outer: &Self) -> bool {
        outer.start <= self.start
            && match (self.end, outer.end) {
                (_, None) => true,
                (None, Some(_)) => false,
                (Some(inner), Some(outer)) => inner <= outer,
            }
    }
}
