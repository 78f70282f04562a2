//! The account of one interface: what is reserved over time, whether more fits, and which flows can be preempted or shed.
//!
//! Takes flows and groups as [`Footprint`](footprint::Footprint)s with a [`Window`](window::Window), and a policy's limits;
//! gives what is taken at any moment, or the refusal with its numbers. Knows no ledger, no clients and no other interface.
//!
//! # Types
//!
//! - **A request in numbers**: [`charge`] computes a [`Charge`](charge::Charge) from a flowspec; a
//!   [`Footprint`](footprint::Footprint) is what is counted of it, an [`Entry`](entry::Entry) the flow as it is kept.
//! - **Time**: a [`Profile`](profile::Profile) is an amount now and at every later moment, made of [`changes`] and [`steps`].
//! - **The account**: [`Account`](state::Account), with [`AccountUse`](usage::AccountUse) for each limit,
//!   [`Holders`](holders::Holders) for the flows that a refusal names, and [`measured`] rates in place of declared ones.
//! - **Order**: a [`Rank`](rank::Rank) by admission, a [`PreemptionPlace`](place::PreemptionPlace) by importance;
//!   [`candidates`] and [`tally`] add up what preemption frees.
//! - **Tables**: [`Flows`](flows::Flows), [`Classes`](classes::Classes) and [`NameTable`](names::NameTable) give numbers to
//!   ids and names.
//!
//! # Order of calls
//!
//! 1. `Account::new` for a policy's interface, `Account::observe_link` with what the kernel reports.
//! 2. `Account::advance` to the present, before anything else is asked of it.
//! 3. For a request: its charge, its footprint, then [`fit`] for each limit; [`lacking`] gives every
//!    [`Resource`](resource::Resource) that is too scarce.
//! 4. `Account::book` for what fits, and `Account::unbook` with the same footprint at its end.
//! 5. [`recount`] in debug builds and model tests: the sums against those of everything that is booked.

pub(crate) mod candidates;
pub(crate) mod changes;
pub(crate) mod charge;
pub(crate) mod classes;
pub(crate) mod counted;
pub(crate) mod entry;
pub(crate) mod fit;
pub(crate) mod flows;
pub(crate) mod footprint;
pub(crate) mod holders;
pub(crate) mod lacking;
pub(crate) mod measured;
pub(crate) mod names;
pub(crate) mod parents;
pub(crate) mod place;
pub(crate) mod profile;
pub(crate) mod proof;
pub(crate) mod rank;
pub(crate) mod recount;
pub(crate) mod resource;
pub(crate) mod sorted;
pub(crate) mod state;
pub(crate) mod steps;
pub(crate) mod tally;
pub(crate) mod usage;
pub(crate) mod window;
