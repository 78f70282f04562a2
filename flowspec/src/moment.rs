//! Microseconds on the manager's clock.

use serde::{Deserialize, Serialize};

use crate::units::Micros;

/// A moment: microseconds since the manager, or a trace, started.
///
/// "Never" and "for ever" are `None` in an `Option<Moment>`; no moment stands for them.
///
/// - **JSON**: an integer, the `…_us` fields of traces and decisions.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Moment(u64);

impl Moment {
    /// Zero microseconds: the manager, or the trace, starts.
    pub const START: Self = Self(0);

    /// The last moment that the clock can show, 584,000 years after its start.
    pub const LAST: Self = Self(u64::MAX);

    /// The moment that is this number of microseconds after the start.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the start.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The moment this much later; `None` past [`Moment::LAST`].
    pub fn checked_add(self, time: Micros) -> Option<Self> {
        self.0.checked_add(time.get()).map(Self)
    }

    /// The moment this much later, at most [`Moment::LAST`].
    #[must_use]
    pub const fn saturating_add(self, time: Micros) -> Self {
        Self(self.0.saturating_add(time.get()))
    }

    /// The moment this much earlier, at least [`Moment::START`].
    #[must_use]
    pub const fn saturating_sub(self, time: Micros) -> Self {
        Self(self.0.saturating_sub(time.get()))
    }

    /// The time since an earlier moment; zero where that one is later.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Micros {
        Micros::new(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_and_saturates() {
        let (start, second) = (Moment::START, Micros::new(1_000_000));
        let later = start.saturating_add(second);
        assert_eq!((later.as_micros(), later.saturating_since(start)), (1_000_000, second));
        assert_eq!(start.saturating_since(later), Micros::new(0));
        assert_eq!((later.saturating_sub(second), start.saturating_sub(second)), (start, start));
        assert_eq!(
            (Moment::LAST.checked_add(second), Moment::LAST.saturating_add(second)),
            (None, Moment::LAST)
        );
    }
}
