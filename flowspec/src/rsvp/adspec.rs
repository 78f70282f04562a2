//! ADSPEC: the services and parameters of a path, as its elements report them.

use crate::guaranteed::ErrorTerms;
use crate::invalid::{FieldProblem, Invalid, RsvpProblem};
use crate::units::{Bytes, Micros, Rate};

use super::codes::{CONTROLLED_LOAD, GENERAL, GUARANTEED, LARGEST_RATE, parameter};
use super::single::{Rounding, Single};
use super::tspec::finite;
use super::words::{Block, Words};

/// ADSPEC. Unknown services are ignored. Source: RFC 2210 section 3.3.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PathAdspec {
    /// The parameters of every service.
    pub general: PathParams,
    /// Guaranteed service, if the path offers it.
    pub guaranteed: Option<GuaranteedPath>,
    /// Controlled load, if the path offers it.
    pub controlled_load: Option<ServicePath>,
}

/// The general parameters. Source: RFC 2215 section 3.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PathParams {
    /// NON_IS_HOP: some element of the path does not implement IntServ.
    pub is_broken: bool,
    /// NUMBER_OF_IS_HOPS: the routers of the path that implement IntServ.
    pub hops: u32,
    /// AVAILABLE_PATH_BANDWIDTH, rounded down.
    pub bandwidth: Rate,
    /// MINIMUM_PATH_LATENCY; `None` where it is indeterminate.
    pub latency: Option<Micros>,
    /// PATH_MTU: the largest IP packet that each link of the path carries.
    pub mtu: Bytes,
}

/// The parameters of the path for one service.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ServicePath {
    /// Some element of the path does not offer the service.
    pub is_broken: bool,
    /// The parameters of this service that replace the general ones.
    pub overrides: Overrides,
}

/// Guaranteed service along the path. Source: RFC 2212.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct GuaranteedPath {
    /// The parameters that any service has.
    pub path: ServicePath,
    /// Ctot and Dtot: for the end-to-end bound.
    pub total: ErrorTerms,
    /// Csum and Dsum: since the last reshaping, for buffers.
    pub since_reshaping: ErrorTerms,
}

/// General parameters that a service replaces.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Overrides {
    /// In place of [`PathParams::hops`].
    pub hops: Option<u32>,
    /// In place of [`PathParams::bandwidth`].
    pub bandwidth: Option<Rate>,
    /// In place of [`PathParams::latency`]; `Some(None)` where it is indeterminate.
    pub latency: Option<Option<Micros>>,
    /// In place of [`PathParams::mtu`].
    pub mtu: Option<Bytes>,
}

/// Parameter numbers. Source: RFC 2215 section 3, RFC 2212.
const HOPS: u8 = 4;
const BANDWIDTH: u8 = 6;
const LATENCY: u8 = 8;
const MTU: u8 = 10;
const C_TOTAL: u8 = 133;
const D_TOTAL: u8 = 134;
const C_SUM: u8 = 135;
const D_SUM: u8 = 136;

/// MINIMUM_PATH_LATENCY: unknown. Source: RFC 2215 section 3.4.
const INDETERMINATE: u32 = u32::MAX;

/// A service's break bit, in the byte after its number.
const BREAK: u8 = 0x80;

#[derive(Default)]
struct Parameters {
    overrides: Overrides,
    terms: [Option<u32>; 4],
}

impl PathAdspec {
    pub(super) fn read(words: &mut Words<'_>) -> Result<Self, Invalid> {
        let block = words.block()?;
        if block.number != GENERAL {
            return Err(block.invalid("service_number", u64::from(block.number), RsvpProblem::GeneralFirst));
        }
        let parameters = parameters(words.inside(&block)?)?.overrides;
        let missing = || block.invalid("length", block.length as u64, RsvpProblem::GeneralMissing);
        let general = PathParams {
            is_broken: block.flags & BREAK != 0,
            hops: parameters.hops.ok_or_else(missing)?,
            bandwidth: parameters.bandwidth.ok_or_else(missing)?,
            latency: parameters.latency.ok_or_else(missing)?,
            mtu: parameters.mtu.ok_or_else(missing)?,
        };
        let mut adspec = Self { general, guaranteed: None, controlled_load: None };
        while !words.is_empty() {
            let block = words.block()?;
            let inside = words.inside(&block)?;
            let twice =
                || block.invalid("service_number", u64::from(block.number), RsvpProblem::DuplicateService);
            match block.number {
                GUARANTEED if adspec.guaranteed.is_some() => return Err(twice()),
                CONTROLLED_LOAD if adspec.controlled_load.is_some() => return Err(twice()),
                GENERAL => return Err(twice()),
                GUARANTEED => adspec.guaranteed = Some(GuaranteedPath::read(&block, inside)?),
                CONTROLLED_LOAD => {
                    let overrides = parameters_without_terms(&block, inside)?;
                    adspec.controlled_load =
                        Some(ServicePath { is_broken: block.flags & BREAK != 0, overrides });
                }
                _ => {}
            }
        }
        Ok(adspec)
    }

    pub(super) fn words(&self) -> Result<Vec<u32>, Invalid> {
        let PathParams { is_broken, hops, bandwidth, latency, mtu } = self.general;
        let overrides = Overrides {
            hops: Some(hops),
            bandwidth: Some(bandwidth),
            latency: Some(latency),
            mtu: Some(mtu),
        };
        let mut words = Vec::new();
        service(GENERAL, is_broken, overrides.words()?, &mut words);
        if let Some(GuaranteedPath { path, total, since_reshaping }) = self.guaranteed {
            let mut body = Vec::new();
            for (number, value) in [
                (C_TOTAL, total.c.get()),
                (D_TOTAL, total.d.get()),
                (C_SUM, since_reshaping.c.get()),
                (D_SUM, since_reshaping.d.get()),
            ] {
                // The sums saturate, as RFC 2212 requires.
                body.extend([parameter(number, 1), u32::try_from(value).unwrap_or(u32::MAX)]);
            }
            body.extend(path.overrides.words()?);
            service(GUARANTEED, path.is_broken, body, &mut words);
        }
        if let Some(path) = self.controlled_load {
            service(CONTROLLED_LOAD, path.is_broken, path.overrides.words()?, &mut words);
        }
        Ok(words)
    }
}

impl GuaranteedPath {
    fn read(block: &Block, inside: Words<'_>) -> Result<Self, Invalid> {
        let Parameters { overrides, terms } = parameters(inside)?;
        let [Some(c_total), Some(d_total), Some(c_sum), Some(d_sum)] = terms else {
            return Err(block.invalid("length", block.length as u64, RsvpProblem::TermMissing));
        };
        let terms = |c, d| ErrorTerms { c: Bytes::new(u64::from(c)), d: Micros::new(u64::from(d)) };
        Ok(Self {
            path: ServicePath { is_broken: block.flags & BREAK != 0, overrides },
            total: terms(c_total, d_total),
            since_reshaping: terms(c_sum, d_sum),
        })
    }
}

impl Overrides {
    fn words(&self) -> Result<Vec<u32>, Invalid> {
        let narrow = |field: &str, value: u64, most: u32| {
            u32::try_from(value).ok().filter(|&value| value <= most).ok_or_else(|| Invalid {
                field: field.into(),
                offset: 0,
                value,
                problem: FieldProblem::Rsvp(RsvpProblem::AtOrAboveSentinel),
            })
        };
        let mut words = Vec::new();
        if let Some(hops) = self.hops {
            words.extend([parameter(HOPS, 1), hops]);
        }
        if let Some(bandwidth) = self.bandwidth {
            let single = Single::from_whole(bandwidth.get(), Rounding::Down);
            words.extend([parameter(BANDWIDTH, 1), single.to_bits()]);
        }
        if let Some(latency) = self.latency {
            let latency = match latency {
                None => INDETERMINATE,
                Some(latency) => narrow("latency", latency.get(), INDETERMINATE - 1)?,
            };
            words.extend([parameter(LATENCY, 1), latency]);
        }
        if let Some(mtu) = self.mtu {
            words.extend([parameter(MTU, 1), narrow("mtu", mtu.get(), u32::MAX)?]);
        }
        Ok(words)
    }
}

/// Appends a service's header and its parameters.
fn service(number: u8, is_broken: bool, body: Vec<u32>, words: &mut Vec<u32>) {
    let flags = if is_broken { BREAK } else { 0 };
    // At most 16 words: four general parameters and four terms.
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    words.push(u32::from(number) << 24 | u32::from(flags) << 16 | length);
    words.extend(body);
}

fn parameters_without_terms(block: &Block, inside: Words<'_>) -> Result<Overrides, Invalid> {
    let Parameters { overrides, terms } = parameters(inside)?;
    if terms != [None; 4] {
        return Err(block.invalid("service_number", u64::from(block.number), RsvpProblem::UnexpectedTerm));
    }
    Ok(overrides)
}

fn parameters(mut words: Words<'_>) -> Result<Parameters, Invalid> {
    let mut found = Parameters::default();
    while !words.is_empty() {
        let block = words.block()?;
        block.expect("parameter_id", block.number, 1)?;
        let (value, at) = words.word()?;
        let twice = match block.number {
            HOPS => found.overrides.hops.replace(value).is_some(),
            BANDWIDTH => {
                let bandwidth =
                    finite("bandwidth", Single::from_bits(value), at, LARGEST_RATE, Rounding::Down)?;
                found.overrides.bandwidth.replace(Rate::new(bandwidth)).is_some()
            }
            LATENCY => {
                let latency = (value != INDETERMINATE).then(|| Micros::new(u64::from(value)));
                found.overrides.latency.replace(latency).is_some()
            }
            MTU => found.overrides.mtu.replace(Bytes::new(u64::from(value))).is_some(),
            C_TOTAL..=D_SUM => found.terms[usize::from(block.number - C_TOTAL)].replace(value).is_some(),
            _ => {
                return Err(block.invalid(
                    "parameter_id",
                    u64::from(block.number),
                    RsvpProblem::UnknownParameter,
                ));
            }
        };
        if twice {
            return Err(block.invalid(
                "parameter_id",
                u64::from(block.number),
                RsvpProblem::DuplicateParameter,
            ));
        }
    }
    Ok(found)
}
