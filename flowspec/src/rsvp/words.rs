//! Reads an object's words in order; an error has the offset of the word.

use crate::invalid::{FieldProblem, Invalid, RsvpProblem};
use crate::tspec::TSpec;
use crate::units::{Micros, Rate};

use super::codes::{CLASS_ADSPEC, CLASS_FLOWSPEC, CLASS_SENDER_TSPEC, HEADER, INTSERV};
use super::codes::{GUARANTEED_RSPEC, LARGEST_RATE, TOKEN_BUCKET_TSPEC};
use super::single::{Rounding, Single};
use super::tspec::{RSpec, RawTspec, finite};

/// The words after both headers.
pub(super) struct Words<'a> {
    words: &'a [[u8; 4]],
    at: usize,
}

/// A service's or a parameter's header.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub number: u8,
    /// A service's break bit, or a parameter's flags.
    pub flags: u8,
    /// The length in words, without the header.
    pub length: usize,
    /// In bytes, from the start of the object to the header.
    pub offset: usize,
}

impl<'a> Words<'a> {
    /// The class, and the words after the two headers.
    pub(super) fn open(bytes: &'a [u8]) -> Result<(u8, Self), Invalid> {
        let found = bytes.len();
        let invalid = |field: &str, offset, value: u64, problem| {
            Err(Invalid { field: field.into(), offset, value, problem: FieldProblem::Rsvp(problem) })
        };
        let &[l0, l1, class, c_type, ref rest @ ..] = bytes else {
            return invalid("length", 0, found as u64, RsvpProblem::NoHeader);
        };
        let length = u16::from_be_bytes([l0, l1]);
        if usize::from(length) != found {
            return invalid("length", 0, u64::from(length), RsvpProblem::Length);
        }
        if ![CLASS_FLOWSPEC, CLASS_SENDER_TSPEC, CLASS_ADSPEC].contains(&class) {
            return invalid("class", 2, u64::from(class), RsvpProblem::Class);
        }
        if c_type != INTSERV {
            return invalid("c_type", 3, u64::from(c_type), RsvpProblem::ClassType);
        }
        let (words, []) = rest.as_chunks::<4>() else {
            return invalid("length", 0, u64::from(length), RsvpProblem::PartialWord);
        };
        let [v, _, c0, c1, ..] = *rest else {
            return invalid("version", HEADER, found as u64, RsvpProblem::NoIntServHeader);
        };
        if v >> 4 != 0 {
            return invalid("version", HEADER, u64::from(v >> 4), RsvpProblem::Version);
        }
        let count = u16::from_be_bytes([c0, c1]);
        if usize::from(count) != words.len() - 1 {
            return invalid("overall_length", HEADER + 2, u64::from(count), RsvpProblem::OverallLength);
        }
        Ok((class, Self { words: &words[1..], at: HEADER + 4 }))
    }

    /// The number of the next service.
    pub(super) fn peek_service(&self) -> Option<u8> {
        self.words.first().map(|word| word[0])
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The next word and its offset.
    pub(super) fn word(&mut self) -> Result<(u32, usize), Invalid> {
        let at = self.at;
        let Some((word, rest)) = self.words.split_first() else {
            return Err(self.invalid("length", 0, RsvpProblem::EndsEarly));
        };
        (self.words, self.at) = (rest, at + 4);
        Ok((u32::from_be_bytes(*word), at))
    }

    /// Reads the header of a service or a parameter.
    pub(super) fn block(&mut self) -> Result<Block, Invalid> {
        let (word, offset) = self.word()?;
        let [number, flags, l0, l1] = word.to_be_bytes();
        Ok(Block { number, flags, length: usize::from(u16::from_be_bytes([l0, l1])), offset })
    }

    /// Reads a service's header, which has this number and length.
    pub(super) fn service(&mut self, number: u8, length: usize) -> Result<(), Invalid> {
        let block = self.block()?;
        block.expect("service_number", number, length)
    }

    /// The words of a block, which the next calls skip.
    pub(super) fn inside(&mut self, block: &Block) -> Result<Self, Invalid> {
        let Some((words, rest)) = self.words.split_at_checked(block.length) else {
            return Err(block.invalid("length", block.length as u64, RsvpProblem::BlockTooLong));
        };
        let inside = Self { words, at: self.at };
        (self.words, self.at) = (rest, self.at + block.length * 4);
        Ok(inside)
    }

    pub(super) fn tspec(&mut self) -> Result<TSpec, Invalid> {
        self.block()?.expect("parameter_id", TOKEN_BUCKET_TSPEC, 5)?;
        let at = self.at;
        let mut words = [0; 5];
        for word in &mut words {
            *word = self.word()?.0;
        }
        RawTspec::from_words(words).check(at)
    }

    pub(super) fn rspec(&mut self, tspec: &TSpec) -> Result<RSpec, Invalid> {
        self.block()?.expect("parameter_id", GUARANTEED_RSPEC, 2)?;
        let (rate, at) = self.word()?;
        let reserved = finite("rate", Single::from_bits(rate), at, LARGEST_RATE, Rounding::Up)?;
        if Rate::new(reserved) < tspec.token_rate() {
            let problem = FieldProblem::Rsvp(RsvpProblem::ReservedBelowTokenRate);
            return Err(Invalid { field: "rate".into(), offset: at, value: u64::from(rate), problem });
        }
        let (slack, _) = self.word()?;
        Ok(RSpec { rate: Rate::new(reserved), slack: Micros::new(u64::from(slack)) })
    }

    /// Checks that no words are left.
    pub(super) fn end(&self) -> Result<(), Invalid> {
        match self.words.len() {
            0 => Ok(()),
            left => Err(self.invalid("length", left as u64, RsvpProblem::LeftOver)),
        }
    }

    fn invalid(&self, field: &str, value: u64, problem: RsvpProblem) -> Invalid {
        Invalid { field: field.into(), offset: self.at, value, problem: FieldProblem::Rsvp(problem) }
    }
}

impl Block {
    /// Checks the number and the length, and that no flag is set.
    pub(super) fn expect(&self, field: &str, number: u8, length: usize) -> Result<(), Invalid> {
        if self.number != number {
            return Err(self.invalid(field, u64::from(self.number), RsvpProblem::Number));
        }
        if self.length != length {
            return Err(self.invalid("length", self.length as u64, RsvpProblem::BlockLength));
        }
        if self.flags != 0 {
            return Err(self.invalid("flags", u64::from(self.flags), RsvpProblem::Flags));
        }
        Ok(())
    }

    pub(super) fn invalid(&self, field: &str, value: u64, problem: RsvpProblem) -> Invalid {
        Invalid { field: field.into(), offset: self.offset, value, problem: FieldProblem::Rsvp(problem) }
    }
}
