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
    }

    /// Each kind of outcome occurred in more than a thousandth of the operations. Rate that is measured as unused is
    /// twenty times as rare.
    #[track_caller]
    pub(crate) fn check(&self, operations: u64) {
        let Self { admitted, refused, preempted, shed, expired, members, booked, measured, unused, lowered } =
            self;
        let counts =
            [admitted, refused, preempted, shed, expired, members, booked, measured, lowered, &(20 * unused)];
        for count in counts {
            assert!(*count as u64 > operations / 1000, "{self:?}");
        }
    }
}
