//! What the kernel offers: each feature is tried in a namespace that the caller has made for it.

use std::process::{Command, Stdio};

use flowspec::{Bytes, Errno, Rate};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::{LinkIfb, LinkUnspec};

use super::netlink::Netlink;
use super::request::{NetlinkRequest, NetlinkRequestKind};
use super::traffic::{NewQdisc, header, with_options};
use crate::failure::KernelFailure;
use crate::tc::{
    BPF_MATCH_ALL, Bfifo, ClassPlace, Filter, FlowerKey, FqCodel, Handle, HtbRoot, Masked, NotEncodable,
    Program, QueueKind, Redirect, Target, Tbf, U32Key,
};

/// A part of the kernel's traffic control.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Feature {
    /// The qdisc htb.
    Htb,
    /// The qdisc bfifo.
    Bfifo,
    /// The qdisc tbf.
    Tbf,
    /// The qdisc fq_codel.
    FqCodel,
    /// The qdisc fq.
    Fq,
    /// The qdiscs clsact and ingress.
    Clsact,
    /// The device ifb.
    Ifb,
    /// The classifier u32.
    U32,
    /// The classifier flower.
    Flower,
    /// The classifier matchall.
    Matchall,
    /// The classifier bpf.
    Bpf,
    /// The action mirred.
    Mirred,
}

/// What is known of a feature without trying it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Untried {
    /// A module that is loaded or built in offers it.
    Loaded,
    /// `modprobe` finds its module, or that it is built in.
    Available,
    /// `modprobe` finds nothing.
    NotFound,
    /// `modprobe` cannot be run, or does not know the modules of this kernel.
    Unknown,
}

/// The number of the loopback interface in each namespace.
const LOOPBACK: u32 = 1;

/// A flow by its five-tuple, as flower is used for sockets of other programs.
const FIVE_TUPLE: FlowerKey = FlowerKey {
    ethernet_protocol: Some(0x0800),
    protocol: Some(6),
    source: Some(Masked { address: [127, 0, 0, 1], mask: [255; 4] }),
    destination: Some(Masked { address: [127, 0, 0, 1], mask: [255; 4] }),
    source_port: Some(1),
    destination_port: Some(1),
};

/// The qdiscs at the ends of a device: `TC_H_CLSACT`, and the parent of filters on what leaves.
const CLSACT: Handle = Handle::from_u32(0xffff_fff1);
const CLSACT_HANDLE: Handle = Handle::from_u32(0xffff_0000);
const CLSACT_EGRESS: Handle = Handle::from_u32(0xffff_fff3);

impl Feature {
    /// In the order of the report.
    pub const ALL: [Self; 12] = [
        Self::Htb,
        Self::Bfifo,
        Self::Tbf,
        Self::FqCodel,
        Self::Fq,
        Self::Clsact,
        Self::Ifb,
        Self::U32,
        Self::Flower,
        Self::Matchall,
        Self::Bpf,
        Self::Mirred,
    ];

    /// The module that has it, as `modprobe` names it.
    pub const fn module(self) -> &'static str {
        match self {
            Self::Htb => "sch_htb",
            Self::Bfifo => "sch_fifo",
            Self::Tbf => "sch_tbf",
            Self::FqCodel => "sch_fq_codel",
            Self::Fq => "sch_fq",
            Self::Clsact => "sch_ingress",
            Self::Ifb => "ifb",
            Self::U32 => "cls_u32",
            Self::Flower => "cls_flower",
            Self::Matchall => "cls_matchall",
            Self::Bpf => "cls_bpf",
            Self::Mirred => "act_mirred",
        }
    }

    /// What the system knows of its module.
    pub fn untried(self) -> Untried {
        let module = self.module();
        if std::path::Path::new("/sys/module").join(module).exists() {
            return Untried::Loaded;
        }
        let modprobe = |arguments: &[&str]| {
            let mut command = Command::new("modprobe");
            command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().ok().and_then(|status| status.code())
        };
        // Where no modules are listed, that modprobe finds none says nothing.
        match modprobe(&["--dry-run", "--quiet", module]) {
            Some(0) => Untried::Available,
            Some(1) if modules_are_listed() => Untried::NotFound,
            _ => Untried::Unknown,
        }
    }
}

/// Whether the modules of the running kernel are listed.
fn modules_are_listed() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let directory = std::path::Path::new("/lib/modules").join(release.trim());
    directory.join("modules.dep").exists() || directory.join("modules.dep.bin").exists()
}

impl Netlink {
    /// Uses a feature on the loopback interface of the current namespace, which is left without qdiscs.
    ///
    /// The namespace is to be one that nothing else uses.
    ///
    /// - **Errors**: the kernel's; [`is_missing`] says whether the kernel lacks the feature.
    pub async fn try_feature(&self, feature: Feature) -> Result<(), KernelFailure> {
        let htb = HtbRoot { handle: Handle::qdisc(1), default: 1, direct_queue: 0 };
        let size = Bytes::new(10_000);
        let tbf = Tbf { rate: Rate::from_mbit(1), burst: size, limit: size };
        let target = Target { class: Some(Handle::qdisc(1).class(1)), redirect: None };
        let redirect = Target { class: None, redirect: Some(Redirect { index: LOOPBACK }) };
        let keys = vec![U32Key { offset: 0, mask: 0, value: 0 }];
        match feature {
            Feature::Htb => self.try_root(HtbRoot::KIND, htb.options()).await,
            Feature::Bfifo => self.try_root(Bfifo::KIND, encoded(Bfifo { limit: size }.options())?).await,
            Feature::Tbf => self.try_root(Tbf::KIND, encoded(tbf.options())?).await,
            Feature::FqCodel => self.try_root(FqCodel::KIND, Vec::new()).await,
            Feature::Fq => self.try_root("fq", Vec::new()).await,
            Feature::Clsact => {
                self.with_clsact().await?;
                self.without_clsact().await
            }
            Feature::Ifb => self.try_ifb().await,
            Feature::U32 => self.try_filter(&Filter::U32 { target, keys }).await,
            Feature::Flower => self.try_filter(&Filter::Flower { target, key: FIVE_TUPLE }).await,
            Feature::Matchall => self.try_filter(&Filter::Matchall { target }).await,
            Feature::Bpf => {
                let program = Program::Classic(vec![BPF_MATCH_ALL]);
                self.try_filter(&Filter::Bpf { target, program }).await
            }
            Feature::Mirred => {
                // Whichever classifier there is carries the action.
                let matchall = self.try_filter(&Filter::Matchall { target: redirect }).await;
                match matchall {
                    Ok(()) => Ok(()),
                    Err(_) => self.try_filter(&Filter::U32 { target: redirect, keys }).await,
                }
            }
        }
    }

    async fn try_root(&self, kind: &'static str, options: Vec<u8>) -> Result<(), KernelFailure> {
        let handle = Handle::qdisc(1);
        self.add_qdisc(LOOPBACK, NewQdisc { parent: Handle::ROOT, handle, kind, options }).await?;
        self.delete_qdisc(LOOPBACK, ClassPlace { handle, parent: Handle::ROOT }).await
    }

    async fn with_clsact(&self) -> Result<(), KernelFailure> {
        let (kind, options) = ("clsact", Vec::new());
        self.add_qdisc(LOOPBACK, NewQdisc { parent: CLSACT, handle: CLSACT_HANDLE, kind, options }).await
    }

    async fn without_clsact(&self) -> Result<(), KernelFailure> {
        self.delete_qdisc(LOOPBACK, ClassPlace { handle: CLSACT_HANDLE, parent: CLSACT }).await
    }

    /// Filters what leaves the loopback interface; where there is no clsact, what an HTB gets.
    async fn try_filter(&self, filter: &Filter) -> Result<(), KernelFailure> {
        let has_clsact = self.with_clsact().await.is_ok();
        let htb = HtbRoot { handle: Handle::qdisc(1), default: 1, direct_queue: 0 };
        let parent = if has_clsact { CLSACT_EGRESS } else { htb.handle };
        if !has_clsact {
            let (handle, options) = (htb.handle, htb.options());
            let qdisc = NewQdisc { parent: Handle::ROOT, handle, kind: HtbRoot::KIND, options };
            self.add_qdisc(LOOPBACK, qdisc).await?;
        }
        let options = filter.options();
        let options = options.map_err(|error| KernelFailure::not_expressible("tc filter add", error))?;
        let mut message = with_options(header(LOOPBACK, Handle::default(), parent), filter.kind(), options);
        // The priority in the upper half, the protocol in the order of the network in the lower: ETH_P_IP for flower,
        // which compares its fields, else ETH_P_ALL.
        let protocol: u16 = if matches!(filter, Filter::Flower { .. }) { 0x0800 } else { 3 };
        message.header.info = 1 << 16 | u32::from(protocol.to_be());
        let object = format!("tc filter add parent {parent} {} on interface {LOOPBACK}", filter.kind());
        let message = RouteNetlinkMessage::NewTrafficFilter(message);
        let tried = self
            .request(NetlinkRequest {
                call: "RTM_NEWTFILTER",
                object,
                message,
                kind: NetlinkRequestKind::Add,
            })
            .await;
        // The filter goes with its qdisc.
        if has_clsact {
            self.without_clsact().await?;
        } else {
            self.delete_qdisc(LOOPBACK, ClassPlace { handle: htb.handle, parent: Handle::ROOT }).await?;
        }
        tried.map(drop)
    }

    async fn try_ifb(&self) -> Result<(), KernelFailure> {
        let name = "gqosifb";
        let message = LinkIfb::new(name).build();
        let object = format!("ifb {name}");
        let message = RouteNetlinkMessage::NewLink(message);
        self.request(NetlinkRequest { call: "RTM_NEWLINK", object, message, kind: NetlinkRequestKind::Add })
            .await?;
        let index = self.link_by_name(name).await?.index;
        let message = RouteNetlinkMessage::DelLink(LinkUnspec::new_with_index(index).build());
        let object = format!("interface {index}");
        self.request(NetlinkRequest {
            call: "RTM_DELLINK",
            object,
            message,
            kind: NetlinkRequestKind::Change,
        })
        .await
        .map(drop)
    }

    /// Which queue the kernel offers for classes. Attaches nothing: fq_codel refuses the settings of the request, for
    /// which the kernel has to have found it. Loads its module.
    ///
    /// On a loopback interface with a root qdisc nothing can be asked: then a bfifo is taken.
    pub async fn queue_kind(&self) -> QueueKind {
        let (parent, handle, kind) = (Handle::ROOT, Handle::qdisc(1), FqCodel::KIND);
        let qdisc = NewQdisc { parent, handle, kind, options: FqCodel::refused_options() };
        match self.add_qdisc(LOOPBACK, qdisc).await {
            Err(failure) if failure.errno() == Some(Errno::EINVAL) => QueueKind::FqCodel,
            _ => QueueKind::Bfifo,
        }
    }

    /// Whether this process may change traffic control in the current namespace. Changes nothing: it deletes a class of
    /// an interface that cannot exist.
    pub async fn may_change_traffic_control(&self) -> bool {
        let mut message = header(0, Handle::qdisc(1).class(1), Handle::default());
        message.header.index = i32::MAX;
        let object = format!("interface {}", i32::MAX);
        let message = RouteNetlinkMessage::DelTrafficClass(message);
        let request =
            NetlinkRequest { call: "RTM_DELTCLASS", object, message, kind: NetlinkRequestKind::Change };
        // The kernel looks at the privilege first.
        self.request(request).await.is_err_and(|failure| failure.errno() == Some(Errno::ENODEV))
    }
}

fn encoded(options: Result<Vec<u8>, NotEncodable>) -> Result<Vec<u8>, KernelFailure> {
    options.map_err(|error| KernelFailure::not_expressible("tc qdisc add", error))
}

/// Whether the kernel has refused a feature because it lacks it.
pub fn is_missing(failure: &KernelFailure) -> bool {
    matches!(failure.errno(), Some(Errno::ENOENT | Errno::EOPNOTSUPP))
}
