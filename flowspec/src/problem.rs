//! Why a field's value is not valid, in detail: lengths, policy objects, values, RSVP's structure.
//!
//! [`FieldProblem`](crate::FieldProblem) has one variant for each status of the WSA_QOS_* family; where one status covers
//! several reasons, the reason is one of the types here.

/// The length that an object of a type can have.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ExpectedLength {
    /// One length only.
    #[error("an object of type {object_type} takes {bytes} bytes")]
    Exactly {
        /// The object's number in `qos.h` or `qossp.h`.
        object_type: u32,
        /// ObjectLength, header included.
        bytes: usize,
    },
    /// The header, which every object has.
    #[error("an object takes at least 8 bytes, and {left} {} left", if *left == 1 { "is" } else { "are" })]
    Header {
        /// The bytes that are left in the buffer.
        left: usize,
    },
    /// A policy object that a pointer leads to.
    #[error("a policy object takes at least 12 bytes, and {left} are left")]
    PointedPolicy {
        /// The bytes that are left in the buffer.
        left: usize,
    },
    /// RSVP_POLICY_INFO, whose elements' lengths vary.
    #[error("a policy object takes at least 12 bytes")]
    Policy,
    /// RSVP_ADSPEC, whose number of services varies.
    #[error("an ADSPEC takes 32 bytes, and 44 for each service")]
    Adspec,
    /// CONTROL_SERVICE, inside an ADSPEC.
    #[error("a service takes 44 bytes")]
    Service,
    /// QOS_DIFFSERV, whose number of rules varies.
    #[error("a DIFFSERV object takes at least 12 bytes")]
    Diffserv,
}

/// What is wrong with a policy object. The status is WSA_QOS_EPOLICYOBJ.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyProblem {
    /// PolicyElementList leads to an object of another type.
    #[error("a policy object is of type 1003")]
    ObjectType,
    /// NumPolicyElement does not agree with ObjectLength.
    #[error("ObjectLength is that of another number of elements")]
    ElementCount,
    /// An element's Len is less than its header or more than the rest of the object.
    #[error("an element takes at least 4 bytes, and at most those that are left")]
    ElementLength,
    /// An element is longer than its 16-bit Len can express.
    #[error("an element takes at most 65535 bytes")]
    ElementTooLong,
}

/// A value without a status of its own. The status is WSA_QOS_BAD_OBJECT.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueProblem {
    /// A differentiated services code point that 6 bits cannot hold.
    #[error("a code point is 0 to 63")]
    CodePoint,
    /// An 802.1p priority that 3 bits cannot hold.
    #[error("an 802.1p priority is 0 to 7")]
    UserPriority,
    /// SocketAddressLength is that of neither `sockaddr_in` nor `sockaddr_in6`.
    #[error("a socket address takes 16 bytes (IPv4) or 28 (IPv6)")]
    SocketAddressLength,
    /// `sa_family` is not Winsock's AF_INET or AF_INET6, or its address has another length.
    #[error("a socket address has family 2 and 16 bytes (IPv4), or family 23 and 28 bytes (IPv6)")]
    SocketAddressFamily,
    /// NumberOfServices of an ADSPEC does not agree with ObjectLength.
    #[error("ObjectLength is that of another number of services")]
    ServiceCount,
    /// DSFieldCount does not agree with ObjectLength.
    #[error("ObjectLength is that of another number of rules, which take 5 bytes each")]
    RuleCount,
    /// A second rule has the InboundDSField of an earlier one.
    #[error("another rule is for this code point")]
    DuplicateRule,
    /// FriendlyName without its zero.
    #[error("a name has at most 255 UTF-16 units and ends with a zero")]
    NameWithoutEnd,
    /// FriendlyName with a zero inside, or too long.
    #[error("a name has at most 255 UTF-16 units, and none of them is zero")]
    NameTooLong,
    /// FriendlyName that is not UTF-16.
    #[error("half of a UTF-16 surrogate pair")]
    SurrogateHalf,
    /// A rate that the object's 32 bits cannot hold.
    #[error("the object has 32 bits for a rate: at most 4294967294 B/s")]
    RateTooLarge,
}

/// What is wrong with an object of RSVP. The status is WSA_QOS_BAD_OBJECT.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RsvpProblem {
    /// Fewer bytes than RSVP's header takes.
    #[error("an object begins with a header of 4 bytes")]
    NoHeader,
    /// RSVP's Length is not the number of bytes that were read.
    #[error("the length is that of the bytes that are read")]
    Length,
    /// Class-Num is not that of an object of RFC 2210.
    #[error("IntServ's classes are 9 (FLOWSPEC), 12 (SENDER_TSPEC) and 13 (ADSPEC)")]
    Class,
    /// C-Type is not IntServ's.
    #[error("IntServ's type is 2")]
    ClassType,
    /// Length is no multiple of 4.
    #[error("an object is a whole number of words")]
    PartialWord,
    /// Fewer bytes than IntServ's header takes.
    #[error("an IntServ object begins with a header of 4 bytes")]
    NoIntServHeader,
    /// The message format's version, in the first 4 bits of IntServ's header, is not 0.
    #[error("the version is 0")]
    Version,
    /// IntServ's length does not agree with RSVP's.
    #[error("IntServ's length is the number of words that follow it")]
    OverallLength,
    /// The object ends inside of a parameter.
    #[error("the object ends before its parameters do")]
    EndsEarly,
    /// Words that follow the last parameter.
    #[error("words follow that are part of no parameter")]
    LeftOver,
    /// A service or a parameter that is longer than the object.
    #[error("the block is longer than the rest of the object")]
    BlockTooLong,
    /// A service's or a parameter's number is not the one that RFC 2210 has in this place.
    #[error("RFC 2210 has another number here")]
    Number,
    /// A service's or a parameter's length is not the one that RFC 2210 has in this place.
    #[error("RFC 2210 has another length here")]
    BlockLength,
    /// A parameter's flags have a bit that RFC 2210 does not assign.
    #[error("no flag is set here; bit 7 marks a parameter that is not valid")]
    Flags,
    /// R < r: guaranteed service would fall behind its source.
    #[error("R is at least r")]
    ReservedBelowTokenRate,
    /// An ADSPEC begins with another service than the general parameters.
    #[error("the general parameters, service 1, come first")]
    GeneralFirst,
    /// The general parameters lack NUMBER_OF_IS_HOPS, AVAILABLE_PATH_BANDWIDTH, MINIMUM_PATH_LATENCY or PATH_MTU.
    #[error("each of the four general parameters is needed")]
    GeneralMissing,
    /// An ADSPEC has one service more than once.
    #[error("the service is there twice")]
    DuplicateService,
    /// Guaranteed service lacks one of its four error terms. Source: RFC 2212.
    #[error("guaranteed service has Ctot, Dtot, Csum and Dsum")]
    TermMissing,
    /// A service without a delay bound has error terms.
    #[error("only guaranteed service has error terms")]
    UnexpectedTerm,
    /// A parameter number that RFC 2215 and 2212 do not assign.
    #[error("no such parameter is known")]
    UnknownParameter,
    /// A service has one parameter more than once.
    #[error("the parameter is there twice")]
    DuplicateParameter,
    /// A value that the object's 32 bits cannot hold.
    #[error("the object has 32 bits for this value")]
    Above32Bits,
    /// A value that the object's 32 bits cannot hold, or that is the sentinel at their end.
    #[error("the object has 32 bits for this value, with a sentinel at their end")]
    AtOrAboveSentinel,
}
