//! What a client does while the daemon is not there, as the policy's `degrade` says.

use std::sync::Arc;

use flowspec::{Moment, Qos};

use crate::admission::{Decision, Enforced, Lack, Ladder, NewFlow, Operation, Request};
use crate::engine::request::{Rendition, ReservationRequest};
use crate::engine::resolve::{ResolvedAsk, resolve};
use crate::manager::{Admitted, Answer, Effect, Input, Manager, RequestId};
use crate::policy::{Degrade, Policy, Source};

/// How a client goes on without the daemon.
#[derive(Clone, Debug)]
pub(super) struct Fallback {
    degrade: Degrade,
    /// For its templates and rules.
    policy: Arc<Policy>,
}

/// In decisions, in place of the interface: which one it would be is not known.
pub(super) const NOWHERE: &str = "without the daemon";

/// Every flowspec that makes sense is within this budget.
const UNLIMITED: &str = r#"
version = 1
[interface."*"]
enforcement = "user-space"
delay = false
egress = { capacity = "100000 Gbit/s", reservable = "100%" }
ingress = { capacity = "100000 Gbit/s", reservable = "100%" }
"#;

impl Fallback {
    /// `None` where the policy has clients refuse.
    pub(super) fn of(policy: &Policy) -> Option<Self> {
        let policy = policy.for_clients()?;
        Some(Self { degrade: policy.degrade(), policy: Arc::new(policy) })
    }

    /// That of a policy as the daemon sends it; `None` for a text that is none.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (policy, _) = Policy::parse(&[Source { name: "the daemon", text }]).ok()?;
        Self::of(&policy)
    }

    /// The flowspecs that a request asks for, best first; `None` where its template is not known.
    pub(super) fn renditions(&self, request: &ReservationRequest) -> Option<Vec<Rendition>> {
        let ResolvedAsk { first, renditions, .. } = resolve(&self.policy, request, NOWHERE).ok()?;
        let others = renditions.into_iter().map(|(name, qos)| Rendition { template: Some(name), qos });
        Some(std::iter::once(first).chain(others).collect())
    }

    /// How a flow is set up that reserves nothing, under this id; `None` where its template is not known, and for a
    /// reservation ahead.
    pub(super) fn grant(
        &self,
        request: &ReservationRequest,
        id: &str,
    ) -> Option<Result<(Admitted, Decision), Box<Decision>>> {
        if request.ask.start.is_some() {
            return None;
        }
        let Rendition { template, qos } = self.renditions(request)?.into_iter().next()?;
        let qos = if self.degrade == Degrade::BestEffort { Qos::BEST_EFFORT } else { qos };
        let (mut policy, _) = Policy::parse(&[Source { name: "unlimited", text: UNLIMITED }]).ok()?;
        // No interface can have that name.
        let nowhere = policy.any_interface.take().map(|interface| (NOWHERE.to_owned(), interface));
        policy.interfaces.extend(nowhere);
        let new = NewFlow { id, interface: NOWHERE };
        let ladder = Ladder { request: Request::new(new, qos), first: template, renditions: Vec::new() };
        let operation = Box::new(Operation::Reserve(Box::new(ladder)));
        // A manager of its own: without a budget, no flow matters to another.
        let input = Input::Request { id: RequestId(0), operation };
        let output = Manager::new(Arc::new(policy)).handle(input, Moment::START);
        let answer = output.effects.into_iter().find_map(|effect| match effect {
            Effect::Answer { answer, .. } => Some(*answer),
            _ => None,
        });
        let Answer { mut decision, admitted } = answer?;
        decision.totals.clear();
        let Some(admitted) = admitted else { return Some(Err(Box::new(decision))) };
        decision.set_enforced(Enforced {
            sending: admitted.tspec.sending.is_some(),
            receiving: admitted.tspec.receiving.is_some(),
            lacking: vec![Lack::Reservation],
            ..Enforced::default()
        });
        Some(Ok((admitted, decision)))
    }
}

#[cfg(test)]
mod tests {
    use flowspec::{Bytes, Flowspec, Rate, Wsa};

    use super::*;
    use crate::engine::ask::Ask;
    use crate::policy::{Protocol, Subject};

    const POLICY: &str = r#"
version = 1
[daemon]
degrade = "local-bucket"
[template.hd]
sending = { service_type = "guaranteed", token_rate = "6 Mbit/s", token_bucket_size = "64 KiB" }
[[rule]]
match = { local_port = 443 }
template = "hd"
"#;

    fn request(ask: Ask, local_port: u16) -> ReservationRequest {
        let subject = Subject { protocol: Protocol::Tcp, local_port, peer: [192, 0, 2, 1].into() };
        ReservationRequest::new(ask, subject)
    }

    /// The token rate that a request is paced at without the daemon.
    #[track_caller]
    fn check(degrade: &str, request: &ReservationRequest, expected: Option<Rate>) {
        let fallback = Fallback::read(&POLICY.replace("local-bucket", degrade)).expect("a fallback");
        let (admitted, decision) = fallback.grant(request, "v1").expect("known").expect("admitted");
        assert_eq!(admitted.tspec.sending.map(|tspec| tspec.token_rate()), expected);
        assert_eq!((admitted.class, decision.totals.len()), (None, 0));
        let enforced = decision.enforced().expect("what is enforced");
        assert_eq!(
            (enforced.lacking.as_slice(), enforced.sending),
            (&[Lack::Reservation][..], expected.is_some())
        );
        let record = serde_json::to_value(&decision).expect("a record");
        assert_eq!(record["enforced"]["lacking"], "nothing is reserved: the daemon cannot be reached");
    }

    #[test]
    fn a_flow_is_paced_as_its_flowspec_says_and_reserves_nothing() {
        let spec = Flowspec::guaranteed(Rate::from_mbit(2), Bytes::new(65_536));
        check("local-bucket", &request(Ask::template("hd"), 0), Some(Rate::from_mbit(6)));
        check("local-bucket", &request(Ask::default(), 443), Some(Rate::from_mbit(6)));
        check("local-bucket", &request(Ask::default(), 80), None);
        check(
            "local-bucket",
            &request(Ask::qos(Qos::sending(spec)).class("x").group("y"), 0),
            Some(Rate::from_mbit(2)),
        );
        check("best_effort", &request(Ask::template("hd"), 0), None);
    }

    #[test]
    fn what_cannot_be_decided_is_not() {
        assert!(Fallback::read(&POLICY.replace("local-bucket", "refuse")).is_none());
        assert!(Fallback::read("version = 7").is_none());
        let fallback = Fallback::read(POLICY).expect("a fallback");
        assert!(fallback.grant(&request(Ask::template("other"), 0), "v1").is_none());
        let later = Ask::template("hd").starting_in(std::time::Duration::from_secs(60));
        assert!(fallback.grant(&request(later, 0), "v1").is_none());
        // What no daemon would admit is refused, with its own code.
        let empty = Flowspec::guaranteed(Rate::from_mbit(2), Bytes::ZERO);
        let refused = fallback.grant(&request(Ask::qos(Qos::sending(empty)), 0), "v1").expect("known");
        assert_eq!(refused.expect_err("a bucket for no packet").error(), Some(Wsa::Eopnotsupp));
    }
}
