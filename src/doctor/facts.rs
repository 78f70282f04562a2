//! What is read of a machine, and what is tried on it.

use std::path::Path;

use crate::failure::KernelFailure;
use crate::kernel::ClaimHolder;
use crate::lab::Site;
use crate::linux::features::{Feature, Untried};
use crate::linux::{
    Claim, ConfinementOffer, FoundFilter, Ingress, LinkDetails, Netlink, ReportedSpeed, namespace,
};
use crate::tc::ObservedRoot;

/// Everything that a judgement is made of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Facts {
    /// Each feature that gqos can use, with what the kernel answered.
    pub features: Vec<(Feature, FeatureState)>,
    /// What this process may do.
    pub privileges: Privileges,
    /// What the daemon can be confined with.
    pub confinement: ConfinementOffer,
    /// The interfaces of this namespace, without the loopback.
    pub interfaces: Vec<InterfaceFacts>,
    /// Settings of the kernel and of this process.
    pub system: SystemFacts,
}

/// How far a feature was tried.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum FeatureState {
    /// It was used in a namespace of its own.
    Tried(Result<(), KernelFailure>),
    /// It could not be tried, since there is no such namespace.
    Untried(Untried),
}

/// What this process may do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Privileges {
    /// CAP_NET_ADMIN over the current network namespace, as the kernel answers.
    pub net_admin: bool,
    /// CAP_NET_RAW over the current network namespace.
    pub net_raw: bool,
    /// CAP_SYS_ADMIN, or a user namespace in which this process has it. Known after the features were tried.
    pub namespaces: bool,
}

/// An interface of the host's network namespace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InterfaceFacts {
    /// Its name, MTU, speed and offloads.
    pub link: LinkDetails,
    /// Its speed; `None` where it cannot be seen.
    pub speed: Option<ReportedSpeed>,
    /// Decides whether gqos may set up a tree.
    pub root: ObservedRoot,
    /// What has the packets that it receives.
    pub ingress: Ingress,
    /// Filters of other programs may lead packets past the tree.
    pub filters: Vec<FoundFilter>,
    /// The process that manages it.
    pub holder: Option<ClaimHolder>,
}

/// Settings; `None` for those that cannot be read.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SystemFacts {
    /// `net.ipv4.tcp_congestion_control`.
    pub congestion_control: Option<String>,
    /// `net.core.default_qdisc`, which the initial namespace alone shows.
    pub default_qdisc: Option<String>,
    /// `net.ipv4.tcp_tso_rtt_log`.
    pub tso_rtt_log: Option<u64>,
    /// `net.ipv4.tcp_min_tso_segs`.
    pub min_tso_segments: Option<u64>,
    /// The kernel's clock source.
    pub clock_source: Option<String>,
    /// How late timers of this process may be, in nanoseconds.
    pub timer_slack_nanos: Option<u64>,
    /// The most files that this process may open.
    pub open_files: Option<u64>,
}

impl Facts {
    /// Reads everything but the features, which are marked with what is known without trying them.
    ///
    /// - **Errors**: the kernel's, in a dump of links or qdiscs.
    pub async fn read(netlink: &Netlink) -> Result<Self, KernelFailure> {
        let mut interfaces = Vec::new();
        let receivers = netlink.receivers().await?;
        for link in netlink.link_details().await? {
            // An ifb of gqos is a part of its interface.
            if link.is_loopback || receivers.values().any(|ifb| *ifb == link.index) {
                continue;
            }
            let root = netlink.root(link.index).await?.root;
            let speed = ReportedSpeed::of(&link.name);
            let holder = Claim::holder(link.index);
            let filters = netlink.egress_filters(link.index).await?;
            let ingress = netlink.ingress(link.index).await?;
            interfaces.push(InterfaceFacts { link, speed, root, ingress, filters, holder });
        }
        let net_admin = netlink.may_change_traffic_control().await;
        Ok(Self {
            features: Feature::ALL
                .map(|feature| (feature, FeatureState::Untried(feature.untried())))
                .to_vec(),
            privileges: Privileges { net_admin, net_raw: namespace::has_net_raw(), namespaces: false },
            confinement: ConfinementOffer::of_kernel(),
            interfaces,
            system: SystemFacts::read(),
        })
    }

    /// Tries the features in a network namespace of their own, and in a user namespace where one is needed for it: the
    /// process stays in that. Must be called before the process has a second thread.
    pub fn try_features(&mut self) {
        if !namespace::may_unshare() && namespace::become_root().is_err() {
            return;
        }
        let Ok(site) = Site::new("features") else { return };
        self.privileges.namespaces = true;
        let tried = site.run(async {
            let netlink = Netlink::open()?;
            let mut tried = Vec::new();
            for feature in Feature::ALL {
                tried.push((feature, FeatureState::Tried(netlink.try_feature(feature).await)));
            }
            Ok::<_, KernelFailure>(tried)
        });
        if let Ok(Ok(tried)) = tried {
            self.features = tried;
        }
    }
}

impl SystemFacts {
    fn read() -> Self {
        Self {
            congestion_control: line("/proc/sys/net/ipv4/tcp_congestion_control"),
            default_qdisc: line("/proc/sys/net/core/default_qdisc"),
            tso_rtt_log: number("/proc/sys/net/ipv4/tcp_tso_rtt_log"),
            min_tso_segments: number("/proc/sys/net/ipv4/tcp_min_tso_segs"),
            clock_source: line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            timer_slack_nanos: number("/proc/self/timerslack_ns"),
            open_files: open_files(&std::fs::read_to_string("/proc/self/limits").unwrap_or_default()),
        }
    }
}

fn line(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(Path::new(path)).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn number(path: &str) -> Option<u64> {
    line(path)?.parse().ok()
}

/// The soft limit in a line of `/proc/PID/limits`; `unlimited` is the largest number.
fn open_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_open_files_is_the_soft_one() {
        let check = |line: &str, expected| assert_eq!(open_files(line), expected, "{line}");
        check(
            "Limit  Soft\nMax open files            1024                 524288               files",
            Some(1024),
        );
        check("Max open files            unlimited            unlimited            files", Some(u64::MAX));
        check("Max processes             1024                 524288               processes", None);
        check("", None);
    }
}
