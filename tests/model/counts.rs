//! How often each kind of outcome occurred.

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) admitted: usize,
    pub(crate) refused: usize,
    pub(crate) preempted: usize,
    pub(crate) shed: usize,
    pub(crate) expired: usize,
    /// Members of groups, after each operation.
    pub(crate) members: usize,
    /// Flows that begin later, after each operation.
    pub(crate) booked: usize,
    /// Measurements.
    pub(crate) measured: usize,
    /// Directions in which measuring frees some rate, after each operation.
    pub(crate) unused: usize,
    /// Admissions of a lower rendition.
    pub(crate) lowered: usize,
    /// Flows that wait, after each operation.
    pub(crate) waiting: usize,
    /// Notifications of capacity.
    pub(crate) notified: usize,
    /// Flows that end since their peers were silent, or accepted nothing.
    pub(crate) dead: usize,
    pub(crate) stalled: usize,
    /// Requests of clients that made too many.
    pub(crate) too_many: usize,
    /// Policies.
    pub(crate) reloads: usize,
    /// Flows whose class the policy does not have, after each operation.
    pub(crate) orphans: usize,
    /// Refusals of flows whose interface has enough, and the one below it has not.
    pub(crate) by_parent: usize,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.admitted += other.admitted;
        self.refused += other.refused;
        self.preempted += other.preempted;
        self.shed += other.shed;
        self.expired += other.expired;
        self.members += other.members;
        self.booked += other.booked;
        self.measured += other.measured;
        self.unused += other.unused;
        self.lowered += other.lowered;
        self.waiting += other.waiting;
        self.notified += other.notified;
        self.dead += other.dead;
        self.stalled += other.stalled;
        self.too_many += other.too_many;
        self.reloads += other.reloads;
        self.orphans += other.orphans;
        self.by_parent += other.by_parent;
    }

    /// Each kind of outcome occurred in more than a thousandth of the operations. Rate that is measured as unused is
    /// twenty times as rare.
    #[track_caller]
    pub(crate) fn check(&self, operations: u64) {
        let outcomes = [self.admitted, self.refused, self.preempted, self.shed, self.expired, self.members];
        let kinds = [self.booked, self.measured, 20 * self.unused, self.lowered, self.waiting, self.notified];
        let others = [self.dead, self.stalled, self.too_many, self.reloads, self.orphans, self.by_parent];
        for count in outcomes.into_iter().chain(kinds).chain(others) {
            assert!(count as u64 > operations / 1000, "{self:?}");
        }
    }
}
