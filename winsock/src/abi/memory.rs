//! Reading and writing the program's structures and texts.

use flowspec::{Errno, Wsa};

use crate::Result;
use crate::sys::{Address, ForeignMemory};

/// The longest text that is read, in characters.
const MAX_TEXT: usize = 256;

/// The size of a WSABUF of a 64-bit program.
pub(super) const WSABUF_SIZE: usize = 16;

/// Copies from the program's memory.
///
/// - **Errors**: WSAEFAULT.
pub(super) fn read(address: Address, into: &mut [u8]) -> Result<()> {
    match into {
        [] => Ok(()),
        _ if address.is_null() => Err(Wsa::Efault),
        into => address.read(into).map_err(fault),
    }
}

/// Copies to the program's memory.
///
/// - **Errors**: WSAEFAULT.
pub(super) fn write(address: Address, from: &[u8]) -> Result<()> {
    match from {
        [] => Ok(()),
        _ if address.is_null() => Err(Wsa::Efault),
        from => address.write(from).map_err(fault),
    }
}

fn fault(_: Errno) -> Wsa {
    Wsa::Efault
}

/// - **Errors**: WSAEFAULT.
pub(super) fn read_bytes<const N: usize>(address: Address) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    read(address, &mut bytes)?;
    Ok(bytes)
}

/// - **Errors**: WSAEFAULT.
pub(super) fn read_u32(address: Address) -> Result<u32> {
    read_bytes(address).map(u32::from_ne_bytes)
}

/// - **Errors**: WSAEFAULT.
pub(super) fn read_usize(address: Address) -> Result<usize> {
    read_bytes(address).map(usize::from_ne_bytes)
}

/// The address that a structure of the program's contains at this one.
///
/// - **Errors**: WSAEFAULT.
pub(super) fn read_address(address: Address) -> Result<Address> {
    if address.is_null() { Err(Wsa::Efault) } else { address.stored().map_err(fault) }
}

/// - **Errors**: WSAEFAULT.
pub(super) fn write_u32(address: Address, value: u32) -> Result<()> {
    write(address, &value.to_ne_bytes())
}

/// A length as the program's structures hold it.
///
/// - **Errors**: WSAENOBUFS.
pub(super) fn length_u32(length: usize) -> Result<u32> {
    u32::try_from(length).map_err(|_| Wsa::Enobufs)
}

/// Reads a WSABUF: a length of 4 bytes, and a pointer at byte 8.
///
/// - **Errors**: WSAEFAULT.
pub(super) fn read_wsabuf(address: Address) -> Result<ForeignMemory> {
    let length = read_u32(address)?;
    Ok(ForeignMemory::new(read_address(address.offset(8))?, length as usize))
}

/// Writes to the buffer of a WSABUF, and the length to its length.
///
/// - **Errors**: WSAEFAULT.
pub(super) fn write_wsabuf(address: Address, data: &[u8]) -> Result<()> {
    write(read_wsabuf(address)?.address(), data)?;
    write_u32(address, u32::try_from(data.len()).map_err(|_| Wsa::Efault)?)
}

/// A buffer for data to send or receive.
///
/// - **Errors**: WSAEFAULT for a negative length, or NULL with a length.
pub(super) fn buffer(address: Address, length: i32) -> Result<ForeignMemory> {
    let length = usize::try_from(length).map_err(|_| Wsa::Efault)?;
    if address.is_null() && length > 0 {
        return Err(Wsa::Efault);
    }
    Ok(ForeignMemory::new(address, length))
}

/// Whether a text consists of WCHARs or of chars.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Encoding {
    /// char: UTF-8.
    Narrow,
    /// WCHAR: UTF-16.
    Wide,
}

/// Reads a text that ends with a zero.
///
/// - **Errors**: WSAEFAULT, also where it is longer than 255 characters; WSAEINVAL for invalid UTF-8 or UTF-16.
pub(super) fn read_text(address: Address, encoding: Encoding) -> Result<String> {
    match encoding {
        Encoding::Narrow => {
            let mut text = Vec::new();
            for offset in 0..MAX_TEXT {
                match read_bytes::<1>(address.offset(offset))? {
                    [0] => return String::from_utf8(text).map_err(|_| Wsa::Einval),
                    [byte] => text.push(byte),
                }
            }
        }
        Encoding::Wide => {
            let mut text = Vec::new();
            for offset in 0..MAX_TEXT {
                match u16::from_ne_bytes(read_bytes(address.offset(offset * 2))?) {
                    0 => return String::from_utf16(&text).map_err(|_| Wsa::Einval),
                    character => text.push(character),
                }
            }
        }
    }
    Err(Wsa::Efault)
}

/// Reads a text of chars that ends where its buffer does, or with a zero before.
///
/// - **Errors**: WSAEFAULT, also where it is longer than 255 characters; WSAEINVAL for invalid UTF-8.
pub(super) fn read_counted_text(buffer: ForeignMemory) -> Result<String> {
    let mut text = Vec::new();
    for offset in 0..buffer.len() {
        match read_bytes::<1>(buffer.address().offset(offset))? {
            [0] => break,
            _ if text.len() + 1 == MAX_TEXT => return Err(Wsa::Efault),
            [byte] => text.push(byte),
        }
    }
    String::from_utf8(text).map_err(|_| Wsa::Einval)
}

/// [`read_text`] of an optional parameter: `None` for NULL.
///
/// - **Errors**: those of [`read_text`].
pub(super) fn read_optional_text(address: Address, encoding: Encoding) -> Result<Option<String>> {
    if address.is_null() { Ok(None) } else { read_text(address, encoding).map(Some) }
}

/// A text as the program's bytes, with the zero at its end.
pub(super) fn encoded(text: &str, encoding: Encoding) -> Vec<u8> {
    match encoding {
        Encoding::Narrow => text.bytes().chain([0]).collect(),
        Encoding::Wide => text.encode_utf16().chain([0]).flat_map(u16::to_ne_bytes).collect(),
    }
}
