//! Why bytes are not valid: the field, its place and value, the reason, and the Winsock status.

use crate::abi::Abi;
use crate::error::FlowspecError;
use crate::rsvp::single::NotACount;
use crate::wsa::Wsa;

pub use crate::problem::{ExpectedLength, PolicyProblem, RsvpProblem, ValueProblem};

/// A field that is not valid.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{field} at byte {offset} is {value}: {problem}")]
pub struct Invalid {
    /// The field's path in snake case: `sending.token_rate`, `provider_specific[1].shape_discard_mode`.
    pub field: String,
    /// Where the field begins, in bytes from the start of what was read.
    pub offset: usize,
    /// The field's value; the number of bytes, where the field is truncated.
    pub value: u64,
    /// Why the value is not valid.
    pub problem: FieldProblem,
}

/// Why a field's value is not valid. Each problem has a status of the WSA_QOS_* family.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FieldProblem {
    /// The bytes end before QOS does.
    #[error("the bytes end here, after {found} of the {} that a {} QOS has{}", abi.qos_size(), abi.name(), other_abi(*abi, *found))]
    QosCutShort {
        /// The layout in which the bytes were read.
        abi: Abi,
        /// The bytes that there are.
        found: usize,
    },
    /// ProviderSpecific.len is larger than the buffer.
    #[error("{} {}", count_of_bytes(*found), if *found == 1 { "follows" } else { "follow" })]
    BufferCutShort {
        /// The bytes that there are.
        found: usize,
    },
    /// ProviderSpecific.len is smaller than the buffer.
    #[error("{} more {}", count_of_bytes(*bytes), if *bytes == 1 { "follows, and belongs to nothing" } else { "follow, and belong to nothing" })]
    LeftOver {
        /// How many follow the buffer's last byte.
        bytes: usize,
    },
    /// The buffer is too long to be checked.
    #[error("at most {limit} bytes are checked")]
    BufferTooLong {
        /// The most bytes that are checked.
        limit: usize,
    },
    /// SendingFlowspec or ReceivingFlowspec is not valid.
    #[error(transparent)]
    Flowspec(FlowspecError),
    /// An object's header is truncated.
    #[error("an object takes at least the 8 bytes of its header, and the buffer ends after {found}")]
    HeaderCutShort {
        /// The bytes that are left.
        found: usize,
    },
    /// ObjectLength is not one that this type of object can have.
    #[error(transparent)]
    ObjectLength(ExpectedLength),
    /// ObjectType is not known.
    #[error("no object of this type is known")]
    UnknownObject,
    /// Two objects of one type, of which neither takes precedence.
    #[error("there is one of this type already, at byte {first}")]
    Duplicate {
        /// Where the first one begins.
        first: usize,
    },
    /// Something follows QOS_OBJECT_END_OF_LIST.
    #[error("nothing comes after the end of the list")]
    AfterEnd,
    /// A pointer leads into the list of objects, or to bytes that another pointer leads to.
    #[error("the pointer leads to bytes that belong to something else")]
    Overlap,
    /// A pointer leads into the buffer, and its target goes beyond the buffer's end.
    #[error("the pointer leads to {needed} bytes of which the buffer has {found}")]
    PointeeCutShort {
        /// The size of the target.
        needed: u64,
        /// The bytes from the pointer to the buffer's end.
        found: usize,
    },
    /// A pointer that the structure requires is null.
    #[error("the pointer is null")]
    NullPointer,
    /// QOS_SD_MODE has a mode that `qos.h` does not assign.
    #[error("a mode is 0 (borrow), 1 (shape), 2 (discard) or 3 (borrow_plus)")]
    ShapeDiscardMode,
    /// QOS_SHAPING_RATE has a rate of zero, or none.
    #[error("a rate in bytes per second is needed, neither zero nor unspecified")]
    ShapingRate,
    /// RSVP_RESERVE_INFO's Style is one that `qossp.h` does not assign.
    #[error("a style is 0 (default), 1 (wildcard), 2 (fixed filter) or 3 (shared explicit)")]
    Style,
    /// RSVP_FILTERSPEC's Type.
    #[error("a filterspec's type is 1 to 5")]
    FilterType,
    /// NumFilters is not zero, and FilterList is null.
    #[error("there are filters, and the pointer to them is null")]
    FilterCount,
    /// NumFlowDesc is not zero, and FlowDescList is null.
    #[error("there are flow descriptors, and the pointer to them is null")]
    FlowCount,
    /// A flowspec inside the buffer.
    #[error(transparent)]
    InnerFlowspec(FlowspecError),
    /// RSVP_POLICY_INFO is not valid.
    #[error(transparent)]
    PolicyObject(PolicyProblem),
    /// A policy element has the reserved type 0.
    #[error("type 0 is reserved")]
    ReservedPolicyElement,
    /// An IEEE single that is not a number of bytes; the value is its bits.
    #[error("as an IEEE single this is {0}")]
    Single(NotACount),
    /// A number outside RFC 2215's range; the value is the single's bits.
    #[error("as an IEEE single this is not from 1 to {limit}")]
    OutOfRange {
        /// The largest number that is allowed.
        limit: u64,
    },
    /// A value without a status of its own.
    #[error(transparent)]
    Value(ValueProblem),
    /// An object in RSVP's wire format is not valid.
    #[error(transparent)]
    Rsvp(RsvpProblem),
}

impl FieldProblem {
    /// The Winsock status. Source: `winsock2.h`, WSA_QOS_*.
    pub const fn wsa(&self) -> Wsa {
        match self {
            Self::QosCutShort { abi, found } => {
                if *found < abi.qos_size() - abi.wsabuf_size() {
                    Wsa::QosEflowspec
                } else {
                    Wsa::QosEprovspecbuf
                }
            }
            Self::Flowspec(error) => error.wsa(),
            Self::BufferCutShort { .. }
            | Self::LeftOver { .. }
            | Self::BufferTooLong { .. }
            | Self::HeaderCutShort { .. }
            | Self::Duplicate { .. }
            | Self::AfterEnd
            | Self::Overlap
            | Self::PointeeCutShort { .. }
            | Self::NullPointer => Wsa::QosEprovspecbuf,
            Self::ObjectLength(_) => Wsa::QosEobjlength,
            Self::UnknownObject => Wsa::QosEunkownpsobj,
            Self::ShapeDiscardMode => Wsa::QosEsdmodeobj,
            Self::ShapingRate => Wsa::QosEshaperateobj,
            Self::Style => Wsa::QosEfilterstyle,
            Self::FilterType => Wsa::QosEfiltertype,
            Self::FilterCount => Wsa::QosEfiltercount,
            Self::FlowCount => Wsa::QosEflowcount,
            Self::Single(_) | Self::OutOfRange { .. } => Wsa::QosEflowspec,
            Self::InnerFlowspec(_) => Wsa::QosEpsflowspec,
            Self::PolicyObject(_) => Wsa::QosEpolicyobj,
            Self::ReservedPolicyElement => Wsa::QosReservedPetype,
            Self::Value(_) | Self::Rsvp(_) => Wsa::QosBadObject,
        }
    }
}

impl Invalid {
    /// The Winsock status. Source: `winsock2.h`, WSA_QOS_*.
    pub const fn wsa(&self) -> Wsa {
        self.problem.wsa()
    }
}

/// `1 byte`, `2 bytes`.
fn count_of_bytes(number: usize) -> String {
    format!("{number} byte{}", if number == 1 { "" } else { "s" })
}

/// A hint for the likely mistake: a 32-bit QOS read as a 64-bit one.
fn other_abi(abi: Abi, found: usize) -> &'static str {
    match abi {
        Abi::Win64 if found == Abi::Win32.qos_size() => "; a win32 QOS has as many",
        Abi::Win64 | Abi::Win32 => "",
    }
}
