//! What a refused request could have instead.

use flowspec::{Direction, Rate};

use crate::admission::refusal::{Alternative, Refusal};

/// How often a charge is lowered for another limit: more often than there are limits in a direction.
const MOST_CORRECTIONS: usize = 8;

/// A request that is tried in place of a refused one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tried {
    pub(crate) direction: Direction,
    /// The charge of that direction.
    pub(crate) rate: Rate,
    /// Whether nothing is charged in the other direction.
    pub(crate) is_alone: bool,
}

/// A refusal with the largest charge that every limit of its direction allows. Where that is refused for a limit of
/// another kind, or in the other direction, the refusal names it. `check` says whether the request would be refused with
/// another charge; the request is charged in both directions if `is_both`.
pub(crate) fn with_alternative(
    mut refusal: Refusal,
    is_both: bool,
    mut check: impl FnMut(Tried) -> Result<(), Refusal>,
) -> Refusal {
    for _ in 0..MOST_CORRECTIONS {
        let Some(Alternative { direction, would_fit, besides }) = refusal.alternative() else {
            return refusal;
        };
        if *would_fit == Rate::ZERO {
            return refusal;
        }
        let Err(mut other) = check(Tried { direction, rate: *would_fit, is_alone: is_both }) else { break };
        match other.alternative() {
            Some(lower)
                if lower.direction == direction
                    && *lower.would_fit < *would_fit
                    && *lower.would_fit > Rate::ZERO =>
            {
                *would_fit = *lower.would_fit;
            }
            // Another limit leaves nothing, or refuses the charge for another reason than its size.
            lower => {
                if lower.is_some_and(|lower| lower.direction == direction && *lower.would_fit == Rate::ZERO) {
                    *would_fit = Rate::ZERO;
                }
                *besides = Some(Box::new(other));
                return refusal;
            }
        }
    }
    if is_both
        && let Some(Alternative { direction, would_fit, besides }) = refusal.alternative()
        && let Err(other) = check(Tried { direction, rate: *would_fit, is_alone: false })
    {
        *besides = Some(Box::new(other));
    }
    refusal
}
