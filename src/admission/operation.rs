//! Everything that can be asked of a ledger, and its decisions: what traces and tests are made of.

use flowspec::{Both, Direction, Flowspec, Micros, Qos, Rate};

use super::decision::{Decision, Op};
use super::ledger::Ledger;
use super::refusal::Refusal;
use super::request::{Grant, GroupRequest, Request};

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// A new flow. Of several QOS, best first, it gets the first that fits.
    Reserve(Box<Ladder>),
    /// Another reservation for a flow; an absent direction stays as it is.
    Renegotiate {
        /// The flow.
        id: String,
        /// What it asks for now.
        asked: Box<Both<Option<Flowspec>>>,
    },
    /// A flow's soft state goes on.
    Refresh {
        /// The flow.
        id: String,
        /// For so long from now.
        time_to_live: Micros,
    },
    /// The end of a flow.
    Release {
        /// The flow.
        id: String,
    },
    /// A group made or changed.
    Group(Box<GroupRequest>),
    /// The end of a group.
    Ungroup {
        /// The group.
        id: String,
    },
    /// A link carries another rate.
    Capacity {
        /// The interface.
        interface: String,
        /// Which way.
        direction: Direction,
        /// What it carries from now on.
        capacity: Rate,
    },
    /// What the flows of a class were measured to send.
    Measure {
        /// The interface.
        interface: String,
        /// The class.
        class: String,
        /// For so long, until now.
        window: Micros,
        /// On average.
        rate: Both<Rate>,
    },
    /// What is free now.
    Query {
        /// The interface.
        interface: String,
        /// A flow, to be told when it would fit first.
        request: Option<Box<Request>>,
    },
    /// Time passes.
    Tick,
    /// Something that nobody can be given, whatever is free.
    Impossible {
        /// What was asked.
        op: Op,
        /// The flow or group.
        id: String,
        /// The interface.
        interface: String,
        /// Why.
        refusal: Box<Refusal>,
    },
}

/// A request with the renditions that would do, best first.
#[derive(Clone, Debug, PartialEq)]
pub struct Ladder {
    /// Everything but what is asked for, which is that of the first rendition.
    pub request: Request,
    /// What the first is called.
    pub first: String,
    /// The others, each with its name.
    pub renditions: Vec<(String, Qos)>,
}

/// What came of an operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// What was decided, as it is told.
    pub decision: Decision,
    /// What a flow was granted that asked for something and got it.
    pub grant: Option<Grant>,
}

impl From<Request> for Ladder {
    fn from(request: Request) -> Self {
        Self { request, first: String::new(), renditions: Vec::new() }
    }
}

impl Ledger {
    /// Time passes until a moment, then something is asked. A moment before the ledger's time counts as
    /// that time.
    pub fn decide(&mut self, at_us: u64, operation: &Operation) -> Decision {
        self.resolve(at_us, operation).decision
    }

    /// The same, with what was granted.
    pub fn resolve(&mut self, at_us: u64, operation: &Operation) -> Resolved {
        let expired = self.advance(at_us);
        let at = self.now;
        let mut grant = None;
        let mut decision = match operation {
            Operation::Reserve(ladder) => self.reserve(at, ladder, &mut grant),
            Operation::Renegotiate { id, asked } => {
                let result = self.renegotiate(id, asked.sending, asked.receiving);
                if result.is_ok() {
                    self.waiting.leave(id);
                }
                let interface = self.interface_of(id);
                grant = result.as_ref().ok().cloned();
                self.granted(at, Op::Renegotiate, id, &interface, result)
            }
            Operation::Refresh { id, time_to_live } => {
                let result = self.refresh(id, *time_to_live).map(|()| Grant::default());
                let interface = self.interface_of(id);
                let mut decision = self.granted(at, Op::Refresh, id, &interface, result);
                if decision.ok {
                    decision.message = format!("{interface}: refreshed for {time_to_live}");
                }
                decision
            }
            Operation::Release { id } => self.released(at, id),
            Operation::Group(request) => {
                let result = self.group(request);
                self.granted(at, Op::Group, &request.id, &request.interface, result)
            }
            Operation::Ungroup { id } => self.ungrouped(at, id),
            Operation::Capacity { interface, direction, capacity } => {
                self.capacity_changed(at, interface, *direction, *capacity)
            }
            Operation::Measure { interface, class, window, rate } => {
                let result = self.measure(interface, class, *window, *rate);
                let mut decision = Decision::new(at, Op::Measure, "", [interface.as_str()], self);
                match result {
                    Err(refusal) => {
                        decision.refuse(&refusal);
                        decision.decided_by(&refusal, &self.policy);
                    }
                    Ok(()) => {
                        let Both { sending, receiving } = self.relief(interface);
                        decision.message = format!(
                            "{interface}, class {class}: measured at {} sending and {} receiving; its interface takes {sending} and {receiving} less than was declared",
                            rate.sending, rate.receiving
                        );
                    }
                }
                decision
            }
            Operation::Query { interface, request } => {
                let earliest = request.as_ref().map(|request| self.earliest(request));
                let mut decision = Decision::new(at, Op::Query, "", [interface.as_str()], self);
                match self.totals(interface) {
                    None => {
                        let refusal = Refusal::UnknownInterface { interface: interface.clone() };
                        decision.refuse(&refusal);
                    }
                    Some(totals) => {
                        let Both { sending, receiving } = totals.map(|totals| totals.available());
                        decision.message =
                            format!("{interface}: {sending} sending and {receiving} receiving are free");
                        if let Some(earliest) = earliest {
                            let when =
                                earliest.map_or("never fits".into(), |at| format!("fits first at {at} us"));
                            decision.message.push_str(&format!("; the flow {when}"));
                            decision.earliest_us = earliest;
                        }
                    }
                }
                decision
            }
            Operation::Tick => {
                let interfaces: Vec<_> = self.policy.interfaces.keys().cloned().collect();
                let mut decision =
                    Decision::new(at, Op::Tick, "", interfaces.iter().map(String::as_str), self);
                decision.message = format!("{} flows", self.flows());
                decision
            }
            Operation::Impossible { op, id, interface, refusal } => {
                let mut decision = Decision::new(at, *op, id, [interface.as_str()], self);
                decision.refuse(refusal);
                decision
            }
        };
        // Who had less than he asked for and is gone does not wait for more.
        for gone in expired.iter().chain(&decision.preempted).chain(&decision.shed) {
            self.waiting.leave(gone);
        }
        decision.expired = expired;
        // Only what gives something back makes room.
        let gives = match operation {
            Operation::Reserve(_) => !decision.preempted.is_empty(),
            Operation::Query { .. } | Operation::Impossible { .. } | Operation::Refresh { .. } => false,
            Operation::Renegotiate { .. }
            | Operation::Release { .. }
            | Operation::Group(_)
            | Operation::Ungroup { .. }
            | Operation::Capacity { .. }
            | Operation::Measure { .. }
            | Operation::Tick => true,
        };
        if gives || std::mem::take(&mut self.risen) || !decision.expired.is_empty() {
            decision.notified = self.tell_waiting();
        }
        Resolved { decision, grant }
    }

    fn reserve(&mut self, at: u64, ladder: &Ladder, grant: &mut Option<Grant>) -> Decision {
        let Ladder { request, renditions, .. } = ladder;
        let Request { id, interface, .. } = request;
        let mut result = self.admit(request);
        let mut got = None;
        let first = result.as_ref().err().cloned();
        for (name, qos) in renditions {
            match &result {
                Err(refusal) if refusal.is_for_its_size() => {}
                _ => break,
            }
            let lower = Request { qos: *qos, ..request.clone() };
            if let Ok(grant) = self.admit(&lower) {
                result = Ok(grant);
                got = Some(name.clone());
            }
        }
        let waits = match &result {
            // Who asks for the best again, and gets it or is content with less, waits no longer.
            Ok(_) if got.is_none() || !request.wait => {
                self.waiting.leave(id);
                false
            }
            // What stood in the way of the best, whether or not something else was given.
            _ => {
                first.is_some_and(|refusal| request.wait && refusal.may_pass() && self.waiting.join(request))
            }
        };
        *grant = result.as_ref().ok().cloned();
        let mut decision = self.granted(at, Op::Reserve, id, interface, result);
        decision.waiting = waits;
        if let Some(name) = got {
            decision.message.push_str(&format!(", as {name}"));
            decision.rendition = Some(name);
        }
        decision
    }

    fn granted(
        &self,
        at: u64,
        op: Op,
        id: &str,
        interface: &str,
        result: Result<Grant, Refusal>,
    ) -> Decision {
        let mut decision = Decision::new(at, op, id, [interface], self);
        match result {
            Ok(grant) => decision.grant(interface, grant),
            Err(refusal) => {
                decision.refuse(&refusal);
                decision.decided_by(&refusal, &self.policy);
            }
        }
        decision
    }

    fn released(&mut self, at: u64, id: &str) -> Decision {
        let interface = self.interface_of(id);
        let released = self.release(id);
        let mut decision = Decision::new(at, Op::Release, id, [interface.as_str()], self);
        match released {
            Some(charged) => {
                self.waiting.leave(id);
                decision.message = format!("{interface}: released");
                decision.released = Some(charged);
            }
            None if self.waiting.leave(id) => decision.message = "waits no longer".into(),
            None => decision.refuse(&Refusal::UnknownId { id: id.to_owned() }),
        }
        decision
    }

    fn ungrouped(&mut self, at: u64, id: &str) -> Decision {
        let interface = self.group_totals(id).map_or(String::new(), |(interface, _)| interface.to_owned());
        let result = self.ungroup(id);
        let mut decision = Decision::new(at, Op::Ungroup, id, [interface.as_str()], self);
        match result {
            Ok(true) => decision.message = format!("{interface}: ended"),
            Ok(false) => decision.message = format!("{interface}: ends with its last member"),
            Err(refusal) => decision.refuse(&refusal),
        }
        decision
    }

    fn capacity_changed(
        &mut self,
        at: u64,
        interface: &str,
        direction: Direction,
        capacity: Rate,
    ) -> Decision {
        let known = self.policy.interface(interface).is_some();
        let shed = self.set_capacity(interface, direction, capacity);
        let mut decision = Decision::new(at, Op::Capacity, "", [interface], self);
        if known {
            decision.message = match self.rises(interface, direction) {
                Some(at) => {
                    format!("{interface} {direction}: carries {capacity}, which counts from {at} us on")
                }
                None => format!("{interface} {direction}: carries {capacity} from now on"),
            };
            if !shed.is_empty() {
                decision.message.push_str(&format!("; {} flows had to go", shed.len()));
            }
            decision.shed = shed;
        } else {
            decision.refuse(&Refusal::UnknownInterface { interface: interface.to_owned() });
        }
        decision
    }

    fn interface_of(&self, id: &str) -> String {
        self.flow(id).map_or(String::new(), |(interface, _)| interface.to_owned())
    }
}
