//! MPEG transport streams: their clock, and sending one in a loop.
//!
//! Source: ISO/IEC 13818-1. A stream consists of 188-byte packets; some of them carry its clock, the program clock
//! reference (PCR) of 27 MHz.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flowspec::Rate;

pub use super::packet::PACKET;
use super::packet::{
    STAMP_RANGE, SYNC, has_payload, low_nibble, pcr_field, pes_header, pid, read_pcr, shift_stamp, write_pcr,
};

/// The frequency of a PCR.
const CLOCK: u64 = 27_000_000;

/// A larger step between two PCRs is a jump of the clock, in ticks.
const LONGEST_STEP: u64 = 10 * CLOCK;

/// The largest file that is read into memory, in bytes.
const LARGEST: usize = 1 << 30;

/// A transport stream in memory.
#[derive(Clone, Debug)]
pub struct Media {
    bytes: Arc<[u8]>,
    /// The length of one round in ticks of 27 MHz; a whole number of 90 kHz ticks.
    round: u64,
    /// The packets with a payload in one round, by PID: the continuity counter advances by as many.
    counts: BTreeMap<u16, u64>,
    /// The byte offset of each PCR and the ticks of 27 MHz since the first.
    clock: Vec<(usize, u64)>,
}

/// Why a file cannot be played.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NotPlayable {
    /// The length is zero or not a whole number of packets.
    #[error("{length} bytes are not a whole number of {PACKET}-byte packets")]
    Length {
        /// The length in bytes.
        length: usize,
    },
    /// The file is too large to be held in memory.
    #[error("{length} bytes are too many: at most {LARGEST} bytes are read")]
    TooLarge {
        /// The length in bytes.
        length: usize,
    },
    /// A packet does not start with 0x47.
    #[error("there is no packet at byte {offset}: expected 0x47, found {found:#04x}")]
    Sync {
        /// The byte offset of the packet.
        offset: usize,
        /// Its first byte.
        found: u8,
    },
    /// Fewer than two clock references, or no time between them.
    #[error("the stream has no clock: it needs two program clock references (PCR) with time between them")]
    NoClock,
}

impl Media {
    /// Takes the bytes of a transport stream.
    ///
    /// - **Errors**: the bytes are not a transport stream, or it has no clock.
    pub fn new(bytes: Vec<u8>) -> Result<Self, NotPlayable> {
        let length = bytes.len();
        if length > LARGEST {
            return Err(NotPlayable::TooLarge { length });
        }
        if length == 0 || !length.is_multiple_of(PACKET) {
            return Err(NotPlayable::Length { length });
        }
        let mut counts = BTreeMap::new();
        let mut reader = StreamClock::default();
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
        // The parts before the first and after the last PCR are taken to have the mean rate of the rest.
        let round = u128::from(span) * length as u128 / (last - first) as u128;
        let round = u64::try_from(round).unwrap_or(u64::MAX).div_ceil(300) * 300;
        Ok(Self { bytes: bytes.into(), round, counts, clock })
    }

    /// MPEG transport stream packets of 188 bytes, in one round of the loop.
    pub fn packets(&self) -> u64 {
        (self.bytes.len() / PACKET) as u64
    }

    /// The mean rate of the stream, rounded up.
    pub fn mean_rate(&self) -> Rate {
        let rate = (self.bytes.len() as u128 * u128::from(CLOCK)).div_ceil(u128::from(self.round));
        Rate::new(u64::try_from(rate).unwrap_or(u64::MAX))
    }

    /// The least rate at which a player never stalls, if it starts once it has buffered `ahead` of play.
    ///
    /// The largest of `bytes ÷ (time + ahead)` at each PCR, rounded up, and not below the mean rate.
    pub fn least_rate(&self, ahead: Duration) -> Rate {
        let ahead = ahead.as_millis() * u128::from(CLOCK) / 1000;
        let needed = self.clock.iter().map(|&(offset, ticks)| {
            ((offset + PACKET) as u128 * u128::from(CLOCK)).div_ceil(u128::from(ticks) + ahead)
        });
        let most = needed.max().unwrap_or(0);
        Rate::new(u64::try_from(most).unwrap_or(u64::MAX)).max(self.mean_rate())
    }

    /// The stream in an endless loop.
    pub fn looped(&self) -> Looped {
        Looped { media: self.clone(), offset: 0, round: 0 }
    }
}

/// A stream in an endless loop. Its clock and its continuity counters run on from round to round.
#[derive(Clone, Debug)]
pub struct Looped {
    media: Media,
    offset: usize,
    round: u64,
}

impl Looped {
    /// Fills a buffer of whole packets with the next packets.
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

    /// Moves a packet's counter, PCR and time stamps from the first round to the present one.
    fn restamp(&self, packet: &mut [u8]) {
        let later = self.round * (self.media.round / 300);
        // A packet without a payload repeats the counter of the packet before it.
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

/// Reads the clock of a stream packet by packet.
#[derive(Clone, Debug, Default)]
pub struct StreamClock {
    pid: Option<u16>,
    last: Option<u64>,
    elapsed: u64,
}

impl StreamClock {
    /// The ticks of 27 MHz since the first PCR, if this packet carries one. A jump counts as no time.
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

    /// The time of a number of ticks, in whole milliseconds, rounded down.
    pub const fn time(ticks: u64) -> Duration {
        Duration::from_millis(ticks / (CLOCK / 1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(name: &str) -> Media {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/media").join(name);
        Media::new(std::fs::read(path).expect("the sample is in the repository")).expect("playable")
    }

    #[test]
    fn the_samples_fit_their_templates() {
        for (name, least, most) in
            [("1080p.ts", 440_000, 500_000), ("720p.ts", 270_000, 312_500), ("480p.ts", 160_000, 187_500)]
        {
            let media = sample(name);
            let (mean, needed) = (media.mean_rate().get(), media.least_rate(Duration::from_secs(1)).get());
            assert!((least..=most).contains(&mean), "{name}: {mean} B/s");
            assert!((mean..=most).contains(&needed), "{name}: {needed} B/s");
        }
    }

    #[test]
    fn the_clock_runs_on_from_round_to_round() {
        let media = sample("480p.ts");
        let mut looped = media.looped();
        let mut clock = StreamClock::default();
        let mut last = 0;
        let mut packet = [0; PACKET];
        for _ in 0..media.bytes.len() / PACKET * 5 {
            looped.fill(&mut packet);
            if let Some(ticks) = clock.read(&packet) {
                assert!(ticks - last <= CLOCK / 5, "a step of {:?}", StreamClock::time(ticks - last));
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
    fn other_bytes_are_refused() {
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
    }
}
