//! The sums behind refusals: what was asked, what is taken, what there is.

use flowspec::{Bytes, Direction, ErrorTerms, Micros, Rate};

/// The sum behind a refusal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sum {
    /// What the flow would be charged.
    pub asked: Rate,
    /// What is promised already.
    pub reserved: Rate,
    /// What may be promised.
    pub budget: Rate,
    /// Who holds most of it, most first.
    pub holders: Vec<Holder>,
    /// The largest charge that every constraint would allow now.
    pub would_fit: Rate,
    /// The least delay that such a charge would meet, where the flow asked for one.
    pub least_latency: Option<Micros>,
    /// What of it is measured as unused, where that is not for this flow.
    pub measured: Rate,
}

/// What a group has too little of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GroupLimit {
    /// The rate that is charged.
    Rate,
    /// r.
    TokenRate,
    /// b.
    TokenBucketSize,
    /// p.
    PeakBandwidth,
    /// M.
    MaxSduSize,
    /// m.
    MinimumPolicedSize,
}

/// What a client has too little of.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ClientLimit {
    /// Flows.
    #[error("{flows} flows are admitted and max_flows is {most}")]
    Flows {
        /// How many it has.
        flows: u64,
        /// How many it may have.
        most: u64,
    },
    /// Rate.
    #[error("{direction}: {asked} asked, {taken} reserved, max_rate is {most}")]
    Rate {
        /// The direction.
        direction: Direction,
        /// What the flow would be charged.
        asked: Rate,
        /// What its others are.
        taken: Rate,
        /// What they may be together.
        most: Rate,
    },
    /// Requests.
    #[error("more than {0} requests a second")]
    Requests(u64),
    /// Time ahead.
    #[error("{} us ahead is beyond the horizon of {horizon}", ahead.get())]
    Horizon {
        /// How far ahead.
        ahead: Micros,
        /// How far it may be.
        horizon: Micros,
    },
    /// Priority.
    #[error("setup priority {setup} is asked for, the best allowed is {best}")]
    Priority {
        /// What it asked for.
        setup: u8,
        /// The best it may ask for.
        best: u8,
    },
}

impl GroupLimit {
    pub(crate) fn sum(self, asked: u64, taken: u64, most: u64) -> String {
        let rate = |value: u64| Rate::new(value).to_string();
        let size = |value: u64| Bytes::new(value).to_string();
        let (name, shown): (_, &dyn Fn(u64) -> String) = match self {
            Self::Rate => ("rate", &rate),
            Self::TokenRate => ("token_rate", &rate),
            Self::PeakBandwidth => ("peak_bandwidth", &rate),
            Self::TokenBucketSize => ("token_bucket_size", &size),
            Self::MaxSduSize => ("max_sdu_size", &size),
            Self::MinimumPolicedSize => ("minimum_policed_size", &size),
        };
        let asked = match asked {
            u64::MAX => "infinite".to_owned(),
            asked => shown(asked),
        };
        match self {
            Self::MaxSduSize | Self::MinimumPolicedSize => {
                format!("{name} {asked} asked, the group's is {}", shown(most))
            }
            _ => format!("{name} {asked} asked, {} taken of {}", shown(taken), shown(most)),
        }
    }
}

pub(crate) fn delay(target: Micros, terms: Option<ErrorTerms>) -> String {
    match terms {
        None => "a delay bound is asked for, and this data path proves none: limit the interface's max_flows and buffer and leave some of it unreserved, state error_terms, or leave latency and delay_variation unspecified".into(),
        Some(ErrorTerms { c, d }) => {
            format!("no rate keeps the delay within {target}: the data path alone takes up to {d}, and {c} at the flow's rate")
        }
    }
}

/// A flow that holds part of a budget.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Holder {
    /// Its id.
    pub id: String,
    /// What it is charged.
    pub charged: Rate,
}

impl Sum {
    /// What is left.
    pub fn available(&self) -> Rate {
        self.budget.saturating_sub(self.reserved)
    }

    /// By how much it falls short.
    pub fn shortfall(&self) -> Rate {
        self.asked.saturating_sub(self.available())
    }
}

impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { asked, reserved, budget, holders, would_fit, least_latency: _, measured } = self;
        let (available, shortfall) = (self.available(), self.shortfall());
        write!(
            f,
            "{asked} asked, {reserved} reserved of {budget}, {available} available: {shortfall} short"
        )?;
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
        match *would_fit {
            Rate::ZERO => write!(f, "; nothing would fit"),
            would_fit => write!(f, "; at most {would_fit} would fit"),
        }?;
        match self.least_latency {
            Some(least) => write!(f, ", with a delay of {least}"),
            None => Ok(()),
        }
    }
}
