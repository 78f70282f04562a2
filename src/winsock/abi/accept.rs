//! Accepting, with the program's condition function.

use flowspec::abi::Abi;
use flowspec::{Qos, RawQos, Wsa};

use super::super::Result;
use super::super::exchange::{Caller, Verdict};
use super::super::group::Grouping;
use super::super::setup::MOST_DATA;
use super::address;
use super::calls::{number, socket};

pub(super) type Condition = extern "C" fn(usize, usize, usize, usize, usize, usize, usize, usize) -> i32;

const CF_ACCEPT: i32 = 0;
const CF_REJECT: i32 = 1;
const CF_DEFER: i32 = 2;

/// Asks the program's condition function: its verdict, and the data it has for the caller.
fn ask(condition: Condition, caller: &Caller<'_>, context: usize) -> (i32, Vec<u8>, Grouping) {
    let wsabuf = |bytes: &[u8]| [bytes.len() as u64, bytes.as_ptr().addr() as u64];
    let (who, whom) = (address::bytes_of(caller.peer), address::bytes_of(caller.local));
    let (caller_id, callee_id) = (wsabuf(&who), wsabuf(&whom));
    let (brought, mut answer) = (wsabuf(caller.data), vec![0_u8; MOST_DATA]);
    let mut answered = [answer.len() as u64, answer.as_mut_ptr().addr() as u64];
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
    let (sqos, gqos) = (structure(caller.sqos), structure(caller.gqos));
    let or_null = |words: &[u64]| if words.is_empty() { 0 } else { words.as_ptr().addr() };
    let verdict = condition(
        caller_id.as_ptr().addr(),
        if caller.data.is_empty() { 0 } else { brought.as_ptr().addr() },
        or_null(&sqos),
        or_null(&gqos),
        callee_id.as_ptr().addr(),
        (&raw mut answered).addr(),
        (&raw mut group).addr(),
        context,
    );
    // What it has left as the length of its answer; untouched, it has none.
    let length = usize::try_from(answered[0] & u64::from(u32::MAX)).unwrap_or(0);
    answer.truncate(if length >= MOST_DATA { 0 } else { length });
    (verdict, answer, Grouping::from_number(group))
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
                let (verdict, callee_data, group) = ask(condition, caller, context);
                match verdict {
                    CF_ACCEPT => Verdict::Accept { callee_data, group },
                    CF_DEFER => Verdict::Defer,
                    verdict => {
                        nonsense = verdict != CF_REJECT;
                        Verdict::Reject
                    }
                }
            })
            .map_err(|wsa| if nonsense { Wsa::Einval } else { wsa })?,
    };
    address::write(peer, name, length)?;
    number(socket)
}
