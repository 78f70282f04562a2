//! What an interface counts beside its own flows: those of the interfaces that send on its wire.

use flowspec::{Direction, Moment};

use super::measured::MeasuredFlows;
use super::parents::{ChildLink, Parents};
use super::state::Account;

/// The accounts whose flows one interface counts.
#[derive(Clone, Copy)]
pub(crate) struct CountedAccounts<'a> {
    /// By the interface's number.
    pub(crate) accounts: &'a [Option<Account>],
    pub(crate) parents: &'a Parents,
    /// The interface that counts them.
    pub(crate) number: u32,
}

impl<'a> CountedAccounts<'a> {
    /// The interface's own account, and those of the interfaces on its wire.
    fn all(self) -> impl Iterator<Item = &'a Account> {
        let parent = Some(self.number);
        let is_counted =
            move |account: &&Account| self.parents.counts(ChildLink { interface: account.number, parent });
        self.accounts.iter().flatten().filter(is_counted)
    }

    /// By how much the measured classes for which `counts` holds take less of the interface than they have declared. A
    /// measurement is of one interface's flows, and counts on that interface's whole wire.
    pub(crate) fn relief(
        self,
        direction: Direction,
        now: Moment,
        counts: impl Fn(u32, &MeasuredFlows) -> bool,
    ) -> u64 {
        self.all().map(|account| account.relief(direction, now, &counts)).fold(0, u64::saturating_add)
    }

    /// Whether anything is measured that the interface counts.
    pub(crate) fn measures(self) -> bool {
        self.all().any(Account::measures)
    }
}
