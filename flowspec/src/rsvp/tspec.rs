//! Token_Bucket_TSpec and the RSpec: raw and checked.

use crate::error::FlowspecError;
use crate::field::Field;
use crate::invalid::{FieldProblem, Invalid};
use crate::peak::Peak;
use crate::tspec::TSpec;
use crate::units::{Bytes, Micros, Rate};

use super::codes::{LARGEST_BUCKET, LARGEST_RATE};
use super::single::{Number, Rounding, Single};

/// The reservation of guaranteed service: R and S. Source: RFC 2212.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RSpec {
    /// R, bytes per second; at least r.
    pub rate: Rate,
    /// S, microseconds.
    pub slack: Micros,
}

/// Token_Bucket_TSpec in its wire format; every bit pattern is allowed. Source: RFC 2215 section 3.6.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RawTspec {
    /// r.
    pub token_rate: Single,
    /// b.
    pub token_bucket_size: Single,
    /// p.
    pub peak_bandwidth: Single,
    /// m.
    pub minimum_policed_size: u32,
    /// M.
    pub max_sdu_size: u32,
}

impl RawTspec {
    /// The checked form; `offset` is where the words begin, for the errors.
    ///
    /// - **Errors**: a field that is not a number, is negative, infinite (except p) or outside RFC 2215's ranges, or that
    ///   contradicts another.
    /// - **Rounding**: r, b and p up.
    pub fn check(&self, offset: usize) -> Result<TSpec, Invalid> {
        let at = |word: usize| offset + word * 4;
        let rate = finite("token_rate", self.token_rate, at(0), LARGEST_RATE, Rounding::Up)?;
        let bucket =
            finite("token_bucket_size", self.token_bucket_size, at(1), LARGEST_BUCKET, Rounding::Up)?;
        let peak_bandwidth = match self.peak_bandwidth {
            Single::INFINITY => Peak::Infinite,
            peak => {
                Peak::Finite(Rate::new(finite("peak_bandwidth", peak, at(2), LARGEST_RATE, Rounding::Up)?))
            }
        };
        let tspec = TSpec {
            token_rate: Rate::new(rate),
            token_bucket_size: Bytes::new(bucket),
            peak_bandwidth,
            minimum_policed_size: Bytes::new(u64::from(self.minimum_policed_size)),
            max_sdu_size: Bytes::new(u64::from(self.max_sdu_size)),
        };
        tspec.check().map_err(|error| {
            let fields =
                [Field::TokenRate, Field::TokenBucketSize, Field::PeakBandwidth, Field::MinimumPolicedSize];
            let word = fields.iter().position(|&field| field == error.field()).unwrap_or(4);
            let value = self.words()[word];
            relation(error, at(word), u64::from(value))
        })?;
        Ok(tspec)
    }

    /// The words, in the order of the wire.
    pub const fn words(&self) -> [u32; 5] {
        let Self { token_rate, token_bucket_size, peak_bandwidth, minimum_policed_size, max_sdu_size } =
            *self;
        let (r, b, p) = (token_rate.to_bits(), token_bucket_size.to_bits(), peak_bandwidth.to_bits());
        [r, b, p, minimum_policed_size, max_sdu_size]
    }

    /// A TSpec from its words, in the order of the wire.
    pub const fn from_words(words: [u32; 5]) -> Self {
        let [r, b, p, minimum_policed_size, max_sdu_size] = words;
        Self {
            token_rate: Single::from_bits(r),
            token_bucket_size: Single::from_bits(b),
            peak_bandwidth: Single::from_bits(p),
            minimum_policed_size,
            max_sdu_size,
        }
    }
}

fn relation(error: FlowspecError, offset: usize, value: u64) -> Invalid {
    Invalid { field: error.field().name().into(), offset, value, problem: FieldProblem::Flowspec(error) }
}

/// A number from 1 to a limit.
pub(super) fn finite(
    field: &str,
    single: Single,
    offset: usize,
    limit: u64,
    rounding: Rounding,
) -> Result<u64, Invalid> {
    let invalid =
        |problem| Err(Invalid { field: field.into(), offset, value: u64::from(single.to_bits()), problem });
    let number = match single.round(rounding) {
        Err(error) => return invalid(FieldProblem::Single(error)),
        Ok(number) => number,
    };
    // A number below 1 is out of range, even where it is rounded up to 1.
    match (number, single.round(Rounding::Down)) {
        (Number::Whole(whole @ 1..), Ok(Number::Whole(1..))) if whole <= limit => Ok(whole),
        _ => invalid(FieldProblem::OutOfRange { limit }),
    }
}
