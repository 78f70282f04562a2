//! A daemon in a network namespace of its own, and a client that blocks.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gqos::control::limits::MOST_REPLY_BYTES;
use gqos::control::{Call, FrameReader, Reply, encode};
use gqos::lab::{LabNetwork, Site};
use gqos::policy::HttpAddress;
use nix::libc;
use serde_json::{Value, json};

use super::common::uninterrupted;

pub(crate) const POLICY: &str = r#"
version = 1
preemption = true
[interface.eth0]
egress = { capacity = "100 Mbit/s", reservable = "80%" }
[template.video]
sending = { service_type = "guaranteed", token_rate = "10 Mbit/s", token_bucket_size = "64 KiB" }
[template.half]
sending = { service_type = "guaranteed", token_rate = "40 Mbit/s", token_bucket_size = "64 KiB" }
[class.viewer]
dscp = "AF41"
dead_after = "off"
"#;

/// An unprivileged user, and another one.
pub(crate) const USER: u32 = 1000;
pub(crate) const OTHER: u32 = 1001;

/// How long a busy machine may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The program `gqos daemon`, confined as users have it.
pub(crate) struct TestDaemon {
    pub(crate) network: LabNetwork,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) socket: PathBuf,
    /// Where the HTTP endpoint listens, where there is one.
    pub(crate) http: Option<HttpAddress>,
    child: Child,
}

impl TestDaemon {
    /// A daemon under a policy; `None` where the machine makes no networks.
    pub(crate) fn start(policy: &str) -> Option<Self> {
        Self::start_with(policy, |_| None)
    }

    /// The same, with an HTTP endpoint at an address, which is given the daemon's directory.
    pub(crate) fn start_with(policy: &str, http: impl Fn(&Path) -> Option<HttpAddress>) -> Option<Self> {
        let network = crate::common::lab(100)?;
        let directory = tempfile::tempdir().unwrap();
        // Other users may look for the socket.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(directory.path(), mode).unwrap();
        let [file, socket] = ["policy.toml", "gqos.sock"].map(|name| directory.path().join(name));
        std::fs::write(&file, policy).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_gqos"));
        command.arg("daemon").arg("--policy").arg(file).arg("--socket").arg(&socket);
        command.args(["--log-format", "none"]).stdout(Stdio::piped());
        let asked = http(directory.path());
        match &asked {
            Some(HttpAddress::Port(address)) => drop(command.arg("--http").arg(address.to_string())),
            Some(HttpAddress::Socket(path)) => drop(command.arg("--http").arg(path)),
            None => {}
        }
        let mut child = network.server.run(async move { command.spawn().unwrap() }).unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut line = || lines.next().expect("a line of the daemon").unwrap();
        assert_eq!(line(), format!("listening on {}", socket.display()));
        let http = asked.map(|asked| match asked {
            // A daemon whose lines are not read ends.
            HttpAddress::Port(_) => {
                let line = line();
                let address = line.strip_prefix("serving http://").unwrap().trim_end_matches('/');
                HttpAddress::Port(address.parse().unwrap())
            }
            HttpAddress::Socket(path) => {
                assert_eq!(line(), format!("serving HTTP on {path}"));
                HttpAddress::Socket(path)
            }
        });
        Some(Self { network, directory, socket, http, child })
    }

    /// The daemon's process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn site(&self) -> &Site {
        &self.network.server
    }

    /// A client that is root.
    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.socket)
    }

    /// A client that is another user.
    pub(crate) fn client_as(&self, uid: u32) -> Client {
        Client::connect_as(&self.socket, uid)
    }

    /// Makes something in the daemon's network namespace.
    pub(crate) fn inside<T: Send + 'static>(&self, make: impl FnOnce() -> T + Send + 'static) -> T {
        self.site().run(async move { make() }).unwrap()
    }

    /// Waits until so many reservations are held and so much is reserved on eth0.
    #[track_caller]
    pub(crate) fn until_held(&self, flows: u64, reserved: u64) {
        let mut client = self.client();
        let mut status = Value::Null;
        until("the reservations are as expected", || {
            status = client.call("Status", json!({})).unwrap();
            let sending = &status["interfaces"][0]["totals"]["sending"]["reserved"];
            status["flows"] == flows && *sending == reserved
        });
    }

    /// Stops the daemon, and waits for that.
    pub(crate) fn stop(mut self) {
        // SAFETY: the call takes two numbers; the process is this test's child, which it has not waited for.
        assert_eq!(unsafe { libc::kill(self.child.id().cast_signed(), libc::SIGTERM) }, 0);
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for TestDaemon {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Waits until something is the case.
#[track_caller]
pub(crate) fn until(what: &str, mut is: impl FnMut() -> bool) {
    let step = Duration::from_millis(5);
    for _ in 0..PATIENCE.as_millis() / step.as_millis() {
        if is() {
            return;
        }
        std::thread::sleep(step);
    }
    panic!("not within {PATIENCE:?}: {what}");
}

/// Does something with the credentials of a user.
pub(crate) fn as_user<T: Send + 'static>(uid: u32, act: impl FnOnce() -> T + Send + 'static) -> T {
    let change_and_act = move || {
        // SAFETY: the calls take numbers; they change the credentials of this thread alone, which ends.
        unsafe {
            assert_eq!(libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()), 0);
            assert_eq!(libc::syscall(libc::SYS_setresgid, uid, uid, uid), 0);
            assert_eq!(libc::syscall(libc::SYS_setresuid, uid, uid, uid), 0);
        }
        act()
    };
    std::thread::spawn(change_and_act).join().unwrap()
}

pub(crate) struct Client {
    stream: UnixStream,
    frames: FrameReader,
}

/// An error by its name, with its parameters.
pub(crate) type Failed = (String, Value);

impl Client {
    pub(crate) fn connect(socket: &Path) -> Self {
        Self::over(UnixStream::connect(socket).unwrap())
    }

    /// A connection of another user: the credentials are those of the thread that connects.
    pub(crate) fn connect_as(socket: &Path, uid: u32) -> Self {
        let socket = socket.to_owned();
        Self::over(as_user(uid, move || UnixStream::connect(socket).unwrap()))
    }

    pub(crate) fn over(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, frames: FrameReader::new(MOST_REPLY_BYTES) }
    }

    pub(crate) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Sends a call without waiting for its reply.
    pub(crate) fn send(&mut self, method: &str, parameters: Value, more: bool) {
        let method = if method.contains('.') { method.to_owned() } else { format!("org.gqos.{method}") };
        let call = Call { method, parameters: Some(parameters.into()), more, ..Call::default() };
        self.stream.write_all(&encode(&call).unwrap()).unwrap();
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next reply; `None` where the connection has ended.
    pub(crate) fn reply(&mut self) -> Option<Reply> {
        let mut buffer = [0; 65536];
        loop {
            if let Some(message) = self.frames.next_message().unwrap() {
                return Some(Reply::read(&message).unwrap());
            }
            match uninterrupted(|| self.stream.read(&mut buffer)) {
                Ok(0) => return None,
                Ok(read) => self.frames.push(&buffer[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("no reply: {error}"),
            }
        }
    }

    pub(crate) fn answer(&mut self) -> Result<Value, Failed> {
        let reply = self.reply().expect("a reply");
        let parameters = reply.parameters.map_or(Value::Null, |parameters| parameters.value());
        match reply.error {
            None => Ok(parameters),
            Some(error) => Err((error.rsplit('.').next().unwrap().to_owned(), parameters)),
        }
    }

    pub(crate) fn call(&mut self, method: &str, parameters: Value) -> Result<Value, Failed> {
        self.send(method, parameters, false);
        self.answer()
    }

    /// Calls with descriptors.
    pub(crate) fn call_with(
        &mut self,
        (method, parameters): (&str, Value),
        descriptor: &dyn AsFd,
    ) -> Result<Value, Failed> {
        let call = Call {
            method: format!("org.gqos.{method}"),
            parameters: Some(parameters.into()),
            ..Call::default()
        };
        let bytes = encode(&call).unwrap();
        let sent = gqos::linux::send_with_descriptor(&self.stream, &bytes, Some(descriptor.as_fd())).unwrap();
        assert_eq!(sent, bytes.len());
        self.answer()
    }

    /// A call to a daemon that may be killed: `None` where the connection has ended.
    pub(crate) fn try_call(&mut self, method: &str, parameters: Value) -> Option<Value> {
        let call = Call {
            method: format!("org.gqos.{method}"),
            parameters: Some(parameters.into()),
            ..Call::default()
        };
        self.send_bytes(&encode(&call).unwrap()).ok()?;
        Some(self.reply()?.parameters?.value())
    }

    /// The same with a descriptor.
    pub(crate) fn try_call_with(
        &mut self,
        (method, parameters): (&str, Value),
        descriptor: &dyn AsFd,
    ) -> Option<Value> {
        let call = Call {
            method: format!("org.gqos.{method}"),
            parameters: Some(parameters.into()),
            ..Call::default()
        };
        let bytes = encode(&call).unwrap();
        gqos::linux::send_with_descriptor(&self.stream, &bytes, Some(descriptor.as_fd())).ok()?;
        Some(self.reply()?.parameters?.value())
    }

    /// Reserves; the decision.
    #[track_caller]
    pub(crate) fn reserve(&mut self, parameters: Value) -> Value {
        self.call("Reserve", parameters).unwrap()["decision"].clone()
    }

    /// The same without a class.
    #[track_caller]
    pub(crate) fn admitted_without_class(&mut self, id: &str, template: &str) {
        let decision = self.reserve(json!({ "id": id, "interface": "eth0", "template": template }));
        assert_eq!(decision["ok"], true, "{decision}");
    }

    /// Reserves by a template under an id, and checks that it is admitted.
    #[track_caller]
    pub(crate) fn admitted(&mut self, id: &str, template: &str) {
        let asked = json!({ "id": id, "interface": "eth0", "template": template, "class": "viewer" });
        let decision = self.reserve(asked);
        assert_eq!((&decision["ok"], &decision["id"]), (&json!(true), &json!(id)), "{decision}");
    }
}

/// The error of a call, by its name.
#[track_caller]
pub(crate) fn fails(result: Result<Value, Failed>, name: &str) {
    match result {
        Err((error, _)) if error == name => {}
        other => panic!("{name} expected: {other:?}"),
    }
}
