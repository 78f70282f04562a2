//! A viewer's player: a playback buffer that follows the stream's clock and counts stalls.

use std::time::Duration;

use flowspec::Rate;

use super::media::{PACKET, StreamClock};

/// How much is buffered before play begins.
pub const START: Duration = Duration::from_millis(1_000);

/// How much is buffered before play resumes after a stall.
const RESUME: Duration = Duration::from_millis(500);

/// A player. It is given the stream and the time, counted from any origin, and computes what it could have shown.
#[derive(Clone, Debug, Default)]
pub struct Player {
    clock: StreamClock,
    /// The beginning of a packet.
    partial: Vec<u8>,
    /// How much of the stream, in its own time, has been received.
    buffered: Duration,
    state: PlaybackState,
    stalls: Stalls,
}

/// How often playback waited for data, and for how long.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stalls {
    /// How often play has stopped.
    pub count: u64,
    /// The sum of all stalls.
    pub time: Duration,
}

#[derive(Clone, Copy, Debug, Default)]
enum PlaybackState {
    /// Nothing has been shown yet.
    #[default]
    Starting,
    /// At the time `since`, the position in the stream was `from`.
    Playing { since: Duration, from: Duration },
    /// The buffer was empty at the time `since`, at the position `at` in the stream.
    Stalled { since: Duration, at: Duration },
}

impl Player {
    /// Takes bytes of the stream.
    pub fn feed(&mut self, bytes: &[u8], now: Duration) {
        self.tick(now);
        self.partial.extend_from_slice(bytes);
        let whole = self.partial.len() / PACKET * PACKET;
        for packet in self.partial[..whole].chunks_exact(PACKET) {
            if let Some(ticks) = self.clock.read(packet) {
                self.buffered = StreamClock::time(ticks);
            }
        }
        self.partial.drain(..whole);
        self.tick(now);
    }

    /// Notes the loss of bytes of a stream with this rate. The picture freezes for as long as they would have played.
    pub fn lose(&mut self, bytes: u64, rate: Rate, now: Duration) {
        self.tick(now);
        self.partial.clear();
        self.stalls.count += 1;
        self.stalls.time += Duration::from_millis(bytes * 1000 / rate.get().max(1));
    }

    /// Time passes.
    pub fn tick(&mut self, now: Duration) {
        match self.state {
            PlaybackState::Starting if self.buffered >= START => {
                self.state = PlaybackState::Playing { since: now, from: Duration::ZERO };
            }
            PlaybackState::Playing { since, from } => {
                let due = from + now.saturating_sub(since);
                if due > self.buffered {
                    let ran_dry = since + self.buffered.saturating_sub(from);
                    self.stalls.count += 1;
                    self.state = PlaybackState::Stalled { since: ran_dry, at: self.buffered };
                    self.tick(now);
                }
            }
            PlaybackState::Stalled { since, at } if self.buffered >= at + RESUME => {
                self.stalls.time += now.saturating_sub(since);
                self.state = PlaybackState::Playing { since: now, from: at };
            }
            PlaybackState::Starting | PlaybackState::Stalled { .. } => {}
        }
    }

    /// The stalls so far, the present one included.
    pub fn stalls(&mut self, now: Duration) -> Stalls {
        self.tick(now);
        let current = match self.state {
            PlaybackState::Stalled { since, .. } => now.saturating_sub(since),
            PlaybackState::Starting | PlaybackState::Playing { .. } => Duration::ZERO,
        };
        Stalls { time: self.stalls.time + current, ..self.stalls }
    }

    /// Whether anything has been shown.
    pub const fn has_started(&self) -> bool {
        !matches!(self.state, PlaybackState::Starting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet whose PCR is at this millisecond.
    fn packet(ms: u64) -> [u8; PACKET] {
        let mut packet = [0; PACKET];
        packet[..6].copy_from_slice(&[0x47, 0, 0x20, 0x20, 183, 0x10]);
        // A PCR has 33 bits of base, six reserved bits and nine bits of extension.
        let field = (ms * 90) << 15 | 0x7E00;
        packet[6..12].copy_from_slice(&field.to_be_bytes()[2..]);
        packet
    }

    /// Feeds a packet with each media time at its wall-clock time, in milliseconds, and compares the stalls at the end.
    #[track_caller]
    fn check(name: &str, feeds: &[(u64, u64)], end: u64, expected: (u64, u128)) {
        let mut player = Player::default();
        for &(wall, media) in feeds {
            // In two parts: bytes do not arrive in whole packets.
            let packet = packet(media);
            let wall = Duration::from_millis(wall);
            player.feed(&packet[..100], wall);
            player.feed(&packet[100..], wall);
        }
        let stalls = player.stalls(Duration::from_millis(end));
        assert_eq!((stalls.count, stalls.time.as_millis()), expected, "{name}");
    }

    #[test]
    fn stalls_are_counted_by_the_clock_of_the_stream() {
        check("always a second ahead", &[(0, 0), (0, 1000), (1000, 2000), (2000, 3000)], 2900, (0, 0));
        check("just in time", &[(0, 0), (0, 1000), (1000, 2000)], 2000, (0, 0));
        check("empty at 1000, resumed at 1800", &[(0, 0), (0, 1000), (1800, 2500)], 2000, (1, 800));
        check("empty until the end", &[(0, 0), (0, 1000)], 4000, (1, 3000));
        check(
            "not enough buffered to resume at 1500",
            &[(0, 0), (0, 1000), (1500, 1400), (1700, 1500)],
            1700,
            (1, 700),
        );
        check("never started", &[(0, 0), (500, 900)], 9000, (0, 0));
    }

    #[test]
    fn a_loss_freezes_the_picture_for_its_length() {
        let mut player = Player::default();
        player.lose(1316, Rate::new(131_600), Duration::ZERO);
        let expected = Stalls { count: 1, time: Duration::from_millis(10) };
        assert_eq!(player.stalls(Duration::ZERO), expected);
    }
}
