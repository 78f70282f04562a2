//! The objects that RSVP carries for IntServ, in the form they have on the wire.
//!
//! Big endian words. Each object begins with RSVP's header (RFC 2205: length, class, type), then IntServ's
//! (RFC 2210: version, length, and for each service its number and parameters). Rates and bucket depths
//! are IEEE singles there and integers here: [`single`] says how. A number that went over the wire may
//! differ from the one that was meant by one part in 2²³, upwards where something is asked for.
//!
//! Source: RFC 2205 section 3.1.2 and appendix A, RFC 2210 section 3.

mod adspec;
pub mod single;
mod words;

use crate::error::FlowspecError;
use crate::flowspec::Peak;
use crate::invalid::{Invalid, Problem};
use crate::tspec::TSpec;
use crate::units::{Bytes, Micros, Rate};

use single::{Number, Rounding, Single};
use words::Words;

pub use adspec::{GuaranteedPath, Overrides, PathAdspec, PathParams, ServicePath};

/// An object that IntServ has RSVP carry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RsvpObject {
    /// SENDER_TSPEC: what a sender will send.
    SenderTspec(TSpec),
    /// FLOWSPEC for controlled load: what a receiver asks for.
    ControlledLoad(TSpec),
    /// FLOWSPEC for guaranteed service.
    Guaranteed(TSpec, RSpec),
    /// ADSPEC: what the path offers.
    Adspec(PathAdspec),
}

/// What is reserved for guaranteed service: R and S. Source: RFC 2212.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RSpec {
    /// R, bytes per second; at least r.
    pub rate: Rate,
    /// S, microseconds.
    pub slack: Micros,
}

/// Token_Bucket_TSpec as it lies on the wire, every bit pattern allowed. Source: RFC 2215 section 3.6.
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

/// RSVP's header: length in bytes, class, type.
const HEADER: usize = 4;
/// Class numbers; every type is 2, "IntServ".
const CLASS_FLOWSPEC: u8 = 9;
const CLASS_SENDER_TSPEC: u8 = 12;
const CLASS_ADSPEC: u8 = 13;
const INTSERV: u8 = 2;

/// Service numbers. Source: RFC 2211, 2212, 2215.
const GENERAL: u8 = 1;
const GUARANTEED: u8 = 2;
const CONTROLLED_LOAD: u8 = 5;

/// Parameter numbers. Source: RFC 2210 and 2215.
const TOKEN_BUCKET_TSPEC: u8 = 127;
const GUARANTEED_RSPEC: u8 = 130;

/// Ranges. Source: RFC 2215 section 3.6.
const LARGEST_RATE: u64 = 40_000_000_000_000;
const LARGEST_BUCKET: u64 = 250_000_000_000;

impl RsvpObject {
    /// Reads one object, which takes all the bytes.
    ///
    /// - **Errors**: the field, its offset and value: bytes too few or too many, another class, type or
    ///   version, a structure that RFC 2210 does not have, a number that is none, is out of RFC 2215's
    ///   range or contradicts another.
    pub fn read(bytes: &[u8]) -> Result<Self, Invalid> {
        let (class, mut words) = Words::open(bytes)?;
        let object = match class {
            CLASS_SENDER_TSPEC => {
                words.service(GENERAL, 6)?;
                Self::SenderTspec(words.tspec()?)
            }
            CLASS_FLOWSPEC => match words.peek_service() {
                Some(GUARANTEED) => {
                    words.service(GUARANTEED, 9)?;
                    let tspec = words.tspec()?;
                    Self::Guaranteed(tspec, words.rspec(&tspec)?)
                }
                _ => {
                    words.service(CONTROLLED_LOAD, 6)?;
                    Self::ControlledLoad(words.tspec()?)
                }
            },
            _ => Self::Adspec(PathAdspec::read(&mut words)?),
        };
        words.end()?;
        Ok(object)
    }

    /// Appends the object with its header. Rates and depths are written as the nearest single that is
    /// not below them, a path's bandwidth as the nearest that is not above it.
    ///
    /// - **Errors**: a value that the wire has no room for, or that RFC 2215's ranges exclude.
    pub fn write(&self, bytes: &mut Vec<u8>) -> Result<(), Invalid> {
        let (class, body) = match self {
            Self::SenderTspec(tspec) => (CLASS_SENDER_TSPEC, service(GENERAL, tspec, None)?),
            Self::ControlledLoad(tspec) => (CLASS_FLOWSPEC, service(CONTROLLED_LOAD, tspec, None)?),
            Self::Guaranteed(tspec, rspec) => (CLASS_FLOWSPEC, service(GUARANTEED, tspec, Some(rspec))?),
            Self::Adspec(adspec) => (CLASS_ADSPEC, adspec.words()?),
        };
        // IntServ's header counts the words behind it, RSVP's the bytes with both headers.
        let count = u16::try_from(body.len()).unwrap_or(u16::MAX);
        let length = (count + 2) * 4;
        let mut object = length.to_be_bytes().to_vec();
        object.extend([class, INTSERV]);
        object.extend(u32::from(count).to_be_bytes());
        object.extend(body.into_iter().flat_map(u32::to_be_bytes));
        // What the ranges exclude is found by reading it.
        Self::read(&object)?;
        bytes.append(&mut object);
        Ok(())
    }
}

/// A service with its parameters, as words.
fn service(number: u8, tspec: &TSpec, rspec: Option<&RSpec>) -> Result<Vec<u32>, Invalid> {
    let up = |value| Single::from_whole(value, Rounding::Up).to_bits();
    let size = |field: &str, size: Bytes| {
        u32::try_from(size.get()).map_err(|_| Invalid {
            field: field.into(),
            offset: 0,
            value: size.get(),
            problem: Problem::Value("the wire has 32 bits for it"),
        })
    };
    let peak = match tspec.peak_bandwidth() {
        Peak::Infinite => Single::INFINITY.to_bits(),
        Peak::Finite(peak) => up(peak.get()),
    };
    let mut body = vec![
        parameter(TOKEN_BUCKET_TSPEC, 5),
        up(tspec.token_rate().get()),
        up(tspec.token_bucket_size().get()),
        peak,
        size("minimum_policed_size", tspec.minimum_policed_size())?,
        size("max_sdu_size", tspec.max_sdu_size())?,
    ];
    if let Some(rspec) = rspec {
        let slack = u32::try_from(rspec.slack.get()).unwrap_or(u32::MAX);
        body.extend([parameter(GUARANTEED_RSPEC, 2), up(rspec.rate.get()), slack]);
    }
    // The length is a small constant.
    body.insert(0, u32::from(number) << 24 | u32::try_from(body.len()).unwrap_or(u32::MAX));
    Ok(body)
}

/// A parameter's header: its number, no flags, its length in words.
const fn parameter(number: u8, length: u16) -> u32 {
    (number as u32) << 24 | length as u32
}

impl RawTspec {
    /// The checked form.
    ///
    /// - **Errors**: by field: not a number, negative, infinite where only p may be, outside RFC 2215's
    ///   ranges, or at odds with another field.
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
            let fields = ["token_rate", "token_bucket_size", "peak_bandwidth", "minimum_policed_size"];
            let word = fields.iter().position(|&field| field == error.field()).unwrap_or(4);
            let value = self.words()[word];
            relation(error, at(word), u64::from(value))
        })?;
        Ok(tspec)
    }

    /// The five words, in their order.
    pub const fn words(&self) -> [u32; 5] {
        let Self { token_rate, token_bucket_size, peak_bandwidth, minimum_policed_size, max_sdu_size } =
            *self;
        let (r, b, p) = (token_rate.to_bits(), token_bucket_size.to_bits(), peak_bandwidth.to_bits());
        [r, b, p, minimum_policed_size, max_sdu_size]
    }

    /// From the five words.
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
    Invalid { field: error.field().into(), offset, value, problem: Problem::Flowspec(error) }
}

/// A number from 1 to a limit.
fn finite(
    field: &str,
    single: Single,
    offset: usize,
    limit: u64,
    rounding: Rounding,
) -> Result<u64, Invalid> {
    let invalid =
        |problem| Err(Invalid { field: field.into(), offset, value: u64::from(single.to_bits()), problem });
    let number = match single.round(rounding) {
        Err(error) => return invalid(Problem::Single(error)),
        Ok(number) => number,
    };
    // What is below 1 is out of range, whichever way it is rounded.
    match (number, single.round(Rounding::Down)) {
        (Number::Whole(whole @ 1..), Ok(Number::Whole(1..))) if whole <= limit => Ok(whole),
        _ => invalid(Problem::OutOfRange { limit }),
    }
}
