//! Requests on the recount: what they are charged, and whether they are admitted.

use flowspec::{Both, Bytes, Direction, Flowspec, Moment, Qos, Rate, ServiceType};
use gqos::admission::{GroupRequest, Request};

use crate::policy::{ERROR_BYTES, ERROR_MICROS};
use crate::recount::{Charge, Flow, Group, Recount};
use crate::{FOREVER, HORIZON};

/// An admitted request.
pub(crate) struct Admitted {
    pub(crate) rate: [u64; 2],
    pub(crate) preempted: Vec<String>,
}

impl Recount {
    fn charges(&self, qos: &Qos, class: Option<&str>) -> Option<[Charge; 2]> {
        let [sending, receiving] = Direction::BOTH.map(|direction| self.charge(qos.get(direction), class));
        Some([sending?, receiving?])
    }

    /// The charge of a flowspec; `None` where it cannot be served. Every peak rate of the test is infinite.
    fn charge(&self, spec: &Flowspec, name: Option<&str>) -> Option<Charge> {
        if !spec.service_type.reserves() {
            return Some(Charge::default());
        }
        let (token_rate, bucket) = (spec.token_rate?.get(), spec.token_bucket_size?.get());
        let class = name.map(|name| &self.classes[name]);
        if class.is_some_and(|class| class.by_peak) {
            return None;
        }
        let charge = Charge { bucket, token_rate, ..Charge::default() };
        if spec.service_type == ServiceType::ControlledLoad {
            let overbooked = class.filter(|_| !self.variant.measured);
            let (divisor, factor) = overbooked.map_or((1, 1), |class| class.overbooking);
            let is_measured = self.variant.measured && name == Some("silver");
            // `r + b / 100 ms`.
            let peak = if is_measured { token_rate + 10 * bucket } else { 0 };
            return Some(Charge {
                rate: (token_rate * factor).div_ceil(divisor),
                buffer: bucket,
                peak,
                ..charge
            });
        }
        let mut rate = token_rate.max(spec.reserved_rate.map_or(0, Rate::get));
        if let Some(latency) = spec.latency {
            // (b + C)/R + D <= latency.
            let time = latency.get().checked_sub(ERROR_MICROS).filter(|&time| time > 0)?;
            rate = rate.max(((bucket + ERROR_BYTES) * 1_000_000).div_ceil(time));
        }
        // b + C + D·R.
        let buffer = bucket + ERROR_BYTES + (ERROR_MICROS * rate).div_ceil(1_000_000);
        Some(Charge { rate, buffer, ..charge })
    }

    /// The start and the end of a request.
    fn window(&self, request: &Request) -> (u64, u64) {
        let start = request.start.map_or(self.now, Moment::as_micros).max(self.now);
        (start, request.end.map_or(FOREVER, Moment::as_micros))
    }

    /// The setup and the holding priority; `None` where they contradict each other.
    fn priorities(&self, request: &Request, class: Option<&str>) -> Option<(u8, u8)> {
        let default =
            class.map(|class| &self.classes[class]).map_or((4, 4), |class| (class.setup, class.holding));
        let (setup, holding) = match (request.setup_priority, request.holding_priority) {
            (Some(setup), Some(holding)) => (setup, holding),
            (Some(setup), None) => (setup, default.1.min(setup)),
            (None, Some(holding)) => (default.0.max(holding), holding),
            (None, None) => default,
        };
        (setup >= holding).then_some((setup, holding))
    }

    /// The flow of a request, with its setup priority; `None` where the request is invalid.
    fn flow_for(&self, request: &Request) -> Option<(Flow, u8)> {
        let (start, end) = self.window(request);
        if self.flows.iter().any(|flow| flow.id == request.id) || end <= start {
            return None;
        }
        let group = match &request.group {
            Some(id) => Some(self.groups.get(id).filter(|group| !group.closing)?),
            None => None,
        };
        let class = request.class.clone().or_else(|| group?.class.clone());
        let (setup, holding) = self.priorities(request, class.as_deref())?;
        let flow = Flow {
            id: request.id.clone(),
            order: self.order + 1,
            charges: self.charges(&request.qos, class.as_deref())?,
            class,
            client: request.client.clone(),
            group: request.group.clone(),
            start,
            end,
            deadline: request.time_to_live.map(|time| self.now + time.get()),
            holding,
            qos: request.qos,
        };
        Some((flow, setup))
    }

    pub(crate) fn reserve(&mut self, request: &Request) -> Option<Admitted> {
        let (flow, setup) = self.flow_for(request)?;
        if !self.allows(&flow, setup, None) {
            return None;
        }
        let mut preempted = Vec::new();
        if !self.has_room(&flow, None) {
            if !self.variant.preemption {
                return None;
            }
            let is_preemptible =
                |other: &Flow| other.holding > setup && other.start < flow.end && flow.start < other.end;
            let candidates = self.candidates(is_preemptible);
            preempted = self.victims(&candidates, |rest| rest.has_room(&flow, None))?;
            for id in &preempted {
                self.remove(id);
            }
        }
        self.order += 1;
        let rate = flow.charges.map(|charge| charge.rate);
        self.flows.push(flow);
        Some(Admitted { rate, preempted })
    }

    /// The first moment at which a request would be admitted without preemption.
    pub(crate) fn earliest(&self, request: &Request) -> Option<u64> {
        let (start, end) = self.window(request);
        let duration = request.end.map(|_| end.saturating_sub(start));
        (start..start + 3 * HORIZON).find(|&moment| {
            let end = duration.map(|duration| Moment::from_micros(moment + duration));
            let mut copy = self.clone();
            copy.variant.preemption = false;
            copy.reserve(&Request { start: Some(Moment::from_micros(moment)), end, ..request.clone() })
                .is_some()
        })
    }

    /// Returns the rates that are charged then.
    pub(crate) fn renegotiate(&mut self, id: &str, changes: &Both<Option<Flowspec>>) -> Option<[u64; 2]> {
        let at = self.flows.iter().position(|flow| flow.id == id)?;
        let held = self.flows[at].clone();
        let changed = |new: Option<Flowspec>, old| {
            new.filter(|new| new.service_type != ServiceType::NoChange).unwrap_or(old)
        };
        let qos = Qos {
            sending: changed(changes.sending, held.qos.sending),
            receiving: changed(changes.receiving, held.qos.receiving),
        };
        let charges = self.charges(&qos, held.class.as_deref())?;
        let new = Flow { qos, charges, start: held.start.max(self.now), ..held.clone() };
        let mut rest = self.clone();
        rest.flows.remove(at);
        if !rest.allows(&new, 7, Some(&held)) || !rest.has_room(&new, Some(&held)) {
            return None;
        }
        self.flows[at] = new;
        Some(charges.map(|charge| charge.rate))
    }

    /// Makes a group, or changes its limits.
    pub(crate) fn group(&mut self, request: &GroupRequest) -> bool {
        let earlier = self.groups.get(&request.id);
        let Some(charges) = self.charges(&request.qos, request.class.as_deref()) else { return false };
        if earlier.is_some_and(|group| group.mode != request.mode) {
            return false;
        }
        let specs = [&request.qos.sending, &request.qos.receiving];
        let group = Group {
            mode: request.mode,
            class: request.class.clone(),
            charges,
            bucket: specs.map(|spec| spec.token_bucket_size.map(Bytes::get)),
            token_rate: specs.map(|spec| spec.token_rate.map(Rate::get)),
            unlimited: specs.map(|spec| !spec.service_type.reserves()),
            start: self.now,
            closing: false,
        };
        let Some(joined) = self.with_members(&request.id, &group) else { return false };
        let taken = |recount: &Self, moment: u64| {
            [0, 1].map(|direction| Charge {
                rate: recount.group_takes(&request.id, moment, direction, |charge| charge.rate),
                buffer: recount.group_takes(&request.id, moment, direction, |charge| charge.buffer),
                ..Charge::default()
            })
        };
        let mut rest = joined.clone();
        rest.remove_group(&request.id);
        let has_room = rest.has_room_for_group(&group, self.now + 3 * HORIZON, |moment| {
            let held = earlier.map_or([Charge::default(); 2], |_| taken(self, moment));
            (taken(&joined, moment), held)
        });
        if !has_room {
            return false;
        }
        self.order += u64::from(earlier.is_none());
        self.groups.insert(request.id.clone(), group);
        true
    }

    /// The recount with this group, which its members join one after the other; `None` where one exceeds its limits.
    fn with_members(&self, id: &str, group: &Group) -> Option<Self> {
        let mut joined = self.clone();
        joined.groups.insert(id.to_owned(), group.clone());
        joined.flows.retain(|flow| !flow.is_in(id));
        for member in self.flows.iter().filter(|flow| flow.is_in(id)) {
            if !(0..2).all(|direction| joined.is_within(id, member, direction)) {
                return None;
            }
            joined.flows.push(member.clone());
        }
        Some(joined)
    }
}
