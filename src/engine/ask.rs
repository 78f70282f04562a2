//! What a caller asks for, before a policy gives it a meaning.

use std::time::{Duration, Instant};

use flowspec::Qos;

use super::clock;

/// A wish for a reservation: a flowspec or templates of the policy, and what the policy is to know of the flow.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use flowspec::{Flowspec, Qos};
/// use gqos::connect::Ask;
///
/// // The first of three renditions that fits, in a class of the policy.
/// let viewer = Ask::first_of(["1080p", "720p", "480p"]).class("viewer");
///
/// // Flowspecs that no template of the policy has, for two hours that begin in ten minutes.
/// let voice = Qos::sending(Flowspec::guaranteed("128 kbit/s".parse()?, "4 KiB".parse()?));
/// let start = Instant::now() + Duration::from_secs(600);
/// let call = Ask::qos(voice).starting_at(start).ending_at(start + Duration::from_secs(7_200));
///
/// // What the policy's rules say of the connection, with an id that is found again in events and reports.
/// let by_rule = Ask::default().id("origin-3/stream-17");
/// # let _ = (viewer, call, by_rule);
/// # Ok::<(), flowspec::UnitError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// The flow's id; the engine chooses one where this is `None` or empty.
    pub id: Option<String>,
    /// The flow's class; that of the matching rule where this is `None` and a rule decides.
    pub class: Option<String>,
    /// A template, a ladder of templates, or flowspecs.
    pub what: What,
    /// The group whose reservation the flow shares.
    pub group: Option<String>,
    /// The client that the flow is counted for.
    pub client: Option<String>,
    /// If the flow is refused for lack of capacity, its id enters the waiting queue:
    /// [`Host::wait_for_capacity`](crate::connect::Host::wait_for_capacity).
    pub wait: bool,
    /// The first moment of the reservation; now where this is `None` or past. What is reserved ahead is counted from the
    /// request on: a flow has its class and is shaped from this moment on, and is best effort before.
    pub start: Option<Instant>,
    /// The first moment after the reservation, which is lost then; `None` where it lasts until it is released.
    pub end: Option<Instant>,
    /// How long the reservation lasts without a [refresh](crate::connect::Flow::refresh); `None` where it needs none.
    pub time_to_live: Option<Duration>,
    /// How important the flow is when it is admitted, 0 (best) to 7: with `preemption = true` in the policy it may displace
    /// flows whose holding priority is worse. That of its class where this is `None`.
    pub setup_priority: Option<u8>,
    /// How important it is once it is admitted, 0 (best) to 7, and not worse than the setup priority. That of its class
    /// where this is `None`.
    pub holding_priority: Option<u8>,
}

/// The flowspecs of a flow, or where they come from.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum What {
    /// The template of the policy's first rule that matches; best effort where no rule matches.
    #[default]
    ByRule,
    /// The policy's template of this name.
    Template(String),
    /// The first of these templates that fits, best first.
    FirstOf(Vec<String>),
    /// These flowspecs.
    Qos(Box<Qos>),
}

impl Ask {
    /// Asks for the flowspecs of `[template.NAME]`.
    pub fn template(name: impl Into<String>) -> Self {
        Self { what: What::Template(name.into()), ..Self::default() }
    }

    /// Asks for the first of these templates that fits: the renditions of a stream, best first.
    pub fn first_of<T: Into<String>>(names: impl IntoIterator<Item = T>) -> Self {
        Self { what: What::FirstOf(names.into_iter().map(Into::into).collect()), ..Self::default() }
    }

    /// Asks for exactly these flowspecs.
    pub fn qos(qos: Qos) -> Self {
        Self { what: What::Qos(Box::new(qos)), ..Self::default() }
    }

    /// Puts the flow into `[class.NAME]` of the policy.
    #[must_use]
    pub fn class(self, class: impl Into<String>) -> Self {
        Self { class: Some(class.into()), ..self }
    }

    /// The same, as a member of this group.
    #[must_use]
    pub fn group(self, group: impl Into<String>) -> Self {
        Self { group: Some(group.into()), ..self }
    }

    /// The same, counted for this client.
    #[must_use]
    pub fn client(self, client: impl Into<String>) -> Self {
        Self { client: Some(client.into()), ..self }
    }

    /// The same with this id, which enters the waiting queue if the flow is refused for lack of capacity.
    #[must_use]
    pub fn waiting_as(self, id: impl Into<String>) -> Self {
        Self { wait: true, ..self.id(id) }
    }

    /// Names the flow in decisions, events and traces; ids are unique among the admitted flows.
    #[must_use]
    pub fn id(self, id: impl Into<String>) -> Self {
        Self { id: Some(id.into()), ..self }
    }

    /// The same, from this moment on: a reservation ahead.
    #[must_use]
    pub fn starting_at(self, start: Instant) -> Self {
        Self { start: Some(start), ..self }
    }

    /// The same, from so long from now on.
    #[must_use]
    pub fn starting_in(self, delay: Duration) -> Self {
        Self { start: clock::after(delay), ..self }
    }

    /// The same, until so long from now.
    #[must_use]
    pub fn ending_in(self, delay: Duration) -> Self {
        Self { end: clock::after(delay), ..self }
    }

    /// The same, until this moment.
    #[must_use]
    pub fn ending_at(self, end: Instant) -> Self {
        Self { end: Some(end), ..self }
    }

    /// The same as soft state: lost unless it is [refreshed](crate::connect::Flow::refresh) within this time.
    #[must_use]
    pub fn time_to_live(self, time_to_live: Duration) -> Self {
        Self { time_to_live: Some(time_to_live), ..self }
    }

    /// The same with this setup priority, 0 (best) to 7.
    #[must_use]
    pub fn setup_priority(self, priority: u8) -> Self {
        Self { setup_priority: Some(priority), ..self }
    }

    /// The same with this holding priority, 0 (best) to 7.
    #[must_use]
    pub fn holding_priority(self, priority: u8) -> Self {
        Self { holding_priority: Some(priority), ..self }
    }
}
