//! Two hosts and the veth pair between them.

use std::process::{Child, Command, Stdio};

use gqos::lab::Site;
use gqos::linux::{Netlink, Veth};

/// The address of the server's host.
pub(crate) const SERVER: &str = "10.72.0.1";
const CLIENT: &str = "10.72.0.2";

pub(crate) struct Hosts {
    server: Site,
    client: Site,
}

/// Which core a process runs on.
#[derive(Clone, Copy)]
pub(crate) enum Core {
    Server,
    Client,
}

impl Hosts {
    pub(crate) fn new() -> Self {
        let (server, client) = (Site::new("server").unwrap(), Site::new("client").unwrap());
        let namespace = client.namespace().duplicate().unwrap();
        let veth = async move {
            Netlink::open()
                .unwrap()
                .add_veth(Veth { name: "eth0", peer: "eth0", namespace: &namespace })
                .await
        };
        server.run(veth).unwrap().unwrap();
        let hosts = Self { server, client };
        for (core, address) in [(Core::Server, SERVER), (Core::Client, CLIENT)] {
            // cubic by the route: the sysctl allows other namespaces what the first one allows alone.
            let script = format!(
                "set -e; ip link set lo up; ip addr add {address}/24 dev eth0; ip link set eth0 up; \
                 ip route replace 10.72.0.0/24 dev eth0 congctl cubic; sysctl -q net.ipv4.ip_local_port_range='10000 65000'; \
                 sysctl -q net.core.somaxconn=16384 net.ipv4.tcp_max_syn_backlog=16384"
            );
            let status = hosts.command(core, &["sh", "-c", &script]).status().unwrap();
            assert!(status.success(), "the hosts cannot be set up");
        }
        hosts
    }

    fn namespace(&self, core: Core) -> String {
        match core {
            Core::Server => self.server.namespace_path(),
            Core::Client => self.client.namespace_path(),
        }
    }

    /// The network namespace of a host's processes, as `/proc/PID/ns/net` names it.
    pub(crate) fn host(&self, core: Core) -> std::path::PathBuf {
        std::fs::read_link(self.namespace(core)).unwrap()
    }

    /// Whether something listens there on the server's host.
    pub(crate) fn server_accepts(&self, address: &'static str, port: u16) -> bool {
        self.server.run(async move { tokio::net::TcpStream::connect((address, port)).await.is_ok() }).unwrap()
    }

    /// A command on one of the hosts, with as many descriptors as streams need.
    pub(crate) fn command(&self, core: Core, arguments: &[&str]) -> Command {
        let cpu = core.number().to_string();
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.namespace(core)));
        command.args([
            "taskset",
            "-c",
            &cpu,
            "sh",
            "-c",
            "ulimit -n 65536 2>/dev/null || ulimit -n $(ulimit -H -n); exec \"$@\"",
            "sh",
        ]);
        command.args(arguments).stdin(Stdio::null());
        command
    }
}

impl Core {
    const fn number(self) -> u32 {
        match self {
            Self::Server => 0,
            Self::Client => 1,
        }
    }
}

/// A process that ends with this value.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself. nginx ends its workers at SIGTERM, and not where it is killed.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        for _ in 0..200 {
            if self.0.try_wait().is_ok_and(|status| status.is_some()) {
                return;
            }
            pause();
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "no runtime")]
pub(crate) fn pause() {
    std::thread::sleep(std::time::Duration::from_millis(20));
}
