//! The kernel: its features and its settings.

use super::facts::{FeatureState, SystemFacts};
use super::finding::{Finding, FindingState, Remedy};
use crate::linux::features::{Feature, Untried, is_missing};

/// What gqos uses a feature for.
struct Use {
    name: &'static str,
    /// Whether guarantees depend on it.
    is_needed: bool,
    /// What its lack costs.
    costs: &'static str,
    /// The option that builds it.
    config: &'static str,
}

const fn use_of(feature: Feature) -> Use {
    let (name, is_needed, costs, config) = match feature {
        Feature::Htb => (
            "htb qdisc",
            true,
            "no class in the kernel: other traffic of the link takes what is reserved",
            "CONFIG_NET_SCH_HTB",
        ),
        Feature::Bfifo => (
            "bfifo qdisc",
            true,
            "no queue with a limit for traffic without a reservation",
            "CONFIG_NET_SCH_FIFO",
        ),
        Feature::Tbf => (
            "tbf qdisc",
            false,
            "the wire of gqos demo and gqos test --lab cannot be made",
            "CONFIG_NET_SCH_TBF",
        ),
        Feature::FqCodel => (
            "fq_codel qdisc",
            false,
            "traffic without a reservation shares one queue: a bulk transfer delays the rest of it by up to 50 ms",
            "CONFIG_NET_SCH_FQ_CODEL",
        ),
        Feature::Fq => {
            ("fq qdisc", false, "nothing: gqos paces by its own timers and by TCP's", "CONFIG_NET_SCH_FQ")
        }
        Feature::Clsact => (
            "clsact, ingress qdiscs",
            false,
            "receiving is held by reading slowly alone: other traffic that arrives may take what is reserved",
            "CONFIG_NET_SCH_INGRESS",
        ),
        Feature::Ifb => ("ifb device", false, "receiving is held by reading slowly alone", "CONFIG_IFB"),
        Feature::Mirred => {
            ("mirred action", false, "receiving is held by reading slowly alone", "CONFIG_NET_ACT_MIRRED")
        }
        Feature::U32 => (
            "u32 classifier",
            false,
            "receiving is held by reading slowly alone, and sockets of other programs have no class where flower and bpf are missing too",
            "CONFIG_NET_CLS_U32",
        ),
        Feature::Flower => (
            "flower classifier",
            false,
            "sockets of other programs need u32 or bpf for a class",
            "CONFIG_NET_CLS_FLOWER",
        ),
        Feature::Matchall => (
            "matchall classifier",
            false,
            "nothing: what is received is redirected by u32",
            "CONFIG_NET_CLS_MATCHALL",
        ),
        Feature::Bpf => (
            "bpf classifier",
            false,
            "sockets of other programs need u32 or flower for a class",
            "CONFIG_NET_CLS_BPF",
        ),
    };
    Use { name, is_needed, costs, config }
}

pub(super) fn feature(feature: Feature, state: &FeatureState) -> Finding {
    let Use { name, is_needed, costs, config } = use_of(feature);
    let module = feature.module();
    let missing = if is_needed { FindingState::Lacking } else { FindingState::Note };
    let unknown = if is_needed { FindingState::Lacking } else { FindingState::Unknown };
    let build = format!("modprobe {module}, or a kernel with {config}");
    let (state, found, mend) = match state {
        FeatureState::Tried(Ok(())) => return Finding::ok("kernel", name, "works"),
        FeatureState::Tried(Err(failure)) if is_missing(failure) => {
            (missing, "the kernel lacks it".to_owned(), build)
        }
        FeatureState::Tried(Err(failure)) => (unknown, failure.to_string(), build),
        FeatureState::Untried(Untried::Loaded) => {
            return Finding::ok("kernel", name, format!("{module} is loaded; not tried"));
        }
        FeatureState::Untried(Untried::Available) => {
            return Finding::ok("kernel", name, format!("modprobe finds {module}; not tried"));
        }
        FeatureState::Untried(Untried::NotFound) => (missing, format!("modprobe finds no {module}"), build),
        FeatureState::Untried(Untried::Unknown) => (
            unknown,
            "not tried".to_owned(),
            "run gqos doctor as root, where it can make a namespace to try it in".to_owned(),
        ),
    };
    Finding::ok("kernel", name, found).with(state, Remedy { costs, mend: &mend })
}

/// The settings of the kernel and of this process.
pub(super) fn settings(system: &SystemFacts) -> Vec<Finding> {
    let mut findings = tcp(system);
    findings.extend(clock(system));
    findings.extend(system.open_files.map(open_files));
    findings
}

fn tcp(system: &SystemFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(name) = &system.congestion_control {
        let finding = Finding::ok("tcp", "congestion control", name);
        findings.push(match name.starts_with("bbr") {
            false => finding,
            true => finding.with(FindingState::Note, Remedy {
                costs: "bbr does not fill a class exactly: 94.5 to 97 % of 8 Mbit/s was measured where cubic gets 100 %",
                mend: "sysctl net.ipv4.tcp_congestion_control=cubic",
            }),
        });
    }
    findings.extend(system.default_qdisc.as_ref().map(|name| Finding::ok("tcp", "default qdisc", name)));
    let settings =
        [("tcp_tso_rtt_log", system.tso_rtt_log, 0), ("tcp_min_tso_segs", system.min_tso_segments, 1)];
    for (name, value, best) in settings {
        let Some(value) = value else { continue };
        let finding = Finding::ok("tcp", name, value.to_string());
        findings.push(match value == best {
            true => finding,
            false => finding.with(FindingState::Note, Remedy {
                costs: "TCP that the kernel paces leaves in aggregates of up to 64 KiB on short paths; sockets that gqos writes to itself are cut to segments",
                mend: &format!("sysctl net.ipv4.{name}={best}"),
            }),
        });
    }
    findings
}

/// Clock sources that are read without a trap or a bus access.
const FAST_CLOCKS: [&str; 6] =
    ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter", "timebase", "riscv_clocksource"];

/// The timer slack that the kernel gives each process, in nanoseconds.
const USUAL_SLACK: u64 = 50_000;

fn clock(system: &SystemFacts) -> Vec<Finding> {
    let source = system.clock_source.as_ref().map(|source| {
        let finding = Finding::ok("clock", "clock source", source);
        match FAST_CLOCKS.contains(&source.as_str()) {
            true => finding,
            false => finding.with(FindingState::Note, Remedy {
                costs: "each look at the clock costs microseconds of CPU, of which shaping takes several for a packet",
                mend: "a clocksource= of the kernel's command line that the machine has, such as tsc",
            }),
        }
    });
    let slack = system.timer_slack_nanos.map(|nanos| {
        let finding = Finding::ok("clock", "timer slack", format!("{} us", nanos / 1000));
        match nanos <= USUAL_SLACK {
            true => finding,
            false => finding.with(
                FindingState::Note,
                Remedy {
                    costs: "sleeps of the shaper end later by this much",
                    mend: "start the program without a slack of its own (systemd: TimerSlackNSec=50us)",
                },
            ),
        }
    });
    source.into_iter().chain(slack).collect()
}

/// With fewer open files than this a server of streams runs out of them before it runs out of its link.
const FEW_FILES: u64 = 4096;

fn open_files(limit: u64) -> Finding {
    let found = if limit == u64::MAX { "unlimited".to_owned() } else { limit.to_string() };
    let finding = Finding::ok("process", "open files", found);
    match limit >= FEW_FILES {
        true => finding,
        false => finding.with(FindingState::Note, Remedy {
            costs: "each connection is an open file: later ones fail with WSAEMFILE, whatever is free on the link",
            mend: "ulimit -n 65536 (systemd: LimitNOFILE=65536)",
        }),
    }
}
