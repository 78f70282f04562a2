//! Which accounts count what an interface's flows take: the interface's own, and those of the interfaces on whose wire it
//! sends.

/// The parent of each interface, by the interface's number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parents(Vec<Option<u32>>);

/// An interface and one that may be below it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChildLink {
    pub(crate) interface: u32,
    /// `None` where it shares no wire.
    pub(crate) parent: Option<u32>,
}

impl Parents {
    /// Sets the parent of an interface. A parent that leads back to the interface is left out: a checked policy has none.
    pub(crate) fn set(&mut self, link: ChildLink) {
        let ChildLink { interface, parent } = link;
        let place = interface as usize;
        if place >= self.0.len() {
            self.0.resize(place + 1, None);
        }
        self.0[place] = parent.filter(|parent| self.wire(*parent).all(|below| below != interface));
    }

    /// Forgets every parent.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The interface and those on whose wire it sends, nearest first.
    pub(crate) fn wire(&self, interface: u32) -> impl Iterator<Item = u32> {
        std::iter::successors(Some(interface), |number| self.of(*number))
    }

    /// The interface on whose wire another one sends.
    pub(crate) fn of(&self, interface: u32) -> Option<u32> {
        self.0.get(interface as usize).copied().flatten()
    }

    /// Whether what the flows of an interface take is counted on another.
    pub(crate) fn counts(&self, link: ChildLink) -> bool {
        let ChildLink { interface, parent } = link;
        self.wire(interface).any(|number| Some(number) == parent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wire_begins_with_the_interface_and_never_runs_in_a_circle() {
        let mut parents = Parents::default();
        let wire = |parents: &Parents, of| parents.wire(of).collect::<Vec<_>>();
        assert_eq!(wire(&parents, 7), [7]);
        parents.set(ChildLink { interface: 2, parent: Some(1) });
        parents.set(ChildLink { interface: 1, parent: Some(0) });
        assert_eq!(wire(&parents, 2), [2, 1, 0]);
        assert!(parents.counts(ChildLink { interface: 2, parent: Some(0) }));
        assert!(!parents.counts(ChildLink { interface: 0, parent: Some(2) }));
        parents.set(ChildLink { interface: 0, parent: Some(2) });
        assert_eq!(wire(&parents, 0), [0], "a circle is not closed");
        parents.set(ChildLink { interface: 3, parent: Some(3) });
        assert_eq!(wire(&parents, 3), [3], "no interface is its own parent");
        parents.set(ChildLink { interface: 1, parent: None });
        assert_eq!(wire(&parents, 2), [2, 1]);
    }
}
