//! A result of the demo that no run has measured, with every kind of viewer.

use flowspec::Rate;
use gqos::connect::ClassReport;
use gqos::lab::demo::{Achieved, Bulk, DemoResult, KernelCounts, PhaseName, PhaseResult, ViewerResult};
use gqos::linux::capture::Transport;
use serde_json::{Value, json};

/// A result with so many viewers, of which every third is refused with gqos.
pub(crate) fn outcome(viewers: usize) -> DemoResult {
    let phases = [PhaseName::Unmanaged, PhaseName::Managed].map(|name| phase(name, viewers));
    DemoResult {
        link_bytes_per_second: Rate::from_mbit(100),
        congestion_control: "cubic",
        phases: phases.into(),
    }
}

fn phase(name: PhaseName, count: usize) -> PhaseResult {
    let viewers: Vec<_> = (0..count).map(|index| viewer(name, index)).collect();
    let managed = name == PhaseName::Managed;
    let refused =
        viewers.iter().filter(|viewer| !viewer.admitted).map(|viewer| refusal(&viewer.id)).collect();
    let classes = viewers.iter().filter(|viewer| managed && viewer.admitted).map(|viewer| ClassReport {
        class: "6771:100".into(),
        flow: viewer.id.clone(),
        is_group: false,
        group: None,
        policy_class: None,
        rate: viewer.charged,
        sent_bytes: 7_989_841,
        dropped: 0,
        delayed: 0,
        queued: 0,
        queued_bytes: 0,
        reserved: None,
    });
    let classes = classes.collect();
    let bulk = Bulk { mean: Rate::new(908_921), share_of_rest: 0.92 };
    PhaseResult {
        name,
        seconds: 15,
        viewers,
        refused,
        bulk,
        kernel: KernelCounts { classes, ..KernelCounts::default() },
        daemon: None,
    }
}

fn viewer(name: PhaseName, index: usize) -> ViewerResult {
    let admitted = name == PhaseName::Unmanaged || index % 3 != 2;
    let stalled = name == PhaseName::Unmanaged && index.is_multiple_of(2);
    let seconds = [[470_000, 480_000, 500_000], [100_000, 400_000, 475_000]][usize::from(stalled)];
    let by_second = if admitted { seconds.map(Rate::new).repeat(5) } else { Vec::new() };
    let of_admitted = |rate| if admitted { Rate::new(rate) } else { Rate::default() };
    ViewerResult {
        id: format!("v{}", index + 1),
        transport: if index % 4 == 3 { Transport::Udp } else { Transport::Tcp },
        template: "1080p".into(),
        server: None,
        admitted,
        token_rate: Rate::new(480_000),
        charged: Rate::new(525_250),
        media_rate: Rate::new(474_999),
        achieved: Achieved {
            worst_second: of_admitted(seconds[0]),
            median_second: of_admitted(seconds[1]),
            mean: of_admitted(seconds[1]),
            by_second,
        },
        stalls: if stalled { 12 } else { 0 },
        stall_ms: if stalled { 12_340 } else { 0 },
        lost: 0,
    }
}

fn refusal(id: &str) -> Value {
    json!({
        "id": id,
        "error": "WSAEOPNOTSUPP",
        "code": 10045,
        "reason": "interface_budget",
        "message": "eth0 sending: 2.627 Mbit/s requested, 79.847 Mbit/s reserved of 80 Mbit/s, 153 kbit/s available: 2.474 Mbit/s short; most is held by v1 (4.202 Mbit/s), v4 (4.202 Mbit/s); at most 153 kbit/s would fit",
    })
}
