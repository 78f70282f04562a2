//! What a flow holds, as a value that outlives the flow.

use flowspec::{Both, Rate};
use serde::Serialize;

/// A flow and what it is charged.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Holding {
    /// The id that its request gave the flow; unique among the admitted flows.
    pub id: String,
    /// The name of the link that it is charged on: `eth0`.
    pub interface: String,
    /// What it takes from its budgets: those of its interface, or those of its group where it is in one.
    pub charged: Both<Rate>,
    /// Its group, which the interface charges in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}
