//! The input of the demo.

use flowspec::{Bytes, Flowspec, Micros, Qos, Rate, Ratio, ServiceType};
use shaper::headers::token_rate_for_goodput;

use crate::connect::{Ask, ConnectError, What};
use crate::failure::KernelFailure;
use crate::lab::media::Media;
use crate::lab::player::START;
use crate::policy::{Budget, Capacity, Policy};

/// The input of the demo.
#[derive(Clone)]
pub struct Options {
    /// How many viewers arrive.
    pub viewers: usize,
    /// The link's rate, link headers included.
    pub link: Rate,
    /// The length of each phase.
    pub seconds: u64,
    /// The policy of the managed phase.
    pub policy: Policy,
    /// The renditions, best first.
    pub ladder: Vec<Rung>,
}

/// A rendition of the ladder.
#[derive(Clone)]
pub struct Rung {
    /// Its name, which is also its template's.
    pub name: String,
    /// The stream that every viewer gets.
    pub media: Media,
    /// What is requested for it; `None` requests the policy's template of that name.
    pub qos: Option<Qos>,
}

/// Why the demo could not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// A call to the kernel failed.
    #[error(transparent)]
    Kernel(#[from] KernelFailure),
    /// The service could not be started.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The policy has no template for a rendition.
    #[error("the policy has no template {0:?}")]
    Template(String),
    /// The rate of a stream cannot be requested.
    #[error(transparent)]
    NoPayload(#[from] shaper::NoPayload),
    /// A task of the demo panicked or was cancelled.
    #[error("a task of the demo ended early: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// The bucket of a rendition without a template, as a time at its rate: longer than a timer is late, and short enough
/// that the buckets of all viewers fit into the wire's queue together.
const BUCKET: Micros = Micros::new(60_000);

/// What is requested for a rendition without a template, as a multiple of the least rate.
const RATE_MARGIN: Ratio = Ratio { numerator: 51, denominator: 50 };

/// The smallest bucket, of eight packets: with a smaller one, the shaper wakes for each packet.
const SMALLEST_BUCKET: Bytes = Bytes::new(12_000);

impl Rung {
    /// A rendition for a file without a template. It requests the least rate at which no viewer stalls, plus 2 %.
    ///
    /// - **Errors**: the rate cannot be requested.
    pub fn for_file(name: &str, media: Media) -> Result<Self, DemoError> {
        let goodput = media.least_rate(START).scale_up(RATE_MARGIN);
        let mut spec = Flowspec::new(ServiceType::Guaranteed);
        spec.minimum_policed_size = Some(Bytes::new(1000));
        let rate = token_rate_for_goodput(goodput, &spec)?;
        spec.token_rate = Some(rate);
        spec.token_bucket_size = Some(rate.bytes_in(BUCKET).max(SMALLEST_BUCKET));
        Ok(Self { name: name.to_owned(), media, qos: Some(Qos::sending(spec)) })
    }

    pub(super) fn qos(&self, policy: &Policy) -> Result<Qos, DemoError> {
        match (self.qos, policy.templates.get(&self.name)) {
            (Some(qos), _) => Ok(qos),
            (None, Some(template)) => Ok(template.qos),
            (None, None) => Err(DemoError::Template(self.name.clone())),
        }
    }

    pub(super) fn ask(&self) -> Ask {
        let what = match self.qos {
            Some(qos) => What::Qos(Box::new(qos)),
            None => What::Template(self.name.clone()),
        };
        Ask { class: Some("viewer".into()), what, ..Ask::default() }
    }
}

/// Replaces the capacities in a policy by that of the link.
pub fn fit_policy(policy: &mut Policy, link: Rate) {
    for interface in policy.interfaces.values_mut().chain(&mut policy.any_interface) {
        let fitted = |budget: Budget| Budget { capacity: Capacity::Rate(link), ..budget };
        interface.budgets = interface.budgets.map(fitted);
    }
}
