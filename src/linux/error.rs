//! Errors of the libraries that only `linux` knows, as causes of a [`KernelFailure`](crate::failure::KernelFailure).

use rtnetlink::packet_core::{DoneMessage, ErrorMessage, NlasIterator};

use crate::failure::Cause;

impl From<nix::errno::Errno> for Cause {
    fn from(errno: nix::errno::Errno) -> Self {
        flowspec::Errno::new(errno as i32).into()
    }
}

/// NLMSGERR_ATTR_MSG, `linux/netlink.h`: the kernel's explanation, a C string.
const EXPLANATION: u16 = 1;

/// The header of the request, which an acknowledgement repeats: `struct nlmsghdr`.
const REQUEST_HEADER: usize = 16;

/// The cause in a negative acknowledgement, with the kernel's explanation where it gives one.
///
/// Takes acknowledgements of a socket with NETLINK_CAP_ACK: of the request they repeat the header alone, and the
/// attributes of NETLINK_EXT_ACK follow it.
pub(super) fn refused(error: &ErrorMessage) -> Cause {
    negative(error.raw_code(), error.header.get(REQUEST_HEADER..).unwrap_or_default())
}

/// The cause of a dump that failed in its last message.
pub(super) fn failed_dump(done: &DoneMessage) -> Cause {
    negative(done.code, &done.extended_ack)
}

/// The cause in a negative error number and the attributes beside it.
fn negative(number: i32, attributes: &[u8]) -> Cause {
    let explanation = NlasIterator::new(attributes)
        .map_while(Result::ok)
        .find(|attribute| attribute.kind() == EXPLANATION)
        .map(|attribute| String::from_utf8_lossy(attribute.value()).trim_end_matches('\0').to_owned());
    let errno = flowspec::Errno::new(number.saturating_abs());
    Cause::Errno { errno, extended_ack: explanation.filter(|text| !text.is_empty()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flowspec::Errno;
    use std::num::NonZeroI32;

    fn acknowledgement(number: i32, attributes: &[u8]) -> ErrorMessage {
        let mut message = ErrorMessage::default();
        message.code = NonZeroI32::new(-number);
        message.header = [&[0; REQUEST_HEADER], attributes].concat();
        message
    }

    #[track_caller]
    fn check(number: i32, attributes: &[u8], errno: Errno, extended_ack: Option<&str>) {
        let extended_ack = extended_ack.map(str::to_owned);
        assert_eq!(refused(&acknowledgement(number, attributes)), Cause::Errno { errno, extended_ack });
    }

    /// `tc qdisc add dev lo root handle 1: htb`, twice, kernel 6.18.
    #[test]
    #[cfg(target_endian = "little")]
    fn the_kernels_explanation_is_read_out_of_an_acknowledgement() {
        #[rustfmt::skip]
        let attributes = [
            &[0x27, 0x00, 0x01, 0x00][..],          // length 39, NLMSGERR_ATTR_MSG
            b"Exclusivity flag on, cannot modify\0", // 35 bytes with the final NUL
            &[0x00],                                // padding
        ]
        .concat();
        check(17, &attributes, Errno::EEXIST, Some("Exclusivity flag on, cannot modify"));
        #[rustfmt::skip]
        let offset = [0x08, 0x00, 0x02, 0x00, 0x24, 0x00, 0x00, 0x00]; // NLMSGERR_ATTR_OFFS
        let both = [&offset[..], &attributes].concat();
        check(17, &both, Errno::EEXIST, Some("Exclusivity flag on, cannot modify"));
    }

    #[test]
    fn an_acknowledgement_without_an_explanation_gives_the_number() {
        check(2, &[], Errno::ENOENT, None);
        check(2, &[0xff, 0xff, 0x01, 0x00, b'c', b'u', b't'], Errno::ENOENT, None);
        check(2, &[0x05, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00], Errno::ENOENT, None);
        let mut short = acknowledgement(1, &[]);
        short.header.clear();
        assert_eq!(refused(&short), Errno::EPERM.into());
    }
}
