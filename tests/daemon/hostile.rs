//! A client that floods, stalls, sends rubbish and passes wrong descriptors delays and breaks nothing but itself.

use std::fs::File;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;

use gqos::control::limits::{MOST_CALL_BYTES, MOST_CONNECTIONS_OF_A_USER};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use serde_json::json;

use super::client::{Client, OTHER, POLICY, TestDaemon, USER, fails, until};

/// Another user is served.
#[track_caller]
fn check_honest(daemon: &TestDaemon) {
    let mut honest = daemon.client_as(USER);
    honest.admitted("honest", "video");
    honest.call("Release", json!({ "id": "honest" })).unwrap();
}

#[test]
fn wrong_descriptors_are_refused() {
    let Some(daemon) = TestDaemon::start(POLICY) else { return };
    let mut client = daemon.client_as(OTHER);
    client.admitted("v1", "video");
    client.admitted("v2", "video");
    let attach = |id: &str| ("Attach", json!({ "id": id }));
    let file = File::open("/proc/self/status").unwrap();
    let (local, _peer) = UnixStream::pair().unwrap();
    let listener = daemon.inside(|| TcpListener::bind("127.0.0.1:0").unwrap());
    let elsewhere = UdpSocket::bind("127.0.0.1:0").unwrap();
    let descriptors: [&dyn AsFd; 4] = [&file, &local, &listener, &elsewhere];
    for descriptor in descriptors {
        fails(client.call_with(attach("v1"), descriptor), "Descriptor");
    }
    fails(client.call("Attach", json!({ "id": "v1" })), "Descriptor");
    let socket = daemon.inside(|| UdpSocket::bind("127.0.0.1:0").unwrap());
    client.call_with(attach("v1"), &socket).unwrap();
    fails(client.call_with(attach("v2"), &socket), "Descriptor");
    assert!(client.call_with(attach("v1"), &socket).is_ok(), "its own again");
    fails(client.call_with(("Commit", json!({ "id": "v1" })), &socket), "Descriptor");
    check_honest(&daemon);
    daemon.until_held(2, 2_500_000);
}

/// A message whose rest comes with other messages keeps the descriptor that came with its start.
#[test]
fn descriptors_come_with_the_bytes_that_they_were_sent_with() {
    let Some(daemon) = TestDaemon::start(POLICY) else { return };
    let mut client = daemon.client_as(OTHER);
    client.admitted("v1", "video");
    client.admitted("v2", "video");
    let attach = |id: &str| {
        format!("{{\"method\":\"org.gqos.Attach\",\"parameters\":{{\"id\":\"{id}\"}}}}\0").into_bytes()
    };
    let socket = || daemon.inside(|| UdpSocket::bind("127.0.0.1:0").unwrap());
    let (first, second) = (socket(), socket());
    let (start, rest) = (&attach("v1")[..20], &attach("v1")[20..]);
    let status = b"{\"method\":\"org.gqos.Status\"}\0";
    let send = |client: &Client, bytes: &[u8], with: &UdpSocket| {
        let sent = gqos::linux::send_with_descriptor(client.stream(), bytes, Some(with.as_fd())).unwrap();
        assert_eq!(sent, bytes.len());
    };
    send(&client, start, &first);
    until("the daemon has read the start", || unread(&client) == 0);
    client.send_bytes(&[rest, status].concat()).unwrap();
    client.answer().unwrap();
    client.answer().unwrap();
    send(&client, start, &first);
    until("the daemon has read the start", || unread(&client) == 0);
    let both = [rest, &attach("v2")].concat();
    send(&client, &both, &second);
    client.answer().unwrap();
    client.answer().unwrap();
    send(&client, start, &first);
    until("the daemon has read the start", || unread(&client) == 0);
    send(&client, rest, &second);
    fails(client.answer(), "Descriptor");
    until_closed(client);
    check_honest(&daemon);
}

/// How many bytes the daemon has not read yet. Source: unix(7), SIOCOUTQ.
fn unread(client: &Client) -> i32 {
    let mut unread = 0;
    // SAFETY: the call writes one integer.
    let asked =
        unsafe { nix::libc::ioctl(client.stream().as_raw_fd(), nix::libc::TIOCOUTQ, &raw mut unread) };
    assert_eq!(asked, 0);
    unread
}

#[test]
fn a_message_with_many_descriptors_ends_its_connection() {
    let Some(daemon) = TestDaemon::start(POLICY) else { return };
    let before = open_descriptors(&daemon);
    for count in [2, 3, 253] {
        let client = daemon.client_as(OTHER);
        let file = File::open("/proc/self/status").unwrap();
        let descriptors = vec![file.as_raw_fd(); count];
        let bytes = b"{\"method\":\"org.gqos.Attach\",\"parameters\":{\"id\":\"v1\"}}\0";
        let rights = [ControlMessage::ScmRights(&descriptors)];
        let slices = [std::io::IoSlice::new(bytes)];
        let raw = client.stream().as_raw_fd();
        sendmsg::<()>(raw, &slices, &rights, MsgFlags::empty(), None).unwrap();
        until_closed(client);
        check_honest(&daemon);
    }
    // Files are closed on other threads.
    until("no descriptor is left", || open_descriptors(&daemon) <= before);
}

/// How many files named `status` the daemon has open.
fn open_descriptors(daemon: &TestDaemon) -> usize {
    let status = std::fs::read_dir(format!("/proc/{}/fd", daemon.process())).unwrap();
    let is_file = |entry: &std::fs::DirEntry| {
        std::fs::read_link(entry.path()).is_ok_and(|link| link.ends_with("status"))
    };
    status.filter_map(Result::ok).filter(is_file).count()
}

/// Reads replies until the daemon closes the connection.
#[track_caller]
fn until_closed(mut client: Client) {
    while client.reply().is_some() {}
}

#[test]
fn rubbish_ends_its_connection() {
    let Some(daemon) = TestDaemon::start(POLICY) else { return };
    let deep = format!("{}{}\0", "[".repeat(17), "]".repeat(17));
    let unended = "x".repeat(MOST_CALL_BYTES + 1);
    for rubbish in ["\0", "rubbish\0", "{}\0", "[1]\0", "{\"method\":7}\0", &deep, &unended] {
        let mut client = daemon.client_as(OTHER);
        // The daemon may close the connection before it has read all.
        drop(client.send_bytes(rubbish.as_bytes()));
        until_closed(client);
        check_honest(&daemon);
    }
    let mut client = daemon.client_as(OTHER);
    let most = format!("{{\"method\":\"org.gqos.Status\"{}}}\0", " ".repeat(MOST_CALL_BYTES - 28));
    assert_eq!(most.len(), MOST_CALL_BYTES + 1);
    client.send_bytes(most.as_bytes()).unwrap();
    assert!(client.answer().is_ok(), "as long as may be");
}

#[test]
fn a_message_that_is_not_finished_ends_its_connection_and_an_idle_one_does_not() {
    let Some(daemon) = TestDaemon::start(POLICY) else { return };
    let (mut idle, mut half) = (daemon.client_as(OTHER), daemon.client_as(OTHER));
    idle.admitted("v1", "video");
    half.send_bytes(b"{\"method\":").unwrap();
    check_honest(&daemon);
    until_closed(half);
    assert_eq!(idle.call("Commit", json!({ "id": "v1" })), Ok(json!({})));
}

#[test]
fn a_client_that_does_not_read_delays_itself_alone() {
    let Some(daemon) = TestDaemon::start(POLICY) else { return };
    let mut deaf = daemon.client_as(OTHER);
    deaf.admitted("v1", "video");
    let flood = std::thread::spawn(move || {
        let call = b"{\"method\":\"org.varlink.service.GetInterfaceDescription\",\"parameters\":{\"interface\":\"org.gqos\"}}\0";
        // Until the daemon gives the client up.
        while deaf.send_bytes(call).is_ok() {}
    });
    for _ in 0..20 {
        check_honest(&daemon);
    }
    // What it held is released with its connection.
    flood.join().unwrap();
    daemon.until_held(0, 0);
}

#[test]
fn a_stream_with_calls_behind_it_is_closed_once_the_queue_is_full() {
    let Some(daemon) = TestDaemon::start(POLICY) else { return };
    let mut client = daemon.client_as(OTHER);
    client.admitted("v1", "video");
    client.send("Wait", json!({}), true);
    assert_eq!(client.answer().unwrap()["notice"], "listening");
    for _ in 0..200 {
        let sent = client.send_bytes(b"{\"method\":\"org.gqos.Status\"}\0");
        if sent.is_err() {
            break;
        }
    }
    until_closed(client);
    daemon.until_held(0, 0);
}

#[test]
fn one_user_has_so_many_connections_and_reservations() {
    let policy = format!("{POLICY}[daemon]\nflows_per_user = 3\n").replace("10 Mbit/s", "1 Mbit/s");
    let Some(daemon) = TestDaemon::start(&policy) else { return };
    let mut clients: Vec<_> = (0..MOST_CONNECTIONS_OF_A_USER).map(|_| daemon.client_as(OTHER)).collect();
    // The daemon has accepted the last one once it answers.
    for client in &mut clients {
        client.call("Status", json!({})).unwrap();
    }
    let mut one_more = daemon.client_as(OTHER);
    fails(one_more.answer(), "TooManyConnections");
    until_closed(one_more);
    check_honest(&daemon);
    for (number, client) in clients.iter_mut().take(3).enumerate() {
        client.admitted(&format!("v{number}"), "video");
    }
    let asked = json!({ "id": "v3", "interface": "eth0", "template": "video" });
    fails(clients[3].call("Reserve", asked.clone()), "TooManyFlows");
    clients[0].call("Release", json!({ "id": "v0" })).unwrap();
    assert_eq!(clients[3].reserve(asked)["ok"], true);
    drop(clients);
    daemon.until_held(0, 0);
}

#[test]
fn calls_without_a_pause_are_slowed_down() {
    let policy = format!("{POLICY}[daemon]\ncalls_per_second = 10\n");
    let Some(daemon) = TestDaemon::start(&policy) else { return };
    let mut clients: Vec<_> = (0..30).map(|_| daemon.client_as(OTHER)).collect();
    for client in &mut clients {
        client.send("Status", json!({}), false);
    }
    let answers: Vec<_> = clients.iter_mut().map(Client::answer).collect();
    let refused =
        answers.iter().filter(|answer| matches!(answer, Err((error, _)) if error == "TooManyCalls"));
    assert!(refused.count() > 0, "three seconds' worth of calls: {answers:?}");
    check_honest(&daemon);
}
