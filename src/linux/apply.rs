//! Changes of a tree: each operation is sent, read back, and taken back where one fails.
//!
//! The operations on classes that follow each other are sent together, and the kernel answers each with the class as it
//! is then, so that nothing has to be read.

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::tc::TcMessage;

use super::filters::filters_at;
use super::netlink::{Netlink, RequestOutcome};
use super::request::{NetlinkRequest, NetlinkRequestKind};
use super::traffic::{ClassState, DELETE_QDISC, NEW_QDISC, class_state, header, with_options};
use crate::failure::{AnswerProblem, Cause, KernelCall, KernelFailure};
use crate::tc::{
    Bfifo, Change, ClassQueue, FqCodel, Handle, HtbClass, HtbRoot, NotEncodable, ObservedRoot, Op, QueueKind,
};

/// How often an operation is sent whose answer is lost.
const ATTEMPTS: usize = 3;

/// The most operations that are sent together. Their answers are in the socket's buffer before one is read: of the
/// smallest that a kernel has by default, 208 KiB, these take less than half.
const MOST_TOGETHER: usize = 32;

const NEW_CLASS: &str = "RTM_NEWTCLASS";
const DELETE_CLASS: &str = "RTM_DELTCLASS";
const DELETE_FILTER: &str = "RTM_DELTFILTER";

/// An operation that is in force, with the class that it has made or changed.
type Carried = Option<ClassState>;

/// An operation that failed, and whether it may be in force all the same.
type NotCarried = (KernelFailure, bool);

impl Netlink {
    /// Applies a change: all of it, or none. Each operation is read back: the classes that it has added and changed, in
    /// this order.
    ///
    /// Two changes of one interface must not be applied at the same time; those of different interfaces may.
    ///
    /// - **Errors**: the failure of the first operation that failed; those before it have been undone, and so has this
    ///   one if it may have been applied.
    pub async fn apply(&self, index: u32, change: &Change) -> Result<Vec<ClassState>, KernelFailure> {
        let (mut left, mut carried) = (&change.ops[..], Vec::new());
        while let Some(together) = together(left) {
            let (ops, rest) = left.split_at(together);
            let before = change.ops.len() - left.len();
            match self.carry_out_all(index, ops).await {
                Ok(states) => carried.extend(states),
                Err((failure, done)) => {
                    let done: Vec<_> = change.ops[..before].iter().chain(done).collect();
                    self.take_back(index, &done).await;
                    return Err(failure);
                }
            }
            left = rest;
        }
        Ok(carried)
    }

    /// Applies a change without a runtime: as much of it as the kernel accepts.
    ///
    /// For the end of a program, when nothing awaits an answer any more. Nothing is read back or undone.
    ///
    /// - **Errors**: the failure of the first operation that failed.
    pub fn apply_blocking(&self, index: u32, change: &Change) -> Result<(), KernelFailure> {
        let results =
            change.ops.iter().map(|op| self.request_blocking(request(index, op, QueueKind::Bfifo)?));
        // All operations are sent, whatever became of those before.
        results.collect::<Vec<_>>().into_iter().collect()
    }

    /// Carries out operations that are sent together.
    ///
    /// - **Errors**: the first failure, and the operations that are in force or may be.
    async fn carry_out_all<'a>(
        &self,
        index: u32,
        ops: &'a [Op],
    ) -> Result<Vec<ClassState>, (KernelFailure, Vec<&'a Op>)> {
        let outcomes = match ops {
            // It is sent with its answers awaited one by one.
            [op] if !is_of_a_class(op) => vec![self.carry_out(index, op).await],
            ops => self.send_all(index, ops).await.map_err(|failure| (failure, Vec::new()))?,
        };
        let (mut states, mut failed, mut done) = (Vec::new(), None, Vec::new());
        for (op, outcome) in ops.iter().zip(outcomes) {
            match outcome {
                Ok(state) => {
                    states.extend(state);
                    done.push(op);
                }
                Err((failure, in_doubt)) => {
                    failed.get_or_insert(failure);
                    done.extend(in_doubt.then_some(op));
                }
            }
        }
        match failed {
            None => Ok(states),
            Some(failure) => Err((failure, done)),
        }
    }

    /// Sends operations on classes in one datagram. Where an answer is lost, they are taken back and carried out one by one.
    ///
    /// - **Errors**: an operation that cannot be expressed; nothing was sent.
    async fn send_all(
        &self,
        index: u32,
        ops: &[Op],
    ) -> Result<Vec<Result<Carried, NotCarried>>, KernelFailure> {
        let mut requests = Vec::with_capacity(ops.len());
        for op in ops {
            let encoded = encode(index, op, QueueKind::Bfifo);
            let (_, message, kind) =
                encoded.map_err(|error| KernelFailure::not_expressible(object(index, op), error))?;
            requests.push((message, kind));
        }
        let outcomes = self.request_all(requests).await;
        if outcomes.iter().any(|outcome| matches!(outcome, RequestOutcome::Lost)) {
            return Ok(self.start_over(index, ops, &outcomes).await);
        }
        let mut results = Vec::with_capacity(ops.len());
        for ((op, outcome), number) in ops.iter().zip(outcomes).zip(1..) {
            results.push(match outcome {
                RequestOutcome::Done(answers) => {
                    let later = ops.get(number..).unwrap_or_default();
                    let confirmed = self.confirm(index, (op, later), &answers).await;
                    confirmed.map_err(|failure| (failure, true))
                }
                RequestOutcome::Refused(cause) => {
                    Err((KernelCall(call(op)).failed(object(index, op), cause), false))
                }
                RequestOutcome::Lost => Err((lost(index, op), true)),
            });
        }
        Ok(results)
    }

    /// Carries out operations one by one until one fails, of which it is not known which are in force.
    async fn start_over(
        &self,
        index: u32,
        ops: &[Op],
        outcomes: &[RequestOutcome],
    ) -> Vec<Result<Carried, NotCarried>> {
        if let [op] = ops
            && self.is_in_force(index, op).await == Ok(true)
        {
            return vec![self.verify(index, op).await.map_err(|failure| (failure, true))];
        }
        let may_be_in_force =
            ops.iter().zip(outcomes).filter(|(_, is)| !matches!(is, RequestOutcome::Refused(_)));
        let may_be_in_force: Vec<_> = may_be_in_force.map(|(op, _)| op).collect();
        self.take_back(index, &may_be_in_force).await;
        let mut results = Vec::with_capacity(ops.len());
        for op in ops {
            results.push(self.carry_out(index, op).await);
            if results.last().is_some_and(Result::is_err) {
                break;
            }
        }
        results
    }

    /// Compares the class that the kernel answers with that of the operation, after which the later ones were carried out.
    ///
    /// - **Errors**: another class is in force.
    async fn confirm(
        &self,
        index: u32,
        (op, later): (&Op, &[Op]),
        answers: &[RouteNetlinkMessage],
    ) -> Result<Carried, KernelFailure> {
        let (Op::AddClass(class) | Op::ChangeClass { to: class, .. }) = op else { return Ok(None) };
        let states = answers.iter().filter_map(|answer| class_state(answer, "the answer").ok().flatten());
        match states.into_iter().find(|state| state.class.handle == class.handle) {
            Some(found) if class.is_kept_as(&found.class, found.level > 0) => Ok(Some(found)),
            _ if later.iter().any(|later| class_of(later) == Some(class.handle)) => Ok(None),
            // A class that is not as it is to be, or a kernel that does not answer with it.
            _ => self.verify(index, op).await,
        }
    }

    /// Carries out one operation. Where its answer is lost, the kernel is asked whether it is in force, and it is sent
    /// again where it is not.
    ///
    /// - **Errors**: the failure, and whether the operation may be in force all the same.
    async fn carry_out(&self, index: u32, op: &Op) -> Result<Carried, NotCarried> {
        let mut attempts = ATTEMPTS;
        loop {
            let sent = self.send(index, op).await;
            attempts -= 1;
            match sent {
                Ok(()) => return self.verify(index, op).await.map_err(|failure| (failure, true)),
                // The kernel has refused it.
                Err(failure) if failure.errno().is_some() => return Err((failure, false)),
                // The kernel may have carried it out: the answer was lost, or is not understood.
                Err(_) if self.is_in_force(index, op).await == Ok(true) => {
                    return self.verify(index, op).await.map_err(|failure| (failure, true));
                }
                Err(failure) if attempts == 0 => return Err((failure, true)),
                Err(_) => {}
            }
        }
    }

    /// Undoes operations, the last first. Where they made the root, its deletion is enough.
    ///
    /// An operation that cannot be undone was not carried out, or its object is gone.
    async fn take_back(&self, index: u32, ops: &[&Op]) {
        let root = ops.iter().rposition(|op| matches!(op, Op::AddRoot(_)));
        let ops = match root {
            Some(root) => &ops[..=root],
            None => ops,
        };
        for undo in ops.iter().rev().filter_map(|op| op.undo()) {
            for _ in 0..ATTEMPTS {
                match self.send(index, &undo).await {
                    // Its answer was lost: a second time does no harm.
                    Err(KernelFailure { cause: Cause::Timeout { .. }, .. }) => return,
                    Err(failure) if failure.errno().is_none() => {}
                    _ => break,
                }
            }
        }
    }

    /// Whether an operation is in force whose answer was lost.
    ///
    /// - **Errors**: the kernel's.
    async fn is_in_force(&self, index: u32, op: &Op) -> Result<bool, KernelFailure> {
        match op {
            Op::DeleteRoot(root) => Ok(self.root(index).await?.root != ObservedRoot::Htb(*root)),
            Op::DeleteClass(class) => Ok(self.class(index, class.handle).await?.is_none()),
            Op::DeleteQueue { parent, queue } => {
                let queues = self.qdiscs(index).await?.queues;
                let found = queues.into_iter().find_map(|(class, found)| (class == *parent).then_some(found));
                Ok(!found.is_some_and(|found| queue.is_kept_as(&found)))
            }
            Op::DeleteForeignQueue { parent } => {
                Ok(!self.qdiscs(index).await?.queues.iter().any(|(class, _)| class == parent))
            }
            Op::DeleteFilter(place) => {
                let found = self.tree_filters(index, vec![place.parent]).await?;
                Ok(!found.iter().any(|filter| filter.is_at(*place)))
            }
            _ => Ok(self.verify(index, op).await.is_ok()),
        }
    }

    async fn send(&self, index: u32, op: &Op) -> Result<(), KernelFailure> {
        let queue = match op {
            Op::AddQueue { .. } => self.queue_kind().await,
            Op::ChangeQueue { parent, .. } => {
                let queues = self.qdiscs(index).await?.queues;
                let found = queues.into_iter().find(|(class, _)| class == parent);
                found.and_then(|(_, queue)| queue.kind()).unwrap_or(QueueKind::Bfifo)
            }
            _ => QueueKind::Bfifo,
        };
        self.request(request(index, op, queue)?).await.map(drop)
    }

    /// Reads back what an operation made: its class, where it has one.
    async fn verify(&self, index: u32, op: &Op) -> Result<Carried, KernelFailure> {
        let found = match op {
            Op::AddRoot(root) => match self.root(index).await?.root {
                ObservedRoot::Htb(found) if found == *root => return Ok(None),
                found => found.to_string(),
            },
            Op::AddClass(class) | Op::ChangeClass { to: class, .. } => {
                match self.class(index, class.handle).await? {
                    Some(found) if class.is_kept_as(&found.class, found.level > 0) => return Ok(Some(found)),
                    Some(found) => found.class.to_string(),
                    None => "no such class".to_owned(),
                }
            }
            Op::AddQueue { parent, queue } | Op::ChangeQueue { parent, to: queue, .. } => {
                let queues = self.qdiscs(index).await?.queues;
                match queues.into_iter().find_map(|(class, found)| (class == *parent).then_some(found)) {
                    Some(found) if queue.is_kept_as(&found) => return Ok(None),
                    Some(found) => format!("qdisc parent {parent} {found}"),
                    None => "no such qdisc".to_owned(),
                }
            }
            Op::DeleteRoot(_)
            | Op::DeleteClass(_)
            | Op::DeleteQueue { .. }
            | Op::DeleteForeignQueue { .. }
            | Op::DeleteFilter(_) => return Ok(None),
        };
        Err(KernelCall("read back").unexpected(object(index, op), AnswerProblem::NotInForce { found }))
    }
}

/// How many of the first operations are sent together; `None` where there are none.
///
/// Only what the operations before them have left alone is deleted: nothing is deleted for one that fails.
fn together(ops: &[Op]) -> Option<usize> {
    let first = ops.first()?;
    let is_deletion = |op: &Op| matches!(op, Op::DeleteClass(_));
    let is_alike = |op: &&Op| is_of_a_class(op) && is_deletion(op) == is_deletion(first);
    Some(ops.iter().take(MOST_TOGETHER).take_while(is_alike).count().max(1))
}

const fn is_of_a_class(op: &Op) -> bool {
    class_of(op).is_some()
}

const fn class_of(op: &Op) -> Option<Handle> {
    match op {
        Op::AddClass(class) | Op::ChangeClass { to: class, .. } | Op::DeleteClass(class) => {
            Some(class.handle)
        }
        _ => None,
    }
}

fn lost(index: u32, op: &Op) -> KernelFailure {
    KernelCall(call(op)).unexpected(object(index, op), AnswerProblem::PartLost)
}

/// The object of a failure.
fn object(index: u32, op: &Op) -> String {
    format!("tc {op} on interface {index}")
}

/// The type of the message for an operation on a class.
const fn call(op: &Op) -> &'static str {
    if matches!(op, Op::DeleteClass(_)) { DELETE_CLASS } else { NEW_CLASS }
}

/// The request for an operation; of a queue of this kind.
fn request(index: u32, op: &Op, queue: QueueKind) -> Result<NetlinkRequest, KernelFailure> {
    let object = format!("tc {} on interface {index}", op.text(queue));
    match encode(index, op, queue) {
        Ok((call, message, kind)) => Ok(NetlinkRequest { call, object, message, kind }),
        Err(error) => Err(KernelFailure::not_expressible(object, error)),
    }
}

/// The request for an operation: its type, its message and what it asks for.
fn encode(
    index: u32,
    op: &Op,
    kind: QueueKind,
) -> Result<(&'static str, RouteNetlinkMessage, NetlinkRequestKind), NotEncodable> {
    let root = |root: &HtbRoot| header(index, root.handle, Handle::ROOT);
    let class = |class: &HtbClass| header(index, class.handle, class.parent);
    let queue = |parent: Handle| header(index, Handle::default(), parent);
    Ok(match op {
        Op::AddRoot(htb) => {
            let message = with_options(root(htb), HtbRoot::KIND, htb.options());
            (NEW_QDISC, RouteNetlinkMessage::NewQueueDiscipline(message), NetlinkRequestKind::Add)
        }
        Op::DeleteRoot(htb) => {
            (DELETE_QDISC, RouteNetlinkMessage::DelQueueDiscipline(root(htb)), NetlinkRequestKind::Change)
        }
        Op::AddClass(htb) => {
            let message = with_options(class(htb), HtbRoot::KIND, htb.options()?);
            (NEW_CLASS, RouteNetlinkMessage::NewTrafficClass(message), NetlinkRequestKind::AddEchoed)
        }
        Op::ChangeClass { to, .. } => {
            let message = with_options(class(to), HtbRoot::KIND, to.options()?);
            (NEW_CLASS, RouteNetlinkMessage::NewTrafficClass(message), NetlinkRequestKind::ChangeEchoed)
        }
        Op::DeleteClass(htb) => {
            (DELETE_CLASS, RouteNetlinkMessage::DelTrafficClass(class(htb)), NetlinkRequestKind::Change)
        }
        Op::AddQueue { parent, queue: settings } => {
            let message = with_queue(queue(*parent), settings, kind)?;
            (NEW_QDISC, RouteNetlinkMessage::NewQueueDiscipline(message), NetlinkRequestKind::Add)
        }
        Op::ChangeQueue { parent, to, .. } => {
            let message = with_queue(queue(*parent), to, kind)?;
            (NEW_QDISC, RouteNetlinkMessage::NewQueueDiscipline(message), NetlinkRequestKind::Change)
        }
        Op::DeleteQueue { parent, .. } | Op::DeleteForeignQueue { parent } => (
            DELETE_QDISC,
            RouteNetlinkMessage::DelQueueDiscipline(queue(*parent)),
            NetlinkRequestKind::Change,
        ),
        Op::DeleteFilter(place) => (
            DELETE_FILTER,
            RouteNetlinkMessage::DelTrafficFilter(filters_at(index, *place)),
            NetlinkRequestKind::Change,
        ),
    })
}

fn with_queue(message: TcMessage, queue: &ClassQueue, kind: QueueKind) -> Result<TcMessage, NotEncodable> {
    Ok(match kind {
        QueueKind::Bfifo => with_options(message, Bfifo::KIND, queue.bfifo.options()?),
        QueueKind::FqCodel => with_options(message, FqCodel::KIND, queue.fq_codel.options()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tc::{LINK_CLASS, OWN_ROOT, flow_class};
    use flowspec::{Bytes, Rate};

    #[test]
    fn classes_are_added_together_and_deleted_apart() {
        let (rate, size) = (Rate::new(1000), Bytes::new(3000));
        let (ceil, burst, cburst, quantum) = (rate, size, size, size);
        let class = HtbClass {
            handle: flow_class(0),
            parent: LINK_CLASS,
            rate,
            ceil,
            burst,
            cburst,
            quantum,
            prio: 0,
        };
        let (add, change, delete) =
            (Op::AddClass(class), Op::ChangeClass { to: class, from: class }, Op::DeleteClass(class));
        let check = |ops: &[Op], expected: &[usize]| {
            let (mut left, mut found) = (ops, Vec::new());
            while let Some(count) = together(left) {
                found.push(count);
                left = &left[count..];
            }
            assert_eq!(found, expected, "{ops:?}");
        };
        check(&[], &[]);
        check(&[add, change, delete, delete, add], &[2, 2, 1]);
        check(&[Op::AddRoot(OWN_ROOT), add, add], &[1, 2]);
        check(&[change; 70], &[32, 32, 6]);
    }
}
