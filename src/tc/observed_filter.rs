//! Filters in a tree: those of gqos, and those of other programs.
//!
//! Classes are selected by the priority of packets, so that a tree needs no filters. A filter of another program sends packets
//! to other classes, and the kernel does not delete a class to which a filter leads.

use std::fmt;

use super::filter::Target;
use super::layout::{FILTER_PRIORITY, ROOT_QDISC, flow_number};
use crate::kernel::Handle;

/// The filters of one priority, or one of them.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct FilterPlace {
    /// The qdisc or class whose packets they see.
    pub parent: Handle,
    /// TCA_CHAIN.
    pub chain: u32,
    /// The lowest is asked first. The kernel takes one kind and one protocol for each.
    pub priority: u16,
    /// The handle of the u32 filter that is meant; `None` for all filters of the priority.
    pub u32_handle: Option<u32>,
}

/// A filter, as a dump has it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ObservedFilter {
    place: FilterPlace,
    /// Where it leads, if gqos could have made it.
    leads_to: Lead,
}

/// Where a filter of gqos leads.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Lead {
    /// gqos makes no such filter.
    Foreign,
    /// It is a hash table, or leads to one.
    Table,
    /// The class of a flow.
    Flow(Handle),
}

impl ObservedFilter {
    /// A filter of this kind and handle. `target` is that of a filter that was read; `None` for a hash table of u32, and for
    /// kinds that are not read.
    pub fn new(place: FilterPlace, kind: &str, handle: u32, target: Option<&Target>) -> Self {
        let has_place = place.parent == ROOT_QDISC && place.chain == 0;
        let is_like_own = has_place && kind == "u32" && FILTER_PRIORITY.abs_diff(place.priority) <= 1;
        let leads_to = match target {
            _ if !is_like_own || place.priority < FILTER_PRIORITY => Lead::Foreign,
            None => Lead::Table,
            Some(Target { redirect: Some(_), .. }) => Lead::Foreign,
            Some(Target { class: None, .. }) => Lead::Table,
            Some(Target { class: Some(class), .. }) if flow_number(*class).is_some() => Lead::Flow(*class),
            Some(_) => Lead::Foreign,
        };
        // Beside filters of gqos one alone is deleted.
        let is_beside_own = is_like_own && place.priority >= FILTER_PRIORITY;
        Self { place: FilterPlace { u32_handle: is_beside_own.then_some(handle), ..place }, leads_to }
    }

    /// Whether it is one of the filters of a place.
    pub fn is_at(&self, place: FilterPlace) -> bool {
        let FilterPlace { parent, chain, priority, u32_handle } = self.place;
        let is_among = (parent, chain, priority) == (place.parent, place.chain, place.priority);
        is_among && (place.u32_handle.is_none() || place.u32_handle == u32_handle)
    }

    /// What is to be deleted of the filters of a tree: what gqos has not made, and what leads to a class that is to go.
    pub(super) fn unwanted(&self, is_wanted: impl Fn(Handle) -> bool) -> Option<FilterPlace> {
        match self.leads_to {
            Lead::Foreign => Some(self.place),
            Lead::Table => None,
            Lead::Flow(class) => (!is_wanted(class)).then_some(self.place),
        }
    }
}

impl fmt::Display for FilterPlace {
    /// In `tc`'s words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { parent, chain, priority, u32_handle } = self;
        write!(f, "parent {parent}")?;
        if *chain != 0 {
            write!(f, " chain {chain}")?;
        }
        write!(f, " prio {priority}")?;
        match u32_handle {
            None => Ok(()),
            Some(handle) => {
                let (table, bucket, node) = (handle >> 20, handle >> 12 & 0xff, handle & 0xfff);
                write!(f, " handle {table:x}:{bucket:x}:{node:x} u32")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::filter::Redirect;
    use super::super::layout::{DEFAULT_CLASS, LINK_CLASS, flow_class};
    use super::*;

    const PLACE: FilterPlace =
        FilterPlace { parent: ROOT_QDISC, chain: 0, priority: FILTER_PRIORITY, u32_handle: None };

    #[test]
    fn filters_of_flows_that_are_there_stay() {
        let to = |class| Target { class, redirect: None };
        let flow = to(Some(flow_class(3)));
        let check = |place: FilterPlace, kind: &str, target: Option<&Target>, deleted: Option<&str>| {
            let filter = ObservedFilter::new(place, kind, 0x001b_b004, target);
            let unwanted = filter.unwanted(|class| class == flow_class(3));
            assert_eq!(
                unwanted.map(|place| place.to_string()).as_deref(),
                deleted,
                "{place} {kind} {target:?}"
            );
        };
        let six = FilterPlace { priority: FILTER_PRIORITY + 1, ..PLACE };
        for place in [PLACE, six] {
            check(place, "u32", Some(&flow), None);
            check(place, "u32", None, None);
            check(place, "u32", Some(&to(None)), None);
        }
        let one = "parent 6771: prio 26481 handle 1:bb:4 u32";
        check(PLACE, "u32", Some(&to(Some(flow_class(4)))), Some(one));
        check(PLACE, "u32", Some(&to(Some(DEFAULT_CLASS))), Some(one));
        check(PLACE, "u32", Some(&Target { redirect: Some(Redirect { index: 1 }), ..flow }), Some(one));
        check(PLACE, "flower", Some(&flow), Some("parent 6771: prio 26481"));
        for priority in [1, FILTER_PRIORITY - 1, FILTER_PRIORITY + 2] {
            let all = format!("parent 6771: prio {priority}");
            check(FilterPlace { priority, ..PLACE }, "u32", Some(&flow), Some(&all));
        }
        let below = FilterPlace { parent: LINK_CLASS, ..PLACE };
        check(below, "u32", Some(&flow), Some("parent 6771:1 prio 26481"));
        let chain = FilterPlace { chain: 7, ..PLACE };
        check(chain, "u32", None, Some("parent 6771: chain 7 prio 26481"));
    }
}
