//! Traffic control: dumps qdiscs and classes, and applies changes to them.

use flowspec::{Bytes, Micros};
use netlink_packet_core::DecodeError;
use rtnetlink::packet_core::{DefaultNla, Emitable};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::tc::{TcAttribute, TcHandle, TcMessage, TcOption, TcStats2, TcXstats};

use super::netlink::Netlink;
use super::request::{NetlinkRequest, NetlinkRequestKind};
use crate::failure::{AnswerProblem, KernelCall, KernelFailure};
use crate::tc::{
    Bfifo, ClassPlace, ForeignRoot, FqCodel, Handle, HtbClass, HtbRoot, HtbRootState, ObservedRoot,
    ObservedTree, Queue,
};

/// The root qdisc of an interface, with its counter.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RootState {
    /// What the kernel has at TC_H_ROOT.
    pub root: ObservedRoot,
    /// Packets that went past every class; 0 for other qdiscs than HTB.
    pub direct_packets: u32,
}

/// A class with the kernel's counters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClassState {
    /// Its settings, as the dump has them.
    pub class: HtbClass,
    /// How far it is above the leaves, which have level 0.
    pub level: u32,
    /// Bytes that left through it, link headers included.
    pub sent_bytes: u64,
    /// Packets that left through it. The kernel's counter has 32 bits and wraps.
    pub sent_packets: u32,
    /// Packets that it dropped. The kernel's counter has 32 bits and wraps.
    pub dropped: u32,
    /// How often it has run out of tokens, so that the packets that follow wait: `overlimits` in `tc`. The kernel's counter has
    /// 32 bits and wraps.
    pub delayed: u32,
    /// Packets that wait in it. One may be cut into many on its way: sends of TCP, and batches of UDP.
    pub queued: u32,
    /// The bytes of these packets, link headers included.
    pub queued_bytes: u32,
    /// Tokens that were missing from its bucket when a packet last left, link headers included.
    pub missing: Bytes,
    /// How long its two buckets took to fill from then on.
    pub full_in: Micros,
}

/// A qdisc of any kind, by its TCA_OPTIONS.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewQdisc {
    /// The class above it, or [`Handle::ROOT`].
    pub parent: Handle,
    /// Its handle; 0 lets the kernel choose.
    pub handle: Handle,
    /// TCA_KIND: `htb`.
    pub kind: &'static str,
    /// TCA_OPTIONS; empty for the kernel's default settings.
    pub options: Vec<u8>,
}

/// What a dump shows of one interface's qdiscs.
#[derive(Debug, Default)]
pub(super) struct Qdiscs {
    root: RootState,
    pub(super) queues: Vec<(Handle, Queue)>,
}

const GET_QDISC: &str = "RTM_GETQDISC";
const GET_CLASS: &str = "RTM_GETTCLASS";

impl Netlink {
    /// The root qdisc of an interface.
    ///
    /// - **Errors**: the kernel's, or a structure that cannot be read.
    pub async fn root(&self, index: u32) -> Result<RootState, KernelFailure> {
        Ok(self.qdiscs(index).await?.root)
    }

    /// The root qdiscs of all interfaces that have another than the kernel's default, by their numbers.
    ///
    /// - **Errors**: the kernel's, or a structure that cannot be read.
    pub async fn roots(&self) -> Result<Vec<(u32, ObservedRoot)>, KernelFailure> {
        let message = header(0, Handle::default(), Handle::default());
        let object = "all interfaces".to_owned();
        let message = RouteNetlinkMessage::GetQueueDiscipline(message);
        let request = NetlinkRequest {
            call: GET_QDISC,
            object: object.clone(),
            message,
            kind: NetlinkRequestKind::Dump,
        };
        let mut roots = Vec::new();
        for message in self.request(request).await? {
            let RouteNetlinkMessage::NewQueueDiscipline(message) = message else { continue };
            let mut qdiscs = Qdiscs::default();
            qdiscs.add(&message).map_err(|error| {
                KernelCall(GET_QDISC).unexpected(object.clone(), AnswerProblem::described(error))
            })?;
            if qdiscs.root.root != ObservedRoot::Default {
                roots.push((message.header.index.cast_unsigned(), qdiscs.root.root));
            }
        }
        Ok(roots)
    }

    /// The tree of an interface, with the filters of its root and classes; the foreign qdisc where another program has
    /// programmed it.
    ///
    /// - **Errors**: the kernel's, or a structure that cannot be read.
    pub async fn observe_all(&self, index: u32) -> Result<Result<ObservedTree, ForeignRoot>, KernelFailure> {
        let tree = match self.observe(index).await? {
            Ok(tree) => tree,
            Err(foreign) => return Ok(Err(foreign)),
        };
        let root = tree.root().map(|root| root.handle);
        let parents = root.into_iter().chain(tree.classes().map(|class| class.handle)).collect();
        Ok(Ok(tree.with_filters(self.tree_filters(index, parents).await?)))
    }

    /// The tree of an interface, without filters; the foreign qdisc where another program has programmed it.
    ///
    /// - **Errors**: the kernel's, or a structure that cannot be read.
    pub async fn observe(&self, index: u32) -> Result<Result<ObservedTree, ForeignRoot>, KernelFailure> {
        let Qdiscs { root, queues } = self.qdiscs(index).await?;
        let classes = self.classes(index).await?.into_iter().map(|state| state.class);
        Ok(ObservedTree::new(root.root, queues, classes))
    }

    pub(super) async fn qdiscs(&self, index: u32) -> Result<Qdiscs, KernelFailure> {
        let object = format!("interface {index}");
        let message =
            RouteNetlinkMessage::GetQueueDiscipline(header(index, Handle::default(), Handle::default()));
        let request = NetlinkRequest {
            call: GET_QDISC,
            object: object.clone(),
            message,
            kind: NetlinkRequestKind::Dump,
        };
        let mut qdiscs = Qdiscs::default();
        for message in self.request(request).await? {
            // The kernel dumps the qdiscs of all interfaces.
            if let RouteNetlinkMessage::NewQueueDiscipline(message) = message
                && message.header.index == index.cast_signed()
            {
                qdiscs.add(&message).map_err(|error| {
                    KernelCall(GET_QDISC).unexpected(object.clone(), AnswerProblem::described(error))
                })?;
            }
        }
        Ok(qdiscs)
    }

    /// All HTB classes of an interface.
    ///
    /// - **Errors**: the kernel's, or a structure that cannot be read.
    pub async fn classes(&self, index: u32) -> Result<Vec<ClassState>, KernelFailure> {
        let object = format!("interface {index}");
        let message =
            RouteNetlinkMessage::GetTrafficClass(header(index, Handle::default(), Handle::default()));
        let request = NetlinkRequest {
            call: GET_CLASS,
            object: object.clone(),
            message,
            kind: NetlinkRequestKind::Dump,
        };
        let read = move |messages: Vec<RouteNetlinkMessage>| {
            messages.iter().filter_map(|message| class_state(message, &object).transpose()).collect()
        };
        self.dump(request, read).await
    }

    /// An HTB class; `None` where there is none with this handle.
    ///
    /// - **Errors**: the kernel's other than ENOENT, or a structure that cannot be read.
    pub async fn class(&self, index: u32, handle: Handle) -> Result<Option<ClassState>, KernelFailure> {
        let object = format!("class {handle} of interface {index}");
        let message = RouteNetlinkMessage::GetTrafficClass(header(index, handle, Handle::default()));
        let request = NetlinkRequest {
            call: GET_CLASS,
            object: object.clone(),
            message,
            kind: NetlinkRequestKind::Echo,
        };
        match self.request_one(request).await {
            Err(failure) if failure.is_absent() => Ok(None),
            Err(failure) => Err(failure),
            Ok(message) => class_state(&message, &object),
        }
    }

    /// Adds a qdisc of any kind.
    ///
    /// - **Errors**: the kernel's.
    pub async fn add_qdisc(&self, index: u32, qdisc: NewQdisc) -> Result<(), KernelFailure> {
        self.set_qdisc(index, qdisc, ("add", NetlinkRequestKind::Add)).await
    }

    /// Adds a qdisc of any kind, in place of what is there.
    ///
    /// - **Errors**: the kernel's.
    pub async fn replace_qdisc(&self, index: u32, qdisc: NewQdisc) -> Result<(), KernelFailure> {
        self.set_qdisc(index, qdisc, ("replace", NetlinkRequestKind::Replace)).await
    }

    /// Changes the settings of a qdisc.
    ///
    /// - **Errors**: the kernel's.
    pub async fn change_qdisc(&self, index: u32, qdisc: NewQdisc) -> Result<(), KernelFailure> {
        self.set_qdisc(index, qdisc, ("change", NetlinkRequestKind::Change)).await
    }

    async fn set_qdisc(
        &self,
        index: u32,
        qdisc: NewQdisc,
        (verb, request): (&'static str, NetlinkRequestKind),
    ) -> Result<(), KernelFailure> {
        let NewQdisc { parent, handle, kind, options } = qdisc;
        let object = format!("tc qdisc {verb} parent {parent} {kind} on interface {index}");
        let message = with_options(header(index, handle, parent), kind, options);
        let message = RouteNetlinkMessage::NewQueueDiscipline(message);
        self.request(NetlinkRequest { call: NEW_QDISC, object, message, kind: request }).await.map(drop)
    }

    /// Deletes a qdisc with everything below it: the kernel's default returns.
    ///
    /// A handle of 0 is that of any qdisc at this place.
    ///
    /// - **Errors**: the kernel's.
    pub async fn delete_qdisc(&self, index: u32, place: ClassPlace) -> Result<(), KernelFailure> {
        let ClassPlace { handle, parent } = place;
        let object = format!("tc qdisc del parent {parent} handle {handle} on interface {index}");
        let message = RouteNetlinkMessage::DelQueueDiscipline(header(index, handle, parent));
        self.request(NetlinkRequest { call: DELETE_QDISC, object, message, kind: NetlinkRequestKind::Change })
            .await
            .map(drop)
    }
}

pub(super) const NEW_QDISC: &str = "RTM_NEWQDISC";
pub(super) const DELETE_QDISC: &str = "RTM_DELQDISC";

impl Qdiscs {
    /// Adds a qdisc of the interface.
    fn add(&mut self, message: &TcMessage) -> Result<(), DecodeError> {
        let (handle, parent) = (handle_of(message.header.handle), handle_of(message.header.parent));
        let kind = kind(message);
        if parent != Handle::ROOT {
            let queue = match kind {
                Bfifo::KIND => Queue::Bfifo(Bfifo::parse(&options(message))?),
                FqCodel::KIND => Queue::FqCodel(FqCodel::parse(&options(message))?),
                other => Queue::Other(other.to_owned()),
            };
            self.queues.push((parent, queue));
        } else if handle.major() != 0 {
            self.root = match kind {
                HtbRoot::KIND => {
                    let HtbRootState { root, direct_packets } = HtbRoot::parse(handle, &options(message))?;
                    RootState { root: ObservedRoot::Htb(root), direct_packets }
                }
                other => {
                    let foreign = ForeignRoot { kind: other.to_owned(), handle };
                    RootState { root: ObservedRoot::Other(foreign), direct_packets: 0 }
                }
            };
        }
        Ok(())
    }
}

pub(super) fn header(index: u32, handle: Handle, parent: Handle) -> TcMessage {
    let mut message = TcMessage::default();
    message.header.index = index.cast_signed();
    message.header.handle = TcHandle::from(handle.to_u32());
    message.header.parent = TcHandle::from(parent.to_u32());
    message
}

pub(super) fn with_options(mut message: TcMessage, kind: &str, options: Vec<u8>) -> TcMessage {
    message.attributes.push(TcAttribute::Kind(kind.to_owned()));
    // Some kinds take no settings for their default ones, and refuse empty ones.
    if options.is_empty() {
        return message;
    }
    // As raw bytes: packet-route would nest options of kinds it does not know twice.
    message.attributes.push(TcAttribute::Other(DefaultNla::new(TCA_OPTIONS, options)));
    message
}

const TCA_OPTIONS: u16 = 2;

pub(super) fn handle_of(handle: TcHandle) -> Handle {
    Handle::from_u32(u32::from(handle))
}

pub(super) fn kind(message: &TcMessage) -> &str {
    let mut kinds = message.attributes.iter().filter_map(|attribute| match attribute {
        TcAttribute::Kind(kind) => Some(kind.as_str()),
        _ => None,
    });
    kinds.next().unwrap_or_default()
}

/// The bytes of TCA_OPTIONS. packet-route gives the options of kinds that it does not know as one attribute that holds
/// them all, and reads those of others one by one.
pub(super) fn options(message: &TcMessage) -> Vec<u8> {
    let mut bytes = Vec::new();
    for attribute in &message.attributes {
        if let TcAttribute::Options(options) = attribute {
            let mut emitted = vec![0; options.as_slice().buffer_len()];
            options.as_slice().emit(&mut emitted);
            // Of a kind that it does not know the header is that of TCA_OPTIONS itself.
            let header = if matches!(options[..], [TcOption::Other(_)]) { 4 } else { 0 };
            bytes = emitted.split_off(header.min(emitted.len()));
        }
    }
    bytes
}

/// The class in a message; `None` where the message is not an HTB class.
pub(super) fn class_state(
    message: &RouteNetlinkMessage,
    object: &str,
) -> Result<Option<ClassState>, KernelFailure> {
    let RouteNetlinkMessage::NewTrafficClass(message) = message else { return Ok(None) };
    if kind(message) != HtbRoot::KIND {
        return Ok(None);
    }
    let handle = handle_of(message.header.handle);
    let parent = match handle_of(message.header.parent) {
        // The kernel reports the root as the parent of a class at the top; its parent is its qdisc.
        Handle::ROOT => Handle::qdisc(handle.major()),
        parent => parent,
    };
    let options = options(message);
    let unreadable = |error| KernelCall(GET_CLASS).unexpected(object, AnswerProblem::described(error));
    let mut state = ClassState {
        class: HtbClass::parse(ClassPlace { handle, parent }, &options).map_err(unreadable)?,
        level: HtbClass::level(&options).map_err(unreadable)?,
        sent_bytes: 0,
        sent_packets: 0,
        dropped: 0,
        delayed: 0,
        queued: 0,
        queued_bytes: 0,
        missing: Bytes::ZERO,
        full_in: Micros::new(0),
    };
    for attribute in &message.attributes {
        let TcAttribute::Stats2(stats) = attribute else { continue };
        for stats in stats {
            match stats {
                TcStats2::Basic(basic) => {
                    (state.sent_bytes, state.sent_packets) = (basic.bytes, basic.packets);
                }
                TcStats2::App(TcXstats::Other(statistics)) => {
                    state.missing = state.class.missing(statistics).map_err(unreadable)?;
                    state.full_in = state.class.full_in(statistics).map_err(unreadable)?;
                }
                TcStats2::Queue(queue) => {
                    (state.dropped, state.queued) = (queue.drops, queue.qlen);
                    state.queued_bytes = queue.backlog;
                    state.delayed = queue.overlimits;
                }
                _ => {}
            }
        }
    }
    Ok(Some(state))
}
