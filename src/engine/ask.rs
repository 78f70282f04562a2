//! What a caller asks for, before a policy gives it a meaning.

use flowspec::Qos;

/// A wish for a reservation: a flowspec or templates of the policy, and what the policy is to know of the flow.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// The flow's id; the engine chooses one where this is `None`.
    pub id: Option<String>,
    /// The flow's class; that of the matching rule where this is `None` and a rule decides.
    pub class: Option<String>,
    /// The flowspecs.
    pub what: What,
    /// The group whose reservation the flow shares.
    pub group: Option<String>,
    /// The client that the flow is counted for.
    pub client: Option<String>,
    /// If the flow is refused for lack of capacity, its id enters the waiting queue:
    /// [`Host::wait_for_capacity`](crate::connect::Host::wait_for_capacity).
    pub wait: bool,
}

/// The flowspecs of a flow, or where they come from.
#[derive(Clone, Debug, Default)]
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
    /// Asks for a template of the policy.
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

    /// The same, in this class.
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

    /// The same, with this id.
    #[must_use]
    pub fn id(self, id: impl Into<String>) -> Self {
        Self { id: Some(id.into()), ..self }
    }
}
