//! Hosts and the trees that they find: foreign ones, those of killed managers, and links that change.

use flowspec::{Direction, Qos, Rate, Ratio};
use gqos::admission::Operation;
use gqos::connect::{Ask, Host};
use gqos::lab::CLIENT_V4;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::common::{inside, lab, lab_with, policy};
use super::{POLICY, classes, mbit, sink};

#[test]
fn a_foreign_root_qdisc_is_not_changed() {
    let Some(network) = lab_with(100, &["tc"]) else { return };
    let peer = sink(&network, (CLIENT_V4, 5000).into());
    inside(&network.server, &["tc", "qdisc", "add", "dev", "eth0", "root", "handle", "1:", "htb"]);
    for (enforcement, admitted) in [("auto", true), ("user-space", true), ("kernel", false)] {
        let text = POLICY.replacen("egress", &format!("enforcement = \"{enforcement}\"\n    egress"), 1);
        let work = async move {
            let host = Host::start(policy(&text)).await.unwrap();
            match host.connector().connect(peer, &Ask::template("video")).await {
                Ok(connection) => {
                    let enforced = connection.decision().unwrap().enforced().cloned().unwrap();
                    assert!(enforced.sending && enforced.class.is_none(), "{enforced:?}");
                    assert!(
                        !enforced.lacking.is_empty(),
                        "the decision says what is not enforced: {enforced:?}"
                    );
                    true
                }
                Err(error) => {
                    assert!(error.to_string().contains("left alone"), "{error}");
                    false
                }
            }
        };
        assert_eq!(network.server.run(work).unwrap(), admitted, "{enforcement}");
        let root = inside(&network.server, &["tc", "qdisc", "show", "dev", "eth0"]);
        assert!(root.contains("qdisc htb 1: root"), "{root}");
    }
}

#[test]
fn a_tree_of_a_killed_manager_is_replaced_and_one_of_a_running_manager_is_not() {
    let Some(network) = lab_with(100, &["tc"]) else { return };
    let peer = sink(&network, (CLIENT_V4, 5000).into());
    for command in [
        "tc qdisc add dev eth0 root handle 6771: htb default 2 direct_qlen 0",
        "tc class add dev eth0 parent 6771: classid 6771:1 htb rate 1mbit",
        "tc class add dev eth0 parent 6771:1 classid 6771:107 htb rate 1mbit",
    ] {
        inside(&network.server, &command.split(' ').collect::<Vec<_>>());
    }
    let work = async move {
        let first = Host::start(policy(POLICY)).await.unwrap();
        assert_eq!(classes(&first).await, 2, "the stale class is gone");
        let second = Host::start(policy(POLICY)).await.unwrap();
        let error =
            second.connector().connect(peer, &Ask::template("video")).await.err().unwrap().to_string();
        assert!(
            error.contains(&format!("another gqos manages the interface: process {}", std::process::id())),
            "{error}"
        );
        let shared = POLICY.replacen("egress", "shared = \"user-space\"\n    egress", 1);
        let third = Host::start(policy(&shared)).await.unwrap();
        let connection = third.connector().connect(peer, &Ask::template("video")).await.unwrap();
        let lacking = connection.decision().unwrap().enforced().cloned().unwrap().lacking_text().unwrap();
        assert!(lacking.contains("another gqos"), "{lacking}");
        drop(connection);
        third.stop().await;
        assert_eq!(classes(&first).await, 2, "the tree of the first manager stays");
        first.stop().await;
        // The second takes its place.
        let mut left = 300;
        loop {
            let connected = second.connector().connect(peer, &Ask::template("video")).await;
            if let Ok(connection) = connected
                && connection.decision().unwrap().enforced().unwrap().lacking.is_empty()
            {
                break;
            }
            assert!(left > 0, "after 30 s the second enforces nothing");
            left -= 1;
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        second.stop().await;
    };
    network.server.run(work).unwrap();
}

/// What `tc qdisc show` prints of eth0.
fn root(network: &gqos::lab::LabNetwork) -> String {
    inside(&network.server, &["tc", "qdisc", "show", "dev", "eth0"])
}

#[test]
fn what_a_killed_manager_left_is_removed_by_any_start() {
    let Some(network) = lab_with(100, &["tc"]) else { return };
    let user_space = POLICY.replacen("egress", "enforcement = \"user-space\"\n    egress", 1);
    for text in [user_space, POLICY.replace("eth0", "eth9")] {
        for (settings, is_left) in [("direct_qlen 0", false), ("direct_qlen 1000", true)] {
            let make = format!("tc qdisc add dev eth0 root handle 6771: htb default 2 {settings}");
            inside(&network.server, &make.split(' ').collect::<Vec<_>>());
            let text = text.clone();
            let work = async move { Host::start(policy(&text)).await.unwrap().stop().await };
            network.server.run(work).unwrap();
            assert_eq!(root(&network).contains("htb"), is_left, "{settings}: {}", root(&network));
            if is_left {
                inside(&network.server, &["tc", "qdisc", "del", "dev", "eth0", "root"]);
            }
        }
    }
}

#[test]
fn a_process_without_the_privilege_cannot_keep_an_interface() {
    let Some(network) = lab_with(100, &["tc", "setpriv", "perl"]) else { return };
    let program = "use IO::Socket::UNIX; $| = 1; my @held; \
        for (1..40) { push @held, IO::Socket::UNIX->new(Local => qq(\\0gqos/interface/$_/squat), Listen => 1) or die } \
        print qq(bound\\n); sleep 60";
    let net = format!("--net={}", network.server.namespace_path());
    let mut squatter = std::process::Command::new("nsenter")
        .args([&net, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "perl", "-e", program])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut printed = std::io::BufReader::new(squatter.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut printed, &mut line).unwrap();
    assert_eq!(line.trim(), "bound");
    let work = async move {
        let host = Host::start(policy(POLICY)).await.unwrap();
        assert_eq!(classes(&host).await, 2, "the interface has a tree");
        host.stop().await;
    };
    let ran = network.server.run(work);
    squatter.kill().unwrap();
    squatter.wait().unwrap();
    ran.unwrap();
}

#[test]
fn a_runtime_that_ends_without_a_stop_leaves_no_tree() {
    let Some(network) = lab_with(100, &["tc"]) else { return };
    let namespace = network.server.namespace().duplicate().unwrap();
    for panics in [false, true] {
        let namespace = namespace.duplicate().unwrap();
        let main = std::thread::spawn(move || {
            namespace.enter().unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let host = Host::start(policy(POLICY)).await.unwrap();
                assert_eq!(classes(&host).await, 2);
                assert!(!panics, "a panic in main");
                std::mem::forget(host);
            });
        });
        assert_eq!(main.join().is_err(), panics);
        assert!(!root(&network).contains("htb"), "{}", root(&network));
    }
}

#[test]
fn a_manager_that_programs_nothing_claims_nothing() {
    let Some(network) = lab(100) else { return };
    let peer = sink(&network, (CLIENT_V4, 5000).into());
    let work = async move {
        let user_space = POLICY.replacen("egress", "enforcement = \"user-space\"\n    egress", 1);
        let first = Host::start(policy(&user_space)).await.unwrap();
        // Best effort on an interface that the policy does not name.
        let elsewhere = Host::start(policy(&POLICY.replace("eth0", "eth9"))).await.unwrap();
        let free = elsewhere.connector().connect(peer, &Ask::qos(Qos::BEST_EFFORT)).await.unwrap();
        let second = Host::start(policy(POLICY)).await.unwrap();
        let connection = second.connector().connect(peer, &Ask::template("video")).await.unwrap();
        let enforced = connection.decision().unwrap().enforced().cloned().unwrap();
        assert_eq!(enforced.lacking, []);
        assert_eq!(enforced.class.unwrap().to_string(), "6771:100 dev eth0");
        drop((connection, free));
        for host in [first, elsewhere, second] {
            host.stop().await;
        }
    };
    network.server.run(work).unwrap();
}

#[test]
fn loopback_with_its_large_packets_can_be_programmed() {
    let Some(network) = lab(100) else { return };
    let work = async move {
        let host = Host::start(policy(&POLICY.replace("eth0", "lo"))).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:5000").await.unwrap();
        let peer = listener.local_addr().unwrap();
        let (connector, ask) = (host.connector(), Ask::qos(mbit(60)));
        let (connected, accepted) = tokio::join!(connector.connect(peer, &ask), listener.accept());
        let (mut connection, mut stream) = (connected.unwrap(), accepted.unwrap().0);
        connection.write_all(&[1; 60_000]).await.unwrap();
        stream.read_exact(&mut [0; 60_000]).await.unwrap();
        host.stop().await;
    };
    network.server.run(work).unwrap();
}

#[test]
fn a_host_follows_a_link_that_gets_much_slower() {
    let Some(network) = lab(100) else { return };
    let work = async move {
        let host = Host::start(policy(POLICY)).await.unwrap();
        let (interface, direction) = ("eth0".to_owned(), Direction::Sending);
        let slower = Operation::Capacity { interface, direction, capacity: Rate::from_mbit(10) };
        let decision = host.submit(slower).await.unwrap();
        assert!(decision.is_ok(), "{}", decision.message());
        let report = host.report().await.unwrap().remove(0);
        assert_eq!(report.status.totals.sending.budget, Rate::from_mbit(8));
        let link = report.classes.iter().find(|class| class.flow == "link").unwrap();
        assert_eq!(link.rate, Rate::from_mbit(10).scale_down(Ratio::percent(99)));
        host.stop().await;
    };
    network.server.run(work).unwrap();
}

/// Runs a host on a runtime of its own in the server's namespace, and ends the runtime without a stop of the host.
#[track_caller]
fn end_early(network: &gqos::lab::LabNetwork, name: &str, end: fn(tokio::runtime::Runtime, Host)) {
    let namespace = network.server.namespace().duplicate().unwrap();
    let ended = std::thread::spawn(move || {
        namespace.enter().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let host = runtime.block_on(async {
            let host = Host::start(policy(POLICY)).await.unwrap();
            assert_eq!(classes(&host).await, 2, "the tree is there");
            host
        });
        end(runtime, host);
    });
    let ended = ended.join();
    let after = inside(&network.server, &["tc", "qdisc", "show", "dev", "eth0"]);
    assert!(after.contains("noqueue"), "{name}, {ended:?}: {after}");
}

#[test]
fn a_program_that_ends_without_a_stop_leaves_no_tree() {
    let Some(network) = lab_with(100, &["tc"]) else { return };
    end_early(&network, "main returns", |runtime, _host| drop(runtime));
    end_early(&network, "the host is dropped first", |runtime, host| {
        drop(host);
        drop(runtime);
    });
    end_early(&network, "a panic", |_runtime, _host| panic!("the program fails"));
}

/// A forked process has copies of the host and of its runtime. What it does with them leaves the parent's tree alone.
#[test]
fn a_forked_process_leaves_the_tree_of_its_parent() {
    let Some(network) = lab_with(100, &["tc"]) else { return };
    end_early(&network, "the parent ends later", |runtime, host| {
        // SAFETY: the child drops two values, whose threads are all this one, and ends.
        let child = unsafe { nix::libc::fork() };
        if child == 0 {
            drop(host);
            drop(runtime);
            // SAFETY: takes no pointer.
            unsafe { nix::libc::_exit(0) };
        }
        let mut status = -1;
        // SAFETY: the pointer is that of a variable.
        assert_eq!(unsafe { nix::libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0, "the child has ended by itself");
        // This thread is in the server's namespace.
        let shown = std::process::Command::new("tc").args(["qdisc", "show", "dev", "eth0"]).output().unwrap();
        let shown = String::from_utf8(shown.stdout).unwrap();
        assert!(shown.contains("htb 6771:"), "{shown}");
        drop(runtime);
    });
}
