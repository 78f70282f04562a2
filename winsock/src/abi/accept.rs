//! Accepting, with the program's condition function.

use flowspec::abi::Abi;
use flowspec::{Qos, RawQos, Wsa};

use super::address;
use super::calls::{number, qos, socket};
use crate::Result;
use crate::exchange::{Accepting, Caller, Verdict};
use crate::group::Grouping;
use crate::setup::MOST_DATA;

pub(super) type Condition = extern "C" fn(usize, usize, usize, usize, usize, usize, usize, usize) -> i32;

const CF_ACCEPT: i32 = 0;
const CF_REJECT: i32 = 1;
const CF_DEFER: i32 = 2;

/// Asks the program's condition function. It may put another QOS in the place of the caller's.
///
/// - **Errors**: WSAEINVAL where its answer makes no sense.
fn ask(condition: Condition, caller: &Caller<'_>, context: usize) -> Result<Verdict> {
    let wsabuf = |bytes: &[u8]| [bytes.len() as u64, bytes.as_ptr().addr() as u64];
    let (who, whom) = (address::bytes_of(caller.peer), address::bytes_of(caller.local));
    let (caller_id, callee_id) = (wsabuf(&who), wsabuf(&whom));
    let (brought, mut answer) = (wsabuf(caller.data), vec![0_u8; MOST_DATA]);
    let mut answered = [answer.len() as u64, answer.as_mut_ptr().expose_provenance() as u64];
    let mut group = 0_u32;
    let structure = |qos: Option<Qos>| -> Vec<u64> {
        let mut bytes = Vec::with_capacity(80);
        if let Some(qos) = qos
            && let (Ok(sending), Ok(receiving)) = (qos.sending.to_raw(), qos.receiving.to_raw())
        {
            let provider_specific = flowspec::abi::RawWsabuf::default();
            RawQos { sending, receiving, provider_specific }.write(Abi::Win64, &mut bytes);
        }
        // Eight bytes at a time, so that it lies as a QOS has to.
        bytes
            .chunks_exact(8)
            .map(|word| word.iter().rev().fold(0, |all, &byte| all << 8 | u64::from(byte)))
            .collect()
    };
    let (mut sqos, mut gqos) = (structure(caller.sqos), structure(caller.gqos));
    let offered = sqos.clone();
    // The program may write there.
    let place = |words: &mut [u64]| if words.is_empty() { 0 } else { words.as_mut_ptr().expose_provenance() };
    let asked = place(&mut sqos);
    let verdict = condition(
        caller_id.as_ptr().addr(),
        if caller.data.is_empty() { 0 } else { brought.as_ptr().addr() },
        asked,
        place(&mut gqos),
        callee_id.as_ptr().addr(),
        (&raw mut answered).expose_provenance(),
        (&raw mut group).expose_provenance(),
        context,
    );
    // What it has left as the length of its answer; untouched, it has none.
    let length = usize::try_from(answered[0] & u64::from(u32::MAX)).unwrap_or(0);
    answer.truncate(if length >= MOST_DATA { 0 } else { length });
    match verdict {
        CF_ACCEPT => {}
        CF_REJECT => return Ok(Verdict::Reject),
        CF_DEFER => return Ok(Verdict::Defer),
        _ => return Err(Wsa::Einval),
    }
    let said = if sqos == offered { None } else { qos(asked).map_err(|_| Wsa::Einval)? };
    let (sqos, wishes) = said.unzip();
    let (group, wishes) = (Grouping::from_number(group), wishes.unwrap_or_default());
    Ok(Verdict::Accept(Box::new(Accepting { callee_data: answer, group, sqos, wishes })))
}

pub(super) fn accept(
    s: usize,
    name: usize,
    length: usize,
    condition: Option<Condition>,
    context: usize,
) -> Result<usize> {
    let endpoint = socket(s)?;
    address::check_room(endpoint.family, name, length)?;
    let mut nonsense = false;
    let (socket, peer) = match condition {
        None => endpoint.accept()?,
        Some(condition) => endpoint
            .accept_if(|caller| {
                let verdict = ask(condition, caller, context);
                nonsense = verdict.is_err();
                verdict.unwrap_or(Verdict::Reject)
            })
            .map_err(|wsa| if nonsense { Wsa::Einval } else { wsa })?,
    };
    address::write(peer, name, length)?;
    number(socket)
}
