//! A kernel whose answers the test chooses, for a manager in virtual time.

use flowspec::{Bytes, Errno, Moment};
use gqos::admission::Decision;
use gqos::failure::{Cause, KernelFailure};
use gqos::manager::{Answer, ChangeId, Effect, Input, Manager, Notice, Root, Seen};
use gqos::tc::Op;

/// The number of `eth0` in this kernel.
const INDEX: u32 = 7;

#[derive(Default)]
pub(crate) struct TestKernel {
    /// Refuses a change whose commands contain this.
    pub(crate) fails: Option<&'static str>,
    /// The changes that wait for an answer; `None` where the kernel answers at once.
    pub(crate) held: Option<Vec<ChangeId>>,
    /// The changes that the kernel received, as tc commands.
    pub(crate) asked: Vec<String>,
    /// The operations that the kernel carried out.
    pub(crate) done: Vec<Op>,
    pub(crate) ended: Vec<Decision>,
    /// The notices of other kinds, in words.
    pub(crate) told: Vec<String>,
}

impl TestKernel {
    /// Feeds the manager an input, and the answers to the changes that follow; returns its answer to a caller.
    #[track_caller]
    pub(crate) fn feed(&mut self, manager: &mut Manager, input: Input, now: Moment) -> Option<Answer> {
        let mut effects = manager.handle(input, now).effects;
        let mut answered = None;
        while !effects.is_empty() {
            match effects.remove(0) {
                Effect::Apply { id, index, change } => {
                    assert_eq!(index, INDEX);
                    let commands: Vec<_> = change.ops.iter().map(Op::to_string).collect();
                    let refuses = self.fails.is_some_and(|part| commands.iter().any(|op| op.contains(part)));
                    self.asked.extend(commands);
                    if let Some(held) = &mut self.held {
                        held.push(id);
                        continue;
                    }
                    let result = if refuses { Err(no_buffer()) } else { Ok(()) };
                    if result.is_ok() {
                        self.done.extend(change.ops);
                    }
                    effects.extend(manager.handle(Input::Applied { id, result }, now).effects);
                }
                Effect::Answer { answer, .. } => {
                    assert_eq!(answered.replace(*answer), None, "one answer");
                }
                Effect::Notify(Notice::Ended(decision)) => self.ended.push(*decision),
                Effect::Notify(notice) => self.told.push(words(notice)),
                Effect::Leave { index, interface, root } => {
                    assert_eq!(index, INDEX);
                    self.told.push(format!("{interface} is left, with a tree: {}", root.is_some()));
                }
                other => panic!("an effect that this kernel does not know: {other:?}"),
            }
        }
        answered
    }
}

fn words(notice: Notice) -> String {
    match notice {
        Notice::Lost(lost) => lost.to_string(),
        Notice::Begun { id, admitted } => {
            let class = admitted.class.map_or("no class".to_owned(), |class| class.to_string());
            format!("{id} begins with {class}")
        }
        Notice::Overcommitted { interface, over } => {
            format!("{interface} is {}overcommitted", if over { "" } else { "not " })
        }
        Notice::CapacityAvailable { id } => format!("capacity for {id}"),
        other => panic!("a notice that this kernel does not know: {other:?}"),
    }
}

/// `eth0` with this qdisc.
pub(crate) fn seen(root: Root) -> Seen {
    Seen {
        interface: "eth0".into(),
        index: INDEX,
        mtu: Bytes::new(1500),
        speed: None,
        shares_wire_with: None,
        root,
    }
}

/// The kernel has no memory for a class.
pub(crate) fn no_buffer() -> KernelFailure {
    let cause = Cause::Errno { errno: Errno::ENOBUFS, extended_ack: None };
    KernelFailure { call: "RTM_NEWTCLASS".into(), object: format!("index {INDEX}"), cause }
}
