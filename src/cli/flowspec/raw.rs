//! The raw form of a QOS: any bit pattern as JSON and back, without interpretation.

use flowspec::objects::{HEADER_SIZE, Hex};
use flowspec::{Abi, FieldProblem, Invalid, QosBytes, RawFlowspec, RawQos, RawWsabuf};
use serde::{Deserialize, Serialize};

/// A QOS with its buffer, not interpreted.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDocument {
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
    objects: Vec<RawObjectText>,
    /// The bytes after the last object that can be read.
    #[serde(default, skip_serializing_if = "is_empty")]
    rest: Hex,
}

/// An object; its length is not kept, since it follows from the body.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawObjectText {
    object_type: u32,
    body: Hex,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

const fn is_empty(hex: &Hex) -> bool {
    hex.0.is_empty()
}

impl RawDocument {
    /// Splits bytes into fields. Inconsistent lengths are kept as they are.
    ///
    /// - **Errors**: there are fewer bytes than a QOS has.
    pub(super) fn read(bytes: &[u8], abi: Abi) -> Result<Self, Invalid> {
        let Ok(qos) = RawQos::read(bytes, abi) else {
            let problem = FieldProblem::QosCutShort { abi, found: bytes.len() };
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
            .map(|object| RawObjectText {
                object_type: object.object_type,
                body: Hex(object.bytes[HEADER_SIZE..].to_vec()),
            })
            .collect();
        let RawWsabuf { len, padding, buf } = qos.provider_specific;
        let rest = Hex(buffer[walk.position()..].to_vec());
        let provider_specific = Buffer { len, padding, buf, objects, rest };
        Ok(Self { raw: Raw { sending: qos.sending, receiving: qos.receiving, provider_specific } })
    }

    /// Appends the bytes that the document was read from.
    pub(super) fn write(&self, abi: Abi, bytes: &mut Vec<u8>) {
        let Raw { sending, receiving, provider_specific: buffer } = &self.raw;
        let mut list = Vec::new();
        for RawObjectText { object_type, body } in &buffer.objects {
            // An input is much shorter than 4 GiB.
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
