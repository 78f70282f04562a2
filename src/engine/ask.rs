//! What is asked of a host, and what that means under its policy.

use flowspec::Qos;

use crate::admission::{Ladder, Refusal, Request};
use crate::linux::Link;
use crate::policy::{Owner, Policy, Subject};

/// What to ask for.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// What the flow is called; a name of its own where nothing is given.
    pub id: Option<String>,
    /// Its class; the rule's, where a rule decides.
    pub class: Option<String>,
    /// What it is to get.
    pub what: What,
    /// The group whose reservation it is to share.
    pub group: Option<String>,
    /// Who asks, if that is known.
    pub client: Option<String>,
    /// Refused for lack of room, it waits to be told of some: [`Host::room`](crate::connect::Host::room).
    pub wait: bool,
}

/// What a flow is to get.
#[derive(Clone, Debug, Default)]
pub enum What {
    /// What the first rule of the policy that matches says; best effort where none does.
    #[default]
    ByRule,
    /// This template of the policy.
    Template(String),
    /// The first of these templates that fits.
    FirstOf(Vec<String>),
    /// This.
    Qos(Box<Qos>),
}

impl Ask {
    /// This template of the policy.
    pub fn template(name: impl Into<String>) -> Self {
        Self { what: What::Template(name.into()), ..Self::default() }
    }

    /// The first of these templates of the policy that fits: renditions, best first.
    pub fn first_of<T: Into<String>>(names: impl IntoIterator<Item = T>) -> Self {
        Self { what: What::FirstOf(names.into_iter().map(Into::into).collect()), ..Self::default() }
    }

    /// Exactly this.
    pub fn qos(qos: Qos) -> Self {
        Self { what: What::Qos(Box::new(qos)), ..Self::default() }
    }

    /// The same in this class.
    #[must_use]
    pub fn class(self, class: impl Into<String>) -> Self {
        Self { class: Some(class.into()), ..self }
    }

    /// The same as a member of this group.
    #[must_use]
    pub fn group(self, group: impl Into<String>) -> Self {
        Self { group: Some(group.into()), ..self }
    }

    /// The same for this client.
    #[must_use]
    pub fn client(self, client: impl Into<String>) -> Self {
        Self { client: Some(client.into()), ..self }
    }

    /// The same, and where there is no room, to be told of some under this name.
    #[must_use]
    pub fn waiting_as(self, id: impl Into<String>) -> Self {
        Self { wait: true, ..self.id(id) }
    }

    /// The same under this name.
    #[must_use]
    pub fn id(self, id: impl Into<String>) -> Self {
        Self { id: Some(id.into()), ..self }
    }
}

/// A request as it comes from a socket: what is asked, and where it leaves.
pub(crate) struct Asked {
    pub(crate) id: String,
    pub(crate) ask: Ask,
    pub(crate) link: Link,
    pub(crate) subject: Subject,
}

/// Turns what is asked into a request, by the policy's templates and rules.
pub(crate) fn resolve(policy: &Policy, asked: &Asked) -> Result<Ladder, Refusal> {
    let Asked { id, ask, link, subject } = asked;
    let template = |name: &str| match policy.templates.get(name) {
        Some(template) => Ok((name.to_owned(), template.qos)),
        None => Err(Refusal::UnknownTemplate { template: name.to_owned() }),
    };
    let mut class = ask.class.clone();
    let mut renditions = match &ask.what {
        What::Qos(qos) => vec![(String::new(), **qos)],
        What::Template(name) => vec![template(name)?],
        What::FirstOf(names) => names.iter().map(|name| template(name)).collect::<Result<_, _>>()?,
        What::ByRule => match policy.rule_for(subject) {
            None => Vec::new(),
            Some(rule) => {
                class = class.or_else(|| rule.class.clone());
                vec![template(&rule.template)?]
            }
        },
    };
    let (first, qos) = match renditions.is_empty() {
        true => (String::new(), Qos::BEST_EFFORT),
        false => renditions.remove(0),
    };
    // Only asked where somebody wants to know.
    let owner = match policy.classes.values().any(|class| class.matches.is_some()) {
        false => Owner::default(),
        true => {
            let (uid, gid, cgroup) = crate::linux::owner();
            Owner { uid: Some(uid), gid: Some(gid), cgroup }
        }
    };
    let mut request = Request { class, owner, ..Request::new(id.clone(), link.name.clone(), qos) };
    (request.group, request.client, request.wait) = (ask.group.clone(), ask.client.clone(), ask.wait);
    Ok(Ladder { request, first, renditions })
}
