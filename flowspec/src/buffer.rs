//! QOS together with the buffer that its ProviderSpecific describes: bytes, raw, checked.
//!
//! In a file or a message the structure comes first and its buffer directly after it, as SIO_GET_QOS returns them;
//! [`QosBytes::read`] separates the two. In a program's memory they are in different places, and the caller builds a
//! [`QosBytes`] from both.
//!
//! - Types: [`QosBytes`], raw: every bit pattern, written back to the same bytes; [`QosRequest`], checked.
//! - Order of calls: [`QosBytes::read`], [`QosBytes::check`]; or [`QosRequest::write`] for the other direction.
//!
//! Source: `qos.h`, `winsock2.h`; SIO_GET_QOS.

use serde::{Deserialize, Serialize};

use crate::abi::{Abi, FLOWSPEC_SIZE, RawQos, RawWsabuf};
use crate::direction::Direction;
use crate::error::FlowspecError;
use crate::field::Field;
use crate::flowspec::Flowspec;
use crate::invalid::{FieldProblem, Invalid};
use crate::objects::{Object, RawObjects};
use crate::qos::Qos;
use crate::raw::{QOS_NOT_SPECIFIED, RawFlowspec};
use crate::service::ServiceType;
use crate::units::Bytes;

/// QOS and its provider-specific buffer, every bit pattern allowed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct QosBytes<'a> {
    /// The layout of the structure and of the buffer.
    pub abi: Abi,
    /// The first 72 or 80 bytes, by the layout.
    pub qos: RawQos,
    /// The buffer: `qos.provider_specific.len` bytes where it comes from [`read`](Self::read).
    pub provider_specific: &'a [u8],
}

/// A checked QOS with its objects.
///
/// JSON: `sending` and `receiving` in the form of [`Flowspec`], `provider_specific` a list of objects.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QosRequest {
    /// SendingFlowspec, valid for the data that leaves this host.
    pub sending: Flowspec,
    /// ReceivingFlowspec, valid for the data that arrives.
    pub receiving: Flowspec,
    /// The objects in ProviderSpecific, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provider_specific: Vec<Object>,
}

/// The longest provider-specific buffer that is checked. The largest objects need far less; the limit bounds the cost
/// of a check. The raw form has no limit.
pub const LONGEST_PROVIDER_SPECIFIC: usize = 64 << 10;

impl<'a> QosBytes<'a> {
    /// Reads QOS and the buffer that follows it, which is ProviderSpecific.len bytes long.
    ///
    /// - **Errors**: fewer bytes, or more.
    pub fn read(bytes: &'a [u8], abi: Abi) -> Result<Self, Invalid> {
        let size = abi.qos_size();
        let Ok(qos) = RawQos::read(bytes, abi) else { return Err(cut_short(bytes.len(), abi)) };
        let rest = &bytes[size..];
        let len = qos.provider_specific.len;
        let problem = match usize::try_from(len) {
            Ok(len) if len == rest.len() => return Ok(Self { abi, qos, provider_specific: rest }),
            Ok(len) if len < rest.len() => FieldProblem::LeftOver { bytes: rest.len() - len },
            _ => FieldProblem::BufferCutShort { found: rest.len() },
        };
        let value = u64::from(len);
        Err(Invalid { field: "provider_specific.len".into(), offset: 2 * FLOWSPEC_SIZE, value, problem })
    }

    /// Appends the structure and the buffer unchanged.
    pub fn write(&self, bytes: &mut Vec<u8>) {
        self.qos.write(self.abi, bytes);
        bytes.extend_from_slice(self.provider_specific);
    }

    /// The objects in the buffer, not yet checked; their offsets count from the start of QOS.
    pub const fn objects(&self) -> RawObjects<'a> {
        RawObjects::new(self.provider_specific, self.abi.qos_size())
    }

    /// Checks both flowspecs and all objects.
    ///
    /// - **Errors**: the first field that is not valid, with its offset from the start of QOS (as if the buffer followed
    ///   it), its value and its WSA_QOS_* status.
    #[inline]
    pub fn check(&self) -> Result<QosRequest, Invalid> {
        Ok(QosRequest {
            sending: self.flowspec(Direction::Sending)?,
            receiving: self.flowspec(Direction::Receiving)?,
            provider_specific: Object::read_all(self)?,
        })
    }

    /// All problems: those of each flowspec, and at most one in the buffer.
    pub fn problems(&self) -> Vec<Invalid> {
        let flowspecs = Direction::BOTH.into_iter().flat_map(|direction| {
            let (raw, at) = self.raw_flowspec(direction);
            let invalid =
                move |error| invalid_flowspec(raw, at, direction.name(), error, FieldProblem::Flowspec);
            raw_problems(*raw, direction).into_iter().map(invalid)
        });
        flowspecs.chain(Object::read_all(self).err()).collect()
    }

    #[inline]
    fn flowspec(&self, direction: Direction) -> Result<Flowspec, Invalid> {
        let (raw, at) = self.raw_flowspec(direction);
        checked_flowspec(raw, Some(direction))
            .map_err(|error| invalid_flowspec(raw, at, direction.name(), error, FieldProblem::Flowspec))
    }

    /// The flowspec of a direction, and its offset in QOS.
    const fn raw_flowspec(&self, direction: Direction) -> (&RawFlowspec, usize) {
        match direction {
            Direction::Sending => (&self.qos.sending, 0),
            Direction::Receiving => (&self.qos.receiving, FLOWSPEC_SIZE),
        }
    }
}

impl QosRequest {
    /// Both flowspecs, without the objects.
    pub const fn qos(&self) -> Qos {
        Qos { sending: self.sending, receiving: self.receiving }
    }

    /// Appends QOS and its buffer. Pointers become offsets from the start of the buffer; `buf` is null.
    ///
    /// - **Errors**: a value that the structures cannot hold (a rate above 32 bits); a request that
    ///   [`QosBytes::check`] would refuse.
    pub fn write(&self, abi: Abi, bytes: &mut Vec<u8>) -> Result<(), Invalid> {
        let raw = |spec: &Flowspec, at, direction: Direction| {
            spec.to_raw().map_err(|error| Invalid {
                field: format!("{}.{}", direction.name(), error.field()),
                offset: at + error.field().offset(),
                value: error.value(),
                problem: FieldProblem::Flowspec(error),
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
        // A request that a program has built is checked as one that was read.
        written.check()?;
        written.write(bytes);
        Ok(())
    }
}

/// A flowspec from its raw form, checked as far as possible without an interface.
#[inline]
pub(crate) fn checked_flowspec(
    raw: &RawFlowspec,
    direction: Option<Direction>,
) -> Result<Flowspec, FlowspecError> {
    let spec = Flowspec::from_raw(raw)?;
    spec.check(direction.unwrap_or(Direction::Receiving))?;
    Ok(spec)
}

/// Everything that is wrong with a raw flowspec. A service type that is not assigned is replaced by one that reserves, so
/// that the other fields are checked.
fn raw_problems(mut raw: RawFlowspec, direction: Direction) -> Vec<FlowspecError> {
    let mut found = Vec::new();
    loop {
        match Flowspec::from_raw(&raw) {
            Ok(spec) => {
                found.extend(spec.problems(direction, Bytes::MAX));
                return found;
            }
            Err(error) => {
                let before = raw;
                match error {
                    FlowspecError::ServiceType { .. } => {
                        raw.service_type = ServiceType::ControlledLoad.value();
                    }
                    FlowspecError::InfiniteTokenRate => {
                        (raw.token_rate, raw.peak_bandwidth) = (1, QOS_NOT_SPECIFIED);
                    }
                    _ => {}
                }
                found.push(error);
                if raw == before {
                    return found;
                }
            }
        }
    }
}

/// The problem with a field of a flowspec that begins at an offset.
pub(crate) fn invalid_flowspec(
    raw: &RawFlowspec,
    at: usize,
    name: &str,
    error: FlowspecError,
    problem: impl FnOnce(FlowspecError) -> FieldProblem,
) -> Invalid {
    let offset = error.field().offset();
    Invalid {
        field: format!("{name}.{}", error.field()),
        offset: at + offset,
        value: u64::from(raw.words()[offset / 4]),
        problem: problem(error),
    }
}

/// The problem of bytes that end before QOS does; names the field in which they end.
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
    let problem = FieldProblem::QosCutShort { abi, found };
    Invalid { field, offset, value: found as u64, problem }
}
