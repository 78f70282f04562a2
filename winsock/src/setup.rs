//! The set-up exchange: what a caller offers before its connection stands, and what it is answered.
//!
//! Pure: values to bytes and back. Every message is
//!
//! ```text
//! 0  "GQOS"          4  version, 1      5  kind: 1 offer, 2 answer      6  zero, 2 bytes
//! 8  length of the rest, 4 bytes        12 the rest
//! ```
//!
//! with numbers in network order. The rest of an offer: a byte of flags (1: flowspecs of the socket follow, 2:
//! flowspecs of its group follow), for each of them FLOWSPEC twice, sending first, little endian as it lies in
//! memory, then the caller's data: two bytes of length, and it. The rest of an answer: a Winsock code, 0 for
//! yes, and the extended status, four bytes each, then the callee's data likewise.

use flowspec::raw::RawFlowspec;
use flowspec::{Flowspec, Qos, Wsa};

/// The most data that either side may bring along.
pub const MOST_DATA: usize = 4096;

/// The length of a message's head, and the most that may follow.
pub(super) const HEAD: usize = 12;
pub(super) const LONGEST_REST: usize = 1 + 4 * FLOWSPEC + 2 + MOST_DATA;

const MAGIC: [u8; 4] = *b"GQOS";
const VERSION: u8 = 1;
const FLOWSPEC: usize = 32;
const HAS_SQOS: u8 = 1;
const HAS_GQOS: u8 = 2;

/// What a caller offers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Offer {
    /// What its flow is to get, as the caller sees it.
    pub sqos: Option<Qos>,
    /// What its group is to get.
    pub gqos: Option<Qos>,
    /// Its data.
    pub data: Vec<u8>,
}

/// What it is answered.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Answer {
    /// Why not; yes where there is nothing.
    pub refused: Option<Wsa>,
    /// The extended status.
    pub status: Option<Wsa>,
    /// The callee's data.
    pub data: Vec<u8>,
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotAMessage {
    /// They do not begin as one does.
    #[error("this is no set-up exchange")]
    Magic,
    /// A version that is not spoken here.
    #[error("version {0} of the exchange is not spoken")]
    Version(u8),
    /// An answer where an offer was due, or the other way round.
    #[error("kind {0} is not due")]
    Kind(u8),
    /// More or less than its parts come to.
    #[error("{0} bytes are not what the message's parts come to")]
    Length(usize),
    /// A flowspec without sense, or a code that nobody knows.
    #[error("a part of it makes no sense")]
    Sense,
}

/// Kinds of messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Offer = 1,
    Answer = 2,
}

/// How long the rest of a message is, by its head.
///
/// - **Errors**: what the head is not.
pub(super) fn rest_of(head: &[u8; HEAD], due: Kind) -> Result<usize, NotAMessage> {
    if head[..4] != MAGIC {
        return Err(NotAMessage::Magic);
    }
    if head[4] != VERSION {
        return Err(NotAMessage::Version(head[4]));
    }
    if head[5] != due as u8 || head[6..8] != [0, 0] {
        return Err(NotAMessage::Kind(head[5]));
    }
    let length = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > LONGEST_REST { Err(NotAMessage::Length(length)) } else { Ok(length) }
}

fn message(kind: Kind, rest: Vec<u8>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD + rest.len());
    bytes.extend(MAGIC);
    bytes.extend([VERSION, kind as u8, 0, 0]);
    bytes.extend(u32::try_from(rest.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend(rest);
    bytes
}

/// Takes a message's parts one after the other.
struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], NotAMessage> {
        let (part, rest) = self.0.split_at_checked(length).ok_or(NotAMessage::Length(self.0.len()))?;
        self.0 = rest;
        Ok(part)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], NotAMessage> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn qos(&mut self) -> Result<Qos, NotAMessage> {
        let mut spec = || {
            let raw = RawFlowspec::read(self.take(FLOWSPEC)?).map_err(|_| NotAMessage::Sense)?;
            Flowspec::from_raw(&raw).map_err(|_| NotAMessage::Sense)
        };
        Ok(Qos { sending: spec()?, receiving: spec()? })
    }

    /// The data, with which the message ends.
    fn data(mut self) -> Result<Vec<u8>, NotAMessage> {
        let length = usize::from(u16::from_be_bytes(self.array()?));
        let data = self.take(length)?;
        if length > MOST_DATA || !self.0.is_empty() {
            return Err(NotAMessage::Length(length));
        }
        Ok(data.to_vec())
    }
}

fn put_data(rest: &mut Vec<u8>, data: &[u8]) {
    let data = &data[..data.len().min(MOST_DATA)];
    // At most MOST_DATA, which two bytes hold.
    rest.extend(u16::try_from(data.len()).unwrap_or(u16::MAX).to_be_bytes());
    rest.extend(data);
}

impl Offer {
    /// The whole message.
    ///
    /// - **Errors**: a rate above what FLOWSPEC holds.
    pub fn write(&self) -> Result<Vec<u8>, NotAMessage> {
        let mut flags = 0;
        let mut specs = Vec::new();
        for (qos, flag) in [(&self.sqos, HAS_SQOS), (&self.gqos, HAS_GQOS)] {
            let Some(qos) = qos else { continue };
            flags |= flag;
            for spec in [&qos.sending, &qos.receiving] {
                spec.to_raw().map_err(|_| NotAMessage::Sense)?.write(&mut specs);
            }
        }
        let mut rest = vec![flags];
        rest.extend(specs);
        put_data(&mut rest, &self.data);
        Ok(message(Kind::Offer, rest))
    }

    /// What follows the head.
    ///
    /// - **Errors**: what it is not.
    pub fn read(rest: &[u8]) -> Result<Self, NotAMessage> {
        let mut parts = Parts(rest);
        let [flags] = parts.array()?;
        if flags & !(HAS_SQOS | HAS_GQOS) != 0 {
            return Err(NotAMessage::Sense);
        }
        let sqos = (flags & HAS_SQOS != 0).then(|| parts.qos()).transpose()?;
        let gqos = (flags & HAS_GQOS != 0).then(|| parts.qos()).transpose()?;
        Ok(Self { sqos, gqos, data: parts.data()? })
    }
}

impl Answer {
    /// The whole message.
    pub fn write(&self) -> Vec<u8> {
        let mut rest = Vec::new();
        for code in [self.refused, self.status] {
            rest.extend(code.map_or(0, Wsa::code).to_be_bytes());
        }
        put_data(&mut rest, &self.data);
        message(Kind::Answer, rest)
    }

    /// What follows the head.
    ///
    /// - **Errors**: what it is not.
    pub fn read(rest: &[u8]) -> Result<Self, NotAMessage> {
        let mut parts = Parts(rest);
        let mut code = || match u32::from_be_bytes(parts.array()?) {
            0 => Ok(None),
            code => Wsa::from_code(code).map(Some).ok_or(NotAMessage::Sense),
        };
        let (refused, status) = (code()?, code()?);
        Ok(Self { refused, status, data: parts.data()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flowspec::{Bytes, Rate};
    use proptest::prelude::*;

    fn offered(bytes: &[u8]) -> Result<Offer, NotAMessage> {
        let mut head = [0; HEAD];
        head.copy_from_slice(&bytes[..HEAD]);
        let length = rest_of(&head, Kind::Offer)?;
        assert_eq!(length, bytes.len() - HEAD);
        Offer::read(&bytes[HEAD..])
    }

    #[test]
    fn messages_are_what_the_page_says() {
        let sqos = Qos::sending(Flowspec::guaranteed(Rate::new(1000), Bytes::new(2000)));
        let offer = Offer { sqos: Some(sqos), gqos: None, data: b"hi".to_vec() };
        let bytes = offer.write().expect("small rates");
        assert_eq!(bytes[..13], *b"GQOS\x01\x01\0\0\0\0\0\x45\x01");
        assert_eq!(bytes.len(), 12 + 1 + 64 + 2 + 2);
        assert_eq!(offered(&bytes), Ok(offer));
        let answer = Answer { refused: Some(Wsa::Eopnotsupp), status: None, data: Vec::new() };
        assert_eq!(answer.write(), *b"GQOS\x01\x02\0\0\0\0\0\x0a\0\0\x27\x3d\0\0\0\0\0\0");
    }

    proptest! {
        /// No bytes are too strange, and what reads back is what was written.
        #[test]
        fn any_bytes_are_a_message_or_not(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(offer) = Offer::read(&bytes) {
                let written = offer.write().expect("what was read fits");
                prop_assert_eq!(offered(&written), Ok(offer));
            }
            if let Ok(answer) = Answer::read(&bytes) {
                prop_assert_eq!(&answer.write()[HEAD..], &bytes[..]);
            }
        }
    }
}
