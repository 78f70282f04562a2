//! One client's connection, from its acceptance to its record.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use flowspec::Direction;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::admission::{ProxyAdmission, RequestSubject};
use super::answer::{fault, not_enough_bandwidth, service_unavailable};
use super::bad_start::{BadStart, NoStart};
use super::client_connections::{ClientConnection, ClientConnections};
use super::client_hello;
use super::clock::{duration, micros, now, since, unix_micros};
use super::header::{self, Addresses};
use super::http::Head;
use super::incoming::{Incoming, Phase, close_gently, reset};
use super::progress::UpEnd;
use super::record::{ConnectionEnd, ConnectionRecord, canonical};
use super::relay::{RelayEnd, Upward, relay};
use super::requests::Requests;
use super::rtsp::RtspHead;
use crate::connect::{ConnectError, Connection, Flow, Host};
use crate::policy::{Proxy, ProxyProtocol, RefuseAs};

/// What all connections of a proxy share.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) host: Host,
    pub(super) name: String,
    pub(super) proxy: Arc<Proxy>,
    /// The operator's page for refusals by HTTP.
    pub(super) page: Option<Vec<u8>>,
    pub(super) phase: watch::Receiver<Phase>,
    /// The connections of all proxies of the server.
    pub(super) clients: Arc<ClientConnections>,
}

/// What the start of a connection shows.
enum Start {
    Http(Box<Head>),
    Rtsp(RtspHead),
    /// With the server name, where the ClientHello has one.
    Tls(Option<String>),
    Unread,
}

struct Session<'a> {
    served: &'a Served,
    accepted: Instant,
    record: ConnectionRecord,
    /// Set once the connection is admitted, and dropped after it.
    entered: Option<ClientConnection>,
}

/// Serves a connection to its end.
pub(super) async fn serve(served: &Served, connection: Connection) -> ConnectionRecord {
    let flow = Arc::clone(connection.flow());
    let record = ConnectionRecord::new(&served.name, connection.peer());
    let mut session = Session { served, accepted: now(), record, entered: None };
    session.run(connection).await;
    let mut record = session.record;
    let sent = flow.control().stats(Direction::Sending);
    record.sent_bytes = sent.bytes;
    record.waits = sent.waits;
    record.received_bytes = flow.control().stats(Direction::Receiving).bytes;
    record.lost = flow.lost().map(|lost| lost.to_string());
    record.duration_us = micros(since(session.accepted));
    record.unix_us = unix_micros();
    record
}

/// What is known of a connection when it is passed on.
struct Opening {
    start: Start,
    /// What was read, and is not in `start`.
    buffer: Vec<u8>,
    /// The one that was granted.
    rendition: Option<String>,
    admission: ProxyAdmission,
}

impl Session<'_> {
    fn end(&mut self, end: ConnectionEnd, detail: Option<String>) {
        (self.record.end, self.record.detail) = (end, detail);
    }

    async fn run(&mut self, connection: Connection) {
        let proxy = &self.served.proxy;
        let peer = connection.peer();
        let server = match connection.socket().local_addr() {
            Ok(server) => server,
            // Rules for ports and the header to the origin need it.
            Err(error) => return self.end(ConnectionEnd::Failed, Some(format!("getsockname: {error}"))),
        };
        let mut addresses = Addresses { client: peer, server };
        let mut incoming = Incoming::new(connection, proxy.limits, self.served.phase.clone());
        if proxy.expects_header(peer.ip()) {
            let (stated, length) = match incoming.read(header::parse).await {
                Ok(read) => read,
                Err(why) => return self.no_start(incoming.connection, why).await,
            };
            incoming.buffer.drain(..length);
            addresses = stated.unwrap_or(addresses);
            self.record.client =
                Some(canonical(addresses.client)).filter(|client| *client != canonical(peer));
        }
        let start = match self.read_start(&mut incoming).await {
            Ok(start) => start,
            Err(why) => return self.no_start(incoming.connection, why).await,
        };
        let flow = Arc::clone(incoming.connection.flow());
        let clients = &self.served.clients;
        let mut admission = ProxyAdmission::new((proxy, clients), Arc::clone(&flow), addresses);
        let admitted = admission.admit(start.shown()).await;
        self.record.admission_us = Some(micros(since(self.accepted)));
        let rendition = match admitted {
            Ok(rendition) => rendition,
            Err(error) => return self.refuse(incoming.connection, &start, &error).await,
        };
        self.entered = Some(admission.enter());
        self.record.flow = flow.id();
        self.record.lacking = lacking(&flow);
        self.record.rendition.clone_from(&rendition);
        let origin = match self.connect(addresses).await {
            Ok(origin) => origin,
            Err(error) => return self.no_origin(incoming.connection, &start, error).await,
        };
        let Incoming { connection, buffer, .. } = incoming;
        let opening = Opening { start, buffer, rendition, admission };
        self.pass(connection, origin, opening).await;
        if let Some(rendition) = flow.rendition() {
            self.record.rendition = Some(rendition);
        }
    }

    async fn read_start(&mut self, incoming: &mut Incoming) -> Result<Start, NoStart> {
        let most = usize::try_from(self.served.proxy.limits.head.get()).unwrap_or(usize::MAX);
        let record = &mut self.record;
        match self.served.proxy.protocol {
            ProxyProtocol::Http => {
                let (head, length) = incoming.read(|bytes| Head::parse(bytes, most)).await?;
                incoming.buffer.drain(..length);
                (record.host, record.path) = (head.host.clone(), Some(head.path.clone()));
                Ok(Start::Http(Box::new(head)))
            }
            ProxyProtocol::Rtsp => {
                let head = incoming.read(|bytes| RtspHead::parse(bytes, most)).await?;
                (record.host, record.path) = (head.host.clone(), Some(head.path.clone()));
                Ok(Start::Rtsp(head))
            }
            ProxyProtocol::Tls => {
                let name = incoming.read(|bytes| client_hello::server_name(bytes, most)).await?;
                record.sni.clone_from(&name);
                Ok(Start::Tls(name))
            }
            ProxyProtocol::Rtmp | ProxyProtocol::Tcp | ProxyProtocol::Udp => Ok(Start::Unread),
        }
    }

    /// Connects to the origin, and sends it the header of the PROXY protocol where the policy says so.
    async fn connect(&self, addresses: Addresses) -> io::Result<TcpStream> {
        let proxy = &self.served.proxy;
        let connecting = timeout(duration(proxy.limits.connect_time), TcpStream::connect(&proxy.to));
        let mut origin = connecting.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        origin.set_nodelay(true)?;
        if let Some(version) = proxy.send {
            origin.write_all(&addresses.header(version)).await?;
        }
        Ok(origin)
    }

    /// Passes on what was read, and then both directions.
    async fn pass(
        &mut self,
        connection: Connection,
        mut origin: TcpStream,
        Opening { start, buffer, rendition, admission }: Opening,
    ) {
        let limits = &self.served.proxy.limits;
        let mut upward = match start {
            Start::Http(head) => {
                let first = (&*head, rendition.as_deref());
                Upward::Requests(Box::new(Requests::from(first, buffer, admission, *limits)))
            }
            Start::Rtsp(_) | Start::Tls(_) | Start::Unread => Upward::Raw(buffer),
        };
        let phase = self.served.phase.clone();
        let end = relay(&connection, &mut origin, &mut upward, &self.served.proxy, phase).await;
        if let Upward::Requests(requests) = &upward {
            self.record.requests = requests.passed_on();
        }
        match end {
            RelayEnd::Closed => self.end(ConnectionEnd::Closed, None),
            RelayEnd::ClientFailed(error) => {
                // The origin learns that what it has sent did not arrive.
                let _ = origin.set_zero_linger();
                self.end(ConnectionEnd::ClientFailed, Some(error.to_string()));
            }
            RelayEnd::OriginFailed(error) => {
                reset(connection);
                self.end(ConnectionEnd::OriginFailed, Some(error.to_string()));
            }
            RelayEnd::Idle => {
                let _ = origin.set_zero_linger();
                reset(connection);
                self.end(ConnectionEnd::Idle, None);
            }
            RelayEnd::Drained => {
                let _ = origin.set_zero_linger();
                reset(connection);
                self.end(ConnectionEnd::Drained, None);
            }
            RelayEnd::Stopped { why, may_answer } => {
                drop(origin);
                self.stopped(connection, &why, may_answer).await;
            }
        }
    }

    /// Closes a connection whose last request is not passed on, with an answer to it if `may_answer`.
    async fn stopped(&mut self, connection: Connection, why: &UpEnd, may_answer: bool) {
        let (proxy, page) = (&self.served.proxy, self.served.page.as_deref());
        let answer = match why {
            UpEnd::Refused { error, method } => {
                set_refusal(&mut self.record, error);
                self.record.end = ConnectionEnd::LaterRequestRefused;
                match proxy.refuse {
                    RefuseAs::ServiceUnavailable => service_unavailable(proxy, page, error, method),
                    RefuseAs::Reset => return reset(connection),
                    RefuseAs::NotEnoughBandwidth | RefuseAs::Close => Vec::new(),
                }
            }
            UpEnd::BadRequest(bad) => {
                self.bad(*bad);
                fault(bad.status(), &bad.to_string(), "GET")
            }
            UpEnd::Finished | UpEnd::ClientFailed(_) | UpEnd::OriginFailed => Vec::new(),
        };
        match may_answer && !answer.is_empty() {
            true => say(connection, &answer).await,
            false => close_gently(connection).await,
        }
    }

    /// Answers a client whose reservation was refused, or could not be set up.
    async fn refuse(&mut self, connection: Connection, start: &Start, error: &ConnectError) {
        set_refusal(&mut self.record, error);
        let (proxy, page) = (&self.served.proxy, self.served.page.as_deref());
        let answer = match (proxy.refuse, start) {
            (RefuseAs::ServiceUnavailable, Start::Http(head)) => {
                service_unavailable(proxy, page, error, &head.method)
            }
            (RefuseAs::NotEnoughBandwidth, Start::Rtsp(head)) => {
                not_enough_bandwidth(proxy, error, head.sequence)
            }
            (RefuseAs::Reset, _) => return reset(connection),
            _ => return close_gently(connection).await,
        };
        say(connection, &answer).await;
    }

    async fn no_origin(&mut self, connection: Connection, start: &Start, error: io::Error) {
        let to: &str = &self.served.proxy.to;
        self.end(ConnectionEnd::OriginUnreachable, Some(format!("{to}: {error}")));
        let is_late = error.kind() == io::ErrorKind::TimedOut;
        match start {
            Start::Http(head) => {
                let status = if is_late { (504, "Gateway Timeout") } else { (502, "Bad Gateway") };
                say(connection, &fault(status, "the origin cannot be reached", &head.method)).await;
            }
            Start::Rtsp(_) | Start::Tls(_) | Start::Unread => reset(connection),
        }
    }

    /// Ends a connection whose start was not read.
    async fn no_start(&mut self, connection: Connection, why: NoStart) {
        let bad = match why {
            NoStart::Bad(bad) => bad,
            NoStart::Closed => return self.end(why.end(), None),
            NoStart::Draining => {
                self.end(why.end(), None);
                return close_gently(connection).await;
            }
            NoStart::Failed(ref error) => return self.end(why.end(), Some(error.to_string())),
        };
        self.bad(bad);
        match self.served.proxy.protocol {
            ProxyProtocol::Http => say(connection, &fault(bad.status(), &bad.to_string(), "GET")).await,
            ProxyProtocol::Tls
            | ProxyProtocol::Rtsp
            | ProxyProtocol::Rtmp
            | ProxyProtocol::Tcp
            | ProxyProtocol::Udp => reset(connection),
        }
    }

    /// Notes in the record what was wrong with what the client sent.
    fn bad(&mut self, bad: BadStart) {
        self.end(bad.end(), Some(bad.to_string()));
        self.record.reason = Some(bad.reason().to_owned());
    }
}

impl Start {
    fn shown(&self) -> RequestSubject<'_> {
        match self {
            Self::Http(head) => {
                RequestSubject { host: head.host.as_deref(), path: Some(&head.path), sni: None }
            }
            Self::Rtsp(head) => {
                RequestSubject { host: head.host.as_deref(), path: Some(&head.path), sni: None }
            }
            Self::Tls(name) => RequestSubject { sni: name.as_deref(), ..RequestSubject::default() },
            Self::Unread => RequestSubject::default(),
        }
    }
}

/// Sends an answer, and closes the connection after it.
async fn say(mut connection: Connection, answer: &[u8]) {
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);
    // A client that is gone, or takes nothing, needs no answer.
    if let Ok(Ok(())) = timeout(PATIENCE, connection.write_all(answer)).await {
        close_gently(connection).await;
    }
}

/// The record of a connection that was not served since too many stood.
pub(super) fn turned_away(served: &Served, peer: SocketAddr) -> ConnectionRecord {
    let mut record = ConnectionRecord::new(&served.name, peer);
    (record.end, record.unix_us) = (ConnectionEnd::TooManyConnections, unix_micros());
    record
}

/// What of a flow's reservation is not enforced.
pub(super) fn lacking(flow: &Flow) -> Vec<String> {
    let decision = flow.decision();
    let enforced = decision.as_ref().and_then(|decision| decision.enforced());
    enforced.map(|enforced| enforced.lacking.iter().map(ToString::to_string).collect()).unwrap_or_default()
}

/// Notes in a record why nothing was reserved.
pub(super) fn set_refusal(record: &mut ConnectionRecord, error: &ConnectError) {
    record.end = if error.is_refused() { ConnectionEnd::Refused } else { ConnectionEnd::Failed };
    record.detail = Some(error.to_string());
    let reason = error.decision().and_then(|decision| serde_json::to_value(decision.reason()?).ok());
    record.reason = reason.and_then(|reason| reason.as_str().map(str::to_owned));
}
