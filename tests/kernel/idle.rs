//! Classes of flows that have ended, which the next flows get.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use flowspec::{Bytes, Flowspec, Qos, Rate};
use gqos::connect::{Ask, DatagramConnection, Host};
use gqos::lab::CLIENT_V4;
use gqos::linux::Netlink;
use gqos::tc::{LINK_CLASS, is_idle};

use super::common::{lab, policy};
use super::{POLICY, sink};

const FLOWS: usize = 80;

async fn connect(host: &Host, peer: SocketAddr, id: String) -> DatagramConnection {
    let qos = Qos::sending(Flowspec::guaranteed(Rate::new(50_000), Bytes::new(16_384)));
    host.connector().connect_udp(peer, &Ask::qos(qos).id(id)).await.unwrap()
}

/// The class of a flow, as `tc` writes it.
fn class_of(flow: &DatagramConnection) -> String {
    let class = flow.decision().unwrap().enforced().unwrap().class.clone().unwrap();
    class.handle.to_string()
}

/// The idle classes once there are so many.
async fn until_idle(host: &Host, count: usize) -> BTreeSet<String> {
    for _ in 0..3000 {
        let report = host.report().await.unwrap().remove(0);
        let idle = report.classes.into_iter().filter(|class| class.flow == "idle").map(|class| class.class);
        let idle: BTreeSet<_> = idle.collect();
        if idle.len() == count {
            return idle;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("after 30 s: {:#?}", host.report().await.unwrap());
}

#[test]
fn a_large_tree_uses_the_classes_of_ended_flows_again() {
    let Some(network) = lab(100) else { return };
    let peer = sink(&network, (CLIENT_V4, 5000).into());
    let work = async move {
        let (host, kernel) = (Host::start(policy(POLICY)).await.unwrap(), Netlink::open().unwrap());
        let index = kernel.link_by_name("eth0").await.unwrap().index;
        let mut flows = Vec::new();
        for number in 0..FLOWS {
            flows.push(connect(&host, peer, format!("f{number}")).await);
        }
        // What a flow sends is not counted for the next one in its class.
        for flow in &flows[..20] {
            flow.send(&[0; 1000]).await.unwrap();
        }
        let ended: BTreeSet<_> = flows.drain(..20).map(|flow| class_of(&flow)).collect();
        let idle = until_idle(&host, 20).await;
        assert_eq!(idle, ended);
        // A bucket of 16 KiB takes a third of a second to fill, and nothing is owed then.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let again = connect(&host, peer, "again".into()).await;
        assert!(idle.contains(&class_of(&again)), "{} is not of {idle:?}", class_of(&again));
        again.send(&[0; 500]).await.unwrap();
        let mut sent = 0;
        for _ in 0..3000 {
            let report = host.report().await.unwrap().remove(0);
            sent =
                report.classes.iter().find(|class| class.flow == "again").map_or(0, |class| class.sent_bytes);
            if sent > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(sent, 500 + 8 + 20 + 14);
        let tree = kernel.observe(index).await.unwrap().unwrap();
        let link = tree.classes().find(|class| class.handle == LINK_CLASS).unwrap().rate.get();
        let leaves = tree.classes().filter(|class| class.parent == LINK_CLASS);
        assert!(leaves.map(|class| class.rate.get()).sum::<u64>() <= link, "more than the link");
        assert_eq!(tree.classes().filter(|class| is_idle(class)).count(), 19);
        drop((flows, again));
        until_idle(&host, FLOWS).await;
        assert!(host.report().await.unwrap()[0].status.kernel.is_ok());
        host.stop().await;
    };
    network.server.run(work).unwrap();
}
