//! What this process has taken of its slices: groups of the daemon whose members it admits by itself.
//!
//! Knows neither connections nor the kernel. All flows of a slice are alike, so that its sums are a number of flows.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flowspec::{Both, Bytes, Direction, Flowspec, Moment, Peak, Qos, Rate};

use crate::admission::{Decision, Enforced, Lack, Response};
use crate::control::GroupCall;
use crate::engine::ask::{Ask, What};
use crate::engine::request::ReservationRequest;
use crate::manager::Admitted;

/// The slices of an engine.
#[derive(Default)]
pub(super) struct Slices(Mutex<Vec<Arc<HeldSlice>>>);

/// How many slices an engine has at most.
const MOST_SLICES: usize = 64;

/// A slice that the daemon has granted.
pub(super) struct HeldSlice {
    /// The call that makes its group, which the next daemon gets too.
    pub(super) group: GroupCall,
    /// The number of the interface by which the packets of its flows leave.
    pub(super) link: u32,
    /// What each of its flows asks for.
    ask: Ask,
    /// How each of its flows is set up until the daemon has answered.
    pattern: (Admitted, Decision),
    /// How many flows fit.
    pub(super) most: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    /// The flows that take room: until the daemon has released them.
    flows: HashSet<String>,
    /// Those whose release the daemon has not answered.
    releasing: HashSet<String>,
    /// Those that are not like the others any more.
    renegotiated: HashSet<String>,
    /// More is reserved on the interface than it carries.
    is_overcommitted: bool,
    has_ended: bool,
    /// When a flow was admitted or has ended last.
    used: Moment,
}

impl Slices {
    /// Adds a slice; `false` where there are as many as there may be.
    #[must_use]
    pub(super) fn add(&self, slice: &Arc<HeldSlice>) -> bool {
        let mut slices = self.lock();
        let has_room = slices.len() < MOST_SLICES;
        if has_room {
            slices.push(Arc::clone(slice));
        }
        has_room
    }

    pub(super) fn remove(&self, slice: &HeldSlice) {
        self.lock().retain(|held| held.id() != slice.id());
    }

    pub(super) fn all(&self) -> Vec<Arc<HeldSlice>> {
        self.lock().clone()
    }

    /// The slice for a request whose packets leave by this link.
    pub(super) fn matching(&self, request: &ReservationRequest, link: u32) -> Option<Arc<HeldSlice>> {
        self.lock().iter().find(|slice| slice.link == link && slice.is_for(request)).cloned()
    }

    /// Whether there may be a slice for a request, by whichever link its packets leave.
    pub(super) fn may_match(&self, request: &ReservationRequest) -> bool {
        self.lock().iter().any(|slice| slice.is_for(request))
    }

    /// More is reserved on an interface than it carries, or that is over.
    pub(super) fn overcommitted(&self, interface: &str, over: bool) {
        for slice in self.lock().iter().filter(|slice| slice.group.interface == interface) {
            slice.lock().is_overcommitted = over;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<HeldSlice>>> {
        // The list is whole between any two statements that can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HeldSlice {
    /// A slice for flows like one that the daemon has admitted in its group: as many as were asked for, if the group's
    /// charge is enough for them.
    pub(super) fn new(
        (group, link, ask): (GroupCall, u32, Ask),
        (charged, mut admitted, mut decision): (Both<Rate>, Admitted, Decision),
        (asked, now): (u32, Moment),
    ) -> Self {
        let of_group = |direction| {
            let one = decision.charged().get(direction).get();
            // Rounded down: a part of a flow is none. What costs nothing is not limited by its charge.
            charged.get(direction).get().checked_div(one).unwrap_or(u64::MAX)
        };
        let fitting = Direction::BOTH.into_iter().map(of_group).min().unwrap_or(0);
        let most = usize::try_from(u64::from(asked).min(fitting)).unwrap_or(usize::MAX);
        admitted.class = None;
        decision.totals.clear();
        decision.set_enforced(Enforced {
            sending: admitted.tspec.sending.is_some(),
            receiving: admitted.tspec.receiving.is_some(),
            lacking: vec![Lack::Confirmation],
            slice: Some(group.id.clone()),
            ..Enforced::default()
        });
        let taken = Mutex::new(Taken { used: now, ..Taken::default() });
        Self { group, link, ask, pattern: (admitted, decision), most, taken }
    }

    /// The id of its group.
    pub(super) fn id(&self) -> &str {
        &self.group.id
    }

    fn is_for(&self, request: &ReservationRequest) -> bool {
        let (own, asked) = (&self.ask, &request.ask);
        is_alike(&own.what, &asked.what)
            && own.class == asked.class
            && (own.setup_priority, own.holding_priority) == (asked.setup_priority, asked.holding_priority)
            && unusable(asked).is_none()
            && request.interface.is_none()
            && request.owner.is_none()
    }

    /// Takes room for a flow of this id. Returns how it is set up; `None` where the daemon is to be asked.
    pub(super) fn take(&self, id: &str, now: Moment) -> Option<(Admitted, Decision)> {
        let mut taken = self.lock();
        if taken.has_ended
            || taken.is_overcommitted
            || !taken.renegotiated.is_empty()
            || taken.flows.len() >= self.most
            || !taken.flows.insert(id.to_owned())
        {
            return None;
        }
        taken.used = now;
        drop(taken);
        let (admitted, mut decision) = self.pattern.clone();
        if let Response::Reserve { id: own, .. } = &mut decision.response {
            id.clone_into(own);
        }
        Some((admitted, decision))
    }

    /// A flow like its own is in its group, which the daemon has admitted: it takes room.
    pub(super) fn count(&self, id: &str) {
        self.lock().flows.insert(id.to_owned());
    }

    /// A flow is to be renegotiated: no other is admitted before it has ended.
    pub(super) fn renegotiating(&self, id: &str) {
        self.lock().renegotiated.insert(id.to_owned());
    }

    /// The daemon is asked to release a flow.
    pub(super) fn releasing(&self, id: &str) {
        self.lock().releasing.insert(id.to_owned());
    }

    /// The flows whose release the daemon has not answered.
    pub(super) fn unanswered(&self) -> Vec<String> {
        self.lock().releasing.iter().cloned().collect()
    }

    /// The daemon has released a flow, or never had it: another one may be admitted in its place.
    pub(super) fn left(&self, id: &str, now: Moment) {
        let mut taken = self.lock();
        if taken.flows.remove(id) {
            taken.used = now;
        }
        taken.releasing.remove(id);
        taken.renegotiated.remove(id);
    }

    /// Admits no further flow. Returns whether it did so until now.
    pub(super) fn end(&self) -> bool {
        !std::mem::replace(&mut self.lock().has_ended, true)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.lock().has_ended
    }

    /// How many flows it has.
    pub(super) fn flows(&self) -> usize {
        self.lock().flows.len()
    }

    /// How long it has had no flow and no request.
    pub(super) fn idle(&self, now: Moment) -> Duration {
        let taken = self.lock();
        match taken.flows.is_empty() {
            true => Duration::from_micros(now.saturating_since(taken.used).get()),
            false => Duration::ZERO,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // The counts are whole between any two statements that can panic.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a flow that is asked for like this is not for a slice; `None` where it is.
pub(super) fn unusable(ask: &Ask) -> Option<&'static str> {
    let Ask { what, group, client, wait, start, end, time_to_live, .. } = ask;
    match what {
        What::Template(_) | What::Qos(_) => {}
        What::ByRule | What::FirstOf(_) => return Some("name one template, or flowspecs"),
    }
    if group.is_some() || client.is_some() {
        return Some("its flows are in no other group, and count for no client");
    }
    let is_timed = *wait || start.is_some() || end.is_some() || time_to_live.is_some();
    is_timed.then_some("its flows begin at once, do not wait, and end with their connections")
}

fn is_alike(own: &What, asked: &What) -> bool {
    match (own, asked) {
        (What::Template(own), What::Template(asked)) => own == asked,
        (What::Qos(own), What::Qos(asked)) => own == asked,
        _ => false,
    }
}

/// The flowspecs of so many flows together: sizes of packets, delays and services are those of each. `None` where a sum has
/// no representation.
pub(super) fn together(qos: &Qos, flows: u32) -> Option<Qos> {
    let Both { sending, receiving } = qos;
    Some(Both { sending: sum(sending, flows)?, receiving: sum(receiving, flows)? })
}

fn sum(spec: &Flowspec, flows: u32) -> Option<Flowspec> {
    let flows = u64::from(flows);
    let rate = |rate: Option<Rate>| {
        rate.map_or(Some(None), |rate| rate.get().checked_mul(flows).map(Rate::new).map(Some))
    };
    let bucket = match spec.token_bucket_size {
        Some(bucket) => Some(Bytes::new(bucket.get().checked_mul(flows)?)),
        None => None,
    };
    let peak = match spec.peak_bandwidth {
        Some(Peak::Finite(peak)) => Some(Peak::Finite(Rate::new(peak.get().checked_mul(flows)?))),
        other => other,
    };
    Some(Flowspec {
        token_rate: rate(spec.token_rate)?,
        token_bucket_size: bucket,
        peak_bandwidth: peak,
        reserved_rate: rate(spec.reserved_rate)?,
        ..*spec
    })
}

#[cfg(test)]
mod tests {
    use flowspec::Micros;

    use super::*;
    use crate::admission::{NewFlow, Operation, Request};
    use crate::manager::DryRun;
    use crate::policy::{Protocol, Subject};

    fn spec(megabits: u64) -> Flowspec {
        Flowspec::guaranteed(Rate::from_mbit(megabits), Bytes::new(65_536))
    }

    /// A slice of flows of 10 Mbit/s in a group that is charged so many.
    fn slice(charged: u64, asked: u32) -> HeldSlice {
        let policy = "version = 1\n[interface.eth0]\negress = { capacity = \"1 Gbit/s\" }\n".parse();
        let mut dry_run = DryRun::new(Arc::new(policy.expect("a policy")));
        let request = Request::new(NewFlow { id: "first", interface: "eth0" }, Qos::sending(spec(10)));
        let decision = dry_run.decide(Operation::Reserve(Box::new(request.into())), Moment::START);
        let admitted = Admitted {
            tspec: Both::default(),
            class: None,
            dscp: None,
            timeouts: crate::policy::PeerTimeouts::default(),
            owed: Both::default(),
            begins: None,
        };
        let group = GroupCall {
            id: "g".into(),
            interface: "eth0".into(),
            class: None,
            mode: None,
            template: None,
            sending: None,
            receiving: None,
            details: None,
        };
        let charged = Both { sending: Rate::from_mbit(charged), receiving: Rate::ZERO };
        let ask = Ask::template("hd").class("viewer");
        HeldSlice::new((group, 7, ask), (charged, admitted, decision), (asked, Moment::START))
    }

    fn request(ask: Ask) -> ReservationRequest {
        let subject = Subject { protocol: Protocol::Tcp, local_port: 0, peer: [192, 0, 2, 1].into() };
        ReservationRequest::new(ask, subject)
    }

    #[test]
    fn as_many_fit_as_were_asked_for_and_the_charge_is_enough_for() {
        let most = |charged, asked| slice(charged, asked).most;
        assert_eq!([most(40, 4), most(40, 3), most(39, 4), most(9, 4)], [4, 3, 3, 0]);
    }

    #[test]
    fn room_is_taken_until_the_daemon_has_released_it() {
        let (slice, now) = (slice(20, 2), Moment::from_micros(5));
        let (_, decision) = slice.take("a", now).expect("room");
        let enforced = decision.enforced().expect("what enforces it").clone();
        assert_eq!((decision.id(), enforced.slice.as_deref()), (Some("a"), Some("g")));
        assert!(decision.is_unconfirmed() && decision.totals.is_empty());
        assert!(slice.take("a", now).is_none(), "two flows of one id");
        assert!(slice.take("b", now).is_some());
        assert!(slice.take("c", now).is_none(), "it is full");
        slice.releasing("b");
        assert!(slice.take("c", now).is_none(), "the daemon has not answered");
        assert_eq!(slice.unanswered(), ["b"]);
        slice.left("b", now);
        assert!(slice.unanswered().is_empty() && slice.take("c", now).is_some());
        slice.left("absent", now);
        assert_eq!(slice.flows(), 2);
        slice.renegotiating("c");
        slice.left("a", now);
        assert!(slice.take("d", now).is_none(), "one is not like the others");
        slice.left("c", Moment::from_micros(10));
        let later = Moment::from_micros(10).saturating_add(Micros::new(3));
        assert_eq!((slice.idle(later), slice.flows()), (Duration::from_micros(3), 0));
        assert!(slice.end() && !slice.end() && slice.has_ended());
        assert!(slice.take("e", later).is_none(), "it has ended");
    }

    #[test]
    fn requests_that_are_alike_are_for_a_slice() {
        let slices = Slices::default();
        assert!(slices.add(&Arc::new(slice(40, 4))));
        let matches = |ask: Ask, link| slices.matching(&request(ask), link).is_some();
        let same = || Ask::template("hd").class("viewer");
        assert!(matches(same(), 7) && matches(same().id("v1"), 7));
        assert!(!matches(same(), 8), "by another link");
        for other in [
            Ask::template("hd"),
            Ask::template("sd").class("viewer"),
            Ask::qos(Qos::sending(spec(10))).class("viewer"),
            Ask::first_of(["hd"]).class("viewer"),
            same().group("g"),
            same().client("c"),
            same().waiting_as("v1"),
            same().ending_in(Duration::from_secs(1)),
            same().time_to_live(Duration::from_secs(1)),
            Ask { setup_priority: Some(1), ..same() },
        ] {
            assert!(!matches(other.clone(), 7), "{other:?}");
        }
        slices.overcommitted("eth1", true);
        assert!(slices.all()[0].take("a", Moment::START).is_some());
        slices.overcommitted("eth0", true);
        assert!(slices.all()[0].take("b", Moment::START).is_none());
        slices.overcommitted("eth0", false);
        assert!(slices.all()[0].take("b", Moment::START).is_some());
        let more = (1..=MOST_SLICES).filter(|_| slices.add(&Arc::new(slice(40, 4)))).count();
        assert_eq!(more, MOST_SLICES - 1);
    }

    #[test]
    fn flowspecs_add_up_to_what_has_a_representation() {
        let peak = Flowspec { peak_bandwidth: Some(Peak::Finite(Rate::from_mbit(20))), ..spec(10) };
        let both = together(&Qos { sending: peak, receiving: Flowspec::BEST_EFFORT }, 3).expect("a sum");
        let Flowspec { token_rate, token_bucket_size, peak_bandwidth, max_sdu_size, .. } = both.sending;
        assert_eq!((token_rate, token_bucket_size), (Some(Rate::from_mbit(30)), Some(Bytes::new(196_608))));
        assert_eq!(
            (peak_bandwidth, max_sdu_size),
            (Some(Peak::Finite(Rate::from_mbit(60))), peak.max_sdu_size)
        );
        assert_eq!(both.receiving, Flowspec::BEST_EFFORT);
        let vast = Flowspec { token_rate: Some(Rate::new(u64::MAX / 2)), ..spec(10) };
        assert!(together(&Qos::sending(vast), 2).is_some() && together(&Qos::sending(vast), 3).is_none());
    }
}
