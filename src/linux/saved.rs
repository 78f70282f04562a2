//! A foreign root qdisc with everything below it: saved before gqos takes its place, and restored afterwards.
//!
//! A tree is saved as the requests that make it again, from what the kernel dumps of it. Kinds whose dump lacks what their
//! creation needs (the table of a red, the distribution of a netem), and filters with actions, cannot be saved: such a tree
//! is left alone.

use rtnetlink::packet_core::{DefaultNla, Emitable, NlasIterator};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::tc::{TcAttribute, TcHeader, TcMessage};

use super::netlink::Netlink;
use super::request::{NetlinkRequest, NetlinkRequestKind};
use super::saved_object::{ObjectKind, SavedObject, TCA_EGRESS_BLOCK, UnusableObject};
use super::traffic::{DELETE_QDISC, NEW_QDISC, handle_of, header, kind, options, with_options};
use crate::failure::KernelFailure;
use crate::ordered::OrderedSet;
use crate::tc::{ForeignRoot, Handle, HtbRoot};

/// The requests that make a tree again, in their order: at most 4096.
#[derive(Clone, Debug)]
pub struct SavedTree {
    /// The qdisc at the root.
    pub root: ForeignRoot,
    /// Whether a process before this one has saved it, which was killed.
    pub is_earlier: bool,
    requests: Vec<RouteNetlinkMessage>,
}

/// A part of a tree that could not be made again.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{part}")]
pub struct NotSavable {
    /// In words: `its red 10:`.
    pub part: String,
}

/// The most qdiscs, classes and filters that a tree may have.
const MOST_OBJECTS: usize = 4096;

/// The kinds of qdiscs that are made again by what a dump has of their settings.
const QDISCS: [&str; 17] = [
    "bfifo",
    "cake",
    "codel",
    "drr",
    "fq",
    "fq_codel",
    "fq_pie",
    "hfsc",
    "htb",
    "mq",
    "pfifo",
    "pfifo_fast",
    "pfifo_head_drop",
    "prio",
    "qfq",
    "sfq",
    "tbf",
];

/// The kinds of qdiscs whose classes are made one by one; those of others exist with their qdisc.
const WITH_CLASSES: [&str; 4] = ["drr", "hfsc", "htb", "qfq"];

/// The kinds of filters that are made again by their settings, each with the attribute that holds its actions.
///
/// - **Source**: `linux/pkt_cls.h`, TCA_U32_ACT, TCA_FW_ACT, TCA_MATCHALL_ACT and TCA_BASIC_ACT.
const FILTERS: [(&str, u16); 4] = [("u32", 7), ("fw", 4), ("matchall", 2), ("basic", 3)];

/// The policer of an old kind, TCA_U32_POLICE and its like: 6 for u32, 2 for fw, 4 for basic.
const POLICERS: [(&str, u16); 3] = [("u32", 6), ("fw", 2), ("basic", 4)];

/// The flags of a filter that a request may have, TCA_CLS_FLAGS_SKIP_HW and TCA_CLS_FLAGS_SKIP_SW: a dump has others too.
const REQUESTED_FLAGS: u32 = 3;

/// The attributes that hold the flags of filters: TCA_U32_FLAGS and TCA_MATCHALL_FLAGS.
const FLAGS: [(&str, u16); 2] = [("u32", 11), ("matchall", 3)];

/// The table of a u32 filter.
const TCA_U32_HASH: u16 = 2;

impl Netlink {
    /// Saves the tree of an interface: what [`restore`](Self::restore) needs.
    ///
    /// - **Errors**: the kernel's. Inside, a part that could not be made again.
    pub async fn save(
        &self,
        index: u32,
        root: ForeignRoot,
    ) -> Result<Result<SavedTree, NotSavable>, KernelFailure> {
        let mut qdiscs = Vec::new();
        for message in self.dump_of(index, Dumped::Qdiscs, Handle::default()).await? {
            let (handle, parent) = (handle_of(message.header.handle), handle_of(message.header.parent));
            // The kernel has made a qdisc without a number, and makes it again; ingress and clsact stay.
            if handle.major() != 0 && parent != INGRESS {
                qdiscs.push(message);
            }
        }
        let mut classes = self.dump_of(index, Dumped::Classes, Handle::default()).await?;
        classes.retain(|class| {
            WITH_CLASSES.contains(&kind(class)) && handle_of(class.header.handle).minor() != 0
        });
        let mut filters = Vec::new();
        if qdiscs.len() + classes.len() <= MOST_OBJECTS {
            for parent in qdiscs.iter().chain(&classes).map(|message| handle_of(message.header.handle)) {
                filters.extend(self.dump_of(index, Dumped::Filters, parent).await?);
            }
        }
        Ok(saved(root, qdiscs, classes, filters))
    }

    /// Deletes a foreign root qdisc, so that a tree of gqos can be set up in its place.
    ///
    /// - **Errors**: the kernel's.
    pub async fn delete_saved(&self, index: u32, saved: &SavedTree) -> Result<(), KernelFailure> {
        let ForeignRoot { kind, handle } = &saved.root;
        let object = format!("tc qdisc del root handle {handle} {kind} on interface {index}");
        let message = RouteNetlinkMessage::DelQueueDiscipline(header(index, *handle, Handle::ROOT));
        let request =
            NetlinkRequest { call: DELETE_QDISC, object, message, kind: NetlinkRequestKind::Change };
        self.request(request).await.map(drop)
    }

    /// Makes a tree again, where the interface has the kernel's default at its root. Its file is removed.
    ///
    /// - **Errors**: the kernel's; what was made by then stays.
    pub async fn restore(&self, index: u32, saved: &SavedTree) -> Result<(), KernelFailure> {
        for request in saved.requests(index) {
            self.request(request).await?;
        }
        self.forget_saved(index);
        Ok(())
    }

    /// The same without a runtime, for the end of a program.
    ///
    /// - **Errors**: as for [`restore`](Self::restore).
    pub fn restore_blocking(&self, index: u32, saved: &SavedTree) -> Result<(), KernelFailure> {
        saved.requests(index).try_for_each(|request| self.request_blocking(request))?;
        self.forget_saved(index);
        Ok(())
    }

    async fn dump_of(
        &self,
        index: u32,
        what: Dumped,
        parent: Handle,
    ) -> Result<Vec<TcMessage>, KernelFailure> {
        let object = format!("interface {index}");
        let message = header(index, Handle::default(), parent);
        let (call, message) = match what {
            Dumped::Qdiscs => ("RTM_GETQDISC", RouteNetlinkMessage::GetQueueDiscipline(message)),
            Dumped::Classes => ("RTM_GETTCLASS", RouteNetlinkMessage::GetTrafficClass(message)),
            Dumped::Filters => ("RTM_GETTFILTER", RouteNetlinkMessage::GetTrafficFilter(message)),
        };
        let request = NetlinkRequest { call, object, message, kind: NetlinkRequestKind::Dump };
        let messages = self.request(request).await?.into_iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewQueueDiscipline(message)
            | RouteNetlinkMessage::NewTrafficClass(message)
            | RouteNetlinkMessage::NewTrafficFilter(message) => Some(message),
            _ => None,
        });
        // The kernel dumps the qdiscs of all interfaces.
        Ok(messages.filter(|message| message.header.index == index.cast_signed()).collect())
    }
}

/// What a dump is of.
#[derive(Clone, Copy)]
enum Dumped {
    Qdiscs,
    Classes,
    Filters,
}

/// The parent of ingress and clsact: TC_H_INGRESS.
const INGRESS: Handle = Handle::from_u32(0xffff_fff1);

impl SavedTree {
    /// The requests as values that can be written down.
    pub(super) fn objects(&self) -> Vec<SavedObject> {
        self.requests.iter().filter_map(SavedObject::of).collect()
    }

    /// The tree of these objects on an interface.
    ///
    /// - **Errors**: an object of a kind that is never saved, or a tree that does not begin with its root.
    pub(super) fn of_objects(
        root: ForeignRoot,
        index: u32,
        objects: Vec<SavedObject>,
    ) -> Result<Self, UnusableObject> {
        let count = objects.len();
        if count > MOST_OBJECTS {
            return Err(UnusableObject::TooMany { count, most: MOST_OBJECTS });
        }
        let is_root = |object: &SavedObject| {
            object.object == ObjectKind::Qdisc && object.place().parent == Handle::ROOT
        };
        let begins = objects.first().is_some_and(|first| {
            is_root(first) && first.kind == root.kind && first.place().handle == root.handle
        });
        if !begins || objects.iter().skip(1).any(is_root) || root.handle.minor() != 0 {
            return Err(UnusableObject::NoRoot { root });
        }
        let mut requests = Vec::with_capacity(count);
        for object in objects {
            let known: &[&str] = match object.object {
                ObjectKind::Qdisc => &QDISCS,
                ObjectKind::Class => &WITH_CLASSES,
                ObjectKind::Filter => &FILTERS.map(|(kind, _)| kind),
            };
            if !known.contains(&object.kind.as_str()) {
                return Err(UnusableObject::Kind { kind: object.kind });
            }
            requests.push(object.request(index)?);
        }
        Ok(Self { root, is_earlier: true, requests })
    }

    fn requests(&self, index: u32) -> impl Iterator<Item = NetlinkRequest> {
        let ForeignRoot { kind, handle } = &self.root;
        let object = format!("the saved root qdisc {kind} {handle} of interface {index}");
        self.requests.iter().map(move |message| {
            let call = match message {
                RouteNetlinkMessage::NewTrafficClass(_) => "RTM_NEWTCLASS",
                RouteNetlinkMessage::NewTrafficFilter(_) => "RTM_NEWTFILTER",
                _ => NEW_QDISC,
            };
            let (object, message) = (object.clone(), message.clone());
            NetlinkRequest { call, object, message, kind: NetlinkRequestKind::Add }
        })
    }
}

/// The requests for these objects: parents first, and filters last.
fn saved(
    root: ForeignRoot,
    mut qdiscs: Vec<TcMessage>,
    mut classes: Vec<TcMessage>,
    filters: Vec<TcMessage>,
) -> Result<SavedTree, NotSavable> {
    let not = |part: String| Err(NotSavable { part });
    if qdiscs.len() + classes.len() + filters.len() > MOST_OBJECTS {
        return not(format!("a tree of more than {MOST_OBJECTS} qdiscs, classes and filters"));
    }
    if let Some(unknown) = qdiscs.iter().find(|qdisc| !QDISCS.contains(&kind(qdisc))) {
        return not(format!("its {} {}", kind(unknown), handle_of(unknown.header.handle)));
    }
    if let Some(filter) = filters.iter().find(|filter| !is_savable(filter)) {
        return not(format!("its {} filter", kind(filter)));
    }
    let mut tables = OrderedSet::new();
    for table in filters.iter().filter(|filter| is_made_by_the_kernel(filter) && !options(filter).is_empty())
    {
        // A program may have given its own table a number like those that the kernel chooses.
        if !tables.insert((u32::from(table.header.parent), table.header.info)) {
            return not(format!("its u32 table {}", handle_of(table.header.handle)));
        }
    }
    let with_own_classes: OrderedSet<u16> =
        qdiscs.iter().filter(|qdisc| WITH_CLASSES.contains(&kind(qdisc))).map(major).collect();
    let mut made = OrderedSet::from([Handle::ROOT]);
    let mut requests = Vec::new();
    loop {
        let before = requests.len();
        // The classes of other qdiscs exist with their qdisc.
        let exists = |parent: Handle, made: &OrderedSet<Handle>| {
            let qdisc = Handle::qdisc(parent.major());
            made.contains(&parent) || (made.contains(&qdisc) && !with_own_classes.contains(&parent.major()))
        };
        for (objects, is_class) in [(&mut qdiscs, false), (&mut classes, true)] {
            objects.retain(|object| {
                let parent = parent_of(object, is_class);
                if !exists(parent, &made) {
                    return true;
                }
                made.insert(handle_of(object.header.handle));
                let mut message = again(object);
                message.header.parent = parent.to_u32().into();
                requests.push(match is_class {
                    true => RouteNetlinkMessage::NewTrafficClass(message),
                    false => RouteNetlinkMessage::NewQueueDiscipline(message),
                });
                false
            });
        }
        if requests.len() == before {
            break;
        }
    }
    if let Some(orphan) = qdiscs.first().or(classes.first()) {
        let (handle, parent) = (handle_of(orphan.header.handle), handle_of(orphan.header.parent));
        return not(format!("its {} {handle} below {parent}, which is not there", kind(orphan)));
    }
    let filters = filters.iter().filter(|filter| !is_made_by_the_kernel(filter));
    requests.extend(filters.map(|filter| RouteNetlinkMessage::NewTrafficFilter(filter_again(filter))));
    Ok(SavedTree { root, is_earlier: false, requests })
}

fn major(message: &TcMessage) -> u16 {
    handle_of(message.header.handle).major()
}

/// The parent as a request names it: that of a class at the top is its qdisc, where a dump says the root.
fn parent_of(message: &TcMessage, is_class: bool) -> Handle {
    match handle_of(message.header.parent) {
        Handle::ROOT if is_class => Handle::qdisc(major(message)),
        parent => parent,
    }
}

/// The request that makes a dumped qdisc or class again: its place, kind and settings, without counters.
fn again(dumped: &TcMessage) -> TcMessage {
    let mut message = TcMessage::default();
    // In a dump `info` counts references.
    message.header = TcHeader { info: 0, ..dumped.header.clone() };
    let mut options = options(dumped);
    if kind(dumped) == HtbRoot::KIND && handle_of(dumped.header.handle).minor() == 0 {
        options = HtbRoot::options_again(&options);
    }
    with_shared_block(with_options(message, kind(dumped), options), dumped)
}

/// The request that makes a dumped filter again, of whose header `info` is the priority and the protocol.
fn filter_again(dumped: &TcMessage) -> TcMessage {
    let mut message = TcMessage::default();
    message.header = dumped.header.clone();
    let kind = kind(dumped);
    let flags = FLAGS.iter().find(|(known, _)| *known == kind).map(|(_, flags)| *flags);
    let is_in_root_table = kind == "u32" && is_root_table(u32::from(dumped.header.handle));
    if is_in_root_table {
        // The kernel numbers root tables; the filter has its number in the one of its priority.
        message.header.handle = (u32::from(dumped.header.handle) & U32_NODE).into();
    }
    let mut again = Vec::new();
    for attribute in NlasIterator::new(&options(dumped)).flatten() {
        let mut value = attribute.value().to_vec();
        if is_in_root_table && attribute.kind() == TCA_U32_HASH {
            continue;
        }
        if Some(attribute.kind()) == flags
            && let Some(bytes) = value.first_chunk_mut()
        {
            *bytes = (u32::from_ne_bytes(*bytes) & REQUESTED_FLAGS).to_ne_bytes();
        }
        again.push(DefaultNla::new(attribute.kind(), value));
    }
    let mut bytes = vec![0; again.as_slice().buffer_len()];
    again.as_slice().emit(&mut bytes);
    with_options(message, kind, bytes)
}

/// The number of a filter in its table.
const U32_NODE: u32 = 0xfff;

/// Whether this is the handle of a table that the kernel has made for a priority, or of a filter in one: it numbers such
/// tables from 800 on, and programs number theirs below.
///
/// - **Source**: `net/sched/cls_u32.c`, `gen_new_htid`.
const fn is_root_table(handle: u32) -> bool {
    handle >> 31 == 1
}

/// A qdisc may share a block of filters (TCA_EGRESS_BLOCK), which is kept.
fn with_shared_block(mut message: TcMessage, dumped: &TcMessage) -> TcMessage {
    for attribute in &dumped.attributes {
        if let TcAttribute::Other(other) = attribute
            && rtnetlink::packet_core::Nla::kind(other) == TCA_EGRESS_BLOCK
        {
            message.attributes.push(TcAttribute::Other(DefaultNla::clone(other)));
        }
    }
    message
}

/// Whether a filter is of a kind that is made again by its settings, without actions.
fn is_savable(filter: &TcMessage) -> bool {
    let kind = kind(filter);
    let is_in_chain = filter
        .attributes
        .iter()
        .any(|attribute| matches!(attribute, TcAttribute::Chain(chain) if *chain != 0));
    let Some((_, actions)) = FILTERS.iter().find(|(known, _)| *known == kind) else { return false };
    let policer = POLICERS.iter().find(|(known, _)| *known == kind).map(|(_, policer)| *policer);
    let options = options(filter);
    let mut attributes = NlasIterator::new(&options).filter_map(Result::ok);
    !is_in_chain
        && !attributes.any(|attribute| attribute.kind() == *actions || Some(attribute.kind()) == policer)
}

/// The head of a list of filters, and the root hash table of u32: the kernel makes them with the first filter.
fn is_made_by_the_kernel(filter: &TcMessage) -> bool {
    let handle = u32::from(filter.header.handle);
    let is_table = kind(filter) == "u32" && handle & !U32_TABLE == 0;
    options(filter).is_empty() || (is_table && is_root_table(handle))
}

/// The number of a table.
const U32_TABLE: u32 = 0xfff0_0000;
