//! What is read of the kernel's classes: for measured classes, and for reports.

use std::collections::BTreeMap;

use flowspec::{Both, Moment, Rate};
use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::core::Caller;
use super::drain::ClassCounts;
use super::driver::{Driver, Returned};
use super::queues::Job;
use super::report::{InterfaceReport, class_report};
use crate::admission::{NotProgrammed, Operation};
use crate::failure::KernelFailure;
use crate::linux::ClassState;
use crate::tc::{Change, Handle, Op, is_idle};

impl Driver {
    pub(super) fn measure_all(&mut self) {
        let interfaces = self.core().manager.interfaces();
        for (_, index) in interfaces {
            match self.queues.is_busy(index) {
                true => self.queues.defer(index, Job::Measure),
                false => self.measure(index),
            }
        }
    }

    /// Reads what the flows of an interface's measured classes have sent.
    pub(super) fn measure(&mut self, index: u32) {
        let Some(interface) = self.name(index) else { return };
        if self.core().manager.measured(&interface).is_empty() {
            self.meters.remove(&interface);
            return;
        }
        self.queues.call(index);
        let (at, classes) = (self.core().now(), self.kernel.classes(index));
        self.calls.push(Box::pin(async move {
            Returned::Measured { index, interface, at, classes: classes.await }
        }));
    }

    pub(super) fn measured(&mut self, interface: &str, at: Moment, states: &[ClassState]) {
        let classes = self.core().manager.measured(interface);
        let sent = states.iter().map(|state| (state.class.handle, state.sent_bytes)).collect();
        let meter = self.meters.entry(interface.to_owned()).or_default();
        for (class, window, rate) in meter.read(&classes, &sent, at) {
            // What is received passes no class: it counts as declared.
            let rate = Both { sending: rate, receiving: Rate::new(u64::MAX) };
            let interface = interface.to_owned();
            let operation = Operation::Measure { interface, class, window, rate };
            self.core().submit(Box::new(operation), Caller::Engine);
        }
    }

    /// Reports on every interface, each once the changes are applied that were ordered before. Later ones do not wait until
    /// its classes are read.
    pub(super) fn report_all(&mut self, reply: oneshot::Sender<Result<Vec<InterfaceReport>, KernelFailure>>) {
        let interfaces = self.core().manager.interfaces();
        let mut parts = Vec::new();
        for (interface, index) in interfaces {
            let (reply, part) = oneshot::channel();
            parts.push(part);
            let status = self.core().manager.status(&interface);
            if let Some(status) = status.filter(|status| status.kernel == Err(NotProgrammed::Gone)) {
                // The caller may have gone.
                let _ = reply.send(Ok(InterfaceReport::without_tree(interface, status)));
                continue;
            }
            match self.queues.is_busy(index) {
                true => self.queues.defer(index, Job::Report(reply)),
                false => self.report(index, reply),
            }
        }
        self.calls.push(Box::pin(async move {
            // An interface without a part is not managed any more.
            let parts = join_all(parts).await.into_iter().filter_map(Result::ok);
            // The caller may have gone.
            let _ = reply.send(parts.collect());
            Returned::Collected
        }));
    }

    pub(super) fn report(&self, index: u32, reply: oneshot::Sender<Result<InterfaceReport, KernelFailure>>) {
        let Some(interface) = self.name(index) else { return };
        let (status, flows) = {
            let core = self.core();
            (core.manager.status(&interface), core.manager.classes(&interface))
        };
        let Some(status) = status else { return };
        if status.kernel.is_err() {
            // The caller may have gone.
            let _ = reply.send(Ok(InterfaceReport::without_tree(interface, status)));
            return;
        }
        let (direct_packets, states) = (self.kernel.direct_packets(index), self.kernel.classes(index));
        let of_interface = (index, Handle::default())..=(index, Handle::from_u32(u32::MAX));
        let counts: BTreeMap<_, _> =
            self.counts.range(of_interface).map(|((_, class), counts)| (*class, *counts)).collect();
        let report = async move {
            let (direct_packets, mut states) = (direct_packets.await?, states.await?);
            states.sort_by_key(|state| state.class.handle);
            let before = |state: &ClassState| counts.get(&state.class.handle).copied().unwrap_or_default();
            let classes = states.iter().map(|state| class_report(state, &flows, before(state))).collect();
            Ok(InterfaceReport { interface, status, direct_packets, classes })
        };
        tokio::spawn(async move {
            // The caller may have gone.
            let _ = reply.send(report.await);
        });
    }

    /// The classes that a change makes a flow's: those that it adds, and those that were idle.
    pub(super) fn begun(&mut self, index: u32, change: &Change) -> Vec<Handle> {
        let mut begun = Vec::new();
        for op in &change.ops {
            match op {
                Op::AddClass(class) => {
                    self.counts.remove(&(index, class.handle));
                    let meter = self.name(index).and_then(|name| self.meters.get_mut(&name));
                    if let Some(meter) = meter {
                        meter.added(class.handle);
                    }
                }
                Op::ChangeClass { to, from } if is_idle(from) => begun.push(to.handle),
                _ => {}
            }
        }
        begun
    }

    /// Notes what classes had counted before they became a flow's.
    pub(super) fn count_from(&mut self, index: u32, begun: &[Handle], states: &[ClassState]) {
        let states = states.iter().filter(|state| begun.contains(&state.class.handle));
        self.counts.extend(states.map(|state| ((index, state.class.handle), ClassCounts::of(state))));
    }
}
