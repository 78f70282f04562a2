//! What is read of the kernel's classes: for measured classes, and for reports.

use flowspec::{Both, Moment, Rate};
use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::core::Caller;
use super::drain::KernelClassCounters;
use super::driver::{Driver, Returned};
use super::patience::{PATIENCE, in_time};
use super::queues::Job;
use super::report::{Counts, InterfaceReport, ReportPart};
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
        if self.is_suspended(index) {
            return;
        }
        self.queues.call(index);
        let (at, classes) = (self.core().now(), in_time(index, PATIENCE, self.kernel.classes(index)));
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
        let status = self.core().manager.status(&interface);
        let Some(status) = status else { return };
        if status.kernel.is_err() {
            // The caller may have gone.
            let _ = reply.send(Ok(InterfaceReport::without_tree(interface, status)));
            return;
        }
        let (direct_packets, states) = (self.kernel.direct_packets(index), self.kernel.classes(index));
        let before = {
            let of_interface = (index, Handle::default())..=(index, Handle::from_u32(u32::MAX));
            self.counts.range(of_interface).map(|((_, class), counts)| (*class, *counts)).collect()
        };
        let flows = self.core().manager.classes(&interface);
        let part = ReportPart { interface, status, flows, before };
        let counts = in_time(index, PATIENCE, async move {
            let (direct_packets, mut states) = (direct_packets.await?, states.await?);
            states.sort_by_key(|state| state.class.handle);
            Ok(Counts { direct_packets, states })
        });
        self.calls
            .push(Box::pin(async move { Returned::Reported { index, part, counts: counts.await, reply } }));
    }

    /// An interface was read for a report.
    pub(super) fn reported(
        &mut self,
        index: u32,
        part: ReportPart,
        counts: Result<Counts, KernelFailure>,
        reply: oneshot::Sender<Result<InterfaceReport, KernelFailure>>,
    ) {
        if let Err(failure) = &counts {
            self.call_failed(index, failure);
        }
        let report = match counts {
            Ok(Counts { direct_packets, states }) => {
                let classes = part.class_reports(&states);
                let ReportPart { interface, status, .. } = part;
                let receiving = self.receiving_report(index);
                Ok(InterfaceReport { interface, status, receiving, direct_packets, classes })
            }
            Err(failure) if failure.is_timeout() => {
                let now = self.core().manager.status(&part.interface);
                Ok(InterfaceReport::without_tree(part.interface, now.unwrap_or(part.status)))
            }
            Err(failure) => Err(failure),
        };
        // The caller may have gone.
        let _ = reply.send(report);
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
        self.counts.extend(states.map(|state| ((index, state.class.handle), KernelClassCounters::of(state))));
    }
}
