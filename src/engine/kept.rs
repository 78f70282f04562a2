//! Reservations that outlive the process that has granted them, as they are written down.

use flowspec::{Both, Flowspec, Micros, Moment};
use serde::{Deserialize, Serialize};

use super::clock::SystemClock;
use super::reservation::Granted;
use crate::admission::{Decision, GroupRequest, NewFlow, Request};
use crate::manager::KeptFlow;
use crate::policy::Owner;
use crate::tc::Handle;

/// A reservation, as it is granted again by the next engine. Times are microseconds since the machine has started.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KeptReservation {
    /// The flow's id.
    pub id: String,
    /// The name of the link that it is charged on.
    pub interface: String,
    /// The class in the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The group whose reservation it shares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The client that it is counted for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The credentials that the policy's classes are matched against.
    #[serde(default)]
    pub owner: Owner,
    /// What it was granted.
    pub qos: Both<Flowspec>,
    /// Its class in the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_class: Option<Handle>,
    /// When it begins, if that is later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begins_us: Option<u64>,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_us: Option<u64>,
    /// When its soft state ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_us: Option<u64>,
    /// 0 (best) to 7, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup_priority: Option<u8>,
    /// 0 (best) to 7, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holding_priority: Option<u8>,
    /// Whether its peer has answered.
    #[serde(default)]
    pub is_established: bool,
}

/// What an engine that has ended had granted.
#[derive(Clone, Debug, Default)]
pub struct KeptReservations {
    /// The groups that clients have made.
    pub groups: Vec<GroupRequest>,
    /// In the order in which they are granted again.
    pub flows: Vec<KeptReservation>,
    /// The sockets that send to classes of flows, by their cookies, whether or not a flow has the class.
    pub marked: Vec<(u64, Handle)>,
}

/// Why a reservation is not granted again.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAdopted {
    /// The interface is gone, or the policy does not have it any more.
    #[error("{interface}: there is no such interface, or the policy lacks it")]
    NoInterface {
        /// The name of the link.
        interface: String,
    },
    /// The policy does not admit it any more.
    #[error("{}", .0.message())]
    Refused(Box<Decision>),
    /// The engine has failed to answer.
    #[error("the engine gave no answer")]
    Unanswered,
}

/// What becomes of each reservation, in the order in which they were given.
pub type Adoptions = Vec<Result<Granted, NotAdopted>>;

impl KeptReservation {
    /// What the manager knows of a flow, without its client, its owner and its priorities.
    pub(super) fn of(id: &str, kept: KeptFlow, clock: SystemClock) -> Self {
        let KeptFlow { interface, policy_class, group, qos, class, begins, ends, expires, is_established } =
            kept;
        let on_system = |at: Option<Moment>| at.and_then(|at| clock.on_system(at));
        Self {
            id: id.to_owned(),
            interface,
            class: policy_class,
            group,
            client: None,
            owner: Owner::default(),
            qos,
            kernel_class: class,
            begins_us: on_system(begins),
            ends_us: on_system(ends),
            expires_us: on_system(expires),
            setup_priority: None,
            holding_priority: None,
            is_established,
        }
    }

    /// The request that stands for it.
    pub(super) fn request(&self, clock: SystemClock) -> Request {
        let at = |micros: Option<u64>| micros.map(|micros| clock.at_system(micros));
        let left = self.expires_us.map(|micros| {
            let left = clock.at_system(micros).saturating_since(clock.now());
            // A time of zero never ends.
            left.max(Micros::new(1))
        });
        Request {
            class: self.class.clone(),
            group: self.group.clone(),
            client: self.client.clone(),
            owner: self.owner.clone(),
            start: at(self.begins_us),
            end: at(self.ends_us),
            time_to_live: left,
            setup_priority: self.setup_priority,
            holding_priority: self.holding_priority,
            ..Request::new(NewFlow { id: &self.id, interface: &self.interface }, self.qos)
        }
    }
}
