//! A proxy, its origin and its clients in one process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gqos::connect::Host;
use gqos::policy::Policy;
use gqos::proxy::{ConnectionRecord, Server, ServerHandle};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Longer than anything takes here, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// 20 Mbit/s, of which a viewer of `hd` takes 10 and one of `sd` 4.
pub(crate) const POLICY: &str = r#"
version = 1
[interface.lo]
egress = { capacity = "20 Mbit/s", reservable = "80%" }
enforcement = "user-space"
[class.viewer]
[class.studio]
[template.hd]
sending = { service_type = "guaranteed", token_rate = "10 Mbit/s", token_bucket_size = "1 MiB" }
[template.sd]
sending = { service_type = "guaranteed", token_rate = "4 Mbit/s", token_bucket_size = "1 MiB" }
[template.free]
sending = { service_type = "best_effort" }
"#;

pub(crate) struct World {
    pub(crate) proxy: SocketAddr,
    pub(crate) origin: TcpListener,
    pub(crate) host: Host,
    pub(crate) handle: ServerHandle,
    records: Arc<Mutex<Vec<ConnectionRecord>>>,
    end: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl World {
    /// A proxy whose table has these lines beside `listen` and `to`.
    pub(crate) async fn new(table: &str) -> Self {
        let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = origin.local_addr().unwrap();
        Self::with_origin(table, origin, &to.to_string()).await
    }

    pub(crate) async fn with_origin(table: &str, origin: TcpListener, to: &str) -> Self {
        Self::with_policy(POLICY, table, origin, to).await
    }

    /// The same with another policy around the table, and served by two threads of its own.
    pub(crate) async fn of_policy(policy: &str, table: &str) -> Self {
        let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = origin.local_addr().unwrap();
        Self::with_policy(policy, table, origin, &to.to_string()).await
    }

    /// The same with an origin elsewhere.
    pub(crate) async fn of_origin(policy: &str, table: &str, to: &str) -> Self {
        let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::with_policy(policy, table, unused, to).await
    }

    async fn with_policy(policy_text: &str, table: &str, origin: TcpListener, to: &str) -> Self {
        let text = format!("{policy_text}[proxy.p]\nlisten = \"127.0.0.1:0\"\nto = \"{to}\"\n{table}\n");
        let policy: Policy = text.parse().unwrap();
        let proxies: BTreeMap<_, _> = policy.proxies.clone();
        let host = Host::start(policy).await.unwrap();
        let mut server = Server::bind(&host, &proxies).unwrap();
        if policy_text != POLICY {
            server = server.with_workers(NonZeroUsize::new(2).unwrap()).unwrap();
        }
        let handle = server.handle();
        let proxy = server.addresses().next().unwrap().1;
        let records = Arc::new(Mutex::new(Vec::new()));
        let (end, ends) = oneshot::channel();
        let noted = Arc::clone(&records);
        let record = move |record: &ConnectionRecord| noted.lock().unwrap().push(record.clone());
        let served = tokio::spawn(server.run(record, async { drop(ends.await) }));
        Self { proxy, origin, host, handle, records, end, served }
    }

    pub(crate) async fn client(&self) -> TcpStream {
        TcpStream::connect(self.proxy).await.unwrap()
    }

    /// A client that has sent this.
    pub(crate) async fn saying(&self, bytes: impl AsRef<[u8]>) -> TcpStream {
        let mut client = self.client().await;
        client.write_all(bytes.as_ref()).await.unwrap();
        client
    }

    /// The next connection of the origin.
    pub(crate) async fn accept(&self) -> TcpStream {
        soon(self.origin.accept()).await.unwrap().0
    }

    /// The records of connections once there are this many, in the order of their ends.
    pub(crate) async fn records(&self, count: usize) -> Vec<ConnectionRecord> {
        soon(async {
            loop {
                let records = self.records.lock().unwrap().clone();
                if records.len() >= count {
                    return records;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
    }

    /// Ends the proxy as SIGTERM does, and gives all records.
    pub(crate) async fn drain(self) -> Vec<ConnectionRecord> {
        self.end.send(()).unwrap();
        soon(self.served).await.unwrap();
        self.host.stop().await;
        self.records.lock().unwrap().clone()
    }
}

/// Waits, and fails where that would be for ever.
#[track_caller]
pub(crate) fn soon<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move { timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("nothing came at {caller}")) }
}

/// Everything until the end of the stream; an error where it was reset.
pub(crate) async fn rest(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    soon(stream.read_to_end(&mut bytes)).await?;
    Ok(bytes)
}

/// The next bytes up to and with an empty line.
pub(crate) async fn head(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(soon(stream.read_u8()).await.unwrap());
    }
    String::from_utf8(bytes).unwrap()
}

/// Bytes that differ wherever they are cut.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    };
    (0..length).map(|_| next()).collect()
}
