//! Requests on the recount: what they are charged, and whether they are admitted.

use flowspec::{Both, Bytes, Direction, Flowspec, Moment, Qos, Rate, ServiceType};
use gqos::admission::{GroupRequest, Request};
use gqos::policy::GroupMode;

use crate::fit::Limit;
use crate::policy::{ERROR_TERMS, LINKS};
use crate::recount::{Charge, Flow, Group, Recount};
use crate::{FOREVER, HORIZON};

/// An admitted request.
pub(crate) struct Admitted {
    pub(crate) rate: [u64; 2],
    pub(crate) preempted: Vec<String>,
}

/// A refused request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused {
    /// It lacks nothing but what others hold.
    pub(crate) may_fit_later: bool,
}

const REFUSED: Refused = Refused { may_fit_later: false };

impl Recount {
    fn charges(&self, qos: &Qos, class: Option<&str>, link: usize) -> Option<[Charge; 2]> {
        let [sending, receiving] =
            Direction::BOTH.map(|direction| self.charge(qos.get(direction), class, link));
        Some([sending?, receiving?])
    }

    /// The charge of a flowspec; `None` where it cannot be served. Every peak rate of the test is infinite.
    fn charge(&self, spec: &Flowspec, name: Option<&str>, link: usize) -> Option<Charge> {
        if !spec.service_type.reserves() {
            return Some(Charge::default());
        }
        let (token_rate, bucket) = (spec.token_rate?.get(), spec.token_bucket_size?.get());
        let class = self.settings(name);
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
                is_load: true,
                rate: (token_rate * factor).div_ceil(divisor),
                buffer: bucket,
                peak,
                ..charge
            });
        }
        // Each interface on the way adds its own.
        let terms = self.wire(link).map(|link| ERROR_TERMS[link]);
        let (bytes, micros) = terms.fold((0, 0), |sum, hop| (sum.0 + hop.0, sum.1 + hop.1));
        let mut rate = token_rate.max(spec.reserved_rate.map_or(0, Rate::get));
        if let Some(latency) = spec.latency {
            // (b + C)/R + D <= latency.
            let time = latency.get().checked_sub(micros).filter(|&time| time > 0)?;
            rate = rate.max(((bucket + bytes) * 1_000_000).div_ceil(time));
        }
        // b + C + D·R.
        let buffer = bucket + bytes + (micros * rate).div_ceil(1_000_000);
        Some(Charge { rate, buffer, ..charge })
    }

    /// The start and the end of a request.
    pub(crate) fn window(&self, request: &Request) -> (u64, u64) {
        let start = request.start.map_or(self.now, Moment::as_micros).max(self.now);
        (start, request.end.map_or(FOREVER, Moment::as_micros))
    }

    /// The setup and the holding priority; `None` where they contradict each other.
    fn priorities(&self, request: &Request, class: Option<&str>) -> Option<(u8, u8)> {
        let default = self.settings(class).map_or((4, 4), |class| (class.setup, class.holding));
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
        let link = LINKS.iter().position(|name| *name == request.interface)?;
        let group = match &request.group {
            Some(id) => Some(self.groups.get(id).filter(|group| !group.closing && link == 0)?),
            None => None,
        };
        let class = request.class.clone().or_else(|| group?.class.clone());
        if class.is_some() && self.class(class.as_deref()).is_none() {
            return None;
        }
        let (setup, holding) = self.priorities(request, class.as_deref())?;
        let flow = Flow {
            id: request.id.clone(),
            order: self.order + 1,
            link,
            charges: self.charges(&request.qos, class.as_deref(), link)?,
            class,
            client: request.client.clone(),
            group: request.group.clone(),
            start,
            end,
            deadline: request.time_to_live.map(|time| self.now + time.get()),
            holding,
            qos: request.qos,
            silent: None,
            stalled: None,
        };
        Some((flow, setup))
    }

    pub(crate) fn reserve(&mut self, request: &Request) -> Result<Admitted, Refused> {
        let (flow, setup) = self.flow_for(request).ok_or(REFUSED)?;
        if !self.allows(&flow, setup, None) {
            return Err(REFUSED);
        }
        let mut preempted = Vec::new();
        if !self.fits_now(&flow, None) {
            preempted = self.displace(&flow, setup).ok_or_else(|| self.refused(&flow))?;
        }
        self.order += 1;
        let rate = flow.charges.map(|charge| charge.rate);
        self.flows.push(flow);
        Ok(Admitted { rate, preempted })
    }

    /// Preempts flows for one that does not fit, and gives them.
    fn displace(&mut self, flow: &Flow, setup: u8) -> Option<Vec<String>> {
        if !self.variant.preemption {
            return None;
        }
        let is_preemptible =
            |other: &Flow| other.holding > setup && other.start < flow.end && flow.start < other.end;
        let candidates = self.candidates(is_preemptible);
        let preempted = self.victims(&candidates, |rest| rest.fits_now(flow, None))?;
        preempted.iter().for_each(|id| self.lose(id));
        Some(preempted)
    }

    /// The refusal of a flow that does not fit. One whose class or group takes no flows any more waits for nothing.
    fn refused(&self, flow: &Flow) -> Refused {
        let is_orphan = flow.class.is_some() && self.class(flow.class.as_deref()).is_none();
        let is_closing = flow.group.as_deref().is_some_and(|id| self.groups[id].closing);
        Refused { may_fit_later: !is_orphan && !is_closing && self.would_fit_alone(flow) }
    }

    /// Whether a flow that waits gets what it waits for, in place of what it has where it has something.
    pub(crate) fn try_waiter(&mut self, request: &Request) -> Result<(), Refused> {
        if !self.flows.iter().any(|flow| flow.id == request.id) {
            return self.reserve(request).map(drop);
        }
        let held = self.flows.iter().find(|flow| flow.id == request.id).map(|flow| flow.charges);
        self.exchange(&request.id, &request.qos.map(Some))?;
        // Until it requests the better one, nothing of what it has is free.
        if let (Some(held), Some(flow)) = (held, self.flows.iter_mut().find(|flow| flow.id == request.id)) {
            for (charge, held) in flow.charges.iter_mut().zip(held) {
                *charge = charge.larger(&held);
            }
        }
        Ok(())
    }

    /// What the interfaces lack for a flow that waits, in place of what it has where it has something.
    pub(crate) fn lacks(&self, request: &Request) -> Vec<(usize, Limit)> {
        let Some((rest, flow, held)) = self.without_held(request) else { return Vec::new() };
        let lacks =
            |link| rest.on(link).lacks_here(&flow, held.as_ref()).into_iter().map(move |limit| (link, limit));
        rest.wire(flow.link).flat_map(lacks).collect()
    }

    /// What a flow that waits takes some of, in place of what it has where it has something.
    pub(crate) fn demands(&self, request: &Request) -> Vec<(usize, Limit)> {
        let Some((rest, flow, held)) = self.without_held(request) else { return Vec::new() };
        let mut limits = Vec::new();
        if held.is_none() {
            limits.push(Limit::Flows);
            limits.extend(flow.class.clone().map(Limit::ClassFlows));
        }
        let group = flow.group.as_deref().map(|id| &self.groups[id]);
        let class = group.map_or(&flow.class, |group| &group.class);
        let of_group = group.is_some_and(|group| group.mode == GroupMode::Envelope);
        for direction in (0..2).filter(|_| !of_group) {
            let before = held.as_ref().map_or(Charge::default(), |held| held.charges[direction]);
            let charge = flow.charges[direction];
            limits.extend((charge.buffer > before.buffer).then_some(Limit::Buffer(direction)));
            if charge.rate > before.rate {
                limits.push(Limit::Budget(direction));
                limits.extend(class.clone().map(|class| Limit::Share(class, direction)));
                let innermost = self.class_type(class.as_deref());
                limits.extend((1..=innermost).map(|class_type| Limit::Doll(class_type, direction)));
            }
        }
        rest.wire(flow.link).flat_map(|link| limits.iter().map(move |limit| (link, limit.clone()))).collect()
    }

    /// A flow that waits with what it waits for and what it has, and the other reservations.
    fn without_held(&self, request: &Request) -> Option<(Self, Flow, Option<Flow>)> {
        let mut rest = self.clone();
        let held = self.flows.iter().position(|flow| flow.id == request.id).map(|at| rest.flows.remove(at));
        let (flow, _) = rest.flow_for(request)?;
        let flow = match &held {
            Some(held) => Flow { charges: flow.charges, start: held.start.max(self.now), ..held.clone() },
            None => flow,
        };
        Some((rest, flow, held))
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
                .is_ok()
        })
    }

    /// A request of a flow's client for another reservation; returns the rates that are charged then. A client that
    /// makes too many requests gets only what takes no more of anything.
    pub(crate) fn renegotiate(&mut self, id: &str, changes: &Both<Option<Flowspec>>) -> Option<[u64; 2]> {
        let held = self.flows.iter().find(|flow| flow.id == id)?.clone();
        if self.count_request(held.client.as_deref()) {
            return self.exchange(id, changes).ok();
        }
        let charges = self.capped(&held, self.changed(&held, changes)?.charges);
        // A group's member is not measured.
        let is_measured = held.group.is_none();
        let grows = charges.iter().zip(&held.charges).any(|(charge, held)| {
            let sends_more = is_measured && charge.peak > held.peak;
            charge.rate > held.rate || charge.buffer > held.buffer || sends_more
        });
        if grows { None } else { self.exchange_for(id, changes, charges).ok() }
    }

    /// A flow with other flowspecs; `None` where they cannot be served. What is not asked for again is charged as before,
    /// whatever the policy is now.
    fn changed(&self, held: &Flow, changes: &Both<Option<Flowspec>>) -> Option<Flow> {
        let given = changes.map(|new| new.filter(|new| new.service_type != ServiceType::NoChange));
        let qos = Qos {
            sending: given.sending.unwrap_or(held.qos.sending),
            receiving: given.receiving.unwrap_or(held.qos.receiving),
        };
        let mut charges = self.charges(&qos, held.class.as_deref(), held.link)?;
        for (direction, charge) in charges.iter_mut().enumerate() {
            if [given.sending, given.receiving][direction].is_none() {
                *charge = held.charges[direction];
            }
        }
        Some(Flow { qos, charges, start: held.start.max(self.now), ..held.clone() })
    }

    /// Controlled load that asks for no more than it has is charged no more than it is charged now.
    fn capped(&self, held: &Flow, mut charges: [Charge; 2]) -> [Charge; 2] {
        for (charge, held) in charges.iter_mut().zip(&held.charges) {
            if charge.is_load && charge.token_rate <= held.rate.max(held.token_rate) {
                charge.rate = charge.rate.min(held.rate);
            }
        }
        charges
    }

    fn exchange(&mut self, id: &str, changes: &Both<Option<Flowspec>>) -> Result<[u64; 2], Refused> {
        let held = self.flows.iter().find(|flow| flow.id == id).ok_or(REFUSED)?.clone();
        let charges = self.changed(&held, changes).ok_or(REFUSED)?.charges;
        let capped = self.capped(&held, charges);
        let result = self.exchange_for(id, changes, charges);
        match result {
            Err(_) if capped != charges => self.exchange_for(id, changes, capped).or(result),
            result => result,
        }
    }

    fn exchange_for(
        &mut self,
        id: &str,
        changes: &Both<Option<Flowspec>>,
        charges: [Charge; 2],
    ) -> Result<[u64; 2], Refused> {
        let at = self.flows.iter().position(|flow| flow.id == id).ok_or(REFUSED)?;
        let held = self.flows[at].clone();
        let new = Flow { charges, ..self.changed(&held, changes).ok_or(REFUSED)? };
        let grows = (0..2).any(|direction| charges[direction].rate > held.charges[direction].rate);
        let is_orphan = held.class.is_some() && self.class(held.class.as_deref()).is_none();
        if grows && is_orphan {
            return Err(REFUSED);
        }
        let mut rest = self.clone();
        rest.flows.remove(at);
        if !rest.allows(&new, 7, Some(&held)) {
            return Err(REFUSED);
        }
        if !rest.fits_now(&new, Some(&held)) {
            return Err(rest.refused(&new));
        }
        self.flows[at] = new;
        Ok(charges.map(|charge| charge.rate))
    }

    /// Makes a group, or changes its limits.
    pub(crate) fn group(&mut self, request: &GroupRequest) -> bool {
        let earlier = self.groups.get(&request.id);
        if request.class.is_some() && self.class(request.class.as_deref()).is_none() {
            return false;
        }
        let Some(charges) = self.charges(&request.qos, request.class.as_deref(), 0) else { return false };
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
        let members = self.flows.iter().filter(|flow| flow.is_in(&request.id));
        let changes: Vec<_> = members.flat_map(|member| [member.start, member.end]).collect();
        let step = |moment| {
            let held = earlier.map_or([Charge::default(); 2], |_| taken(self, moment));
            (taken(&joined, moment), held)
        };
        let fits_now =
            rest.wire(0).all(|link| rest.on(link).lacks_for_group(&group, changes.clone(), step).is_empty());
        if !fits_now {
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
