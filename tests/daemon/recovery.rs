//! SIGKILL of the daemon: flows keep their classes, the next daemon adopts what is still there, and nothing else stays.

use std::net::UdpSocket;
use std::path::Path;
use std::time::Instant;

use gqos::connect::{Ask, ReservationRequest};
use gqos::engine::{Engine, RemoteEngine};
use gqos::lab::CLIENT_V4;
use gqos::policy::{Protocol, Subject};
use serde_json::{Value, json};

use super::client::{Client, OTHER, POLICY, USER, fails, until};
use super::common;
use super::killed_host::{KilledHost as Host, LONG, MBIT, MBIT_10, SHORT, asked, flows, granted, reserved};
use super::program::{Program, classes, directory_with};

fn claim(client: &mut Client, id: &str, epoch: &Value) -> Value {
    let mut asked = asked(id);
    asked["epoch"] = epoch.clone();
    client.call("Reserve", asked).unwrap()
}

#[test]
fn a_flow_keeps_its_class_with_its_counters() {
    let Some(mut host) = Host::start(LONG) else { return };
    let socket = host.socket();
    let mut client = host.daemon.client();
    // So that the flow that stays has not the first number.
    client.admitted("before", "video");
    let class = granted(&mut client, "v1")["admitted"]["class"].as_str().unwrap().to_owned();
    client.call_with(("Attach", json!({ "id": "v1" })), &socket).unwrap();
    client.call("Release", json!({ "id": "before" })).unwrap();
    // Otherwise the peer answers that nothing listens, and sends fail.
    let _peer = host.network.client.run(async { UdpSocket::bind((CLIENT_V4, 9)).unwrap() }).unwrap();
    let send = || (0..50).for_each(|_| assert_eq!(socket.send(&[0; 1000]).unwrap(), 1000));
    send();
    until("they have left by the class", || host.sent_bytes(&class) >= 50_000);
    host.until_written("\"cookie\"");
    let (tree, sent) = (classes(&host.network), host.sent_bytes(&class));
    host.daemon.kill();
    assert!(client.reply().is_none(), "its clients notice");
    assert_eq!(classes(&host.network), tree, "flows go on as they were");
    send();
    until("also without a daemon", || host.sent_bytes(&class) >= sent + 50_000);
    host.daemon = Program::start(&host.network, host.directory.path());
    let sent = host.sent_bytes(&class);
    assert!(sent >= 100_000, "the class was never deleted: {sent} bytes");
    let mut client = host.daemon.client();
    let held = flows(&mut client);
    assert_eq!((held.len(), &held[0]["id"], &held[0]["class"]), (1, &json!("v1"), &json!(class)), "{held:?}");
    assert_eq!(reserved(&mut client), MBIT_10);
    send();
    until("it sends by the same class", || host.sent_bytes(&class) >= sent + 50_000);
    // A second restart finds the same.
    host.restart();
    let mut client = host.daemon.client();
    assert_eq!(flows(&mut client), held);
    assert!(host.sent_bytes(&class) >= sent);
    drop(socket);
    until("it ends with its socket", || flows(&mut client).is_empty() && reserved(&mut client) == 0);
    until("and so does its class", || host.leaves() == 0);
}

#[test]
fn what_ends_without_a_daemon_is_not_adopted() {
    let Some(mut host) = Host::start(SHORT) else { return };
    let (kept, gone) = (host.socket(), host.socket());
    let mut client = host.daemon.client();
    for (id, socket) in [("kept", &kept), ("gone", &gone)] {
        client.admitted(id, "video");
        client.call_with(("Attach", json!({ "id": id })), socket).unwrap();
        let cookie = flows(&mut client)[0]["cookie"].clone();
        host.until_written(&format!("\"cookie\":{cookie}"));
    }
    client.admitted("loose", "video");
    host.until_written("\"loose\"");
    host.daemon.kill();
    drop((client, gone));
    host.daemon = Program::start(&host.network, host.directory.path());
    let mut client = host.daemon.client();
    let ids = |client: &mut Client| -> Vec<_> {
        flows(client).into_iter().map(|flow| flow["id"].as_str().unwrap().to_owned()).collect()
    };
    assert!(!ids(&mut client).contains(&"gone".to_owned()), "its socket has ended");
    until("nobody claims the other", || ids(&mut client) == ["kept"]);
    until("its class is deleted", || host.leaves() == 1);
    assert_eq!(reserved(&mut client), MBIT_10);
    drop(kept);
    until("nothing stays", || host.leaves() == 0 && reserved(&mut client) == 0);
}

#[test]
fn a_client_claims_what_it_held_and_no_other_does() {
    let Some(mut host) = Host::start(SHORT) else { return };
    let mut client = Client::connect_as(&host.daemon.socket, USER);
    let (mine, unclaimed) = (granted(&mut client, "mine"), granted(&mut client, "unclaimed"));
    let epoch = mine["epoch"].clone();
    assert!(epoch.is_string() && unclaimed["epoch"] == epoch);
    host.until_written("\"unclaimed\"");
    host.restart();
    let mut other = Client::connect_as(&host.daemon.socket, OTHER);
    let answer = claim(&mut other, "mine", &epoch);
    assert_eq!(answer["decision"]["ok"], false, "it is another user's: {answer}");
    let mut client = Client::connect_as(&host.daemon.socket, USER);
    let answer = claim(&mut client, "mine", &json!("another"));
    assert_eq!(answer["decision"]["ok"], false, "that is another reservation of this id: {answer}");
    let answer = claim(&mut client, "mine", &epoch);
    assert_eq!((&answer["decision"]["ok"], &answer["epoch"]), (&json!(true), &epoch), "{answer}");
    assert_eq!(answer["admitted"]["class"], mine["admitted"]["class"]);
    until("what nobody claims ends", || flows(&mut client).len() == 1);
    fails(client.call("Commit", json!({ "id": "unclaimed" })), "UnknownId");
    // Of what has ended, a claim is a request.
    let answer = claim(&mut client, "unclaimed", &epoch);
    assert!(answer["decision"]["ok"] == true && answer["epoch"] != epoch, "{answer}");
    let mut observer = host.daemon.client();
    assert_eq!(reserved(&mut observer), 2 * MBIT_10);
    drop(client);
    until("what is claimed lives with its connection", || reserved(&mut observer) == 0);
}

#[test]
fn groups_are_made_again_with_their_members() {
    let Some(mut host) = Host::start(SHORT) else { return };
    let mut client = host.daemon.client();
    let group = json!({ "id": "g", "interface": "eth0", "mode": "shared", "template": "video" });
    assert_eq!(client.call("Group", group).unwrap()["decision"]["ok"], true);
    let mut member = asked("m");
    member["group"] = json!("g");
    let answer = client.call("Reserve", member.clone()).unwrap();
    host.until_written("\"m\"");
    host.restart();
    let mut client = host.daemon.client();
    member["epoch"] = answer["epoch"].clone();
    let claimed = client.call("Reserve", member).unwrap();
    assert_eq!(claimed["admitted"]["class"], answer["admitted"]["class"], "{claimed}");
    assert_eq!(reserved(&mut client), MBIT_10, "as one reservation");
    let mut second = asked("n");
    second["group"] = json!("g");
    assert_eq!(client.call("Reserve", second).unwrap()["decision"]["ok"], true, "the group is there");
    let mut observer = host.daemon.client();
    drop(client);
    until("it ends with its owner", || reserved(&mut observer) == 0);
}

#[test]
fn a_client_of_the_library_keeps_its_reservation() {
    let Some(mut host) = Host::start(SHORT) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let engine = runtime.block_on(RemoteEngine::connect(&host.daemon.socket)).unwrap();
    let subject = Subject { protocol: Protocol::Udp, local_port: 5004, peer: CLIENT_V4.into() };
    let request = ReservationRequest::new(Ask::template("video").class("viewer"), subject);
    let reserve = |request| runtime.block_on(engine.reserve(request)).unwrap();
    let [first, second] = [reserve(request.clone()), reserve(request)];
    let ended = json!({ "flow_end": { "id": first.reservation.id() } }).to_string();
    drop(first.reservation);
    let class = second.admitted.class.unwrap().to_string();
    let mut observer = host.daemon.client();
    until("one is left", || flows(&mut observer).len() == 1);
    host.until_written(second.reservation.id());
    // Changes of the file are gathered for a millisecond: the end of the first may come after that.
    host.until_written(&ended);
    host.restart();
    let mut observer = host.daemon.client();
    assert_eq!(flows(&mut observer)[0]["class"], class, "it has its class before its client is back");
    // The calls, the notices and this one.
    until("it is back", || observer.call("Status", json!({})).unwrap()["connections"] == 3);
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let held = flows(&mut observer);
    assert_eq!((held.len(), &held[0]["class"]), (1, &json!(class)), "it was claimed: {held:?}");
    drop(second.reservation);
    until("it is released", || reserved(&mut observer) == 0);
}

#[test]
fn a_torn_file_costs_what_it_does_not_say() {
    let Some(mut host) = Host::start(LONG) else { return };
    let sockets = [host.socket(), host.socket()];
    let mut client = host.daemon.client();
    for (id, socket) in ["first", "second"].iter().zip(&sockets) {
        client.admitted(id, "video");
        client.call_with(("Attach", json!({ "id": id })), socket).unwrap();
        client.call("Commit", json!({ "id": id })).unwrap();
        host.until_written(&format!("\"{id}\""));
    }
    until("all of it is written", || {
        let text = std::fs::read_to_string(host.state()).unwrap();
        let is_established = |id: &str| {
            let says = |line: &str| line.contains(id) && line.contains("\"is_established\":true");
            text.lines().any(says)
        };
        is_established("\"first\"") && is_established("\"second\"")
    });
    host.daemon.kill();
    let path = host.state();
    let whole = std::fs::read(&path).unwrap();
    // Its last line is cut, and others that say the same are damaged.
    let text: String = String::from_utf8(whole).unwrap();
    let torn: Vec<_> = text.lines().map(|line| line.replace("\"second\"", "\"damaged\"")).collect();
    std::fs::write(&path, torn.join("\n") + "\nffffffff {\"flow\":{\"uid\"").unwrap();
    host.daemon = Program::start(&host.network, host.directory.path());
    let mut client = host.daemon.client();
    let held = flows(&mut client);
    assert_eq!((held.len(), &held[0]["id"]), (1, &json!("first")), "{held:?}");
    assert_eq!(host.leaves(), 1, "the class of the other is deleted");
    client.admitted("second", "video");
    // A file that is of no use at all.
    host.daemon.kill();
    std::fs::write(&path, [0xff; 10_000]).unwrap();
    host.daemon = Program::start(&host.network, host.directory.path());
    assert_eq!((flows(&mut host.daemon.client()).len(), host.leaves()), (0, 0));
}

#[test]
fn a_directory_that_cannot_be_written_costs_nothing_that_is_live() {
    let network = common::lab_with(100, &["tc"]);
    let Some(network) = network else { return };
    let directory = directory_with(POLICY);
    // The name of the new file is taken by something that is not replaced.
    std::fs::create_dir_all(directory.path().join("gqos.sock.state.new/x")).unwrap();
    let daemon = Program::start(&network, directory.path());
    let mut client = daemon.client();
    (0..5).for_each(|number| client.admitted(&format!("v{number}"), "video"));
    assert_eq!(reserved(&mut client), 5 * MBIT_10);
    assert!(!directory.path().join("gqos.sock.state").exists());
}

#[test]
fn a_thousand_classes_are_adopted() {
    // A build without optimisation on a busy machine.
    check_restart((1000, 0), 60);
}

/// `cargo test --release --test daemon -- --ignored ten_thousand`
#[test]
#[ignore = "measures an optimised build"]
fn ten_thousand_reservations_with_a_thousand_classes_are_adopted_within_two_seconds() {
    check_restart((1000, 9000), 2);
}

/// Kills a daemon with so many classes and so many reservations beside them, and waits for the next one so many seconds.
#[track_caller]
fn check_restart((classed, others): (usize, usize), most_seconds: u64) {
    let policy = "version = 1\n[interface.eth0]\negress = { capacity = \"1 Gbit/s\", reservable = \"80%\" }\n\
        [interface.lo]\nenforcement = \"user-space\"\negress = { capacity = \"10 Gbit/s\" }\n\
        [template.call]\nsending = { service_type = \"guaranteed\", token_rate = \"64 kbit/s\", token_bucket_size = \"4 KiB\" }\n";
    let Some(mut host) = Host::start_under(&format!("{policy}{LONG}")) else { return };
    let sockets: Vec<_> = (0..classed).map(|_| host.socket()).collect();
    let mut client = host.daemon.client();
    let reserve = |client: &mut Client, id: &str, interface: &str| {
        let asked = json!({ "id": id, "interface": interface, "template": "call" });
        assert_eq!(client.reserve(asked)["ok"], true);
    };
    for (number, socket) in sockets.iter().enumerate() {
        let id = format!("call-{number}");
        reserve(&mut client, &id, "eth0");
        client.call_with(("Attach", json!({ "id": id })), socket).unwrap();
    }
    (0..others).for_each(|number| reserve(&mut client, &format!("other-{number}"), "lo"));
    let held = flows(&mut client);
    assert_eq!(held.len(), classed + others);
    until("all of it is written", || {
        let text = std::fs::read_to_string(host.state()).unwrap();
        let written: std::collections::HashSet<_> =
            text.split(['"', ',', '}']).filter(|word| word.contains('-') || word.starts_with(':')).collect();
        held.iter().all(|flow| match flow["cookie"].as_u64() {
            Some(cookie) => written.contains(format!(":{cookie}").as_str()),
            None => written.contains(flow["id"].as_str().unwrap()),
        })
    });
    let tree = classes(&host.network);
    host.daemon.kill();
    let started = Instant::now();
    host.daemon = Program::start(&host.network, host.directory.path());
    let took = started.elapsed();
    println!(
        "{classed} classes and {} reservations, until the daemon listens: {} ms",
        held.len(),
        took.as_millis()
    );
    let mut client = host.daemon.client();
    assert_eq!(flows(&mut client), held);
    assert_eq!(classes(&host.network), tree);
    assert!(took.as_secs() < most_seconds, "{took:?}");
    if others == 0 {
        drop(sockets);
        until("all are released", || reserved(&mut client) == 0);
        until("with their classes", || host.leaves() == 0);
    }
}

/// What a client does again and again while the daemon is killed: reserves, attaches, sends, and ends in each way.
fn churn(path: &Path, round: usize, sockets: &mut Vec<UdpSocket>, make: &dyn Fn() -> UdpSocket) {
    let Ok(stream) = std::os::unix::net::UnixStream::connect(path) else { return };
    let mut client = Client::over(stream);
    for number in 0..20 {
        let id = format!("{round}-{number}");
        let socket = make();
        if client.try_call("Reserve", asked(&id)).is_none() {
            return;
        }
        if number % 3 != 0 && client.try_call_with(("Attach", json!({ "id": id })), &socket).is_none() {
            return;
        }
        match number % 4 {
            0 => drop(client.try_call("Release", json!({ "id": id }))),
            1 => sockets.push(socket),
            _ => {}
        }
    }
}

/// How many kills a test makes: those of `GQOS_KILLS`, or few.
pub(crate) fn kills(few: usize) -> usize {
    std::env::var("GQOS_KILLS").map_or(few, |kills| kills.parse().unwrap())
}

/// Ends the daemon after a random time while a client makes reservations, in this round.
fn kill_under_load(host: &mut Host, round: usize, sockets: &mut Vec<UdpSocket>, delay: std::time::Duration) {
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let path = host.daemon.socket.clone();
        let (network, stop) = (&host.network, &stop);
        let load = scope.spawn(move || {
            let make = || {
                let bound = async { UdpSocket::bind("127.0.0.1:0").unwrap() };
                network.server.run(bound).unwrap()
            };
            let mut again = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                churn(&path, round * 1000 + again, sockets, &make);
                again += 1;
            }
        });
        std::thread::sleep(delay);
        host.daemon.child.kill().unwrap();
        host.daemon.child.wait().unwrap();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        load.join().unwrap();
    });
}

/// `GQOS_KILLS=1000 cargo test --test daemon kills_at_random -- --nocapture`
#[test]
fn kills_at_random_moments_under_load_leave_nothing() {
    let settings = "[daemon]\ngrace = \"300 ms\"\n";
    let policy = format!("{}{settings}", POLICY.replace("10 Mbit/s", "1 Mbit/s"));
    let Some(mut host) = Host::start_under(&policy) else { return };
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    // A flow that sends over all kills, by one class.
    let _peer = host.network.client.run(async { UdpSocket::bind((CLIENT_V4, 9)).unwrap() }).unwrap();
    let (kept, mut client) = (host.socket(), host.daemon.client());
    let class = granted(&mut client, "kept")["admitted"]["class"].as_str().unwrap().to_owned();
    client.call_with(("Attach", json!({ "id": "kept" })), &kept).unwrap();
    host.until_written("\"cookie\"");
    drop(client);
    let (mut sockets, mut sent) = (Vec::new(), 0);
    let (rounds, begun) = (kills(25), Instant::now());
    for round in 0..rounds {
        kill_under_load(&mut host, round, &mut sockets, std::time::Duration::from_micros(random(30_000)));
        // Some end while there is no daemon.
        sockets.retain(|_| random(3) > 0);
        (0..10).for_each(|_| assert_eq!(kept.send(&[0; 1000]).unwrap(), 1000));
        sent += 10_000;
        until("the flow sends by its class without a daemon", || host.sent_bytes(&class) >= sent);
        host.daemon = Program::start(&host.network, host.directory.path());
        let mut client = host.daemon.client();
        let held = flows(&mut client);
        assert!(held.iter().any(|flow| flow["id"] == "kept" && flow["class"] == class), "{held:?}");
        // Meanwhile what nobody claims ends.
        until("the ledger and the kernel have the same", || {
            let held = flows(&mut client);
            let classes: std::collections::BTreeSet<_> =
                held.iter().map(|flow| flow["class"].to_string()).collect();
            assert_eq!(classes.len(), held.len(), "no two have one class: {held:?}");
            let rates = MBIT * u64::try_from(held.len()).unwrap();
            host.leaves() == held.len() && reserved(&mut client) == rates
        });
    }
    let seconds = begun.elapsed().as_secs();
    println!("{rounds} kills under load in {seconds} s, {} sockets left", sockets.len());
    let mut client = host.daemon.client();
    until("what nobody claims has ended", || flows(&mut client).len() <= sockets.len() + 1);
    drop((sockets, kept));
    until("no reservation is left", || flows(&mut client).is_empty() && reserved(&mut client) == 0);
    until("and no class", || host.leaves() == 0);
}
