//! The fields of a transport stream packet that change from one round of a loop to the next.
//!
//! Source: ISO/IEC 13818-1.

/// Bytes in a packet of an MPEG transport stream. Source: ISO/IEC 13818-1, 2.4.3.2.
pub const PACKET: usize = 188;

/// The values of a PCR base or a time stamp: 33 bits, in units of 90 kHz.
pub(super) const STAMP_RANGE: u64 = 1 << 33;

/// The first byte of every packet.
pub(super) const SYNC: u8 = 0x47;

/// The 13 bits of PID. Source: ISO/IEC 13818-1, 2.4.3.2.
pub(super) fn pid(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[1] & 0x1F, packet[2]])
}

/// Whether the packet carries a payload.
pub(super) fn has_payload(packet: &[u8]) -> bool {
    packet[3] & 0x10 != 0
}

/// The six bytes of a packet's program clock reference (PCR).
pub(super) fn pcr_field(packet: &mut [u8]) -> Option<&mut [u8; 6]> {
    let adaptation = packet[3] & 0x20 != 0;
    (adaptation && packet[4] >= 7 && packet[5] & 0x10 != 0).then(|| packet[6..].first_chunk_mut()).flatten()
}

/// A PCR's base, in units of 90 kHz, and extension, in units of 27 MHz.
pub(super) fn read_pcr(field: &[u8; 6]) -> (u64, u64) {
    let [a, b, c, d, e, f] = field.map(u64::from);
    (a << 25 | b << 17 | c << 9 | d << 1 | e >> 7, (e & 1) << 8 | f)
}

#[expect(clippy::cast_possible_truncation, reason = "each byte takes eight of the bits")]
pub(super) fn write_pcr(field: &mut [u8; 6], base: u64, extension: u64) {
    *field = [
        (base >> 25) as u8,
        (base >> 17) as u8,
        (base >> 9) as u8,
        (base >> 1) as u8,
        ((base & 1) << 7) as u8 | 0x7E | (extension >> 8) as u8,
        extension as u8,
    ];
}

/// The header of a packetized elementary stream (PES) at the start of a payload, if it can carry time stamps.
pub(super) fn pes_header(packet: &mut [u8]) -> Option<&mut [u8]> {
    let starts = packet[1] & 0x40 != 0 && has_payload(packet);
    let skip = if packet[3] & 0x20 != 0 { 5 + usize::from(packet[4]) } else { 4 };
    let payload = packet.get_mut(skip..).filter(|payload| starts && payload.len() >= 19)?;
    // These stream ids have no optional header and so no time stamps: padding, private 2, ECM, EMM and others.
    let without = matches!(payload[3], 0xBC | 0xBE | 0xBF | 0xF0 | 0xF1 | 0xF2 | 0xF8 | 0xFF);
    let is_pes = payload[..3] == [0, 0, 1] && !without && payload[6] & 0xC0 == 0x80;
    is_pes.then_some(payload)
}

/// Adds to a time stamp, in units of 90 kHz.
pub(super) fn shift_stamp(field: &mut [u8], later: u64) {
    let bytes = [field[0], field[1], field[2], field[3], field[4]].map(u64::from);
    let [a, b, c, d, e] = bytes;
    let stamp = (a >> 1 & 7) << 30 | b << 22 | (c >> 1) << 15 | d << 7 | e >> 1;
    let stamp = (stamp + later) % STAMP_RANGE;
    field[0] = field[0] & 0xF1 | low_byte((stamp >> 30 & 7) << 1);
    field[1] = low_byte(stamp >> 22);
    field[2] = low_byte((stamp >> 15 & 0x7F) << 1 | 1);
    field[3] = low_byte(stamp >> 7);
    field[4] = low_byte((stamp & 0x7F) << 1 | 1);
}

#[expect(clippy::cast_possible_truncation, reason = "takes the low byte")]
const fn low_byte(value: u64) -> u8 {
    value as u8
}

pub(super) const fn low_nibble(value: u64) -> u8 {
    low_byte(value) & 0xF
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_pcr_is_written_as_it_is_read(base in 0..STAMP_RANGE, extension in 0u64..300) {
            let mut field = [0; 6];
            write_pcr(&mut field, base, extension);
            proptest::prop_assert_eq!(read_pcr(&field), (base, extension));
        }
    }
}
