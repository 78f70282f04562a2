//! MPEG transport streams: their clock, and playing one round and round.
//!
//! Source: ISO/IEC 13818-1. A stream is 188-byte packets; its clock (PCR, 27 MHz) is in some of them.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes in a packet.
pub const PACKET: usize = 188;

/// The PCR's frequency.
const CLOCK: u64 = 27_000_000;

/// PCR base and time stamps count in 33 bits of 90 kHz.
const STAMP_RANGE: u64 = 1 << 33;

/// A PCR that runs on for more than this between two of its packets has jumped.
const LONGEST_STEP: u64 = 10 * CLOCK;

/// The largest file that is read into memory.
const LARGEST: usize = 1 << 30;

/// A transport stream in memory.
#[derive(Clone, Debug)]
pub struct Media {
    bytes: Arc<[u8]>,
    /// Ticks of 27 MHz from one round to the next; a whole number of 90 kHz ticks.
    round: u64,
    /// Payload-carrying packets of each PID in one round: what its continuity counter advances by.
    counts: BTreeMap<u16, u64>,
    /// Where each PCR stands and what it is, from the first, in ticks of 27 MHz.
    clock: Vec<(usize, u64)>,
}

/// Why a file is not a transport stream that can be played.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotPlayable {
    /// The length is not a whole number of packets, or there are none.
    #[error("{length} bytes are not a whole number of {PACKET}-byte packets")]
    Length {
        /// The length.
        length: usize,
    },
    /// Too large to be held in memory.
    #[error("{length} bytes are more than the {LARGEST} that are read")]
    TooLarge {
        /// The length.
        length: usize,
    },
    /// A packet does not begin as one does.
    #[error("there is no packet at byte {offset}: 0x47 is expected, this is {found:#04x}")]
    Sync {
        /// Where.
        offset: usize,
        /// What stands there.
        found: u8,
    },
    /// Fewer than two clock references, or no time between them.
    #[error("the stream has no clock: two program clock references (PCR) with time between are needed")]
    NoClock,
}

impl Media {
    /// Takes a transport stream as it is in a file.
    ///
    /// - **Errors**: it is none, or has no clock.
    pub fn new(bytes: Vec<u8>) -> Result<Self, NotPlayable> {
        let length = bytes.len();
        if length > LARGEST {
            return Err(NotPlayable::TooLarge { length });
        }
        if length == 0 || !length.is_multiple_of(PACKET) {
            return Err(NotPlayable::Length { length });
        }
        let mut counts = BTreeMap::new();
        let mut reader = Clock::default();
        let mut clock = Vec::new();
        for (index, packet) in bytes.chunks_exact(PACKET).enumerate() {
            if packet[0] != SYNC {
                return Err(NotPlayable::Sync { offset: index * PACKET, found: packet[0] });
            }
            if has_payload(packet) {
                *counts.entry(pid(packet)).or_default() += 1;
            }
            if let Some(ticks) = reader.read(packet) {
                clock.push((index * PACKET, ticks));
            }
        }
        let (Some(&(first, _)), Some(&(last, span))) = (clock.first(), clock.last()) else {
            return Err(NotPlayable::NoClock);
        };
        if last == first || span == 0 {
            return Err(NotPlayable::NoClock);
        }
        // What lies before the first and after the last PCR takes as long as its bytes at the mean rate.
        let round = u128::from(span) * length as u128 / (last - first) as u128;
        let round = u64::try_from(round).unwrap_or(u64::MAX).div_ceil(300) * 300;
        Ok(Self { bytes: bytes.into(), round, counts, clock })
    }

    /// Packets in one round.
    pub fn packets(&self) -> u64 {
        (self.bytes.len() / PACKET) as u64
    }

    /// The stream's mean rate, in bytes per second, rounded up.
    pub fn mean_rate(&self) -> u64 {
        let rate = (self.bytes.len() as u128 * u128::from(CLOCK)).div_ceil(u128::from(self.round));
        u64::try_from(rate).unwrap_or(u64::MAX)
    }

    /// The least rate, in bytes per second, at which a player that starts `ahead_ms` of play behind the
    /// sender never waits: the largest of bytes ÷ (time + ahead), and not below the mean.
    pub fn least_rate(&self, ahead_ms: u64) -> u64 {
        let ahead = u128::from(ahead_ms) * u128::from(CLOCK) / 1000;
        let needed = self.clock.iter().map(|&(offset, ticks)| {
            ((offset + PACKET) as u128 * u128::from(CLOCK)).div_ceil(u128::from(ticks) + ahead)
        });
        let most = needed.max().unwrap_or(0);
        u64::try_from(most).unwrap_or(u64::MAX).max(self.mean_rate())
    }

    /// Plays it round and round.
    pub fn looped(&self) -> Looped {
        Looped { media: self.clone(), offset: 0, round: 0 }
    }
}

/// A stream that goes round and round, its clock and its counters running on.
#[derive(Clone, Debug)]
pub struct Looped {
    media: Media,
    offset: usize,
    round: u64,
}

impl Looped {
    /// Fills a buffer of whole packets with what comes next.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        debug_assert!(buffer.len().is_multiple_of(PACKET), "{} bytes", buffer.len());
        for packet in buffer.chunks_exact_mut(PACKET) {
            packet.copy_from_slice(&self.media.bytes[self.offset..self.offset + PACKET]);
            if self.round > 0 {
                self.restamp(packet);
            }
            self.offset += PACKET;
            if self.offset == self.media.bytes.len() {
                self.offset = 0;
                self.round += 1;
            }
        }
    }

    fn restamp(&self, packet: &mut [u8]) {
        let later = self.round * (self.media.round / 300);
        // A packet without payload repeats the counter of the one before it.
        let count = self.media.counts.get(&pid(packet)).copied().unwrap_or(0);
        let counter = u64::from(packet[3] & 0xF) + count % 16 * (self.round % 16);
        packet[3] = packet[3] & 0xF0 | low_nibble(counter);
        if let Some(field) = pcr_field(packet) {
            let (base, extension) = read_pcr(field);
            write_pcr(field, (base + later) % STAMP_RANGE, extension);
        }
        if let Some(header) = pes_header(packet) {
            let stamps = header[7] >> 6;
            if stamps & 0b10 != 0 {
                shift_stamp(&mut header[9..], later);
            }
            if stamps == 0b11 {
                shift_stamp(&mut header[14..], later);
            }
        }
    }
}

/// Reads a stream's clock as its packets pass, whatever the clock's own origin.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    pid: Option<u16>,
    last: Option<u64>,
    elapsed: u64,
}

impl Clock {
    /// Ticks of 27 MHz since the first PCR, where this packet carries one. A jump counts as no time.
    pub fn read(&mut self, packet: &[u8]) -> Option<u64> {
        let mut copy = [0; PACKET];
        copy.copy_from_slice(packet.get(..PACKET)?);
        let (base, extension) = read_pcr(pcr_field(&mut copy)?);
        if *self.pid.get_or_insert(pid(packet)) != pid(packet) {
            return None;
        }
        let now = base * 300 + extension;
        if let Some(last) = self.last {
            let range = STAMP_RANGE * 300;
            let step = (now + range - last) % range;
            self.elapsed += if step <= LONGEST_STEP { step } else { 0 };
        }
        self.last = Some(now);
        Some(self.elapsed)
    }

    /// Milliseconds of a number of ticks, rounded down.
    pub const fn millis(ticks: u64) -> u64 {
        ticks / (CLOCK / 1000)
    }
}

const SYNC: u8 = 0x47;

fn pid(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[1] & 0x1F, packet[2]])
}

fn has_payload(packet: &[u8]) -> bool {
    packet[3] & 0x10 != 0
}

/// The six bytes of a PCR, where a packet has one.
fn pcr_field(packet: &mut [u8]) -> Option<&mut [u8; 6]> {
    let adaptation = packet[3] & 0x20 != 0;
    (adaptation && packet[4] >= 7 && packet[5] & 0x10 != 0).then(|| packet[6..].first_chunk_mut()).flatten()
}

fn read_pcr(field: &[u8; 6]) -> (u64, u64) {
    let [a, b, c, d, e, f] = field.map(u64::from);
    (a << 25 | b << 17 | c << 9 | d << 1 | e >> 7, (e & 1) << 8 | f)
}

#[expect(clippy::cast_possible_truncation, reason = "each byte takes its eight bits")]
fn write_pcr(field: &mut [u8; 6], base: u64, extension: u64) {
    *field = [
        (base >> 25) as u8,
        (base >> 17) as u8,
        (base >> 9) as u8,
        (base >> 1) as u8,
        ((base & 1) << 7) as u8 | 0x7E | (extension >> 8) as u8,
        extension as u8,
    ];
}

/// A PES header at the start of a payload, with room for both time stamps.
fn pes_header(packet: &mut [u8]) -> Option<&mut [u8]> {
    let starts = packet[1] & 0x40 != 0 && has_payload(packet);
    let skip = if packet[3] & 0x20 != 0 { 5 + usize::from(packet[4]) } else { 4 };
    let payload = packet.get_mut(skip..).filter(|payload| starts && payload.len() >= 19)?;
    // Stream ids without the optional header carry no time stamps: padding, private 2, ECM, EMM and so on.
    let without = matches!(payload[3], 0xBC | 0xBE | 0xBF | 0xF0 | 0xF1 | 0xF2 | 0xF8 | 0xFF);
    let is_pes = payload[..3] == [0, 0, 1] && !without && payload[6] & 0xC0 == 0x80;
    is_pes.then_some(payload)
}

fn shift_stamp(field: &mut [u8], later: u64) {
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

#[expect(clippy::cast_possible_truncation, reason = "the low byte is meant")]
const fn low_byte(value: u64) -> u8 {
    value as u8
}

const fn low_nibble(value: u64) -> u8 {
    low_byte(value) & 0xF
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(name: &str) -> Media {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/media").join(name);
        Media::new(std::fs::read(path).expect("the sample is in the repository")).expect("playable")
    }

    #[test]
    fn the_samples_have_the_rates_their_templates_are_for() {
        for (name, least, most) in
            [("1080p.ts", 440_000, 500_000), ("720p.ts", 270_000, 312_500), ("480p.ts", 160_000, 187_500)]
        {
            let media = sample(name);
            let (mean, needed) = (media.mean_rate(), media.least_rate(1000));
            assert!((least..=most).contains(&mean), "{name}: {mean} B/s");
            assert!((mean..=most).contains(&needed), "{name}: {needed} B/s");
        }
    }

    #[test]
    fn the_clock_runs_on_from_round_to_round() {
        let media = sample("480p.ts");
        let mut looped = media.looped();
        let mut clock = Clock::default();
        let mut last = 0;
        let mut packet = [0; PACKET];
        for _ in 0..media.bytes.len() / PACKET * 5 {
            looped.fill(&mut packet);
            if let Some(ticks) = clock.read(&packet) {
                assert!(ticks - last <= CLOCK / 5, "a step of {} ms", Clock::millis(ticks - last));
                last = ticks;
            }
        }
        let expected = 5 * media.round;
        assert!(last <= expected && last + CLOCK / 5 >= expected, "{last} of {expected}");
    }

    #[test]
    fn continuity_counters_run_on() {
        let media = sample("480p.ts");
        let mut looped = media.looped();
        let mut counters: BTreeMap<u16, u8> = BTreeMap::new();
        let mut packet = [0; PACKET];
        for _ in 0..media.bytes.len() / PACKET * 20 {
            looped.fill(&mut packet);
            if pid(&packet) != 0x1FFF {
                let counter = packet[3] & 0xF;
                if let Some(last) = counters.insert(pid(&packet), counter) {
                    let step = u8::from(has_payload(&packet));
                    assert_eq!(counter, (last + step) % 16, "PID {}", pid(&packet));
                }
            }
        }
    }

    #[test]
    fn what_is_no_stream_is_refused() {
        let refused = |bytes: Vec<u8>| Media::new(bytes).expect_err("not playable");
        assert_eq!(refused(Vec::new()), NotPlayable::Length { length: 0 });
        assert_eq!(refused(vec![SYNC; 187]), NotPlayable::Length { length: 187 });
        assert_eq!(refused(vec![0; 188]), NotPlayable::Sync { offset: 0, found: 0 });
        let mut silent = vec![0; 188];
        silent[0] = SYNC;
        assert_eq!(refused(silent), NotPlayable::NoClock);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), PACKET * 4)) {
            for packet in bytes.chunks_exact_mut(PACKET) {
                packet[0] = SYNC;
            }
            if let Ok(media) = Media::new(bytes) {
                let mut looped = media.looped();
                looped.fill(&mut [0; PACKET * 12]);
            }
        }

        #[test]
        fn a_pcr_is_written_as_it_is_read(base in 0..STAMP_RANGE, extension in 0u64..300) {
            let mut field = [0; 6];
            write_pcr(&mut field, base, extension);
            proptest::prop_assert_eq!(read_pcr(&field), (base, extension));
        }
    }
}
