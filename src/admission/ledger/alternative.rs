//! What a refused request could have instead.

use flowspec::{Direction, Rate};

use crate::admission::refusal::{Alternative, Refusal};

/// How often a charge is lowered for another limit: more often than there are limits in a direction.
const MOST_CORRECTIONS: usize = 8;

/// A refusal with the largest charge that every limit of its direction allows. Where that is refused for a limit of
/// another kind, the refusal names it. `check` says whether the request would be refused with another charge.
pub(crate) fn with_alternative(
    mut refusal: Refusal,
    mut check: impl FnMut(Direction, Rate) -> Result<(), Refusal>,
) -> Refusal {
    for _ in 0..MOST_CORRECTIONS {
        let Some(Alternative { direction, would_fit, besides }) = refusal.alternative() else { break };
        if *would_fit == Rate::ZERO {
            break;
        }
        let Err(mut other) = check(direction, *would_fit) else { break };
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
                break;
            }
        }
    }
    refusal
}
