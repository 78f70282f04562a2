//! Netlink attributes: written, found by their kind, and read word by word.

use netlink_packet_core::{DecodeError, DefaultNla, Emitable, NlasIterator};

pub(super) fn emit(attributes: &[DefaultNla]) -> Vec<u8> {
    let mut bytes = vec![0; attributes.buffer_len()];
    attributes.emit(&mut bytes);
    bytes
}

pub(super) fn attribute(options: &[u8], kind: u16) -> Result<Option<Vec<u8>>, DecodeError> {
    for nla in NlasIterator::new(options) {
        let nla = nla?;
        if nla.kind() == kind {
            return Ok(Some(nla.value().to_vec()));
        }
    }
    Ok(None)
}

pub(super) fn read_u32(bytes: &[u8], offset: usize) -> Result<u32, DecodeError> {
    let word = bytes.get(offset..).and_then(|rest| rest.first_chunk());
    word.map(|word| u32::from_ne_bytes(*word)).ok_or_else(|| DecodeError::from("a structure is cut short"))
}

pub(super) fn nest(kind: u16, attributes: &[DefaultNla]) -> DefaultNla {
    DefaultNla::new(kind, emit(attributes))
}
