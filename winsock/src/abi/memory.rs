//! The program's memory: copied by the kernel, never followed.

use flowspec::Wsa;

use crate::Result;
use crate::sys;

/// Copies bytes that a program has named.
///
/// - **Errors**: WSAEFAULT.
pub(super) fn read(address: usize, into: &mut [u8]) -> Result<()> {
    if into.is_empty() {
        return Ok(());
    }
    if address == 0 {
        return Err(Wsa::Efault);
    }
    sys::read_memory(address, into).map_err(|_| Wsa::Efault)
}

/// Copies bytes to where a program wants them.
///
/// - **Errors**: WSAEFAULT.
pub(super) fn write(address: usize, from: &[u8]) -> Result<()> {
    if from.is_empty() {
        return Ok(());
    }
    if address == 0 {
        return Err(Wsa::Efault);
    }
    sys::write_memory(address, from).map_err(|_| Wsa::Efault)
}

/// So many bytes.
///
/// - **Errors**: WSAEFAULT.
pub(super) fn bytes<const N: usize>(address: usize) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    read(address, &mut bytes)?;
    Ok(bytes)
}

pub(super) fn u32_at(address: usize) -> Result<u32> {
    bytes(address).map(u32::from_ne_bytes)
}

pub(super) fn write_u32(address: usize, value: u32) -> Result<()> {
    write(address, &value.to_ne_bytes())
}

/// WSABUF: where a buffer is, and how long.
pub(super) fn wsabuf(address: usize) -> Result<(usize, u32)> {
    let bytes: [u8; 16] = bytes(address)?;
    let length = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let mut pointer = [0; 8];
    pointer.copy_from_slice(&bytes[8..]);
    Ok((usize::from_ne_bytes(pointer), length))
}

/// A text that ends with a zero.
///
/// - **Errors**: WSAEFAULT, also where it does not end in time.
pub(super) fn text(address: usize) -> Result<String> {
    let mut text = Vec::new();
    for offset in 0..LONGEST_TEXT {
        match bytes::<1>(address.wrapping_add(offset))? {
            [0] => return String::from_utf8(text).map_err(|_| Wsa::Einval),
            [byte] => text.push(byte),
        }
    }
    Err(Wsa::Efault)
}

/// The same of wide characters.
///
/// - **Errors**: WSAEFAULT; WSAEINVAL for what is no text.
pub(super) fn wide_text(address: usize) -> Result<String> {
    let mut text = Vec::new();
    for offset in 0..LONGEST_TEXT {
        match u16::from_ne_bytes(bytes(address.wrapping_add(offset * 2))?) {
            0 => return String::from_utf16(&text).map_err(|_| Wsa::Einval),
            character => text.push(character),
        }
    }
    Err(Wsa::Efault)
}

/// A text with its zero, as a program has it: of wide characters, or not.
pub(super) fn characters(text: &str, wide: bool) -> Vec<u8> {
    match wide {
        true => text.encode_utf16().chain([0]).flat_map(u16::to_ne_bytes).collect(),
        false => text.bytes().chain([0]).collect(),
    }
}

/// The longest text that is read.
const LONGEST_TEXT: usize = 256;

/// Memory for data to be sent or received, for the kernel to read or write: as long as it is used it is the
/// program's to keep.
///
/// - **Errors**: WSAEFAULT where there is none.
pub(super) fn outgoing<'a>(address: usize, length: i32) -> Result<&'a [u8]> {
    let length = usize::try_from(length).map_err(|_| Wsa::Efault)?;
    match (address, length) {
        (_, 0) => Ok(&[]),
        (0, _) => Err(Wsa::Efault),
        // SAFETY: the program promises memory of that length, as for send(2). Nothing here reads it: it is
        // handed to the kernel, which answers EFAULT where there is none.
        _ => Ok(unsafe { std::slice::from_raw_parts(address as *const u8, length) }),
    }
}

/// The same to be written.
///
/// - **Errors**: WSAEFAULT where there is none.
pub(super) fn incoming<'a>(address: usize, length: i32) -> Result<&'a mut [u8]> {
    let length = usize::try_from(length).map_err(|_| Wsa::Efault)?;
    match (address, length) {
        (_, 0) => Ok(&mut []),
        (0, _) => Err(Wsa::Efault),
        // SAFETY: as above, and nobody else uses the buffer of a call that receives.
        _ => Ok(unsafe { std::slice::from_raw_parts_mut(address as *mut u8, length) }),
    }
}
