//! Objects with their headers.

use crate::invalid::{FieldProblem, Invalid, RsvpProblem};
use crate::peak::Peak;
use crate::tspec::TSpec;
use crate::units::Bytes;

use super::adspec::PathAdspec;
use super::codes::{
    CLASS_ADSPEC, CLASS_FLOWSPEC, CLASS_SENDER_TSPEC, CONTROLLED_LOAD, GENERAL, GUARANTEED, GUARANTEED_RSPEC,
    INTSERV, TOKEN_BUCKET_TSPEC, parameter,
};
use super::single::{Rounding, Single};
use super::tspec::RSpec;
use super::words::Words;

/// An object that RSVP carries for IntServ.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RsvpObject {
    /// SENDER_TSPEC: the traffic of a sender.
    SenderTspec(TSpec),
    /// FLOWSPEC for controlled load: the request of a receiver.
    ControlledLoad(TSpec),
    /// FLOWSPEC for guaranteed service.
    Guaranteed(TSpec, RSpec),
    /// ADSPEC: the services and parameters of the path.
    Adspec(PathAdspec),
}

impl RsvpObject {
    /// Reads one object, which takes all the bytes.
    ///
    /// - **Errors**: the field, its offset and value: too few or too many bytes; another class, type or version; a
    ///   structure that is not RFC 2210's; a value that is not a number, is outside RFC 2215's range or contradicts
    ///   another.
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

    /// Appends the object with its header. Rates and depths are written as the nearest single that is not below them, a
    /// path's bandwidth as the nearest that is not above it.
    ///
    /// - **Errors**: a value that its 32 bits cannot hold, or that is outside RFC 2215's ranges.
    pub fn write(&self, bytes: &mut Vec<u8>) -> Result<(), Invalid> {
        let (class, body) = match self {
            Self::SenderTspec(tspec) => (CLASS_SENDER_TSPEC, service(GENERAL, tspec, None)?),
            Self::ControlledLoad(tspec) => (CLASS_FLOWSPEC, service(CONTROLLED_LOAD, tspec, None)?),
            Self::Guaranteed(tspec, rspec) => (CLASS_FLOWSPEC, service(GUARANTEED, tspec, Some(rspec))?),
            Self::Adspec(adspec) => (CLASS_ADSPEC, adspec.words()?),
        };
        // IntServ's header counts the words after it, RSVP's header the bytes with both headers.
        let count = u16::try_from(body.len()).unwrap_or(u16::MAX);
        let length = (count + 2) * 4;
        let mut object = length.to_be_bytes().to_vec();
        object.extend([class, INTSERV]);
        object.extend(u32::from(count).to_be_bytes());
        object.extend(body.into_iter().flat_map(u32::to_be_bytes));
        // Reading checks the ranges.
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
            problem: FieldProblem::Rsvp(RsvpProblem::Above32Bits),
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
