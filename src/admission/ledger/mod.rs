//! The ledger: the accounts of all interfaces, with the flows, groups and clients that are charged.

pub(crate) mod booking;
pub(crate) mod client;
pub(crate) mod decide;
pub(crate) mod group;
pub(crate) mod grouping;
pub(crate) mod prepare;
pub(crate) mod state;
pub(crate) mod victims;
pub(crate) mod waiting;
