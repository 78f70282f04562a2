//! The messages of the connect-data handshake, as values and as bytes.
//!
//! Pure. The caller sends an offer, the callee an answer. Every message is
//!
//! ```text
//! 0  "GQOS"            4  version: 1      5  kind: 1 offer, 2 answer      6  zero, 2 bytes
//! 8  body length, 4 bytes                 12 body
//! ```
//!
//! with numbers in network byte order. The body of an offer: a byte of flags (1: flowspecs of the socket follow, 2:
//! flowspecs of its group follow); for each of them two FLOWSPEC structures, sending first, in little endian as they
//! are in memory; then the caller's data, as two bytes of length and the data. The body of an answer: a Winsock code
//! (0 for success) and the extended status, four bytes each; then the callee's data in the same form.

use flowspec::raw::RawFlowspec;
use flowspec::{Flowspec, Qos, Wsa};

/// The most connect data in one message, in bytes.
pub const MAX_CONNECT_DATA: usize = 4096;

/// The length of a message's head, and the most that may follow it.
pub(crate) const HEAD: usize = 12;
pub(crate) const MAX_BODY: usize = 1 + 4 * FLOWSPEC + 2 + MAX_CONNECT_DATA;

const MAGIC: [u8; 4] = *b"GQOS";
const VERSION: u8 = 1;
const FLOWSPEC: usize = 32;
const HAS_SQOS: u8 = 1;
const HAS_GQOS: u8 = 2;

/// The caller's message.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Offer {
    /// The QOS that the caller requests for the connection. Sending is the caller's sending.
    pub sqos: Option<Qos>,
    /// The QOS of the caller's group.
    pub gqos: Option<Qos>,
    /// The caller's data.
    pub data: Vec<u8>,
}

/// The callee's message.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CalleeAnswer {
    /// The code of a refusal; `None` where the connection is accepted.
    pub refused: Option<Wsa>,
    /// The WSA_QOS_* code for the reservation, if there is one to report.
    pub status: Option<Wsa>,
    /// The callee's data.
    pub data: Vec<u8>,
}

/// Why bytes are not a message of the handshake.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// They do not begin with the magic number.
    #[error("not a message of the connect-data handshake")]
    Magic,
    /// Their version is not 1.
    #[error("version {0} of the handshake is not supported")]
    Version(u8),
    /// An answer where an offer was expected, or an offer where an answer was.
    #[error("unexpected message kind {0}")]
    Kind(u8),
    /// A length that does not agree with the parts of the message.
    #[error("a length of {0} bytes does not agree with the parts of the message")]
    Length(usize),
    /// A flowspec that is inconsistent or out of range, unknown flags, or an unknown code.
    #[error("a field of the message is invalid")]
    Field,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum MessageKind {
    Offer = 1,
    Answer = 2,
}

/// Checks a message's head and returns the length of its body.
pub(crate) fn body_length(head: &[u8; HEAD], expected: MessageKind) -> Result<usize, MessageError> {
    if head[..4] != MAGIC {
        return Err(MessageError::Magic);
    }
    if head[4] != VERSION {
        return Err(MessageError::Version(head[4]));
    }
    if head[5] != expected as u8 || head[6..8] != [0, 0] {
        return Err(MessageError::Kind(head[5]));
    }
    let length = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > MAX_BODY { Err(MessageError::Length(length)) } else { Ok(length) }
}

fn message(kind: MessageKind, body: Vec<u8>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD + body.len());
    bytes.extend(MAGIC);
    bytes.extend([VERSION, kind as u8, 0, 0]);
    bytes.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend(body);
    bytes
}

/// Reads the parts of a body in order.
struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], MessageError> {
        let (part, rest) = self.0.split_at_checked(length).ok_or(MessageError::Length(self.0.len()))?;
        self.0 = rest;
        Ok(part)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], MessageError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn qos(&mut self) -> Result<Qos, MessageError> {
        let mut spec = || {
            let raw = RawFlowspec::read(self.take(FLOWSPEC)?).map_err(|_| MessageError::Field)?;
            Flowspec::from_raw(&raw).map_err(|_| MessageError::Field)
        };
        Ok(Qos { sending: spec()?, receiving: spec()? })
    }

    /// The data, which is the last part.
    fn data(mut self) -> Result<Vec<u8>, MessageError> {
        let length = usize::from(u16::from_be_bytes(self.array()?));
        let data = self.take(length)?;
        if length > MAX_CONNECT_DATA || !self.0.is_empty() {
            return Err(MessageError::Length(length));
        }
        Ok(data.to_vec())
    }
}

fn put_data(body: &mut Vec<u8>, data: &[u8]) {
    let data = &data[..data.len().min(MAX_CONNECT_DATA)];
    // Two bytes hold MAX_CONNECT_DATA.
    body.extend(u16::try_from(data.len()).unwrap_or(u16::MAX).to_be_bytes());
    body.extend(data);
}

impl Offer {
    /// The message, head included.
    ///
    /// - **Errors**: a rate that does not fit into a FLOWSPEC.
    pub fn write(&self) -> Result<Vec<u8>, MessageError> {
        let mut flags = 0;
        let mut specs = Vec::new();
        for (qos, flag) in [(&self.sqos, HAS_SQOS), (&self.gqos, HAS_GQOS)] {
            let Some(qos) = qos else { continue };
            flags |= flag;
            for spec in [&qos.sending, &qos.receiving] {
                spec.to_raw().map_err(|_| MessageError::Field)?.write(&mut specs);
            }
        }
        let mut body = vec![flags];
        body.extend(specs);
        put_data(&mut body, &self.data);
        Ok(message(MessageKind::Offer, body))
    }

    /// Reads what follows the header of a message of this kind.
    pub fn read(body: &[u8]) -> Result<Self, MessageError> {
        let mut parts = Parts(body);
        let [flags] = parts.array()?;
        if flags & !(HAS_SQOS | HAS_GQOS) != 0 {
            return Err(MessageError::Field);
        }
        let sqos = (flags & HAS_SQOS != 0).then(|| parts.qos()).transpose()?;
        let gqos = (flags & HAS_GQOS != 0).then(|| parts.qos()).transpose()?;
        Ok(Self { sqos, gqos, data: parts.data()? })
    }
}

impl CalleeAnswer {
    /// The message, head included.
    pub fn write(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for code in [self.refused, self.status] {
            body.extend(code.map_or(0, Wsa::code).to_be_bytes());
        }
        put_data(&mut body, &self.data);
        message(MessageKind::Answer, body)
    }

    /// Reads what follows the header of a message of this kind.
    pub fn read(body: &[u8]) -> Result<Self, MessageError> {
        let mut parts = Parts(body);
        let mut code = || match u32::from_be_bytes(parts.array()?) {
            0 => Ok(None),
            code => Wsa::from_code(code).map(Some).ok_or(MessageError::Field),
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

    fn read_offer(bytes: &[u8]) -> Result<Offer, MessageError> {
        let mut head = [0; HEAD];
        head.copy_from_slice(&bytes[..HEAD]);
        let length = body_length(&head, MessageKind::Offer)?;
        assert_eq!(length, bytes.len() - HEAD);
        Offer::read(&bytes[HEAD..])
    }

    #[test]
    fn messages_have_the_documented_layout() {
        let sqos = Qos::sending(Flowspec::guaranteed(Rate::new(1000), Bytes::new(2000)));
        let offer = Offer { sqos: Some(sqos), gqos: None, data: b"hi".to_vec() };
        let bytes = offer.write().expect("the rates fit");
        assert_eq!(bytes[..13], *b"GQOS\x01\x01\0\0\0\0\0\x45\x01");
        assert_eq!(bytes.len(), 12 + 1 + 64 + 2 + 2);
        assert_eq!(read_offer(&bytes), Ok(offer));
        let answer = CalleeAnswer { refused: Some(Wsa::Eopnotsupp), status: None, data: Vec::new() };
        assert_eq!(answer.write(), *b"GQOS\x01\x02\0\0\0\0\0\x0a\0\0\x27\x3d\0\0\0\0\0\0");
    }

    proptest! {
        /// Any bytes are a message or an error, and a message that was read can be written and read again.
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(offer) = Offer::read(&bytes) {
                let written = offer.write().expect("what was read can be written");
                prop_assert_eq!(read_offer(&written), Ok(offer));
            }
            if let Ok(answer) = CalleeAnswer::read(&bytes) {
                prop_assert_eq!(&answer.write()[HEAD..], &bytes[..]);
            }
        }
    }
}
