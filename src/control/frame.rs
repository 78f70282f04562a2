//! Messages: bytes up to a NUL, with a bound on their length and depth.

use std::ffi::CStr;

use serde::Serialize;

use super::limits::MOST_DEPTH;

/// Cuts a stream of bytes into messages.
#[derive(Debug)]
pub struct FrameReader {
    buffer: Vec<u8>,
    /// How much of the buffer is known to hold no NUL.
    scanned: usize,
    /// The largest message without its NUL.
    most: usize,
}

/// Why a stream of bytes has no message next. The connection cannot go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// As many bytes came without a NUL.
    #[error("a message of more than {most} bytes")]
    TooLong {
        /// How many there may be.
        most: usize,
    },
    /// Objects and lists are nested too deeply.
    #[error("a message whose objects and lists are nested more than {MOST_DEPTH} deep")]
    TooDeep,
}

impl FrameReader {
    /// A reader at the start of a stream whose messages have as many bytes at most.
    pub const fn new(most: usize) -> Self {
        Self { buffer: Vec::new(), scanned: 0, most }
    }

    /// Appends what was read. To be followed by [`next_message`](Self::next_message) until that gives none: what is buffered is
    /// bounded by one message and what is pushed at once.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next message without its NUL; `None` where its end was not read yet.
    ///
    /// - **Errors**: it is too long, whether or not its end was read, or nested too deeply.
    pub fn next_message(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        let too_long = FrameError::TooLong { most: self.most };
        let unscanned = CStr::from_bytes_until_nul(&self.buffer[self.scanned..]);
        let Some(after) = unscanned.ok().map(CStr::count_bytes) else {
            self.scanned = self.buffer.len();
            return if self.scanned > self.most { Err(too_long) } else { Ok(None) };
        };
        let end = self.scanned + after;
        if end > self.most {
            return Err(too_long);
        }
        let rest = self.buffer.split_off(end + 1);
        let mut message = std::mem::replace(&mut self.buffer, rest);
        message.pop();
        self.scanned = 0;
        let is_deep = opened(&message) > MOST_DEPTH && depth(&message) > MOST_DEPTH;
        if is_deep { Err(FrameError::TooDeep) } else { Ok(Some(message)) }
    }

    /// Whether the start of a message was read and its end was not.
    pub fn is_within_message(&self) -> bool {
        !self.buffer.is_empty()
    }
}

/// How many brackets open, which is the depth at most: most calls have so few that how they are nested does not matter.
fn opened(text: &[u8]) -> usize {
    text.iter().filter(|byte| matches!(byte, b'{' | b'[')).count()
}

/// How deeply the objects and lists of a JSON text are nested. Of a text that is not JSON, some number.
fn depth(text: &[u8]) -> usize {
    let (mut now, mut most) = (0_usize, 0);
    let mut in_string = false;
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            // The next byte is escaped.
            b'\\' if in_string => drop(bytes.next()),
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                now += 1;
                most = most.max(now);
            }
            b'}' | b']' if !in_string => now = now.saturating_sub(1),
            _ => {}
        }
    }
    most
}

/// A value as a message: JSON and a NUL.
///
/// - **Errors**: a map whose keys are not texts.
pub fn encode(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut message = serde_json::to_vec(value)?;
    message.push(0);
    Ok(message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a reader of at most ten bytes gives, fed in these pieces.
    #[track_caller]
    fn check(name: &str, pieces: &[&str], expected: &[&str], end: Option<FrameError>) {
        let mut reader = FrameReader::new(10);
        let (mut messages, mut error) = (Vec::new(), None);
        'all: for piece in pieces {
            reader.push(piece.as_bytes());
            loop {
                match reader.next_message() {
                    Ok(Some(message)) => messages.push(String::from_utf8(message).unwrap()),
                    Ok(None) => break,
                    Err(problem) => {
                        error = Some(problem);
                        break 'all;
                    }
                }
            }
        }
        assert_eq!(
            (messages, error),
            (expected.iter().map(|text| (*text).to_owned()).collect(), end),
            "{name}"
        );
    }

    #[test]
    fn messages_end_with_a_nul_and_are_bounded() {
        let long = Some(FrameError::TooLong { most: 10 });
        check("one", &["{}\0"], &["{}"], None);
        check("two in a piece", &["{}\0[]\0"], &["{}", "[]"], None);
        check("one in pieces", &["{", "", "}", "\0"], &["{}"], None);
        check("the end of one and the start of another", &["{", "}\0[", "]\0"], &["{}", "[]"], None);
        check("an empty message", &["\0"], &[""], None);
        check("no end", &["{}"], &[], None);
        check("as long as may be", &["0123456789\0"], &["0123456789"], None);
        check("one byte more", &["0123456789x\0"], &[], long);
        check("one byte more, without an end", &["01234", "56789", "x"], &[], long);
        check("a good one before it", &["{}\0", "0123456789x"], &["{}"], long);
    }

    #[test]
    fn the_depth_counts_brackets_outside_of_texts() {
        let check = |text: &str, expected: usize| assert_eq!(depth(text.as_bytes()), expected, "{text}");
        check("1", 0);
        check("{}", 1);
        check(r#"{"a":[1,{"b":2}],"c":{}}"#, 3);
        check(r#"{"a":"[[[[\"[[["}"#, 1);
        check("]]]][", 1);
        let mut reader = FrameReader::new(100);
        let nested = |depth: usize| format!("{}{}\0", "[".repeat(depth), "]".repeat(depth));
        reader.push(nested(MOST_DEPTH).as_bytes());
        assert!(reader.next_message().is_ok_and(|message| message.is_some()));
        reader.push(nested(MOST_DEPTH + 1).as_bytes());
        assert_eq!(reader.next_message(), Err(FrameError::TooDeep));
    }

    proptest! {
        #[test]
        fn any_pieces_of_any_messages_give_the_messages(
            messages in prop::collection::vec(prop::collection::vec(1_u8..=255, 0..40), 0..8),
            cuts in prop::collection::vec(1_usize..17, 0..64),
        ) {
            let expected: Vec<_> = messages.iter().filter(|message| depth(message) <= MOST_DEPTH).cloned().collect();
            let stream: Vec<u8> = expected.iter().flat_map(|message| message.iter().copied().chain([0])).collect();
            let mut reader = FrameReader::new(40);
            let (mut found, mut rest) = (Vec::new(), &stream[..]);
            let mut cuts = cuts.into_iter().chain(std::iter::repeat(16));
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(cuts.next().unwrap_or(1).min(rest.len()));
                reader.push(piece);
                rest = after;
                while let Some(message) = reader.next_message().unwrap() {
                    found.push(message);
                }
            }
            prop_assert_eq!(found, expected);
            prop_assert!(!reader.is_within_message());
        }
    }
}
