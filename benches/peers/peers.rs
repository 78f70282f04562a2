//! The servers that are compared, and how each is started.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::Load;
use crate::host::{Core, Hosts, Process, SERVER, pause};

/// A server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Peer {
    /// Writes without any limit, for the least that a byte costs.
    Untimed,
    /// The releases of gqos without a limiter, for the least that they cost: by write, by sendfile, and by sendfile in slots.
    Floor,
    FloorFile,
    FloorSlots,
    /// A task for each stream.
    Gqos,
    /// Files that the host's threads send.
    GqosFile,
    /// `gqos proxy` in front of nginx without a limit.
    GqosProxy,
    Governor,
    Pacing,
    Nginx,
    Lighttpd,
    Apache,
    /// With its bandwidth limit, in front of nginx without one.
    HaProxy,
}

/// A server that accepts connections. It ends with this value.
pub(crate) struct Running {
    pub(crate) processes: (Vec<Process>, TempDir),
    pub(crate) port: u16,
}

/// Where an origin listens behind a proxy.
const ORIGIN: u16 = 7999;
const PORT: u16 = 8000;
/// Longer than any measurement at any of the rates.
pub(crate) const FILE: u64 = 64 << 30;

impl Peer {
    pub(crate) const ALL: [Self; 13] = [
        Self::Untimed,
        Self::Floor,
        Self::FloorFile,
        Self::FloorSlots,
        Self::Gqos,
        Self::GqosFile,
        Self::GqosProxy,
        Self::Governor,
        Self::Pacing,
        Self::Nginx,
        Self::Lighttpd,
        Self::Apache,
        Self::HaProxy,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Untimed => "untimed",
            Self::Floor => "floor",
            Self::FloorFile => "floor-file",
            Self::FloorSlots => "floor-slots",
            Self::Gqos => "gqos",
            Self::GqosFile => "gqos-file",
            Self::GqosProxy => "gqos-proxy",
            Self::Governor => "governor",
            Self::Pacing => "pacing",
            Self::Nginx => "nginx",
            Self::Lighttpd => "lighttpd",
            Self::Apache => "apache",
            Self::HaProxy => "haproxy",
        }
    }

    /// - **Errors**: why it cannot be had.
    pub(crate) fn start(self, hosts: &Hosts, load: Load) -> Result<Running, String> {
        let directory = tempfile::tempdir().unwrap();
        let mut processes = Vec::new();
        let here = directory.path();
        let stream = fs::File::create(here.join("stream")).unwrap();
        stream.set_len(FILE).unwrap();
        if matches!(self, Self::GqosProxy | Self::HaProxy) {
            if self == Self::HaProxy {
                haproxy_version()?;
            }
            processes.push(nginx(hosts, here, (ORIGIN, None))?);
            accepts(hosts, ORIGIN);
        }
        processes.push(match self {
            Self::Untimed
            | Self::Floor
            | Self::FloorFile
            | Self::FloorSlots
            | Self::Gqos
            | Self::GqosFile
            | Self::Governor
            | Self::Pacing => own(hosts, self.name(), load),
            Self::GqosProxy => gqos_proxy(hosts, here, load),
            Self::Nginx => nginx(hosts, here, (PORT, Some(load.rate)))?,
            Self::Lighttpd => lighttpd(hosts, here, load)?,
            Self::Apache => apache(hosts, here, load)?,
            Self::HaProxy => haproxy(hosts, here, load),
        });
        accepts(hosts, PORT);
        Ok(Running { processes: (processes, directory), port: PORT })
    }
}

fn own(hosts: &Hosts, kind: &str, load: Load) -> Process {
    let program = std::env::current_exe().unwrap();
    let numbers = [load.rate, load.bucket, u64::from(PORT)].map(|number| number.to_string());
    let [rate, bucket, port] = [&numbers[0], &numbers[1], &numbers[2]];
    spawn(hosts.command(Core::Server, &[&program.to_string_lossy(), "--serve", kind, rate, bucket, port]))
}

fn gqos_proxy(hosts: &Hosts, here: &Path, load: Load) -> Process {
    let policy = format!(
        "version = 1\n[interface.eth0]\negress = {{ capacity = \"100 Gbit/s\", reservable = \"90%\" }}\n\
         enforcement = \"user-space\"\n[template.stream]\n\
         sending = {{ service_type = \"guaranteed\", token_rate = \"{} B/s\", token_bucket_size = \"{} B\" }}\n\
         [proxy.edge]\nlisten = \"{SERVER}:{PORT}\"\nto = \"127.0.0.1:{ORIGIN}\"\nprotocol = \"http\"\ntemplate = \"stream\"\n\
         limits = {{ connections = 20000 }}\n",
        load.token_rate(),
        load.bucket
    );
    let path = here.join("policy.toml");
    fs::write(&path, policy).unwrap();
    let program = env!("CARGO_BIN_EXE_gqos");
    spawn(hosts.command(
        Core::Server,
        &[program, "proxy", "--policy", &path.to_string_lossy(), "--no-daemon", "--workers", "1"],
    ))
}

fn nginx(hosts: &Hosts, here: &Path, (port, rate): (u16, Option<u64>)) -> Result<Process, String> {
    let program = found("nginx")?;
    let limit = rate.map_or(String::new(), |rate| format!("limit_rate {rate};"));
    let config = format!(
        "user root; daemon off; worker_processes 1; worker_rlimit_nofile 60000; pid {here}/nginx.pid; error_log {here}/error.log;\n\
         events {{ worker_connections 30000; }}\nhttp {{ access_log off; sendfile on; tcp_nodelay on; default_type video/mp2t;\n\
         server {{ listen {port} backlog=16384; root {here}; {limit} }} }}\n",
        here = here.display()
    );
    let path = here.join("nginx.conf");
    fs::write(&path, config).unwrap();
    Ok(spawn(
        hosts
            .command(Core::Server, &[&program, "-c", &path.to_string_lossy(), "-p", &here.to_string_lossy()]),
    ))
}

fn lighttpd(hosts: &Hosts, here: &Path, load: Load) -> Result<Process, String> {
    let program = found("lighttpd")?;
    let config = format!(
        "server.document-root = \"{}\"\nserver.port = {PORT}\nserver.max-fds = 60000\nserver.max-connections = 20000\n\
         server.listen-backlog = 16384\nconnection.kbytes-per-second = {}\nmimetype.assign = ( \"\" => \"video/mp2t\" )\n",
        here.display(),
        // It knows whole KiB alone.
        (load.rate + 512) / 1024
    );
    let path = here.join("lighttpd.conf");
    fs::write(&path, config).unwrap();
    Ok(spawn(hosts.command(Core::Server, &[&program, "-D", "-f", &path.to_string_lossy()])))
}

fn apache(hosts: &Hosts, here: &Path, load: Load) -> Result<Process, String> {
    let program = found("apache2")?;
    let threads = load.streams + 10;
    let modules = "/usr/lib/apache2/modules";
    let config = format!(
        "ServerRoot {here}\nPidFile {here}/pid\nErrorLog {here}/error.log\nListen {PORT}\nListenBacklog 16384\n\
         LoadModule mpm_event_module {modules}/mod_mpm_event.so\nLoadModule authz_core_module {modules}/mod_authz_core.so\n\
         LoadModule env_module {modules}/mod_env.so\nLoadModule ratelimit_module {modules}/mod_ratelimit.so\n\
         ServerLimit 1\nStartServers 1\nThreadLimit {threads}\nThreadsPerChild {threads}\nMaxRequestWorkers {threads}\n\
         DocumentRoot {here}\n<Directory {here}>\nRequire all granted\nSetOutputFilter RATE_LIMIT\nSetEnv rate-limit {rate}\n</Directory>\n",
        here = here.display(),
        // It knows whole KiB alone.
        rate = (load.rate + 512) / 1024
    );
    let path = here.join("apache.conf");
    fs::write(&path, config).unwrap();
    Ok(spawn(hosts.command(Core::Server, &[&program, "-DFOREGROUND", "-f", &path.to_string_lossy()])))
}

fn haproxy(hosts: &Hosts, here: &Path, load: Load) -> Process {
    let config = format!(
        "global\n  maxconn 25000\n  nbthread 1\ndefaults\n  mode http\n  timeout client 60s\n  timeout server 60s\n  timeout connect 5s\n\
         frontend f\n  bind {SERVER}:{PORT} backlog 16384\n  filter bwlim-out limit default-limit {} default-period 1s\n\
         \x20 http-response set-bandwidth-limit limit\n  default_backend b\nbackend b\n  server s 127.0.0.1:{ORIGIN}\n",
        load.rate
    );
    let path = here.join("haproxy.conf");
    fs::write(&path, config).unwrap();
    spawn(hosts.command(Core::Server, &["haproxy", "-db", "-f", &path.to_string_lossy()]))
}

/// - **Errors**: HAProxy is not there, or older than its bandwidth limit.
fn haproxy_version() -> Result<(), String> {
    let program = found("haproxy")?;
    let output = Command::new(program).arg("-v").output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_whitespace().nth(2).unwrap_or_default().to_owned();
    let numbers: Vec<u32> = version.split(['.', '-']).map_while(|part| part.parse().ok()).collect();
    match numbers.as_slice() {
        [major, minor, ..] if (*major, *minor) >= (2, 7) => Ok(()),
        _ => Err(format!("HAProxy {version} has no bandwidth limit, which is in 2.7")),
    }
}

fn found(program: &str) -> Result<String, String> {
    let directories = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let path = directories.split(':').map(|directory| format!("{directory}/{program}"));
    path.into_iter().find(|path| Path::new(path).exists()).ok_or_else(|| format!("no {program} in PATH"))
}

fn spawn(mut command: Command) -> Process {
    Process(command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap())
}

/// Returns once something accepts connections.
fn accepts(hosts: &Hosts, port: u16) {
    let address = if port == ORIGIN { "127.0.0.1" } else { SERVER };
    for _ in 0..500 {
        if hosts.server_accepts(address, port) {
            return;
        }
        pause();
    }
    panic!("nothing listens on port {port}");
}
