//! A decision over the socket.

use std::collections::BTreeMap;

use flowspec::{Both, Moment};
use serde::{Deserialize, Serialize, Serializer};

use super::json_text::JsonText;
use crate::admission::{Decision, Response, Totals};
use crate::manager::Admitted;

/// The answer to each request that the ledger decides.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Decided {
    /// The flat record that `gqos replay` prints, unless the call asked for the parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<JsonText>,
    /// How the flow is to be set up, where one was admitted or renegotiated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admitted: Option<Admitted>,
    /// The run of the daemon that has admitted the flow: with it the reservation is claimed after a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
    /// The decision's parts in its place, where the call asked for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<DecisionDetails>,
}

/// A [`Decision`] that is written by its parts and reads back to the same value.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(transparent)]
pub struct DecisionDetails(#[serde(with = "Parts")] pub Decision);

#[derive(Deserialize, Serialize)]
#[serde(remote = "Decision")]
struct Parts {
    at: Moment,
    response: Response,
    totals: BTreeMap<String, Both<Totals>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    expired: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    dead: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    stalled: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    notified: Vec<String>,
}

/// The same as the daemon writes it: the flat record or the parts of one decision.
#[derive(Clone, Debug, PartialEq)]
pub struct DecisionReply {
    /// What was decided.
    pub decision: Decision,
    /// How the flow is to be set up, where one was admitted or renegotiated.
    pub admitted: Option<Admitted>,
    /// The run of the daemon that has admitted the flow.
    pub epoch: Option<String>,
    /// The call asked for the decision's parts in place of the flat record.
    pub details: bool,
}

impl Serialize for DecisionReply {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            decision: Option<&'a Decision>,
            #[serde(skip_serializing_if = "Option::is_none")]
            admitted: &'a Option<Admitted>,
            #[serde(skip_serializing_if = "Option::is_none")]
            epoch: &'a Option<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            details: Option<WrittenParts<'a>>,
        }
        struct WrittenParts<'a>(&'a Decision);
        impl Serialize for WrittenParts<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                Parts::serialize(self.0, serializer)
            }
        }
        let Self { decision, admitted, epoch, details } = self;
        let (decision, details) = match details {
            true => (None, Some(WrittenParts(decision))),
            false => (Some(decision), None),
        };
        Written { decision, admitted, epoch, details }.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use flowspec::{Bytes, Flowspec, Qos, Rate};

    use super::*;
    use crate::admission::{Enforced, Lack, Ledger, NewFlow, NotProgrammed, Operation, Request};
    use crate::policy::{Policy, Source};

    const POLICY: &str = "version = 1\npreemption = true\n[interface.eth0]\negress = { capacity = \"80 Mbit/s\", reservable = \"100%\" }\n";

    #[test]
    fn decisions_read_back_as_they_were_made() {
        let (policy, _) = Policy::parse(&[Source { name: "p.toml", text: POLICY }]).unwrap();
        let mut ledger = Ledger::new(Arc::new(policy));
        let qos = |mbit| Qos::sending(Flowspec::guaranteed(Rate::from_mbit(mbit), Bytes::new(9000)));
        let reserve = |id: &str, mbit, setup| {
            let mut request = Request::new(NewFlow { id, interface: "eth0" }, qos(mbit));
            (request.setup_priority, request.holding_priority) = (Some(setup), Some(setup));
            Operation::Reserve(Box::new(request.into()))
        };
        let interface = || "eth0".to_owned();
        let operations = [
            reserve("v1", 50, 5),
            reserve("v2", 50, 5),
            reserve("v3", 50, 2),
            reserve("v4", 31, 5),
            Operation::Renegotiate {
                id: "v3".into(),
                flowspecs: Box::new(Both { sending: Some(qos(60).sending), receiving: None }),
            },
            Operation::Query { interface: interface(), request: None },
            Operation::Release { id: "v3".into() },
            Operation::Release { id: "v3".into() },
            Operation::Tick,
        ];
        for (at, operation) in (0..).zip(operations) {
            let mut decision = ledger.decide(Moment::from_micros(at), &operation).decision;
            decision.set_enforced(Enforced {
                class: Some("6771:100 dev eth0".parse().unwrap()),
                shared: false,
                sending: true,
                receiving: false,
                receiving_class: None,
                lacking: vec![Lack::ReceivingClass(NotProgrammed::NotSeen)],
                slice: None,
            });
            let reply = |details| DecisionReply {
                decision: decision.clone(),
                admitted: None,
                epoch: Some("1".into()),
                details,
            };
            let text = serde_json::to_string(&reply(true)).unwrap();
            let read: Decided = serde_json::from_str(&text).unwrap();
            assert_eq!(read.details, Some(DecisionDetails(decision.clone())), "{text}");
            assert_eq!(read.decision, None, "{text}");
            assert_eq!((read.admitted, read.epoch.as_deref()), (None, Some("1")));
            let plain = serde_json::to_string(&reply(false)).unwrap();
            let plain: Decided = serde_json::from_str(&plain).unwrap();
            let flat = JsonText::of(&decision).unwrap();
            assert_eq!((plain.decision, plain.details), (Some(flat), None));
        }
    }
}
