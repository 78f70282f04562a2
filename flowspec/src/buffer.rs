//! QOS together with the buffer that its ProviderSpecific describes: bytes, raw, checked.
//!
//! As one run of bytes (a file, a message) the structure comes first and its buffer directly behind
//! it, as SIO_GET_QOS lays them out; [`QosBytes::read`] takes them apart. In memory the two lie
//! apart, and [`QosBytes`] is put together from them. Every bit pattern has a raw form that writes
//! back to the same bytes; [`QosBytes::check`] gives the meaning, or says which field of it has none.
//!
//! Source: `qos.h`, `winsock2.h`; SIO_GET_QOS.

use serde::{Deserialize, Serialize};

use crate::abi::{Abi, FLOWSPEC_SIZE, RawQos, RawWsabuf};
use crate::direction::Direction;
use crate::error::FlowspecError;
use crate::field::Field;
use crate::flowspec::Flowspec;
use crate::invalid::{Invalid, Problem};
use crate::objects::{Object, RawObjects};
use crate::qos::Qos;
use crate::raw::RawFlowspec;

/// QOS and its provider-specific buffer, every bit pattern allowed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct QosBytes<'a> {
    /// Whose layout the buffer has.
    pub abi: Abi,
    /// The structure.
    pub qos: RawQos,
    /// The buffer; `qos.provider_specific.len` bytes where [`read`](Self::read) has made it.
    pub provider_specific: &'a [u8],
}

/// What a QOS asks for, its objects included.
///
/// JSON: `sending` and `receiving` as [`Flowspec`] has them, `provider_specific` a list of objects.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QosRequest {
    /// SendingFlowspec.
    pub sending: Flowspec,
    /// ReceivingFlowspec.
    pub receiving: Flowspec,
    /// The objects in ProviderSpecific, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provider_specific: Vec<Object>,
}

/// The longest provider-specific buffer that is checked: far more than the largest objects need, and
/// little enough that nobody can make the check expensive. Raw form has no limit.
pub const LONGEST_PROVIDER_SPECIFIC: usize = 64 << 10;

impl<'a> QosBytes<'a> {
    /// Takes bytes apart: QOS, then as many bytes as ProviderSpecific.len says, then nothing.
    ///
    /// - **Errors**: fewer bytes than that, or more.
    pub fn read(bytes: &'a [u8], abi: Abi) -> Result<Self, Invalid> {
        let size = abi.qos_size();
        let Ok(qos) = RawQos::read(bytes, abi) else { return Err(cut_short(bytes.len(), abi)) };
        let rest = &bytes[size..];
        let len = qos.provider_specific.len;
        let problem = match usize::try_from(len) {
            Ok(len) if len == rest.len() => return Ok(Self { abi, qos, provider_specific: rest }),
            Ok(len) if len < rest.len() => Problem::LeftOver { bytes: rest.len() - len },
            _ => Problem::BufferCutShort { found: rest.len() },
        };
        let value = u64::from(len);
        Err(Invalid { field: "provider_specific.len".into(), offset: 2 * FLOWSPEC_SIZE, value, problem })
    }

    /// Appends the structure and the buffer, as they are.
    pub fn write(&self, bytes: &mut Vec<u8>) {
        self.qos.write(self.abi, bytes);
        bytes.extend_from_slice(self.provider_specific);
    }

    /// The objects in the buffer, raw.
    pub const fn objects(&self) -> RawObjects<'a> {
        RawObjects::new(self.provider_specific, self.abi.qos_size())
    }

    /// The meaning: flowspecs that agree with themselves, objects that are known and well formed.
    ///
    /// - **Errors**: the first field that is not valid, with its offset from the start of QOS (the
    ///   buffer counted as directly behind it), its value and its WSA_QOS_* status.
    #[inline]
    pub fn check(&self) -> Result<QosRequest, Invalid> {
        Ok(QosRequest {
            sending: self.flowspec(Direction::Sending)?,
            receiving: self.flowspec(Direction::Receiving)?,
            provider_specific: Object::read_all(self)?,
        })
    }

    /// Everything that is wrong: at most one problem of each flowspec and one of the buffer.
    pub fn problems(&self) -> Vec<Invalid> {
        let flowspecs = Direction::BOTH.map(|direction| self.flowspec(direction).err());
        flowspecs.into_iter().flatten().chain(Object::read_all(self).err()).collect()
    }

    #[inline]
    fn flowspec(&self, direction: Direction) -> Result<Flowspec, Invalid> {
        let (raw, at) = match direction {
            Direction::Sending => (&self.qos.sending, 0),
            Direction::Receiving => (&self.qos.receiving, FLOWSPEC_SIZE),
        };
        checked_flowspec(raw, Some(direction))
            .map_err(|error| invalid_flowspec(raw, at, direction.name(), error, Problem::Flowspec))
    }
}

impl QosRequest {
    /// Both directions, without the objects.
    pub const fn qos(&self) -> Qos {
        Qos { sending: self.sending, receiving: self.receiving }
    }

    /// Appends QOS and its buffer. Pointers become offsets from the start of the buffer, `buf` is null.
    ///
    /// - **Errors**: what bytes cannot say (a rate above 32 bits), and what would not read back as the
    ///   same request.
    pub fn write(&self, abi: Abi, bytes: &mut Vec<u8>) -> Result<(), Invalid> {
        let raw = |spec: &Flowspec, at, direction: Direction| {
            spec.to_raw().map_err(|error| Invalid {
                field: format!("{}.{}", direction.name(), error.field()),
                offset: at + error.field().offset(),
                value: error.value(),
                problem: Problem::Flowspec(error),
            })
        };
        let mut buffer = Vec::new();
        Object::write_all(&self.provider_specific, abi, &mut buffer)?;
        let len = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        let qos = RawQos {
            sending: raw(&self.sending, 0, Direction::Sending)?,
            receiving: raw(&self.receiving, FLOWSPEC_SIZE, Direction::Receiving)?,
            provider_specific: RawWsabuf { len, padding: 0, buf: 0 },
        };
        let written = QosBytes { abi, qos, provider_specific: &buffer };
        // Whatever was put together by hand is held to what reading holds it to.
        written.check()?;
        written.write(bytes);
        Ok(())
    }
}

/// A flowspec from its raw form, checked as far as it can be without an interface.
#[inline]
pub(crate) fn checked_flowspec(
    raw: &RawFlowspec,
    direction: Option<Direction>,
) -> Result<Flowspec, FlowspecError> {
    let spec = Flowspec::from_raw(raw)?;
    spec.check(direction.unwrap_or(Direction::Receiving))?;
    Ok(spec)
}

/// The place of what is wrong with a flowspec that begins at an offset.
pub(crate) fn invalid_flowspec(
    raw: &RawFlowspec,
    at: usize,
    name: &str,
    error: FlowspecError,
    problem: impl FnOnce(FlowspecError) -> Problem,
) -> Invalid {
    let offset = error.field().offset();
    Invalid {
        field: format!("{name}.{}", error.field()),
        offset: at + offset,
        value: u64::from(raw.words()[offset / 4]),
        problem: problem(error),
    }
}

/// QOS ends inside of the field that is named.
fn cut_short(found: usize, abi: Abi) -> Invalid {
    let name = |names: [&str; 2]| names.join(".");
    let (field, offset) = match found / FLOWSPEC_SIZE {
        part @ (0 | 1) => {
            let word = found % FLOWSPEC_SIZE / 4;
            let direction = Direction::BOTH[part].name();
            (name([direction, Field::IN_FLOWSPEC[word].name()]), part * FLOWSPEC_SIZE + word * 4)
        }
        _ if found < 2 * FLOWSPEC_SIZE + 4 => (name(["provider_specific", "len"]), 2 * FLOWSPEC_SIZE),
        _ => (name(["provider_specific", "buf"]), abi.qos_size() - abi.pointer_size()),
    };
    let problem = Problem::QosCutShort { abi, found };
    Invalid { field, offset, value: found as u64, problem }
}
