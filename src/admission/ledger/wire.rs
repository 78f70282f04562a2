//! The accounts of an interface's wire: what a flow takes of its interface, it takes of each parent as well.

use flowspec::{Bytes, Direction, ErrorTerms, Micros};

use super::state::Ledger;
use crate::admission::account::counted::CountedAccounts;
use crate::admission::account::flows::Flows;
use crate::admission::account::parents::{ChildLink, Parents};
use crate::admission::account::state::Account;

impl Ledger {
    /// The open accounts of an interface's wire with their numbers: its own, then its parents'.
    pub(crate) fn wire(&self, interface: u32) -> impl Iterator<Item = (u32, &Account)> {
        let account = |number: u32| Some((number, self.accounts.get(number as usize)?.as_ref()?));
        self.parents.wire(interface).filter_map(account)
    }

    /// The interfaces of a wire by name, beginning with one of them; that one alone where it has no open account.
    pub(crate) fn wire_names(&self, interface: &str) -> Vec<String> {
        let number = self.interfaces.number(interface);
        let parents = number.into_iter().flat_map(|number| self.wire(number)).map(|(number, _)| number);
        let parents = parents.filter(|parent| Some(*parent) != number);
        let parents = parents.map(|number| self.interfaces.text(number).to_string());
        std::iter::once(interface.to_owned()).chain(parents).collect()
    }

    /// Calls `change` for every account of an interface's wire.
    pub(crate) fn each_account(
        &mut self,
        interface: u32,
        mut change: impl FnMut(&mut Account, (&Parents, &Flows)),
    ) {
        let Self { accounts, parents, flows, .. } = self;
        for number in parents.wire(interface) {
            if let Some(Some(account)) = accounts.get_mut(number as usize) {
                change(account, (parents, flows));
            }
        }
    }

    /// The accounts whose flows an interface counts.
    pub(crate) fn counted(&self, number: u32) -> CountedAccounts<'_> {
        CountedAccounts { accounts: &self.accounts, parents: &self.parents, number }
    }

    /// Whether a flow of one interface takes something of another.
    pub(crate) fn is_on_wire_of(&self, interface: &str, parent: &str) -> bool {
        let Some(interface) = self.interfaces.number(interface) else { return false };
        self.parents.counts(ChildLink { interface, parent: self.interfaces.number(parent) })
    }

    /// C and D of a direction: those of the interface and, for each interface below it, those that the policy states. A
    /// proof about a parent's tree covers the parent's own flows alone.
    pub(crate) fn wire_terms(&self, interface: u32, direction: Direction) -> Option<ErrorTerms> {
        if self.parents.of(interface).is_none() {
            let account = self.accounts.get(interface as usize)?.as_ref()?;
            return *account.terms.get(direction);
        }
        let mut sum: Option<ErrorTerms> = None;
        for (number, account) in self.wire(interface) {
            let stated = || self.policy.interface(self.interfaces.text(number))?.error_terms;
            sum = Some(match sum {
                None => (*account.terms.get(direction))?,
                Some(sum) => {
                    let hop = stated()?;
                    ErrorTerms {
                        c: Bytes::new(sum.c.get().saturating_add(hop.c.get())),
                        d: Micros::new(sum.d.get().saturating_add(hop.d.get())),
                    }
                }
            });
        }
        sum
    }
}
