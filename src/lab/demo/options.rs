//! The input of the demo.

use std::ffi::OsString;
use std::path::PathBuf;

use flowspec::{Bytes, Flowspec, Micros, Qos, Rate, Ratio, ServiceType};
use shaper::headers::token_rate_for_goodput;

use super::error::DemoError;
use crate::connect::{Ask, What};
use crate::lab::media::Media;
use crate::lab::player::START;
use crate::lab::service::MediaRendition;
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
    /// What serves the viewers of the managed phase; this process where it is `None`.
    pub programs: Option<Programs>,
}

/// What serves the viewers of the managed phase in place of this process: two servers that reserve by one daemon.
#[derive(Clone, Debug)]
pub struct Programs {
    /// Starts the daemon, which writes a line on standard output once it serves.
    pub daemon: ProgramCommand,
    /// Starts a media server, which does the same; its port is added as the last argument.
    pub server: ProgramCommand,
    /// The daemon's control socket.
    pub socket: PathBuf,
}

/// How a program is started.
#[derive(Clone, Debug)]
pub struct ProgramCommand {
    /// The path of the program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
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

    /// What a service sends to its viewers, and asks for them.
    pub fn rendition(&self) -> MediaRendition {
        MediaRendition { media: self.media.clone(), ask: self.ask_of_viewer() }
    }

    fn ask_of_viewer(&self) -> Ask {
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
