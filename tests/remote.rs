//! A client of the daemon, against a daemon whose answers the test chooses: what is sent, what a loss, a dropped request and
//! the daemon's end lead to.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flowspec::{Both, Bytes, Flowspec, Moment, Qos, Rate, Wsa};
use gqos::admission::{NewFlow, Operation, Request as LedgerRequest};
use gqos::connect::{Ask, ConnectError, Host, ReservationRequest};
use gqos::control::{Call, ClientNotice, DecisionReply, FrameReader, MethodCall, Reply, encode};
use gqos::engine::{Engine, EngineError, Granted, RemoteEngine, ReservationBackend};
use gqos::manager::{Admitted, DryRun, Loss, Lost};
use gqos::policy::{PeerTimeouts, Policy, Protocol, Subject};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

const POLICY: &str =
    "version = 1\n[interface.eth0]\negress = { capacity = \"100 Mbit/s\", reservable = \"80%\" }\n";

/// A daemon that decides by a ledger and records what it is asked.
struct TestDaemon {
    state: Arc<DaemonState>,
    accepting: JoinHandle<()>,
}

struct DaemonState {
    ledger: Mutex<DryRun>,
    /// The calls in their order: `Reserve v1`.
    calls: mpsc::UnboundedSender<String>,
    notices: Mutex<Vec<mpsc::UnboundedSender<ClientNotice>>>,
    /// Answers wait until this is `true`.
    answers: watch::Sender<bool>,
}

impl TestDaemon {
    fn start(socket: &Path) -> (Self, mpsc::UnboundedReceiver<String>) {
        let (calls, called) = mpsc::unbounded_channel();
        let policy: Policy = POLICY.parse().unwrap();
        let state = Arc::new(DaemonState {
            ledger: Mutex::new(DryRun::new(Arc::new(policy))),
            calls,
            notices: Mutex::default(),
            answers: watch::Sender::new(true),
        });
        let _ = std::fs::remove_file(socket);
        let listener = UnixListener::bind(socket).unwrap();
        let serving = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            // Ends its connections when it is aborted.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve(Arc::clone(&serving), stream));
            }
        });
        (Self { state, accepting }, called)
    }

    fn notify(&self, notice: &ClientNotice) {
        let notices = self.state.notices.lock().unwrap();
        assert!(notices.iter().filter(|notices| notices.send(notice.clone()).is_ok()).count() > 0);
    }

    async fn kill(self) {
        self.accepting.abort();
        let _ = self.accepting.await;
    }

    fn reserved(&self) -> Rate {
        let ledger = self.state.ledger.lock().unwrap();
        ledger.ledger().totals("eth0").unwrap().sending.reserved
    }
}

async fn serve(state: Arc<DaemonState>, mut stream: UnixStream) {
    let (mut frames, mut buffer) = (FrameReader::new(1 << 16), [0; 4096]);
    loop {
        let Ok(read) = stream.read(&mut buffer).await else { return };
        if read == 0 {
            return;
        }
        frames.push(&buffer[..read]);
        while let Some(message) = frames.next_message().unwrap() {
            let call = Call::read(&message).unwrap();
            let oneway = call.oneway;
            let request = call.request().unwrap();
            let id = id(&request);
            let (_, name) = request.method().name().rsplit_once('.').unwrap();
            state.calls.send(format!("{name} {id}")).unwrap();
            if let MethodCall::Wait(_) = request {
                return notify(&state, stream).await;
            }
            let reply = answer(&state, &request, &id);
            state.answers.subscribe().wait_for(|answers| *answers).await.unwrap();
            if !oneway {
                stream.write_all(&encode(&reply).unwrap()).await.unwrap();
            }
        }
    }
}

async fn notify(state: &DaemonState, mut stream: UnixStream) {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    sender.send(ClientNotice::Listening {}).unwrap();
    state.notices.lock().unwrap().push(sender);
    while let Some(notice) = receiver.recv().await {
        let reply = Reply::answer(&notice, true).unwrap();
        if stream.write_all(&encode(&reply).unwrap()).await.is_err() {
            return;
        }
    }
}

fn id(request: &MethodCall) -> String {
    match request {
        MethodCall::Reserve(reserve) => reserve.id.clone().unwrap_or_default(),
        MethodCall::Commit(flow) | MethodCall::Attach(flow) => flow.id.clone(),
        MethodCall::Release(release) => release.id.clone(),
        _ => String::new(),
    }
}

fn answer(state: &DaemonState, request: &MethodCall, id: &str) -> Reply {
    let mut ledger = state.ledger.lock().unwrap();
    match request {
        MethodCall::Reserve(reserve) => {
            let qos = Qos::sending(reserve.sending.unwrap());
            let request = LedgerRequest::new(NewFlow { id, interface: "eth0" }, qos);
            let decision = ledger.decide(Operation::Reserve(Box::new(request.into())), Moment::START);
            let admitted = decision.is_ok().then(|| Admitted {
                tspec: Both { sending: None, receiving: None },
                class: None,
                dscp: None,
                timeouts: PeerTimeouts::default(),
                owed: Both { sending: Bytes::ZERO, receiving: Bytes::ZERO },
                begins: None,
            });
            Reply::answer(&DecisionReply { decision, admitted, epoch: None, details: true }, false).unwrap()
        }
        MethodCall::Release(_) => {
            ledger.decide(Operation::Release { id: id.to_owned() }, Moment::START);
            Reply::default()
        }
        MethodCall::Commit(_) | MethodCall::Attach(_) => Reply::default(),
        other => panic!("{other:?}"),
    }
}

fn request(id: &str, megabits: u64) -> ReservationRequest {
    let flowspec = Flowspec::guaranteed(Rate::from_mbit(megabits), Bytes::new(65_536));
    let subject = Subject { protocol: Protocol::Tcp, local_port: 0, peer: Ipv4Addr::LOCALHOST.into() };
    ReservationRequest::new(Ask::qos(Qos::sending(flowspec)).id(id), subject)
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("gqos.sock");
    (directory, socket)
}

/// The next calls that the daemon receives are these.
async fn check(called: &mut mpsc::UnboundedReceiver<String>, expected: &[&str]) {
    for expected in expected {
        assert_eq!(called.recv().await.unwrap(), *expected);
    }
}

/// Waits until something is so: the client and the daemon are tasks.
async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..6000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("after 30 s: {what}");
}

#[tokio::test]
async fn a_reservation_is_one_call_and_its_end_another() {
    let (_directory, socket) = place();
    let (daemon, mut called) = TestDaemon::start(&socket);
    let engine = RemoteEngine::connect(&socket).await.unwrap();
    check(&mut called, &["Wait "]).await;
    let granted = engine.reserve(request("v1", 60)).await.unwrap();
    assert_eq!(granted.decision.id(), Some("v1"));
    assert_eq!(daemon.reserved(), Rate::from_mbit(60));
    let Err(EngineError::Refused(decision)) = engine.reserve(request("v2", 30)).await else { panic!() };
    assert_eq!((decision.error(), decision.would_fit()), (Some(Wsa::Eopnotsupp), Some(Rate::from_mbit(20))));
    granted.reservation.connected();
    drop(granted);
    check(&mut called, &["Reserve v1", "Reserve v2", "Commit v1", "Release v1"]).await;
    until("the reservation is released", || daemon.reserved() == Rate::ZERO).await;
    drop(engine);
    daemon.kill().await;
}

#[tokio::test]
async fn a_request_that_is_given_up_holds_nothing() {
    let (_directory, socket) = place();
    let (daemon, mut called) = TestDaemon::start(&socket);
    let engine = RemoteEngine::connect(&socket).await.unwrap();
    daemon.state.answers.send_replace(false);
    let asking = {
        let engine = Arc::clone(&engine);
        tokio::spawn(async move { engine.reserve(request("v1", 60)).await })
    };
    check(&mut called, &["Wait ", "Reserve v1"]).await;
    asking.abort();
    assert!(asking.await.is_err_and(|error| error.is_cancelled()));
    daemon.state.answers.send_replace(true);
    check(&mut called, &["Release v1"]).await;
    until("nothing is held", || daemon.reserved() == Rate::ZERO).await;
}

fn lost(id: &str) -> Lost {
    Lost { id: id.into(), interface: "eth0".into(), why: Loss::Preempted { by: "v9".into() } }
}

#[tokio::test]
async fn a_loss_reaches_its_flow_even_before_the_answer_to_its_request() {
    let (_directory, socket) = place();
    let (daemon, mut called) = TestDaemon::start(&socket);
    let engine = RemoteEngine::connect(&socket).await.unwrap();
    let [first, second] =
        [engine.reserve(request("v1", 10)).await.unwrap(), engine.reserve(request("v2", 10)).await.unwrap()];
    daemon.notify(&ClientNotice::Lost { lost: lost("v1") });
    let state = first.reservation.state();
    until("v1 is lost", || state.lost().is_some()).await;
    assert_eq!(state.lost(), Some(lost("v1")));
    assert_eq!(second.reservation.state().lost(), None);
    daemon.state.answers.send_replace(false);
    let asking = {
        let engine = Arc::clone(&engine);
        tokio::spawn(async move { engine.reserve(request("v3", 10)).await })
    };
    check(&mut called, &["Wait ", "Reserve v1", "Reserve v2", "Reserve v3"]).await;
    daemon.notify(&ClientNotice::Lost { lost: lost("v3") });
    // Read before the answer, since it was sent before: the streams are independent, so wait until it is certain.
    tokio::time::sleep(Duration::from_millis(50)).await;
    daemon.state.answers.send_replace(true);
    let third = asking.await.unwrap().unwrap();
    let state = third.reservation.state();
    until("v3 is lost", || state.lost().is_some()).await;
    // What is lost is not released once more; another flow may have its id.
    drop((first, third));
    drop(second);
    check(&mut called, &["Release v2"]).await;
}

#[tokio::test]
async fn without_a_daemon_the_code_is_wsaenetdown() {
    let (_directory, socket) = place();
    let error = Host::connect_daemon(&socket).await.unwrap_err();
    assert!(error.to_string().starts_with("the daemon cannot be reached: connect ("), "{error}");
    assert_eq!(error.wsa(), Wsa::Enetdown);
    // A socket that nothing listens at.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let error = Host::connect_daemon(&socket).await.unwrap_err();
    assert!(matches!(&error, ConnectError::Daemon(error) if error.is_unreachable()), "{error}");
    assert_eq!(error.wsa(), Wsa::Enetdown);
    // A daemon that ends while a request has no answer, and is not there for the next.
    let (daemon, mut called) = TestDaemon::start(&socket);
    let host = Host::connect_daemon(&socket).await.unwrap();
    assert_eq!(host.daemon(), Some(socket.as_path()));
    daemon.state.answers.send_replace(false);
    let asking = {
        let host = host.clone();
        tokio::spawn(async move { host.reserve(request("v1", 10)).await.map(|_| ()) })
    };
    check(&mut called, &["Wait ", "Reserve v1"]).await;
    daemon.kill().await;
    let errors = [asking.await.unwrap().unwrap_err(), host.reserve(request("v2", 10)).await.err().unwrap()];
    for error in errors {
        assert!(matches!(&error, ConnectError::Daemon(error) if error.is_unreachable()), "{error}");
        assert_eq!(error.wsa(), Wsa::Enetdown, "{error}");
    }
}

/// Reserves for a TCP socket, and attaches it.
async fn attached(engine: &RemoteEngine, id: &str, megabits: u64) -> (Granted, Arc<std::net::TcpStream>) {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let stream = Arc::new(std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap());
    let granted = engine.reserve(request(id, megabits)).await.unwrap();
    assert!(granted.reservation.marks_sockets());
    granted.reservation.attach(Arc::downgrade(&stream) as _);
    granted.reservation.connected();
    (granted, stream)
}

#[tokio::test]
async fn a_flow_waits_until_its_socket_is_attached() {
    let (_directory, socket) = place();
    let (daemon, mut called) = TestDaemon::start(&socket);
    let engine = RemoteEngine::connect(&socket).await.unwrap();
    let granted = engine.reserve(request("v1", 10)).await.unwrap();
    // Nothing is attached yet.
    engine.attached("v1").await;
    daemon.state.answers.send_replace(false);
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let stream = Arc::new(std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap());
    granted.reservation.attach(Arc::downgrade(&stream) as _);
    let waiting = {
        let engine = Arc::clone(&engine);
        tokio::spawn(async move { engine.attached("v1").await })
    };
    check(&mut called, &["Wait ", "Reserve v1", "Attach v1"]).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished(), "the daemon has not answered");
    daemon.state.answers.send_replace(true);
    waiting.await.unwrap();
    // A daemon that is gone holds up nothing.
    daemon.state.answers.send_replace(false);
    granted.reservation.attach(Arc::downgrade(&stream) as _);
    check(&mut called, &["Attach v1"]).await;
    daemon.kill().await;
    engine.attached("v1").await;
}

#[tokio::test]
async fn reservations_outlive_the_daemon_that_granted_them() {
    let (_directory, socket) = place();
    let (daemon, mut called) = TestDaemon::start(&socket);
    let engine = RemoteEngine::connect(&socket).await.unwrap();
    let (small, _stream) = attached(&engine, "small", 10).await;
    check(&mut called, &["Wait ", "Reserve small", "Attach small", "Commit small"]).await;
    daemon.kill().await;
    let (daemon, mut called) = TestDaemon::start(&socket);
    // Asked for again without anybody doing anything.
    check(&mut called, &["Wait ", "Reserve small", "Attach small", "Commit small"]).await;
    until("its rate is reserved", || daemon.reserved() == Rate::from_mbit(10)).await;
    let large = engine.reserve(request("large", 60)).await.unwrap();
    daemon.kill().await;
    // The next daemon has capacity for one of both, and another client was faster.
    let (daemon, mut called) = TestDaemon::start(&socket);
    let other = LedgerRequest::new(
        NewFlow { id: "other", interface: "eth0" },
        Qos::sending(Flowspec::guaranteed(Rate::from_mbit(65), Bytes::new(65_536))),
    );
    let decision = {
        let mut ledger = daemon.state.ledger.lock().unwrap();
        ledger.decide(Operation::Reserve(Box::new(other.into())), Moment::START)
    };
    assert!(decision.is_ok());
    let state = large.reservation.state();
    until("the large one is lost", || state.lost().is_some()).await;
    assert_eq!(state.lost().map(|lost| lost.why), Some(Loss::EngineGone));
    until("the small one stands", || daemon.reserved() == Rate::from_mbit(75)).await;
    assert_eq!(small.reservation.state().lost(), None);
    drop((small, large));
    loop {
        let call = called.recv().await.unwrap();
        assert_ne!(call, "Release large", "it is lost already");
        if call == "Release small" {
            break;
        }
    }
}

#[tokio::test]
async fn a_reservation_that_is_released_while_the_client_connects_again_is_not_kept() {
    let (_directory, socket) = place();
    let (daemon, mut called) = TestDaemon::start(&socket);
    let engine = RemoteEngine::connect(&socket).await.unwrap();
    let granted = engine.reserve(request("v1", 60)).await.unwrap();
    check(&mut called, &["Wait ", "Reserve v1"]).await;
    daemon.kill().await;
    let (daemon, mut called) = TestDaemon::start(&socket);
    daemon.state.answers.send_replace(false);
    check(&mut called, &["Wait ", "Reserve v1"]).await;
    drop(granted);
    daemon.state.answers.send_replace(true);
    check(&mut called, &["Release v1"]).await;
    until("nothing is held", || daemon.reserved() == Rate::ZERO).await;
}

#[tokio::test]
async fn a_stopped_client_reserves_nothing_more() {
    let (_directory, socket) = place();
    let (_daemon, _called) = TestDaemon::start(&socket);
    let host = Host::connect_daemon(&socket).await.unwrap();
    let other = host.clone();
    host.stop().await;
    let error = other.reserve(request("v1", 10)).await.err().unwrap();
    assert!(matches!(error, ConnectError::Stopped), "{error}");
}

/// A policy with which clients go on without the daemon, in this way.
fn degrading(degrade: &str) -> Policy {
    let text = format!(
        "version = 1\n[daemon]\ndegrade = \"{degrade}\"\n[template.hd]\nsending = {{ service_type = \"guaranteed\", token_rate = \"6 Mbit/s\", token_bucket_size = \"64 KiB\" }}\n"
    );
    text.parse().unwrap()
}

#[tokio::test]
async fn a_flow_that_begins_without_the_daemon_is_paced_and_reserved_once_it_is_there() {
    let (_directory, socket) = place();
    let refused = Host::connect_daemon_under(&socket, &degrading("refuse")).await.unwrap_err();
    assert_eq!(refused.wsa(), Wsa::Enetdown);
    let host = Host::connect_daemon_under(&socket, &degrading("local-bucket")).await.unwrap();
    let granted = host.reserve(request("v1", 10)).await.unwrap();
    let tspec = granted.admitted.tspec.sending.unwrap();
    assert_eq!((tspec.token_rate(), granted.admitted.class), (Rate::from_mbit(10), None));
    assert!(granted.decision.lacks_reservation(), "{:?}", granted.decision);
    // Another flow of this id is not granted beside it.
    let Err(error) = host.reserve(request("v1", 10)).await else { panic!("the id is taken") };
    assert_eq!(error.wsa(), Wsa::Enetdown);
    let (ended, begun) = (host.reserve(request("v2", 10)).await.unwrap(), Arc::new(Mutex::new(None)));
    drop(ended);
    let begins = Arc::clone(&begun);
    granted.reservation.state().on_begin(move |admitted| *begins.lock().unwrap() = Some(admitted.clone()));
    let (daemon, mut called) = TestDaemon::start(&socket);
    check(&mut called, &["Wait ", "Reserve v1"]).await;
    until("its flow has a reservation", || begun.lock().unwrap().is_some()).await;
    assert_eq!(daemon.reserved(), Rate::from_mbit(10), "of the flow that is there alone");
    let next = host.reserve(request("v3", 10)).await.unwrap();
    assert!(!next.decision.lacks_reservation());
    drop(granted);
    check(&mut called, &["Reserve v3", "Release v1"]).await;
    drop(next);
    daemon.kill().await;
}

#[tokio::test]
async fn a_flow_that_the_daemon_refuses_later_is_lost() {
    let (_directory, socket) = place();
    let host = Host::connect_daemon_under(&socket, &degrading("local-bucket")).await.unwrap();
    let flows =
        [host.reserve(request("v1", 60)).await.unwrap(), host.reserve(request("v2", 60)).await.unwrap()];
    let (daemon, _called) = TestDaemon::start(&socket);
    let lost = || flows.iter().filter(|flow| flow.reservation.state().lost().is_some()).count();
    until("one of them is lost: 80 Mbit/s may be reserved", || lost() == 1).await;
    assert_eq!(daemon.reserved(), Rate::from_mbit(60));
    daemon.kill().await;
}

#[tokio::test]
async fn the_daemon_says_what_clients_without_a_policy_do() {
    let (_directory, socket) = place();
    let asked = |ask: Ask| ReservationRequest::new(ask, request("", 1).subject);
    for (degrade, own, rate) in [
        ("local-bucket", None, Some(Rate::from_mbit(6))),
        ("best_effort", None, None),
        // The client's own word counts.
        ("local-bucket", Some("best_effort"), None),
    ] {
        let (daemon, mut called) = TestDaemon::start(&socket);
        let host = match own {
            None => Host::connect_daemon(&socket).await.unwrap(),
            Some(own) => Host::connect_daemon_under(&socket, &degrading(own)).await.unwrap(),
        };
        let policy = degrading(degrade).for_clients().unwrap().effective();
        daemon.notify(&ClientNotice::Degrade { policy: Some(policy) });
        // The answer to a request comes by the other connection: wait until the notice was read as well.
        check(&mut called, &["Wait "]).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        daemon.kill().await;
        let granted = host.reserve(asked(Ask::template("hd"))).await.unwrap();
        let paced = granted.admitted.tspec.sending.map(|tspec| tspec.token_rate());
        assert_eq!((paced, granted.decision.lacks_reservation()), (rate, true), "{degrade}, {own:?}");
        let Err(error) = host.reserve(asked(Ask::template("other"))).await else { panic!("{degrade}") };
        assert_eq!(error.wsa(), Wsa::Enetdown, "a template that is not known: {error}");
    }
}

#[tokio::test]
async fn requests_wait_for_a_daemon_that_starts_again() {
    let (_directory, socket) = place();
    let (daemon, _called) = TestDaemon::start(&socket);
    let host = Host::connect_daemon(&socket).await.unwrap();
    daemon.kill().await;
    let asking = {
        let host = host.clone();
        tokio::spawn(async move { host.reserve(request("v1", 10)).await })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!asking.is_finished(), "it waits");
    let (daemon, _called) = TestDaemon::start(&socket);
    let granted = asking.await.unwrap().unwrap();
    assert!(!granted.decision.lacks_reservation());
    assert_eq!(daemon.reserved(), Rate::from_mbit(10));
    daemon.kill().await;
}
