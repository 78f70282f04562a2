//! QOS structures of a 64-bit program.

use flowspec::abi::{Abi, RawWsabuf};
use flowspec::buffer::{LONGEST_PROVIDER_SPECIFIC, QosBytes};
use flowspec::objects::{Object, Pointee};
use flowspec::{FieldProblem, Flowspec, Qos, RawQos, Wsa};

use super::{Address, memory, sockaddr};
use crate::Result;
use crate::endpoint::Endpoint;
use crate::provider_specific::ProviderSpecific;
use crate::status::QosStatus;

/// Two FLOWSPECs and a WSABUF, on 64-bit Linux.
pub(super) const QOS_SIZE: u32 = 80;

/// The size of RSVP_STATUS_INFO, and its object type.
const STATUS_INFO_SIZE: u32 = 20;
const STATUS_INFO_TYPE: u32 = 1000;

/// The size of a QOS that is followed by its status.
pub(super) const QOS_WITH_STATUS_SIZE: u32 = QOS_SIZE + STATUS_INFO_SIZE;

/// Why a QOS was not read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum QosReadError {
    /// It is not mapped, or ends inside an object's header: WSAEFAULT.
    Fault,
    /// It is inconsistent: WSAEOPNOTSUPP, with this status.
    Inconsistent(Wsa),
}

impl From<Wsa> for QosReadError {
    fn from(code: Wsa) -> Self {
        match code {
            Wsa::Efault => Self::Fault,
            // The address of an object is of an unknown family.
            _ => Self::Inconsistent(Wsa::QosBadObject),
        }
    }
}

impl QosReadError {
    pub(super) const fn code(self) -> Wsa {
        match self {
            Self::Fault => Wsa::Efault,
            Self::Inconsistent(_) => Wsa::Eopnotsupp,
        }
    }

    /// Keeps the status on the socket that requests the QOS, for SIO_GET_QOS, and returns the code.
    pub(super) fn keep_on(self, endpoint: &Endpoint) -> Wsa {
        if let Self::Inconsistent(status) = self {
            endpoint.keep_invalid_qos(status);
        }
        self.code()
    }
}

/// Reads a QOS with its objects.
pub(super) fn read(address: Address) -> core::result::Result<(Qos, ProviderSpecific), QosReadError> {
    let bytes: [u8; QOS_SIZE as usize] = memory::read_bytes(address)?;
    let raw = RawQos::read(&bytes, Abi::Win64).map_err(|_| QosReadError::Fault)?;
    let length = raw.provider_specific.len as usize;
    if length > LONGEST_PROVIDER_SPECIFIC {
        return Err(QosReadError::Inconsistent(Wsa::QosEprovspecbuf));
    }
    let mut objects = vec![0; length];
    // SAFETY: the pointer is from the QOS at `address`.
    let buffer = unsafe { stored_pointer(raw.provider_specific.buf)? };
    memory::read(buffer, &mut objects)?;
    let bytes = QosBytes { abi: Abi::Win64, qos: raw, provider_specific: &objects };
    let request = bytes.check().map_err(|error| match error.problem {
        FieldProblem::HeaderCutShort { .. } => QosReadError::Fault,
        _ => QosReadError::Inconsistent(error.wsa()),
    })?;
    let mut requested = ProviderSpecific::from_objects(&request.provider_specific);
    for object in &request.provider_specific {
        // The address of QOS_DESTADDR may be anywhere in the program's memory.
        if let Object::Destaddr { socket_address: Pointee::Outside(outside) } = object {
            // SAFETY: the pointer is from an object in the buffer of the QOS at `address`.
            let destination = unsafe { stored_pointer(outside.pointer)? };
            requested.destination = Some(sockaddr::read_any(destination, outside.count)?);
        }
    }
    Ok((request.qos(), requested))
}

/// [`read`] of an optional parameter: `None` for NULL.
///
/// - **Errors**: those of [`read`].
pub(super) fn read_optional(
    address: Address,
) -> core::result::Result<Option<(Qos, ProviderSpecific)>, QosReadError> {
    if address.is_null() { Ok(None) } else { read(address).map(Some) }
}

/// An address that a QOS contains, or an object of it.
///
/// # Safety
///
/// The pointer is from memory of the program's that the promise about an [`Address`] covers: see [`Address::new`].
unsafe fn stored_pointer(pointer: u64) -> Result<Address> {
    let address = usize::try_from(pointer).map_err(|_| Wsa::Efault)?;
    // SAFETY: the promise about the structure is about the addresses that it contains as well.
    Ok(unsafe { Address::new(address) })
}

/// Writes a QOS without objects.
///
/// - **Errors**: WSAEFAULT; WSAENOBUFS for a rate that FLOWSPEC does not hold.
pub(super) fn write(qos: &Qos, address: Address) -> Result<()> {
    memory::write(address, &bytes_of(qos, RawWsabuf::default())?)
}

/// Writes a QOS, followed by its status as an object where there is capacity for that. Returns the size.
///
/// - **Errors**: those of [`write`].
pub(super) fn write_with_status(
    qos: &Qos,
    status: Option<QosStatus>,
    address: Address,
    capacity: u32,
) -> Result<u32> {
    let Some(status) = status.filter(|_| capacity >= QOS_SIZE + STATUS_INFO_SIZE) else {
        write(qos, address)?;
        return Ok(QOS_SIZE);
    };
    let buf = address.offset(QOS_SIZE as usize).get() as u64;
    let mut bytes = bytes_of(qos, RawWsabuf { len: STATUS_INFO_SIZE, padding: 0, buf })?;
    let words = [
        STATUS_INFO_TYPE,
        STATUS_INFO_SIZE,
        status.code.code(),
        status.extended_status1,
        status.extended_status2,
    ];
    bytes.extend(words.into_iter().flat_map(u32::to_ne_bytes));
    memory::write(address, &bytes)?;
    Ok(QOS_SIZE + STATUS_INFO_SIZE)
}

/// The bytes of a QOS.
///
/// - **Errors**: WSAENOBUFS for a rate that FLOWSPEC does not hold.
pub(super) fn bytes_of(qos: &Qos, provider_specific: RawWsabuf) -> Result<Vec<u8>> {
    let raw = |spec: &Flowspec| spec.to_raw().map_err(|_| Wsa::Enobufs);
    let (sending, receiving) = (raw(&qos.sending)?, raw(&qos.receiving)?);
    let mut bytes = Vec::new();
    RawQos { sending, receiving, provider_specific }.write(Abi::Win64, &mut bytes);
    Ok(bytes)
}
