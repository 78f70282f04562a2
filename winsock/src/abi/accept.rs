//! Accepting, with the program's condition function.

use flowspec::abi::RawWsabuf;
use flowspec::{Qos, Wsa};

use super::handle::{endpoint, new_handle};
use super::sockaddr::{NameBuffer, bytes_of};
use super::{Address, qos};
use crate::Result;
use crate::condition::{AcceptOptions, ConditionResult, IncomingConnection};
use crate::group::GroupSelection;
use crate::handshake::MAX_CONNECT_DATA;

/// LPCONDITIONPROC: the caller's address, its data, its QOS, its group's QOS, the callee's address, a buffer for the
/// callee's data, the group, and the program's own value.
pub(super) type ConditionProc =
    unsafe extern "C" fn(usize, usize, usize, usize, usize, usize, usize, usize) -> i32;

const CF_ACCEPT: i32 = 0;
const CF_REJECT: i32 = 1;
const CF_DEFER: i32 = 2;

/// A WSABUF and its buffer, for the program to read and write.
struct OwnWsabuf {
    wsabuf: [u64; 2],
    data: Vec<u8>,
}

impl OwnWsabuf {
    fn new(mut data: Vec<u8>) -> Self {
        let wsabuf = [data.len() as u64, data.as_mut_ptr().expose_provenance() as u64];
        Self { wsabuf, data }
    }

    fn pointer(&mut self) -> usize {
        self.wsabuf.as_mut_ptr().expose_provenance()
    }

    /// The length that the program has left in the structure.
    fn length(&self) -> usize {
        // The length is the lower half of the first word.
        usize::try_from(self.wsabuf[0] & u64::from(u32::MAX)).unwrap_or(usize::MAX)
    }
}

/// A QOS for the program to read and replace, aligned as a QOS is; empty where there is none.
fn own_qos(qos: Option<Qos>) -> Vec<u64> {
    let bytes = qos.and_then(|qos| qos::bytes_of(&qos, RawWsabuf::default()).ok()).unwrap_or_default();
    bytes
        .chunks_exact(8)
        .map(|word| word.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
        .collect()
}

fn pointer_or_null(words: &mut [u64]) -> usize {
    if words.is_empty() { 0 } else { words.as_mut_ptr().expose_provenance() }
}

/// Calls the program's condition function, which may replace the caller's QOS.
///
/// - **Errors**: WSAEINVAL for an invalid result.
fn call_condition(
    condition: ConditionProc,
    incoming: &IncomingConnection<'_>,
    context: usize,
) -> Result<ConditionResult> {
    let mut caller = OwnWsabuf::new(bytes_of(incoming.peer));
    let mut callee = OwnWsabuf::new(bytes_of(incoming.local));
    let mut caller_data = OwnWsabuf::new(incoming.caller_data.to_vec());
    let mut callee_data = OwnWsabuf::new(vec![0; MAX_CONNECT_DATA]);
    let (mut sqos, mut gqos) = (own_qos(incoming.sqos), own_qos(incoming.gqos));
    let offered = sqos.clone();
    let sqos_pointer = pointer_or_null(&mut sqos);
    let mut group = 0_u32;
    let caller_data_pointer = if incoming.caller_data.is_empty() { 0 } else { caller_data.pointer() };
    // SAFETY: the program has passed a function of this type (`abi`, Safety). The pointers are to memory of this
    // function, which no reference uses during the call.
    let result = unsafe {
        condition(
            caller.pointer(),
            caller_data_pointer,
            sqos_pointer,
            pointer_or_null(&mut gqos),
            callee.pointer(),
            callee_data.pointer(),
            (&raw mut group).expose_provenance(),
            context,
        )
    };
    match result {
        CF_ACCEPT => {}
        CF_REJECT => return Ok(ConditionResult::Reject),
        CF_DEFER => return Ok(ConditionResult::Defer),
        _ => return Err(Wsa::Einval),
    }
    // A function without data for the caller leaves the length as it was.
    let length = callee_data.length();
    let mut data = callee_data.data;
    data.truncate(if length >= MAX_CONNECT_DATA { 0 } else { length });
    let replaced = if sqos == offered {
        None
    } else {
        // SAFETY: it is the QOS of this function that the program had the address of, and no reference points to it now.
        // The addresses in it are the program's, which promises for them as for its own structures (`abi`, Safety).
        let replaced = unsafe { Address::new(sqos_pointer) };
        qos::read_optional(replaced).map_err(|_| Wsa::Einval)?
    };
    let (sqos, objects) = replaced.unzip();
    Ok(ConditionResult::from(AcceptOptions {
        callee_data: data,
        group: GroupSelection::from_number(group),
        sqos,
        provider_specific: objects.unwrap_or_default(),
    }))
}

pub(super) fn accept(
    s: usize,
    name: NameBuffer,
    condition: Option<ConditionProc>,
    context: usize,
) -> Result<usize> {
    let endpoint = endpoint(s)?;
    name.check(endpoint.family)?;
    let mut is_invalid = false;
    let (socket, peer) = match condition {
        None => endpoint.accept()?,
        Some(condition) => endpoint
            .accept_if(|incoming| {
                let result = call_condition(condition, incoming, context);
                is_invalid = result.is_err();
                result.unwrap_or(ConditionResult::Reject)
            })
            .map_err(|wsa| if is_invalid { Wsa::Einval } else { wsa })?,
    };
    name.write(peer)?;
    new_handle(socket, endpoint.is_inheritable())
}
