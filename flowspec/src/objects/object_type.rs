//! The ObjectType of every object that the headers lay out. Source: `qos.h`, `qossp.h`.

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

/// A bit for each type, so that a set of types is a number.
pub(super) const fn bit(object_type: u32) -> Option<u32> {
    match object_type {
        STATUS_INFO..=POLICY_INFO => Some(1 << (object_type - STATUS_INFO)),
        END_OF_LIST..=DESTADDR => Some(1 << (object_type - END_OF_LIST + 4)),
        DS_CLASS..=FRIENDLY_NAME => Some(1 << (object_type - DS_CLASS + 8)),
        _ => None,
    }
}

/// Whether objects of this type hold pointers.
pub(super) const fn has_pointers(object_type: u32) -> bool {
    matches!(object_type, DESTADDR | RESERVE_INFO)
}

/// Every type.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_a_bit_of_its_own() {
        let bits = ALL.map(|known| bit(known).map_or(0, u32::count_ones));
        assert_eq!(bits, [1; 13]);
        let set = ALL.iter().filter_map(|&known| bit(known)).fold(0, |set, bit| set | bit);
        assert_eq!(set.count_ones(), 13);
        for unknown in [0, 999, 1004, 2000, 2005, 4000, 4006, u32::MAX] {
            assert_eq!(bit(unknown), None);
        }
    }
}
