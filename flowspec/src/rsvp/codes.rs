//! The numbers of RSVP's classes and of IntServ's services and parameters, and the ranges of values.

/// RSVP's header: length in bytes, class, type.
pub(super) const HEADER: usize = 4;
/// Class numbers; every type is 2, "IntServ".
pub(super) const CLASS_FLOWSPEC: u8 = 9;
pub(super) const CLASS_SENDER_TSPEC: u8 = 12;
pub(super) const CLASS_ADSPEC: u8 = 13;
pub(super) const INTSERV: u8 = 2;

/// Service numbers. Source: RFC 2211, 2212, 2215.
pub(super) const GENERAL: u8 = 1;
pub(super) const GUARANTEED: u8 = 2;
pub(super) const CONTROLLED_LOAD: u8 = 5;

/// Parameter numbers. Source: RFC 2210 and 2215.
pub(super) const TOKEN_BUCKET_TSPEC: u8 = 127;
pub(super) const GUARANTEED_RSPEC: u8 = 130;

/// Ranges. Source: RFC 2215 section 3.6.
pub(super) const LARGEST_RATE: u64 = 40_000_000_000_000;
pub(super) const LARGEST_BUCKET: u64 = 250_000_000_000;

/// A parameter's header: its number, no flags, its length in words.
pub(super) const fn parameter(number: u8, length: u16) -> u32 {
    (number as u32) << 24 | length as u32
}
