//! The numbers behind refusals: what was requested, what is taken, and the limit.

use std::fmt;

use flowspec::{Bytes, Direction, ErrorTerms, Micros, Moment, Peak, Rate};
use serde::{Deserialize, Serialize};

/// A budget that is too small for a flow, with the numbers that a refusal states.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Shortfall {
    /// The flow's charge.
    pub asked: Rate,
    /// The sum of the charges of the admitted flows.
    pub reserved: Rate,
    /// What may be reserved.
    pub budget: Rate,
    /// The flows that hold the most of it, largest first.
    pub holders: Vec<Holder>,
    /// The largest charge that every constraint would allow now.
    pub would_fit: Rate,
    /// The least delay that such a charge would meet, where the flow requested one.
    pub least_latency: Option<Micros>,
    /// The part of `reserved` that was measured as unused, where this flow may not use it.
    pub measured: Rate,
    /// The first moment at which as much is reserved, where that is later than the flow's start. The holders hold their
    /// parts at that moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Moment>,
    /// Whether the policy allows preemption, which `would_fit` does not count on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub preemption: bool,
    /// What the interface's `mar_threshold` keeps free, where the flow's class is above its share: `budget` is less by that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mar_threshold: Option<Rate>,
}

/// The number of a group that is too small for a member.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GroupLimit {
    /// R of a guaranteed service, r of any other: what the budgets are charged.
    Rate,
    /// r, in bytes per second.
    TokenRate,
    /// b, in bytes.
    TokenBucketSize,
    /// p, in bytes per second.
    PeakBandwidth,
    /// M, in bytes: a limit for each member, not for their sum.
    MaxSduSize,
    /// m, in bytes: a limit for each member, not for their sum.
    MinimumPolicedSize,
}

/// What a member requests of a number of its group's flowspec, what is taken of it, or the number itself.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupAmount {
    /// Of a rate.
    Rate(Rate),
    /// Of a number of bytes.
    Size(Bytes),
    /// More than any rate: a peak bandwidth that no limit bounds.
    Infinite,
}

/// The limit of a client that a request exceeds.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ClientLimit {
    /// The client's `max_flows`, counted over all interfaces.
    #[error("{} and max_flows is {most}{}", are_admitted(*flows), since(*from))]
    Flows {
        /// How many of its flows are admitted.
        flows: u64,
        /// The policy's `max_flows`.
        most: u64,
        /// The first moment at which it has as many, where that is later than the flow's start.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Moment>,
    },
    /// The client's `max_rate`, in one direction.
    #[error("{direction}: {asked} asked, {taken} reserved, max_rate is {most}{}", since(*from))]
    Rate {
        /// The direction in which the charge exceeds it.
        direction: Direction,
        /// The flow's charge.
        asked: Rate,
        /// What the client's other flows are charged.
        taken: Rate,
        /// The limit for all together.
        most: Rate,
        /// The first moment at which as much is taken, where that is later than the flow's start.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Moment>,
    },
    /// `requests_per_second`.
    #[error("more than {} a second", counted(*.0, "request"))]
    Requests(u64),
    /// The client's `horizon`: how far ahead a reservation may begin.
    #[error("{ahead} ahead is beyond the horizon of {horizon}")]
    Horizon {
        /// How far ahead the reservation would begin.
        ahead: Micros,
        /// The policy's `horizon`.
        horizon: Micros,
    },
    /// `best_setup_priority`.
    #[error("setup priority {setup} is asked for, the best allowed is {best}")]
    Priority {
        /// The requested priority.
        setup: u8,
        /// The policy's `best_setup_priority`: 0 (best) to 7.
        best: u8,
    },
}

impl GroupLimit {
    /// Its name in messages: a key of the group's flowspec, or `rate` for what is charged.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::TokenRate => "token_rate",
            Self::PeakBandwidth => "peak_bandwidth",
            Self::TokenBucketSize => "token_bucket_size",
            Self::MaxSduSize => "max_sdu_size",
            Self::MinimumPolicedSize => "minimum_policed_size",
        }
    }

    /// A number of the group's flowspec as an amount of this limit; `None` is infinite.
    pub(crate) fn amount(self, number: Option<u64>) -> GroupAmount {
        match (self, number) {
            (_, None) => GroupAmount::Infinite,
            (Self::Rate | Self::TokenRate | Self::PeakBandwidth, Some(rate)) => {
                GroupAmount::Rate(Rate::new(rate))
            }
            (Self::TokenBucketSize | Self::MaxSduSize | Self::MinimumPolicedSize, Some(size)) => {
                GroupAmount::Size(Bytes::new(size))
            }
        }
    }

    pub(crate) fn describe(self, asked: GroupAmount, taken: GroupAmount, most: GroupAmount) -> String {
        let name = self.name();
        match self {
            Self::MaxSduSize | Self::MinimumPolicedSize => {
                format!("{name} {asked} asked, the group's is {most}")
            }
            _ => format!("{name} {asked} asked, {taken} taken of {most}"),
        }
    }
}

impl fmt::Display for GroupAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate(rate) => rate.fmt(f),
            Self::Size(size) => size.fmt(f),
            Self::Infinite => Peak::Infinite.fmt(f),
        }
    }
}

pub(crate) fn describe_delay(target: Micros, terms: Option<ErrorTerms>) -> String {
    match terms {
        None => "a delay bound is asked for, and this data path proves none: limit the interface's max_flows and buffer and leave some of it unreserved, state error_terms, or leave latency and delay_variation unspecified".into(),
        Some(ErrorTerms { c, d }) => {
            format!("no rate keeps the delay within {target}: the data path alone takes up to {d}, and {c} at the flow's rate")
        }
    }
}

/// A number of things: `1 flow`, `2 flows`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// `1 flow is admitted`, `2 flows are admitted`.
pub(crate) fn are_admitted(flows: u64) -> String {
    format!("{} {} admitted", counted(flows, "flow"), if flows == 1 { "is" } else { "are" })
}

/// When a limit is reached by a later booking; empty where that is so from the flow's start on.
pub(crate) fn since(from: Option<Moment>) -> String {
    from.map_or(String::new(), |from| format!(", from {} us on", from.as_micros()))
}

/// What is said of what would fit where more would fit by preempting.
pub(crate) const fn without_preempting(preemption: bool) -> &'static str {
    if preemption { " without preempting" } else { "" }
}

/// A flow that holds part of a budget.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Holder {
    /// The id that its request gave the flow.
    pub id: String,
    /// Its part of the budget, in bytes per second.
    pub charged: Rate,
}

impl Shortfall {
    /// What is left of the budget.
    pub fn available(&self) -> Rate {
        self.budget.saturating_sub(self.reserved)
    }

    /// By how much `asked` exceeds what is available; zero where it does not.
    pub fn missing(&self) -> Rate {
        self.asked.saturating_sub(self.available())
    }
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            asked,
            reserved,
            budget,
            holders,
            would_fit,
            least_latency: _,
            measured,
            from,
            preemption,
            mar_threshold,
        } = self;
        let (available, missing) = (self.available(), self.missing());
        write!(f, "{asked} asked, {reserved} reserved of {budget}, {available} available: {missing} short")?;
        f.write_str(&since(*from))?;
        if let Some(threshold) = mar_threshold {
            write!(f, "; the class is above its share, and mar_threshold keeps {threshold} free")?;
        }
        for (index, Holder { id, charged }) in holders.iter().enumerate() {
            let lead = if index == 0 { "; most is held by" } else { "," };
            write!(f, "{lead} {id} ({charged})")?;
        }
        if *measured > Rate::ZERO {
            write!(
                f,
                "; {measured} of it was measured as unused, for controlled load of measured classes alone"
            )?;
        }
        let without = without_preempting(*preemption);
        match *would_fit {
            Rate::ZERO => write!(f, "; nothing would fit{without}"),
            would_fit => write!(f, "; at most {would_fit} would fit{without}"),
        }?;
        match self.least_latency {
            Some(least) => write!(f, ", with a delay of {least}"),
            None => Ok(()),
        }
    }
}
