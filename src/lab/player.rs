//! A viewer's player: a playback buffer, the stream's own clock, and every stall counted.

use super::media::{Clock, PACKET};

/// How much is buffered before play begins.
pub const START_MS: u64 = 1_000;

/// How much is buffered before play goes on after a stall.
const RESUME_MS: u64 = 500;

/// A player that is told the time: fed with bytes, it knows what it could have shown.
#[derive(Clone, Debug, Default)]
pub struct Player {
    clock: Clock,
    /// A packet that has not come whole yet.
    partial: Vec<u8>,
    /// Milliseconds of media that have come.
    buffered_ms: u64,
    state: State,
    stalls: u64,
    stall_ms: u64,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Nothing has been shown yet.
    #[default]
    Starting,
    /// Showing: the media time that was due at a wall-clock time.
    Playing { since_ms: u64, from_ms: u64 },
    /// The buffer ran dry at this wall-clock time and this media time.
    Stalled { since_ms: u64, at_ms: u64 },
}

impl Player {
    /// Takes bytes of the stream that came at this time, in milliseconds of any clock.
    pub fn feed(&mut self, bytes: &[u8], now_ms: u64) {
        self.tick(now_ms);
        self.partial.extend_from_slice(bytes);
        let whole = self.partial.len() / PACKET * PACKET;
        for packet in self.partial[..whole].chunks_exact(PACKET) {
            if let Some(ticks) = self.clock.read(packet) {
                self.buffered_ms = Clock::millis(ticks);
            }
        }
        self.partial.drain(..whole);
        self.tick(now_ms);
    }

    /// Media that was sent and never came: a gap of this length is a freeze of this length.
    pub fn lose(&mut self, bytes: u64, bytes_per_second: u64, now_ms: u64) {
        self.tick(now_ms);
        self.partial.clear();
        self.stalls += 1;
        self.stall_ms += bytes * 1000 / bytes_per_second.max(1);
    }

    /// Time passes.
    pub fn tick(&mut self, now_ms: u64) {
        match self.state {
            State::Starting if self.buffered_ms >= START_MS => {
                self.state = State::Playing { since_ms: now_ms, from_ms: 0 };
            }
            State::Playing { since_ms, from_ms } => {
                let due = from_ms + now_ms.saturating_sub(since_ms);
                if due > self.buffered_ms {
                    let ran_dry = since_ms + self.buffered_ms.saturating_sub(from_ms);
                    self.stalls += 1;
                    self.state = State::Stalled { since_ms: ran_dry, at_ms: self.buffered_ms };
                    self.tick(now_ms);
                }
            }
            State::Stalled { since_ms, at_ms } if self.buffered_ms >= at_ms + RESUME_MS => {
                self.stall_ms += now_ms.saturating_sub(since_ms);
                self.state = State::Playing { since_ms: now_ms, from_ms: at_ms };
            }
            State::Starting | State::Stalled { .. } => {}
        }
    }

    /// How often play stopped, and for how long in all, up to now.
    pub fn stalls(&mut self, now_ms: u64) -> (u64, u64) {
        self.tick(now_ms);
        let current = match self.state {
            State::Stalled { since_ms, .. } => now_ms.saturating_sub(since_ms),
            State::Starting | State::Playing { .. } => 0,
        };
        (self.stalls, self.stall_ms + current)
    }

    /// Whether anything has been shown.
    pub const fn has_started(&self) -> bool {
        !matches!(self.state, State::Starting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet whose PCR is this many milliseconds.
    fn packet(ms: u64) -> [u8; PACKET] {
        let mut packet = [0; PACKET];
        packet[..6].copy_from_slice(&[0x47, 0, 0x20, 0x20, 183, 0x10]);
        // 33 bits of base, six reserved, nine of extension: the base fills the high bits of six bytes.
        let field = (ms * 90) << 15 | 0x7E00;
        packet[6..12].copy_from_slice(&field.to_be_bytes()[2..]);
        packet
    }

    /// Feeds media times at wall times, then asks at the end.
    #[track_caller]
    fn check(name: &str, feeds: &[(u64, u64)], end: u64, expected: (u64, u64)) {
        let mut player = Player::default();
        for &(wall, media) in feeds {
            // In two halves: packets need not come whole.
            let packet = packet(media);
            player.feed(&packet[..100], wall);
            player.feed(&packet[100..], wall);
        }
        assert_eq!(player.stalls(end), expected, "{name}");
    }

    #[test]
    fn every_stall_is_counted_by_the_streams_clock() {
        check("a second ahead all along", &[(0, 0), (0, 1000), (1000, 2000), (2000, 3000)], 2900, (0, 0));
        check("exactly in time", &[(0, 0), (0, 1000), (1000, 2000)], 2000, (0, 0));
        check("dry at 1000, back at 1800", &[(0, 0), (0, 1000), (1800, 2500)], 2000, (1, 800));
        check("dry and still dry", &[(0, 0), (0, 1000)], 4000, (1, 3000));
        check("too little to resume", &[(0, 0), (0, 1000), (1500, 1400), (1700, 1500)], 1700, (1, 700));
        check("never started", &[(0, 0), (500, 900)], 9000, (0, 0));
    }

    #[test]
    fn a_gap_is_a_freeze_of_its_length() {
        let mut player = Player::default();
        player.lose(1316, 131_600, 0);
        assert_eq!(player.stalls(0), (1, 10));
    }
}
