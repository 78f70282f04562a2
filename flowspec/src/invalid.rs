//! What is wrong with bytes: the field, where it is, what it holds, and the status Winsock has for it.

use crate::abi::Abi;
use crate::error::FlowspecError;
use crate::rsvp::single::NotACount;
use crate::wsa::Wsa;

pub use crate::problem::{ExpectedLength, PolicyProblem, RsvpProblem, ValueProblem};

/// A field that means nothing.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{field} at byte {offset} is {value}: {problem}")]
pub struct Invalid {
    /// Which, in snake case: `sending.token_rate`, `provider_specific[1].shape_discard_mode`.
    pub field: String,
    /// Where it begins, in bytes from the start of what was read.
    pub offset: usize,
    /// What it holds; how many bytes there are, where it is cut short.
    pub value: u64,
    /// Why that is wrong.
    pub problem: Problem,
}

/// Why a field's value is wrong. Each has a status of the WSA_QOS_* family.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The bytes end before QOS does.
    #[error("the bytes end here, after {found} of the {} that a {} QOS has{}", abi.qos_size(), abi.name(), other_abi(*abi, *found))]
    QosCutShort {
        /// The layout.
        abi: Abi,
        /// How many bytes there are.
        found: usize,
    },
    /// ProviderSpecific.len says more than there is.
    #[error("{found} bytes follow")]
    BufferCutShort {
        /// How many bytes there are.
        found: usize,
    },
    /// There is more than ProviderSpecific.len says.
    #[error("{bytes} bytes more follow, and belong to nothing")]
    LeftOver {
        /// How many bytes there are too many.
        bytes: usize,
    },
    /// The buffer is longer than is checked.
    #[error("at most {limit} bytes are checked")]
    BufferTooLong {
        /// The most.
        limit: usize,
    },
    /// A flowspec of the QOS.
    #[error(transparent)]
    Flowspec(FlowspecError),
    /// An object's header is cut short.
    #[error("an object takes at least the 8 bytes of its header, and the buffer ends after {found}")]
    HeaderCutShort {
        /// How many bytes are left.
        found: usize,
    },
    /// ObjectLength is not one that this type can have.
    #[error(transparent)]
    ObjectLength(ExpectedLength),
    /// ObjectType is not one that is known.
    #[error("no object of this type is known")]
    UnknownObject,
    /// The same type twice: which one counts would be a guess.
    #[error("there is one of this type already, at byte {first}")]
    Duplicate {
        /// Where the first is.
        first: usize,
    },
    /// Something follows QOS_OBJECT_END_OF_LIST.
    #[error("nothing comes after the end of the list")]
    AfterEnd,
    /// A pointer leads into the list of objects, or to bytes that are something else already.
    #[error("the pointer leads to bytes that belong to something else")]
    Overlap,
    /// A pointer leads into the buffer, and what it should find there goes beyond its end.
    #[error("the pointer leads to {needed} bytes of which the buffer has {found}")]
    PointeeCutShort {
        /// How many bytes it should lead to.
        needed: u64,
        /// How many there are.
        found: usize,
    },
    /// A pointer is null and something is to be there.
    #[error("the pointer is null")]
    NullPointer,
    /// ShapeDiscardMode.
    #[error("a mode is 0 (borrow), 1 (shape), 2 (discard) or 3 (borrow_plus)")]
    ShapeDiscardMode,
    /// ShapingRate.
    #[error("a rate in bytes per second is needed, neither zero nor unspecified")]
    ShapingRate,
    /// A reservation style.
    #[error("a style is 0 (default), 1 (wildcard), 2 (fixed filter) or 3 (shared explicit)")]
    Style,
    /// RSVP_FILTERSPEC's Type.
    #[error("a filterspec's type is 1 to 5")]
    FilterType,
    /// NumFilters.
    #[error("there are filters, and the pointer to them is null")]
    FilterCount,
    /// NumFlowDesc.
    #[error("there are flow descriptors, and the pointer to them is null")]
    FlowCount,
    /// A flowspec inside the buffer.
    #[error(transparent)]
    InnerFlowspec(FlowspecError),
    /// RSVP_POLICY_INFO.
    #[error(transparent)]
    PolicyObject(PolicyProblem),
    /// A policy element's type.
    #[error("type 0 is reserved")]
    ReservedPolicyElement,
    /// An IEEE single that says no number of bytes; the value is its bits.
    #[error("as an IEEE single this is {0}")]
    Single(NotACount),
    /// A number outside of RFC 2215's range; the value is the single's bits.
    #[error("as an IEEE single this is not from 1 to {limit}")]
    OutOfRange {
        /// The largest that is allowed.
        limit: u64,
    },
    /// A value without a status of its own.
    #[error(transparent)]
    Value(ValueProblem),
    /// An object of RSVP.
    #[error(transparent)]
    Rsvp(RsvpProblem),
}

impl Problem {
    /// The status. Source: `winsock2.h`, WSA_QOS_*.
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
    /// The status. Source: `winsock2.h`, WSA_QOS_*.
    pub const fn wsa(&self) -> Wsa {
        self.problem.wsa()
    }
}

/// A 32-bit QOS taken for a 64-bit one is the likely mistake.
fn other_abi(abi: Abi, found: usize) -> &'static str {
    match abi {
        Abi::Win64 if found == Abi::Win32.qos_size() => "; a win32 QOS has as many",
        Abi::Win64 | Abi::Win32 => "",
    }
}
