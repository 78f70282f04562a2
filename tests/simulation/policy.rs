//! The policies of a run, which reloads exchange.

use gqos::policy::{Policy, Source};

/// How many policies there are.
pub(crate) const COUNT: u64 = 3;

/// How long what was recovered waits for its clients, in seconds.
pub(crate) const GRACE: u64 = 20;

/// The policy of this number: budgets and shares differ.
pub(crate) fn policy(number: u64) -> Policy {
    let (reservable, share) = [("80%", "30%"), ("50%", "30%"), ("80%", "10%")][number as usize];
    let text = format!(
        r#"
version = 1
preemption = true
[daemon]
grace = "{GRACE} s"
flows_per_user = 12
[interface.eth1]
egress = {{ capacity = "100 Mbit/s", reservable = "{reservable}" }}
[interface.eth2]
enforcement = "kernel"
on_capacity_drop = "shed"
egress = {{ capacity = "100 Mbit/s", reservable = "{reservable}" }}
[class.viewer]
dscp = "AF41"
setup_priority = 6
holding_priority = 6
[class.studio]
setup_priority = 2
holding_priority = 2
[class.capped]
share = "{share}"
[client.c1]
max_rate = "30 Mbit/s"
"#
    );
    match Policy::parse(&[Source { name: "simulation", text: &text }]) {
        Ok((policy, _)) => policy,
        Err(problems) => panic!("{problems:#?}"),
    }
}
