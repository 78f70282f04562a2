//! The raw form: every bit pattern as JSON and back, whatever it means.

use flowspec::objects::{HEADER_SIZE, Hex};
use flowspec::{Abi, Invalid, Problem, QosBytes, RawFlowspec, RawQos, RawWsabuf};
use serde::{Deserialize, Serialize};

/// A QOS with its buffer, uninterpreted.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    raw: Raw,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    sending: RawFlowspec,
    receiving: RawFlowspec,
    provider_specific: Buffer,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Buffer {
    len: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    padding: u32,
    buf: u64,
    objects: Vec<Object>,
    /// What follows the list, or where it cannot be walked.
    #[serde(default, skip_serializing_if = "is_empty")]
    rest: Hex,
}

/// An object; its length is that of its body and header.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Object {
    object_type: u32,
    body: Hex,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

const fn is_empty(hex: &Hex) -> bool {
    hex.0.is_empty()
}

impl Document {
    /// Takes bytes apart; a length that lies is kept, as everything else.
    ///
    /// - **Errors**: fewer bytes than QOS has.
    pub(super) fn read(bytes: &[u8], abi: Abi) -> Result<Self, Invalid> {
        let Ok(qos) = RawQos::read(bytes, abi) else {
            let problem = Problem::QosCutShort { abi, found: bytes.len() };
            return Err(QosBytes::read(bytes, abi).err().unwrap_or(Invalid {
                field: "qos".into(),
                offset: 0,
                value: bytes.len() as u64,
                problem,
            }));
        };
        let buffer = &bytes[abi.qos_size()..];
        let mut walk = QosBytes { abi, qos, provider_specific: buffer }.objects();
        let objects: Vec<_> = walk
            .by_ref()
            .map_while(Result::ok)
            .map(|object| Object {
                object_type: object.object_type,
                body: Hex(object.bytes[HEADER_SIZE..].to_vec()),
            })
            .collect();
        let RawWsabuf { len, padding, buf } = qos.provider_specific;
        let rest = Hex(buffer[walk.position()..].to_vec());
        let provider_specific = Buffer { len, padding, buf, objects, rest };
        Ok(Self { raw: Raw { sending: qos.sending, receiving: qos.receiving, provider_specific } })
    }

    /// The bytes it was taken from.
    pub(super) fn write(&self, abi: Abi, bytes: &mut Vec<u8>) {
        let Raw { sending, receiving, provider_specific: buffer } = &self.raw;
        let mut list = Vec::new();
        for Object { object_type, body } in &buffer.objects {
            // An input is far below 4 GiB.
            let length = u32::try_from(HEADER_SIZE + body.0.len()).unwrap_or(u32::MAX);
            list.extend(object_type.to_le_bytes());
            list.extend(length.to_le_bytes());
            list.extend(&body.0);
        }
        list.extend(&buffer.rest.0);
        let Buffer { len, padding, buf, .. } = *buffer;
        let provider_specific = RawWsabuf { len, padding, buf };
        let qos = RawQos { sending: *sending, receiving: *receiving, provider_specific };
        QosBytes { abi, qos, provider_specific: &list }.write(bytes);
    }
}
