//! Classes that gqos may have made for flows, told apart from those of other programs.

use flowspec::{Bytes, Micros};

use super::htb::HtbClass;
use super::idle::is_idle;
use super::layout::{LINK_CLASS, flow_number, is_shared_class};
use super::shape::{LEAST_BURST_MICROS, LinkShape, quantum_for};

impl LinkShape {
    /// Whether gqos may have made this class for a flow, or keeps it for the next one: its number, place and priority are
    /// those of such a class, its quantum is between those for its rate and for its ceil, and its bucket no smaller than for
    /// its rate.
    ///
    /// The traffic of the flow is not known here. A class with the defaults of iproute2 is told apart, one that imitates gqos
    /// is not.
    pub fn may_be_of_a_flow(&self, class: &HtbClass) -> bool {
        let HtbClass { handle, parent, rate, ceil, burst, quantum, prio, .. } = *class;
        let has_place = parent == LINK_CLASS && (flow_number(handle).is_some() || is_shared_class(handle));
        // A bucket is kept as a time, which iproute2 cuts to whole microseconds.
        let least_burst = rate.bytes_in(Micros::new(LEAST_BURST_MICROS - 1));
        let quanta = quantum_for(rate, Bytes::ZERO)..=quantum_for(ceil, self.frame());
        has_place && (is_idle(class) || (prio == 0 && burst >= least_burst && quanta.contains(&quantum)))
    }
}

#[cfg(test)]
mod tests {
    use flowspec::Rate;

    use super::super::layout::{DEFAULT_CLASS, ROOT_QDISC, flow_class};
    use super::super::shape::{Framed, LinkRates};
    use super::*;

    const SHAPE: LinkShape = LinkShape {
        rates: LinkRates { capacity: Rate::from_mbit(100), budget: Rate::from_mbit(80) },
        mtu: Bytes::new(1500),
        wait: Micros::new(0),
    };

    fn leaf(rate: Rate) -> HtbClass {
        let (bucket, packet) = (Bytes::new(20_000), Bytes::new(1514));
        SHAPE.leaf(flow_class(9), Framed { rate, charged: rate, peak: None, bucket, packet })
    }

    /// `tc class add … htb rate R`, as the kernel keeps it: the quantum is a tenth of the rate, the burst 1600 B.
    #[test]
    fn classes_with_the_defaults_of_tc_are_not_of_flows() {
        for megabits in [1, 6, 90] {
            let rate = Rate::from_mbit(megabits);
            let (burst, quantum) = (Bytes::new(1_600), Bytes::new((rate.get() / 10).min(200_000)));
            let by_tc = HtbClass { burst, cburst: burst, quantum, ..leaf(rate) };
            assert!(!SHAPE.may_be_of_a_flow(&by_tc), "{by_tc}");
        }
        let flow = leaf(Rate::from_mbit(6));
        assert!(SHAPE.may_be_of_a_flow(&flow));
        for other in [
            HtbClass { prio: 1, ..flow },
            HtbClass { parent: ROOT_QDISC, ..flow },
            HtbClass { handle: DEFAULT_CLASS, ..flow },
            HtbClass { quantum: Bytes::new(60_001), ..flow },
            HtbClass { burst: Bytes::new(100), ..flow },
        ] {
            assert!(!SHAPE.may_be_of_a_flow(&other), "{other}");
        }
    }
}
