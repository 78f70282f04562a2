//! The provider-specific objects: what a QOS says beyond its two flowspecs.
//!
//! The buffer is a list. Each object begins with its type and its length, header included; the list
//! ends with QOS_OBJECT_END_OF_LIST or with the buffer. [`RawObjects`] walks it and keeps every bit;
//! [`Object`] is what an object means. A few objects hold pointers. They mean something in one process
//! only, but where one leads into the buffer itself, behind the list, it is followed: that is how
//! SIO_GET_QOS returns them, and how a QOS is kept as one run of bytes (`buf` null, pointers counted
//! from the start of the buffer). Any other pointer is kept as a number and never followed.
//!
//! Lengths are not believed: nothing is read beyond the buffer, no byte is read as two things, and
//! nothing is allocated that the buffer's own bytes do not fill.
//!
//! Source: `qos.h`, `qossp.h`, layouts compiled for both ABIs.

mod adspec;
mod object;
mod pointer;
mod read;
mod reserve;
mod walk;
mod write;

pub use adspec::{Adspec, ControlService, GeneralParams, GuaranteedParams, INDETERMINATE_LATENCY};
pub use object::{DiffservRule, Object, PolicyElement, ShapeDiscardMode};
pub use pointer::{Hex, Outside, Pointee};
pub use reserve::{FilterSpec, FlowDescriptor, PolicyInfo, ReserveInfo, Style};
pub use walk::{HEADER_SIZE, RawObject, RawObjects};

/// ObjectType of every object with a layout. Source: `qos.h`, `qossp.h`.
pub mod object_type {
    /// RSVP_OBJECT_STATUS_INFO.
    pub const STATUS_INFO: u32 = 1000;
    /// RSVP_OBJECT_RESERVE_INFO.
    pub const RESERVE_INFO: u32 = 1001;
    /// RSVP_OBJECT_ADSPEC.
    pub const ADSPEC: u32 = 1002;
    /// RSVP_OBJECT_POLICY_INFO.
    pub const POLICY_INFO: u32 = 1003;
    /// QOS_OBJECT_END_OF_LIST.
    pub const END_OF_LIST: u32 = 2001;
    /// QOS_OBJECT_SD_MODE.
    pub const SD_MODE: u32 = 2002;
    /// QOS_OBJECT_SHAPING_RATE.
    pub const SHAPING_RATE: u32 = 2003;
    /// QOS_OBJECT_DESTADDR.
    pub const DESTADDR: u32 = 2004;
    /// QOS_OBJECT_DS_CLASS.
    pub const DS_CLASS: u32 = 4001;
    /// QOS_OBJECT_TRAFFIC_CLASS.
    pub const TRAFFIC_CLASS: u32 = 4002;
    /// QOS_OBJECT_DIFFSERV.
    pub const DIFFSERV: u32 = 4003;
    /// QOS_OBJECT_TCP_TRAFFIC.
    pub const TCP_TRAFFIC: u32 = 4004;
    /// QOS_OBJECT_FRIENDLY_NAME.
    pub const FRIENDLY_NAME: u32 = 4005;

    /// A bit for each, so that a set of them is a number.
    pub(super) const fn bit(object_type: u32) -> Option<u32> {
        match object_type {
            STATUS_INFO..=POLICY_INFO => Some(1 << (object_type - STATUS_INFO)),
            END_OF_LIST..=DESTADDR => Some(1 << (object_type - END_OF_LIST + 4)),
            DS_CLASS..=FRIENDLY_NAME => Some(1 << (object_type - DS_CLASS + 8)),
            _ => None,
        }
    }

    /// Whether what it means lies partly elsewhere.
    pub(super) const fn has_pointers(object_type: u32) -> bool {
        matches!(object_type, DESTADDR | RESERVE_INFO)
    }

    /// Every one of them.
    pub const ALL: [u32; 13] = [
        STATUS_INFO,
        RESERVE_INFO,
        ADSPEC,
        POLICY_INFO,
        END_OF_LIST,
        SD_MODE,
        SHAPING_RATE,
        DESTADDR,
        DS_CLASS,
        TRAFFIC_CLASS,
        DIFFSERV,
        TCP_TRAFFIC,
        FRIENDLY_NAME,
    ];
}

#[cfg(test)]
mod tests {
    use super::object_type;

    #[test]
    fn every_type_has_a_bit_of_its_own() {
        let bits = object_type::ALL.map(|known| object_type::bit(known).map_or(0, u32::count_ones));
        assert_eq!(bits, [1; 13]);
        let set = object_type::ALL
            .iter()
            .filter_map(|&known| object_type::bit(known))
            .fold(0, |set, bit| set | bit);
        assert_eq!(set.count_ones(), 13);
        for unknown in [0, 999, 1004, 2000, 2005, 4000, 4006, u32::MAX] {
            assert_eq!(object_type::bit(unknown), None);
        }
    }
}
