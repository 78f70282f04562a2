//! Socket groups: several sockets that share one promise, as Winsock had them in 1998.
//!
//! A group lives as long as its sockets. Who created it says what it gets; everybody else's word for that is
//! ignored. To the ledger it is an envelope: reserved as a whole, spent by its members.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use flowspec::{Qos, Wsa};

use super::Result;
use super::notify::Events;
use super::provider::{Provider, provider, running};
use super::qos::{asks_for_nothing, merged};
use super::socket::{Endpoint, Family, Kind, others};
use super::wishes::Status;
use crate::sys::raw;

/// Which group a new socket is to be in.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Grouping {
    /// None.
    #[default]
    None,
    /// SG_UNCONSTRAINED_GROUP: a new one, for any sockets.
    Unconstrained,
    /// SG_CONSTRAINED_GROUP: a new one, for streams of one kind to one host.
    Constrained,
    /// The one of this SO_GROUP_ID.
    Join(u32),
}

/// Being in a group.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) group: Arc<Group>,
    /// It created the group, and says what that gets.
    pub(super) creator: bool,
}

/// A group of sockets.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: u32,
    constrained: bool,
    family: Family,
    kind: Kind,
    provider: Weak<Provider>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Where all of a constrained group are connected to.
    host: Option<IpAddr>,
    /// As it was set, in force or not.
    asked: Option<Qos>,
    /// What is promised, and by which way: to this peer.
    promised: Option<(Qos, IpAddr)>,
    /// The interface of that way.
    interface: Option<String>,
}

/// Every group by its number. The numbers of those that have ended are not used again.
#[derive(Debug, Default)]
pub(super) struct Groups {
    last: u32,
    open: BTreeMap<u32, Weak<Group>>,
}

/// The numbers 1 and 2 say what group to make.
const BEFORE_THE_FIRST: u32 = 2;

/// The most groups there may be at once.
const MOST_GROUPS: usize = 10_000;

/// What a group's promise was before it was given another.
pub(super) struct GroupBefore(Arc<Group>, Option<(Qos, IpAddr)>);

impl Grouping {
    /// By the numbers of WSASocket.
    pub const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::None,
            1 => Self::Unconstrained,
            2 => Self::Constrained,
            id => Self::Join(id),
        }
    }

    /// Makes a group for a socket, or joins one.
    ///
    /// - **Errors**: WSAEINVAL for a group that there is not, or that such a socket cannot be in; WSAENOBUFS
    ///   where there are too many.
    pub(super) fn enter(self, family: Family, kind: Kind) -> Result<Option<Membership>> {
        let constrained = match self {
            Self::None => return Ok(None),
            Self::Join(id) => {
                let group = provider()?.groups().open.get(&id).and_then(Weak::upgrade);
                let group = group.ok_or(Wsa::Einval)?;
                if group.constrained && (family, kind) != (group.family, group.kind) {
                    return Err(Wsa::Einval);
                }
                return Ok(Some(Membership { group, creator: false }));
            }
            Self::Unconstrained => false,
            Self::Constrained => true,
        };
        if constrained && kind != Kind::Stream {
            return Err(Wsa::Einval);
        }
        let provider = provider()?;
        let mut groups = provider.groups();
        groups.open.retain(|_, group| group.strong_count() > 0);
        if groups.open.len() >= MOST_GROUPS {
            return Err(Wsa::Enobufs);
        }
        let id = groups.last.max(BEFORE_THE_FIRST).checked_add(1).ok_or(Wsa::Enobufs)?;
        let inner = Mutex::default();
        let group = Group { id, constrained, family, kind, provider: Arc::downgrade(&provider), inner };
        let group = Arc::new(group);
        groups.last = id;
        groups.open.insert(id, Arc::downgrade(&group));
        Ok(Some(Membership { group, creator: true }))
    }
}

impl Group {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Whole between any two statements that can panic.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the ledger calls it.
    fn name(&self) -> String {
        format!("winsock-{}-group-{}", raw::process(), self.id)
    }

    /// The name under which members share its promise, if it has one.
    pub(super) fn shared(&self) -> Option<String> {
        self.inner().promised.as_ref().map(|_| self.name())
    }

    /// What it gets, or is to get.
    fn qos(&self) -> Option<Qos> {
        let inner = self.inner();
        inner.promised.map(|(qos, _)| qos).or(inner.asked)
    }

    /// Gives it what is asked for: the envelope of its members.
    ///
    /// - **Errors**: the refusal's code and status; what was promised before stands.
    fn promise(self: &Arc<Self>, qos: Qos, peer: IpAddr) -> core::result::Result<GroupBefore, (Wsa, Status)> {
        let before = self.inner().promised;
        let provider = self.provider.upgrade();
        let provider = provider.ok_or((Wsa::NotInitialised, Status::from(Wsa::QosGenericError)))?;
        if asks_for_nothing(&qos) {
            self.take_back(&provider);
        } else {
            let interface = provider.group(self.name(), qos, peer).map_err(|refused| refused.codes())?;
            let mut inner = self.inner();
            (inner.promised, inner.asked) = (Some((qos, peer)), Some(qos));
            inner.interface = Some(interface);
        }
        Ok(GroupBefore(Arc::clone(self), before))
    }

    fn take_back(&self, provider: &Provider) {
        if self.inner().promised.take().is_some() {
            provider.ungroup(self.name());
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(provider) = self.provider.upgrade() {
            provider.groups().open.remove(&self.id);
            self.take_back(&provider);
        }
    }
}

impl GroupBefore {
    /// The connection for which the group got something else is not made.
    pub(super) fn restore(self) {
        let Self(group, before) = self;
        match before {
            Some((qos, peer)) => {
                group.inner().promised = before;
                if let Some(provider) = group.provider.upgrade() {
                    provider.group_again(group.name(), qos, peer);
                }
            }
            None => {
                if let Some(provider) = group.provider.upgrade() {
                    group.take_back(&provider);
                }
            }
        }
    }
}

/// More is promised of an interface than it carries, or no longer: FD_GROUP_QOS for every member of its groups.
pub(super) fn tell_groups(interface: &str, over: bool) {
    let code = if over { Wsa::QosAdmissionFailure } else { Wsa::QosRequestConfirmed };
    let concerned = |endpoint: &Endpoint| {
        endpoint.membership().is_some_and(|member| {
            let inner = member.group.inner();
            inner.promised.is_some() && inner.interface.as_deref() == Some(interface)
        })
    };
    for member in others(concerned) {
        member.notify.record(Events::GROUP_QOS, Some(code));
    }
}

impl Endpoint {
    /// Whether the socket says what its group gets.
    pub fn creates_group(&self) -> bool {
        self.membership().is_some_and(|member| member.creator)
    }

    /// SO_GROUP_ID: 0 where it is in none.
    pub fn group_id(&self) -> u32 {
        self.membership().map_or(0, |member| member.group.id)
    }

    /// Whether the group may be connected to this host as well.
    ///
    /// - **Errors**: WSAEINVAL where all of it are connected to another.
    pub(super) fn check_group(&self, peer: IpAddr) -> Result<()> {
        let Some(Membership { group, .. }) = self.membership() else { return Ok(()) };
        let host = group.inner().host;
        if group.constrained && host.is_some_and(|host| host != peer) { Err(Wsa::Einval) } else { Ok(()) }
    }

    /// The first connection of a constrained group says where all others are to go.
    pub(super) fn fix_group(&self, peer: IpAddr) {
        if let Some(Membership { group, .. }) = self.membership()
            && group.constrained
        {
            group.inner().host.get_or_insert(peer);
        }
    }

    /// What the group is to get is promised before its member is: what the call says, or what SIO_SET_GROUP_QOS
    /// has said. Only its creator's word counts.
    ///
    /// - **Errors**: WSAEOPNOTSUPP, with the status kept for SIO_GET_QOS.
    pub(super) fn promise_group(&self, gqos: Option<Qos>, peer: IpAddr) -> Result<Option<GroupBefore>> {
        let Some(Membership { group, creator: true }) = self.membership() else { return Ok(None) };
        let (asked, promised) = {
            let inner = group.inner();
            (gqos.or(inner.asked), inner.promised)
        };
        let Some(asked) = asked else { return Ok(None) };
        let qos = merged(&asked, promised.as_ref().map(|(qos, _)| qos))?;
        if promised == Some((qos, peer)) {
            return Ok(None);
        }
        let before = group.promise(qos, peer).map_err(|(code, status)| {
            self.state().quality.status = Some(status);
            code
        })?;
        self.tell_group(Wsa::QosRequestConfirmed);
        Ok(Some(before))
    }

    /// Says what the socket's group is to get: at once where the socket has a peer, else with its connection.
    ///
    /// - **Errors**: WSAEINVAL for any but the group's creator; WSAEOPNOTSUPP where it cannot be satisfied.
    /// - **Source**: WSPIoctl, SIO_SET_GROUP_QOS.
    pub fn set_group_qos(&self, asked: &Qos) -> Result<()> {
        running()?;
        let Some(Membership { group, creator: true }) = self.membership() else { return Err(Wsa::Einval) };
        let peer = self.state().peer;
        match peer {
            Some(peer) => self.promise_group(Some(*asked), peer.ip()).map(drop),
            None => {
                let mut inner = group.inner();
                let before = inner.promised.map(|(qos, _)| qos).or(inner.asked);
                inner.asked = Some(merged(asked, before.as_ref())?);
                Ok(())
            }
        }
    }

    /// What the socket's group gets or is to get; nothing where it is in none, or nobody has said.
    ///
    /// - **Source**: WSPIoctl, SIO_GET_GROUP_QOS.
    pub fn group_qos(self: &Arc<Self>) -> Result<Option<Qos>> {
        running()?;
        self.notify.rearm(self, Events::GROUP_QOS);
        Ok(self.membership().and_then(|member| member.group.qos()))
    }

    /// FD_GROUP_QOS for every member.
    fn tell_group(&self, code: Wsa) {
        let id = self.group_id();
        for member in others(|other| other.group_id() == id) {
            member.notify.record(Events::GROUP_QOS, Some(code));
        }
    }
}
