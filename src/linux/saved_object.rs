//! One qdisc, class or filter of a saved tree, as a value that can be written down.

use rtnetlink::packet_core::{DefaultNla, Nla};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::tc::{TcAttribute, TcMessage};
use serde::{Deserialize, Serialize};

use super::traffic::{header, kind, with_options};
use crate::tc::{ClassPlace, ForeignRoot, Handle};

/// What an object is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ObjectKind {
    Qdisc,
    Class,
    Filter,
}

/// An object, with everything that the request which makes it has.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SavedObject {
    pub(super) object: ObjectKind,
    /// TCA_KIND.
    pub(super) kind: String,
    handle: u32,
    parent: u32,
    /// Of a filter its priority and its protocol.
    info: u32,
    /// TCA_OPTIONS, in hexadecimal.
    options: String,
    /// TCA_EGRESS_BLOCK, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    block: Option<String>,
}

/// Why written objects make no tree.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum UnusableObject {
    #[error("it has {count} objects, and at most {most} are saved")]
    TooMany { count: usize, most: usize },
    #[error("it does not begin with its root, {root}")]
    NoRoot { root: ForeignRoot },
    #[error("it has a {kind:?}, which is never saved")]
    Kind { kind: String },
    #[error("{start:?} is not hexadecimal")]
    NotHexadecimal { start: String },
}

const TCA_OPTIONS: u16 = 2;
pub(super) const TCA_EGRESS_BLOCK: u16 = 14;

impl SavedObject {
    /// The object that a request makes; `None` for a request that makes none.
    pub(super) fn of(request: &RouteNetlinkMessage) -> Option<Self> {
        let (object, message) = match request {
            RouteNetlinkMessage::NewQueueDiscipline(message) => (ObjectKind::Qdisc, message),
            RouteNetlinkMessage::NewTrafficClass(message) => (ObjectKind::Class, message),
            RouteNetlinkMessage::NewTrafficFilter(message) => (ObjectKind::Filter, message),
            _ => return None,
        };
        Some(Self {
            object,
            kind: kind(message).to_owned(),
            handle: message.header.handle.into(),
            parent: message.header.parent.into(),
            info: message.header.info,
            options: raw(message, TCA_OPTIONS).unwrap_or_default(),
            block: raw(message, TCA_EGRESS_BLOCK),
        })
    }

    /// Where it is.
    pub(super) const fn place(&self) -> ClassPlace {
        ClassPlace { handle: Handle::from_u32(self.handle), parent: Handle::from_u32(self.parent) }
    }

    /// The request that makes it on an interface.
    ///
    /// - **Errors**: a text that is not hexadecimal.
    pub(super) fn request(&self, index: u32) -> Result<RouteNetlinkMessage, UnusableObject> {
        let ClassPlace { handle, parent } = self.place();
        let mut message = with_options(header(index, handle, parent), &self.kind, bytes(&self.options)?);
        message.header.info = self.info;
        if let Some(block) = &self.block {
            message.attributes.push(TcAttribute::Other(DefaultNla::new(TCA_EGRESS_BLOCK, bytes(block)?)));
        }
        Ok(match self.object {
            ObjectKind::Qdisc => RouteNetlinkMessage::NewQueueDiscipline(message),
            ObjectKind::Class => RouteNetlinkMessage::NewTrafficClass(message),
            ObjectKind::Filter => RouteNetlinkMessage::NewTrafficFilter(message),
        })
    }
}

/// An attribute of a request, in hexadecimal.
fn raw(message: &TcMessage, number: u16) -> Option<String> {
    message.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Other(other) if other.kind() == number => {
            let mut value = vec![0; other.value_len()];
            other.emit_value(&mut value);
            Some(value.iter().map(|byte| format!("{byte:02x}")).collect())
        }
        _ => None,
    })
}

fn bytes(hexadecimal: &str) -> Result<Vec<u8>, UnusableObject> {
    let digits = hexadecimal.as_bytes();
    let byte = |pair: &[u8; 2]| {
        let text = std::str::from_utf8(pair).ok().filter(|text| !text.starts_with('+'))?;
        u8::from_str_radix(text, 16).ok()
    };
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes = pairs.iter().map(byte).collect::<Option<Vec<_>>>().filter(|_| rest.is_empty());
    let not = || UnusableObject::NotHexadecimal { start: hexadecimal.chars().take(16).collect() };
    bytes.ok_or_else(not)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_makes_the_request_that_it_is_of() {
        let mut message = with_options(header(7, Handle::qdisc(1), Handle::ROOT), "htb", vec![4, 0, 1, 0xff]);
        message.attributes.push(TcAttribute::Other(DefaultNla::new(TCA_EGRESS_BLOCK, vec![9, 0, 0, 0])));
        let mut filter =
            with_options(header(7, Handle::from_u32(0x8000_0800), Handle::qdisc(1)), "u32", vec![1]);
        filter.header.info = 0x0003_0008;
        let plain = with_options(header(7, Handle::qdisc(1).class(2), Handle::qdisc(1)), "drr", Vec::new());
        for request in [
            RouteNetlinkMessage::NewQueueDiscipline(message),
            RouteNetlinkMessage::NewTrafficFilter(filter),
            RouteNetlinkMessage::NewTrafficClass(plain),
        ] {
            let object = SavedObject::of(&request).unwrap();
            let text = serde_json::to_string(&object).unwrap();
            let read: SavedObject = serde_json::from_str(&text).unwrap();
            assert_eq!(read, object, "{text}");
            assert_eq!(read.request(7), Ok(request));
        }
    }

    #[test]
    fn what_is_not_hexadecimal_is_an_error() {
        assert_eq!(bytes("00ff1A"), Ok(vec![0, 255, 26]));
        for text in ["0", "0g", "+1", "0x", "é"] {
            assert_eq!(bytes(text), Err(UnusableObject::NotHexadecimal { start: text.into() }));
        }
    }
}
