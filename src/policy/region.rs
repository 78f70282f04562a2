//! Regions: sets of points in two dimensions, and what is left of one when others are taken away.

use std::ops::RangeInclusive;

/// From the first number to the last, both included.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Span {
    first: u128,
    last: u128,
}

/// The points with a first coordinate of one span and a second one of the other.
pub(super) type Rectangle = [Span; 2];

/// What is left of a region. The rectangles have no point in common if those of [`new`](Self::new) have none.
#[derive(Clone, Debug)]
pub(super) struct Rest(Vec<Rectangle>);

/// How many rectangles may still be compared with one another.
#[derive(Debug)]
pub(super) struct Effort(usize);

/// The comparison would need too many steps.
#[derive(Debug)]
pub(super) struct TooMany;

impl Span {
    pub(super) fn new(range: RangeInclusive<u128>) -> Self {
        Self { first: *range.start(), last: *range.end() }
    }

    fn common(self, other: Self) -> Option<Self> {
        let common = Self { first: self.first.max(other.first), last: self.last.min(other.last) };
        (common.first <= common.last).then_some(common)
    }

    /// What of it is before and after a span within it.
    fn around(self, inner: Self) -> [Option<Self>; 2] {
        let before = inner.first.checked_sub(1).filter(|_| self.first < inner.first);
        let after = inner.last.checked_add(1).filter(|_| inner.last < self.last);
        [
            before.map(|last| Self { first: self.first, last }),
            after.map(|first| Self { first, last: self.last }),
        ]
    }
}

impl Effort {
    /// The most steps for one policy: a fraction of a second.
    pub(super) const fn for_a_policy() -> Self {
        Self(2_000_000)
    }

    /// Whether none is left.
    pub(super) const fn is_spent(&self) -> bool {
        self.0 == 0
    }

    fn spend(&mut self, steps: usize) -> Result<(), TooMany> {
        let left = self.0.checked_sub(steps);
        self.0 = left.unwrap_or(0);
        left.map(drop).ok_or(TooMany)
    }
}

impl Rest {
    /// All of a region.
    pub(super) const fn new(rectangles: Vec<Rectangle>) -> Self {
        Self(rectangles)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes a region away. Returns whether that had something in common with the rest.
    pub(super) fn take_away(&mut self, region: &[Rectangle], effort: &mut Effort) -> Result<bool, TooMany> {
        let mut has_taken = false;
        for taken in region {
            effort.spend(self.0.len())?;
            let mut left = Vec::new();
            for part in self.0.drain(..) {
                match part[0].common(taken[0]).zip(part[1].common(taken[1])) {
                    None => left.push(part),
                    Some((x, y)) => {
                        has_taken = true;
                        left.extend(part[0].around(x).into_iter().flatten().map(|x| [x, part[1]]));
                        left.extend(part[1].around(y).into_iter().flatten().map(|y| [x, y]));
                    }
                }
            }
            self.0 = left;
        }
        Ok(has_taken)
    }
}

/// Every combination of a span of one list with a span of the other.
pub(super) fn product(one: &[Span], other: &[Span], effort: &mut Effort) -> Result<Vec<Rectangle>, TooMany> {
    effort.spend(one.len().saturating_mul(other.len()))?;
    Ok(one.iter().flat_map(|x| other.iter().map(|y| [*x, *y])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn the_rest_has_the_points_that_no_region_has(
            rectangles in proptest::collection::vec((0_u128..8, 0_u128..4, 0_u128..8, 0_u128..4), 1..12),
        ) {
            let rectangle = |(x, width, y, height)| [Span::new(x..=x + width), Span::new(y..=y + height)];
            let has = |rectangle: &Rectangle, x: u128, y: u128| {
                [x, y].iter().zip(rectangle).all(|(at, span)| (span.first..=span.last).contains(at))
            };
            let rectangles: Vec<_> = rectangles.into_iter().map(rectangle).collect();
            let all = [Span::new(0..=8), Span::new(1..=9)];
            let mut rest = Rest::new(vec![all]);
            let mut effort = Effort::for_a_policy();
            for (number, taken) in rectangles.iter().enumerate() {
                let before = rest.clone();
                let has_taken = rest.take_away(&[*taken], &mut effort).unwrap();
                let mut has_any = false;
                for (x, y) in (0..13).flat_map(|x| (0..13).map(move |y| (x, y))) {
                    let expected = has(&all, x, y) && !rectangles[..=number].iter().any(|taken| has(taken, x, y));
                    let found = rest.0.iter().filter(|part| has(part, x, y)).count();
                    proptest::prop_assert_eq!(found, usize::from(expected), "{} {} {:?}", x, y, rest);
                    has_any |= has(taken, x, y) && before.0.iter().any(|part| has(part, x, y));
                }
                proptest::prop_assert_eq!(has_taken, has_any);
            }
        }
    }

    #[test]
    fn the_ends_of_the_numbers_are_no_special_case() {
        let all = [Span::new(0..=u128::MAX), Span::new(0..=0)];
        let mut effort = Effort::for_a_policy();
        let mut rest = Rest::new(vec![all]);
        assert!(rest.take_away(&[[Span::new(0..=1), all[1]]], &mut effort).unwrap());
        assert!(rest.take_away(&[[Span::new(3..=u128::MAX), all[1]]], &mut effort).unwrap());
        assert_eq!(rest.0, [[Span::new(2..=2), all[1]]]);
        assert!(rest.take_away(&[all], &mut effort).unwrap());
        assert!(rest.is_empty());
        assert!(!rest.take_away(&[all], &mut effort).unwrap());
    }

    #[test]
    fn work_has_a_limit() {
        let mut effort = Effort(3);
        let span = |at| Span::new(at..=at);
        assert!(product(&[span(1), span(2)], &[span(1), span(2)], &mut effort).is_err());
        let mut rest = Rest::new(vec![[span(1), span(1)], [span(2), span(2)]]);
        assert!(effort.is_spent());
        effort = Effort(3);
        assert!(rest.take_away(&[[span(3), span(3)]], &mut effort).is_ok());
        assert!(rest.take_away(&[[span(3), span(3)]], &mut effort).is_err());
    }
}
