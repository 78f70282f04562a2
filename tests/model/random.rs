//! Random requests from a seed.

use flowspec::{Both, Bytes, Flowspec, Micros, Moment, Qos, Rate, ServiceType};
use gqos::admission::{NewFlow, PeerState, Request};

use crate::HORIZON;

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ x >> 31
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    pub(crate) fn flowspec(&mut self) -> Flowspec {
        let service = self.pick(&[
            ServiceType::Guaranteed,
            ServiceType::Guaranteed,
            ServiceType::ControlledLoad,
            ServiceType::BestEffort,
        ]);
        let mut spec = Flowspec::new(service);
        spec.token_rate = Some(Rate::new(500 * self.pick(&[1, 4, 10, 20, 40, 61])));
        spec.token_bucket_size = Some(Bytes::new(self.pick(&[1500, 3000, 9000])));
        if service == ServiceType::Guaranteed {
            spec.latency = self.one_in(3).then(|| Micros::new(self.pick(&[900, 1001, 200_000, 500_000])));
            spec.reserved_rate = self.one_in(5).then(|| Rate::new(500 * self.pick(&[3, 30])));
        }
        spec
    }

    pub(crate) fn qos(&mut self) -> Qos {
        let receiving = if self.one_in(2) { self.flowspec() } else { Flowspec::BEST_EFFORT };
        Qos { sending: self.flowspec(), receiving }
    }

    /// The flowspecs of a renegotiation: `None` keeps a direction.
    pub(crate) fn changes(&mut self) -> Both<Option<Flowspec>> {
        Both {
            sending: self.one_in(2).then(|| self.flowspec()),
            receiving: self.one_in(3).then(|| self.flowspec()),
        }
    }

    pub(crate) fn flow_id(&mut self) -> String {
        format!("f{}", self.below(24))
    }

    pub(crate) fn group_id(&mut self) -> String {
        format!("g{}", self.below(2))
    }

    pub(crate) fn class(&mut self) -> Option<String> {
        self.pick(&[None, Some("gold"), Some("silver"), Some("silver"), Some("bronze")]).map(str::to_owned)
    }

    pub(crate) fn time_to_live(&mut self) -> Micros {
        Micros::new(1 + self.below(12))
    }

    /// What is seen of a peer, and since when: often so long ago that it ends the flow soon.
    pub(crate) fn peer(&mut self, now: u64) -> (PeerState, Option<Moment>) {
        let states =
            [PeerState::Active, PeerState::Silent, PeerState::Silent, PeerState::Stalled, PeerState::Gone];
        let state = self.pick(&states);
        let ago = self.pick(&[0, 999_998, 1_999_995, 2_999_997]) + self.below(4);
        (state, self.one_in(2).then(|| Moment::from_micros(now - ago)))
    }

    pub(crate) fn request(&mut self, now: u64) -> Request {
        let mut request = Request::new(NewFlow { id: &self.flow_id(), interface: "eth0" }, self.qos());
        request.class = self.class();
        request.group = self.one_in(4).then(|| self.group_id());
        if request.group.is_none() && self.one_in(5) {
            request.interface = "wire".to_owned();
        }
        request.client = self.one_in(3).then(|| self.pick(&["c1", "c2", "other"]).to_owned());
        if self.one_in(3) {
            request.start = Some(Moment::from_micros(now + self.below(HORIZON / 2)));
        }
        if self.one_in(2) {
            let start = request.start.unwrap_or(Moment::from_micros(now));
            request.end = Some(start.saturating_add(Micros::new(self.below(HORIZON / 2))));
        }
        request.time_to_live = self.one_in(5).then(|| self.time_to_live());
        request.setup_priority = self.one_in(3).then(|| self.below(8) as u8);
        request.holding_priority = self.one_in(3).then(|| self.below(8) as u8);
        request.wait = self.one_in(3);
        request
    }

    /// A small flow of class silver without an end: only many of these make measuring gain anything.
    pub(crate) fn small_request(&mut self) -> Request {
        let mut spec = Flowspec::new(ServiceType::ControlledLoad);
        spec.token_rate = Some(Rate::new(self.pick(&[3000, 4000])));
        spec.token_bucket_size = Some(Bytes::new(64));
        let request = Request::new(NewFlow { id: &self.flow_id(), interface: "eth0" }, Qos::sending(spec));
        Request { class: Some("silver".into()), ..request }
    }
}
