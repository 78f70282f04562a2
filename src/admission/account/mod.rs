//! The account of an interface: what is reserved of it over time, which flows hold it, and what would still fit.
//!
//! Knows flows and classes by number and no ledger: what is booked here is what a ledger has decided.

pub(crate) mod charge;
pub(crate) mod classes;
pub(crate) mod fit;
pub(crate) mod flows;
pub(crate) mod holders;
pub(crate) mod measured;
pub(crate) mod names;
pub(crate) mod profile;
pub(crate) mod proof;
pub(crate) mod sorted;
pub(crate) mod state;
