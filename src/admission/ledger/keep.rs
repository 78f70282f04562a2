//! Flows that were admitted before by another ledger: they are booked whatever is free.

use flowspec::{Both, Moment};

use super::state::Ledger;

impl Ledger {
    /// Says whether what is requested from now on was admitted before: it is not checked against what is free, and not
    /// counted as a request of its client. More may be reserved than the budget then, as after a reload.
    pub fn set_keeping(&mut self, is_keeping: bool) {
        self.is_keeping = is_keeping;
        if is_keeping {
            for account in self.accounts.iter_mut().flatten() {
                account.may_exceed = Both { sending: true, receiving: true };
            }
        }
    }

    /// Whether what is requested was admitted before.
    pub const fn is_keeping(&self) -> bool {
        self.is_keeping
    }

    /// When a flow's reservation ends by itself, and when its soft state does; `None` where no flow has this id.
    pub fn times_of(&self, id: &str) -> Option<(Option<Moment>, Option<Moment>)> {
        let entry = self.flows.get(id)?;
        Some((entry.footprint.window.end, entry.deadline))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use flowspec::{Bytes, Flowspec, Qos, Rate};

    use super::*;
    use crate::admission::request::{NewFlow, Request};
    use crate::policy::{Policy, Source};

    const POLICY: &str = "version = 1\n[interface.eth0]\negress = { capacity = \"100 Mbit/s\", reservable = \"80%\" }\n\
        [client.\"*\"]\nmax_flows = 3\n";

    #[test]
    fn what_was_admitted_before_is_booked_whatever_is_free_and_nothing_else_is() {
        let (policy, _) = Policy::parse(&[Source { name: "p.toml", text: POLICY }]).unwrap();
        let mut ledger = Ledger::new(Arc::new(policy));
        let request = |id: &str| {
            let qos = Qos::sending(Flowspec::guaranteed(Rate::from_mbit(50), Bytes::new(9000)));
            let mut request = Request::new(NewFlow { id, interface: "eth0" }, qos);
            request.client = Some("one".into());
            request
        };
        ledger.set_keeping(true);
        let kept = [ledger.admit(&request("a")), ledger.admit(&request("b"))];
        ledger.set_keeping(false);
        assert!(kept.iter().all(Result::is_ok));
        ledger.invariants();
        let totals = ledger.totals("eth0").unwrap().sending;
        assert_eq!((totals.reserved, totals.budget), (Rate::from_mbit(100), Rate::from_mbit(80)));
        assert!(ledger.admit(&request("c")).is_err(), "it is new");
        ledger.release("a");
        assert!(ledger.admit(&request("c")).is_err(), "30 Mbit/s are left");
        ledger.release("b");
        assert!(ledger.admit(&request("c")).is_ok());
        ledger.invariants();
    }
}
