//! The events of the ledger's decisions and the kernel's answers.

use super::pending::Pending;
use super::state::Manager;
use super::turn::Turn;
use crate::admission::{Holding, NotProgrammed, Outcome, ReleasedFlow, Response};
use crate::failure::KernelFailure;
use crate::telemetry::event::{
    CapacityChanged, ClassMeasured, Event, FlowReleased, FlowRenegotiated, InterfaceLeftToUserSpace,
    InterfacePrepared, RequestQueued, TreeApplied, TreeRolledBack,
};

impl Manager {
    /// Records a decision of the ledger, if it is final: a flow is admitted once the kernel agrees. `held` is what
    /// the flow held before.
    pub(super) fn record_decision(&self, turn: &mut Turn, outcome: &Outcome, held: Option<Holding>) {
        let decision = &outcome.decision;
        if decision.is_waiting()
            && let Some(id) = decision.id()
        {
            let interface = decision.totals.keys().next().cloned().unwrap_or_default();
            turn.record(|| Event::RequestQueued(RequestQueued { id: id.to_owned(), interface }));
        }
        match (&decision.response, held) {
            (Response::Renegotiate { id, result: Ok(_) }, Some(Holding { charged: previously, .. })) => {
                if let Some(flow) = self.ledger.holding_of(id) {
                    turn.record(|| Event::FlowRenegotiated(FlowRenegotiated { flow, previously }));
                }
            }
            (
                Response::Release { result: Ok(ReleasedFlow::Flow { charged: Some(_), .. }), .. },
                Some(flow),
            ) => {
                turn.record(|| Event::FlowReleased(FlowReleased { flow }));
            }
            (Response::Capacity(Ok(change)), _) => turn.record(|| {
                Event::CapacityChanged(CapacityChanged {
                    interface: change.interface.clone(),
                    direction: change.direction,
                    capacity: change.capacity,
                    counts_from: change.counts_from,
                })
            }),
            (Response::Measure(Ok(measured)), _) => turn.record(|| {
                let (interface, class) = (measured.interface.clone(), measured.class.clone());
                Event::ClassMeasured(ClassMeasured { interface, class, rate: measured.rate })
            }),
            _ => {}
        }
    }
}

/// Records the kernel's answer to a change.
pub(super) fn record_applied(turn: &mut Turn, pending: &Pending, result: &Result<(), KernelFailure>) {
    // The class for what a flow receives is no part of the tree.
    if pending.operations == 0 && result.is_ok() {
        return;
    }
    turn.record(|| {
        let (interface, operations) = (pending.interface.clone(), pending.operations);
        match result {
            Ok(()) => Event::TreeApplied(TreeApplied { interface, operations }),
            Err(failure) => {
                let failure = failure.clone();
                Event::TreeRolledBack(TreeRolledBack { interface, operations, failure })
            }
        }
    });
}

/// Records whether an interface has a tree.
pub(super) fn record_interface(turn: &mut Turn, name: &str, index: u32, why: Option<NotProgrammed>) {
    turn.record(|| {
        let interface = name.to_owned();
        match why {
            None => Event::InterfacePrepared(InterfacePrepared { interface, index }),
            Some(why) => Event::InterfaceLeftToUserSpace(InterfaceLeftToUserSpace { interface, why }),
        }
    });
}
