//! Other tables for a proxy that runs, and its clients' own limits.

use std::net::SocketAddr;

use gqos::policy::Policy;
use gqos::proxy::{ConnectionEnd, ProxyError, Replaced};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::world::{POLICY, World, rest, soon};

fn tables(text: &str) -> std::collections::BTreeMap<String, gqos::policy::Proxy> {
    let policy: Policy = format!("{POLICY}{text}").parse().unwrap();
    policy.proxies
}

/// An address that was free a moment ago.
async fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn clients_that_come_after_a_reload_get_the_new_table_and_others_keep_theirs() {
    let world = World::new("template = \"sd\"").await;
    let (to, listen) = (world.origin.local_addr().unwrap(), world.proxy);
    let mut before = world.client().await;
    let mut origin = world.accept().await;
    let listener = |name: &str, listen: &str, lines: &str| {
        format!("[proxy.{name}]\nlisten = \"{listen}\"\nto = \"{to}\"\n{lines}\n")
    };
    // The same listener with another table, and one more.
    let second = free_address().await;
    let table = [
        listener("p", "127.0.0.1:0", "template = \"hd\""),
        listener("q", &second.to_string(), "template = \"free\""),
    ];
    let replaced = world.handle.replace(tables(&table.concat())).await.unwrap();
    assert_eq!(replaced, Replaced { opened: vec![("q".into(), second)], closed: vec![], kept: 1 });
    let after = world.client().await;
    let origin_after = world.accept().await;
    let other = TcpStream::connect(second).await.unwrap();
    let origin_other = world.accept().await;
    origin.write_all(b"still here").await.unwrap();
    drop(origin);
    assert_eq!(rest(&mut before).await.unwrap(), b"still here");
    drop((before, after, origin_after, other, origin_other));
    let renditions = |records: Vec<gqos::proxy::ConnectionRecord>| {
        let mut shown: Vec<_> =
            records.into_iter().map(|record| (record.proxy, record.rendition.unwrap_or_default())).collect();
        shown.sort();
        shown
    };
    let expected =
        [("p", "hd"), ("p", "sd"), ("q", "free")].map(|(name, rendition)| (name.into(), rendition.into()));
    assert_eq!(renditions(world.records(3).await), expected);
    // A listener that no table has any more is closed; one that cannot be opened changes nothing.
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let table = [
        listener("p", "127.0.0.1:0", "template = \"sd\""),
        listener("r", &taken.local_addr().unwrap().to_string(), ""),
    ];
    let failed = world.handle.replace(tables(&table.concat())).await.unwrap_err();
    assert!(matches!(&failed, ProxyError::Listen { name, .. } if name == "r"), "{failed}");
    drop(TcpStream::connect(second).await.unwrap());
    drop(world.accept().await);
    let replaced = world.handle.replace(tables(&listener("p", "127.0.0.1:0", ""))).await.unwrap();
    assert_eq!(replaced, Replaced { opened: vec![], closed: vec![("q".into(), second)], kept: 1 });
    soon(async {
        while TcpStream::connect(second).await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    drop(TcpStream::connect(listen).await.unwrap());
    world.drain().await;
}

#[tokio::test]
async fn a_removed_listener_lets_its_connections_finish_and_resets_the_rest() {
    for (drain, finishes) in [("30 s", true), ("0 s", false)] {
        let world = World::new(&format!("template = \"free\"\nlimits = {{ drain = \"{drain}\" }}")).await;
        let mut client = world.client().await;
        let mut origin = world.accept().await;
        let to = world.origin.local_addr().unwrap();
        let other = format!("[proxy.q]\nlisten = \"127.0.0.1:0\"\nto = \"{to}\"\n");
        let replaced = world.handle.replace(tables(&other)).await.unwrap();
        assert_eq!((replaced.opened.len(), replaced.closed.len(), replaced.kept), (1, 1, 0));
        if finishes {
            origin.write_all(b"the rest").await.unwrap();
            drop(origin);
            assert_eq!(rest(&mut client).await.unwrap(), b"the rest");
        } else {
            assert!(rest(&mut client).await.is_err());
            assert_eq!(world.records(1).await[0].end, ConnectionEnd::Drained);
        }
        drop(client);
        world.drain().await;
    }
}

#[tokio::test]
async fn a_client_is_counted_by_its_address() {
    let policy = format!("{POLICY}[client.\"127.0.0.1\"]\nmax_flows = 2\n");
    let world = World::of_policy(&policy, "template = \"free\"\nrefuse = \"reset\"").await;
    let held = [(world.client().await, world.accept().await), (world.client().await, world.accept().await)];
    let mut third = world.client().await;
    assert!(rest(&mut third).await.is_err());
    let refused = world.records(1).await.remove(0);
    assert_eq!(
        (refused.end, refused.reason.as_deref()),
        (ConnectionEnd::Refused, Some("client_limit")),
        "{refused}"
    );
    drop(held);
    world.records(3).await;
    drop((world.client().await, world.accept().await));
    world.drain().await;
    // Behind a load balancer it is the address that the header states.
    let table = "template = \"free\"\nrefuse = \"reset\"\nproxy_protocol = { accept = \"127.0.0.1\" }";
    let policy = format!("{POLICY}[client.\"192.0.2.*\"]\nmax_flows = 1\n");
    let world = World::of_policy(&policy, table).await;
    let header = |last: u8| format!("PROXY TCP4 192.0.2.{last} 198.51.100.2 4000 80\r\n");
    let first = (world.saying(header(1)).await, world.accept().await);
    let second = (world.saying(header(2)).await, world.accept().await);
    assert!(rest(&mut world.saying(header(1)).await).await.is_err());
    drop((first, second));
    world.drain().await;
}
