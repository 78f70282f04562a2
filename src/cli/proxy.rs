//! `gqos proxy`: an unmodified origin behind admission and shaping.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, anyhow};
use clap::ValueEnum;
use gqos::admission::{Reload, Totals};
use gqos::connect::{ConnectError, Host};
use gqos::engine::{DaemonError, Engine, EngineError, LocalEngine, RemoteEngine};
use gqos::failure::KernelFailure;
use gqos::policy::{Degrade, Policy, Proxy, ProxyProtocol};
use gqos::proxy::{ConnectionRecord, ProxyError, Replaced, Server, ServerHandle};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::control::SocketArgument;
use super::failure::{CommandFailure, Exit};
use super::input::load_policy;
use super::plain::{plain, plain_json};
use super::signals::{caught, signalled};

/// Put an unmodified origin behind admission and shaping.
///
/// Serves the [proxy.NAME] tables of the policy, or one proxy that --listen and --to state. The proxy reserves for
/// each client before it connects to the origin. A refused client is answered with 503 by HTTP and 453 by RTSP; other
/// connections are closed or reset. The data of the origin to an admitted client is shaped to the reservation.
///
/// Reserves through the daemon if one runs, and otherwise through an engine in this process. Prints a line for each
/// connection that has ended. On SIGHUP, reads the policy's files again: new clients get the new tables, and an
/// invalid policy changes nothing. On SIGTERM and SIGINT, accepts no more clients; connected clients may finish
/// within the policy's drain time, and a second signal ends them at once.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The policy; several files are merged.
    #[arg(long, short, value_name = "POLICY", required = true)]
    policy: Vec<PathBuf>,
    /// The address and port to which clients connect: 0.0.0.0:8080; port 0 selects a free port.
    #[arg(long, value_name = "ADDRESS", requires = "to")]
    listen: Option<SocketAddr>,
    /// The origin: a host name or an address, a colon and a port.
    #[arg(long, value_name = "ORIGIN", requires = "listen", value_parser = origin)]
    to: Option<String>,
    /// The protocol of the clients of --listen.
    #[arg(long, value_enum, requires = "listen", default_value_t = Protocol::Tcp)]
    protocol: Protocol,
    /// The template of each connection of --listen; several, best first, are a ladder. By default the rules of the policy
    /// decide.
    #[arg(long, value_name = "TEMPLATE", requires = "listen")]
    template: Vec<String>,
    /// The class of the connections of --listen.
    #[arg(long, value_name = "CLASS", requires = "listen")]
    class: Option<String>,
    /// How many threads serve clients; by default as many as there are cores.
    #[arg(long, value_name = "COUNT", value_parser = workers)]
    workers: Option<NonZeroUsize>,
    #[command(flatten)]
    socket: SocketArgument,
    /// Reserve through an engine in this process, even if a daemon runs.
    #[arg(long, conflicts_with = "socket")]
    no_daemon: bool,
    /// How the lines on standard output are written.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One JSON record a line.
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Protocol {
    /// HTTP/1.0 and 1.1.
    Http,
    /// TLS; the proxy reads the server name and does not decrypt.
    Tls,
    /// RTSP.
    Rtsp,
    /// RTMP, without parsing.
    Rtmp,
    /// Any TCP stream, without parsing.
    Tcp,
    /// UDP datagrams; the address and port of a client identify a session.
    Udp,
}

/// What is wrong with an argument.
#[derive(Debug, thiserror::Error)]
enum ArgumentError {
    #[error("not an origin; write 127.0.0.1:8081, [::1]:8081 or origin.example:80")]
    Origin,
    #[error("not a number from 1 to {most}", most = Proxy::MOST_WORKERS)]
    Workers,
}

fn origin(text: &str) -> Result<String, ArgumentError> {
    if Proxy::is_origin(text) { Ok(text.to_owned()) } else { Err(ArgumentError::Origin) }
}

fn workers(text: &str) -> Result<NonZeroUsize, ArgumentError> {
    let count = text.parse::<NonZeroUsize>().ok();
    count.filter(|count| count.get() <= usize::from(Proxy::MOST_WORKERS)).ok_or(ArgumentError::Workers)
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, CommandFailure> {
    let mut policy = load_policy(&arguments.policy)?;
    find_pages(&mut policy, &arguments.policy);
    let proxies = proxies(arguments, &policy)?;
    policy.proxies.clone_from(&proxies);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.context("tokio runtime").map_err(|error| CommandFailure::new(Exit::OsError, error))?;
    runtime.block_on(serve(arguments, policy))
}

/// Pages are named from the directory of the file that names them: a service starts in another one.
fn find_pages(policy: &mut Policy, files: &[PathBuf]) {
    for proxy in policy.proxies.values_mut() {
        let directory = files.get(proxy.place.source).and_then(|file| file.parent());
        if let (Some(page), Some(directory)) = (&mut proxy.page, directory) {
            *page = directory.join(&*page).display().to_string();
        }
    }
}

/// The proxy that the arguments state, or those of the policy.
fn proxies(arguments: &Arguments, policy: &Policy) -> Result<BTreeMap<String, Proxy>, CommandFailure> {
    let usage = |message| Err(CommandFailure::new(Exit::Usage, message));
    let (Some(listen), Some(to)) = (arguments.listen, &arguments.to) else {
        if policy.proxies.is_empty() {
            return usage(anyhow!(
                "the policy has no table [proxy.NAME]; write one, or state --listen and --to"
            ));
        }
        return Ok(policy.proxies.clone());
    };
    for template in &arguments.template {
        if !policy.templates.contains_key(template) {
            let known: Vec<_> = policy.templates.keys().map(String::as_str).collect();
            return usage(anyhow!("the policy has no template {template:?}; it has {}", known.join(", ")));
        }
    }
    if let Some(class) = arguments.class.as_ref().filter(|class| !policy.classes.contains_key(*class)) {
        return usage(anyhow!("the policy has no class {class:?}"));
    }
    let protocol = match arguments.protocol {
        Protocol::Http => ProxyProtocol::Http,
        Protocol::Tls => ProxyProtocol::Tls,
        Protocol::Rtsp => ProxyProtocol::Rtsp,
        Protocol::Rtmp => ProxyProtocol::Rtmp,
        Protocol::Tcp => ProxyProtocol::Tcp,
        Protocol::Udp => ProxyProtocol::Udp,
    };
    let proxy = Proxy {
        templates: arguments.template.clone(),
        class: arguments.class.clone(),
        ..Proxy::new(listen, to, protocol)
    };
    if proxy.is_own_origin() {
        return usage(anyhow!("the origin {to} is the proxy itself, which listens on {listen}"));
    }
    Ok(BTreeMap::from([("command-line".to_owned(), proxy)]))
}

async fn serve(arguments: &Arguments, policy: Policy) -> Result<ExitCode, CommandFailure> {
    let (proxies, format) = (policy.proxies.clone(), arguments.log_format);
    let policy = Arc::new(policy);
    // A signal that comes while the proxy starts counts once it has.
    let (stopped, hangups) = (caught(), signal(SignalKind::hangup()));
    let budget = Budget::of(arguments, Arc::clone(&policy)).await?;
    tell(format, &budget.event(), &budget.to_string());
    let server = match bind(budget.host(), &proxies, arguments.workers) {
        Ok(server) => server,
        Err(failure) => {
            budget.into_host().stop().await;
            return Err(failure);
        }
    };
    server.addresses().for_each(|(name, address)| listens(format, &name, address));
    let reloads = Reloads { arguments, handle: server.handle(), budget: &budget, policy };
    let record = move |record: &ConnectionRecord| say(record, format);
    let (drain, draining) = oneshot::channel();
    let twice = async {
        stopped.await;
        // The server has ended where nothing receives it.
        let _ = drain.send(());
        signalled().await;
    };
    let ends = async { drop(draining.await) };
    tokio::select! {
        () = server.run(record, ends) => {}
        () = twice => eprintln!("gqos: ended by a second signal; connections were closed"),
        () = reloads.on_hangup(hangups) => {}
    }
    budget.into_host().stop().await;
    Ok(ExitCode::SUCCESS)
}

fn bind(
    host: &Host,
    proxies: &BTreeMap<String, Proxy>,
    workers: Option<NonZeroUsize>,
) -> Result<Server, CommandFailure> {
    // Where it is not known, one thread serves.
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let server = Server::bind(host, proxies).and_then(|server| server.with_workers(workers.unwrap_or(cores)));
    server.map_err(|error| match &error {
        ProxyError::Listen { error: cause, .. } => {
            CommandFailure::new(failed(cause).exit, anyhow!(plain(&error.to_string()).into_owned()))
        }
        _ => CommandFailure::new(Exit::OsError, anyhow!(plain(&error.to_string()).into_owned())),
    })
}

/// What decides about reservations.
enum Budget {
    Daemon { host: Host, engine: Arc<RemoteEngine>, degrade: Option<Degrade> },
    Process { host: Host, engine: Arc<LocalEngine> },
}

impl Budget {
    /// - **Errors**: the daemon is not there although it was named, or does not answer; the engine cannot start.
    async fn of(arguments: &Arguments, policy: Arc<Policy>) -> Result<Self, CommandFailure> {
        if let Some(socket) = arguments.socket.found().filter(|_| !arguments.no_daemon) {
            let engine = RemoteEngine::connect_under(socket, &policy).await;
            let engine = engine.map_err(|error| failed(&error.into()))?;
            let host = Host::on(Arc::clone(&engine) as Arc<dyn Engine>);
            let degrade = policy.daemon.as_ref().and_then(|daemon| daemon.degrade);
            return Ok(Self::Daemon { host, engine, degrade });
        }
        let engine = LocalEngine::start(policy).await.map_err(|error| failed(&error.into()))?;
        let engine: Arc<LocalEngine> = engine;
        Ok(Self::Process { host: Host::on(Arc::clone(&engine) as Arc<dyn Engine>), engine })
    }

    const fn host(&self) -> &Host {
        match self {
            Self::Daemon { host, .. } | Self::Process { host, .. } => host,
        }
    }

    fn into_host(self) -> Host {
        match self {
            Self::Daemon { host, .. } | Self::Process { host, .. } => host,
        }
    }

    fn event(&self) -> serde_json::Value {
        match self {
            Self::Daemon { engine, .. } => {
                json!({ "event": "started", "daemon": engine.socket(), "connected": engine.is_connected() })
            }
            Self::Process { .. } => json!({ "event": "started", "daemon": null }),
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Daemon { engine, degrade, .. } = self else {
            return f.write_str("an engine in this process reserves");
        };
        let socket = engine.socket().display();
        if engine.is_connected() {
            return write!(f, "the daemon at {socket} reserves");
        }
        let meanwhile = match degrade {
            Some(Degrade::LocalBucket) => "are paced in this process",
            Some(Degrade::BestEffort) => "are best effort",
            _ => "are refused",
        };
        write!(
            f,
            "the daemon at {socket} is not there: until it is, nothing is reserved and connections {meanwhile}"
        )
    }
}

/// Reads the policy again on SIGHUP.
struct Reloads<'a> {
    arguments: &'a Arguments,
    handle: ServerHandle,
    budget: &'a Budget,
    /// The one in use.
    policy: Arc<Policy>,
}

impl Reloads<'_> {
    /// Never completes.
    async fn on_hangup(mut self, hangups: std::io::Result<Signal>) {
        let Ok(mut hangups) = hangups else { return std::future::pending().await };
        while hangups.recv().await.is_some() {
            match self.reload().await {
                Ok((replaced, reload)) => self.report(&replaced, &reload),
                Err(failure) => {
                    let error = format!("{:#}", failure.error);
                    eprintln!(
                        "gqos: the policy was not reloaded, and the one before stays: {}",
                        plain(&error)
                    );
                }
            }
        }
        std::future::pending().await
    }

    /// What became of the listeners, and what the policy means for the flows of an engine in this process.
    async fn reload(&mut self) -> Result<(Replaced, Reload), CommandFailure> {
        let mut policy = load_policy(&self.arguments.policy)?;
        find_pages(&mut policy, &self.arguments.policy);
        policy.proxies = proxies(self.arguments, &policy)?;
        let policy = Arc::new(policy);
        let unsupported = |error: EngineError| CommandFailure::new(Exit::InvalidFile, error);
        let reload = match self.budget {
            Budget::Process { engine, .. } => engine.reload(Arc::clone(&policy)).map_err(unsupported)?,
            Budget::Daemon { .. } => Reload::default(),
        };
        let replaced = self.handle.replace(policy.proxies.clone()).await;
        if replaced.is_err()
            && let Budget::Process { engine, .. } = self.budget
        {
            engine.reload(Arc::clone(&self.policy)).map_err(unsupported)?;
        }
        let replaced = replaced.map_err(|error| CommandFailure::new(Exit::OsError, error))?;
        self.policy = policy;
        Ok((replaced, reload))
    }

    fn report(&self, replaced: &Replaced, reload: &Reload) {
        let format = self.arguments.log_format;
        let Replaced { opened, closed, kept } = replaced;
        opened.iter().for_each(|(name, address)| listens(format, name, *address));
        for (name, address) in closed {
            let event = json!({ "event": "closed", "proxy": name, "address": address });
            tell(format, &event, &format!("proxy.{name} listens on {address} no more"));
        }
        let Reload { over, orphans, .. } = reload;
        let (opened, closed) = (opened.len(), closed.len());
        let event = json!({
            "event": "reloaded", "opened": opened, "closed": closed, "kept": kept, "over": over, "orphans": orphans,
        });
        let mut text =
            format!("the policy was reloaded: {opened} listeners opened, {closed} closed, {kept} kept");
        for (interface, direction, totals) in over {
            let Totals { budget, reserved } = totals;
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "; {interface} {direction}: {reserved} reserved, more than the budget of {budget}"
            );
        }
        if !orphans.is_empty() {
            let _ = write!(text, "; {} flows keep an interface or a class that it has not", orphans.len());
        }
        tell(format, &event, &text);
    }
}

fn listens(format: LogFormat, name: &str, address: SocketAddr) {
    let event = json!({ "event": "listening", "proxy": name, "address": address });
    tell(format, &event, &format!("proxy.{name} listens on {address}"));
}

/// A message on standard error.
fn tell(format: LogFormat, event: &serde_json::Value, text: &str) {
    match format {
        LogFormat::Text => eprintln!("{}", plain(text)),
        LogFormat::Json => eprintln!("{}", plain_json(&event.to_string())),
    }
}

/// The exit code of a host that cannot start.
fn failed(error: &ConnectError) -> CommandFailure {
    let denied = |failure: &KernelFailure| failure.is_permission();
    let exit = match error {
        ConnectError::Kernel(failure) if denied(failure) => Exit::NoPrivilege,
        ConnectError::Daemon(DaemonError::Unreachable(_) | DaemonError::Disconnected { .. }) => {
            Exit::Unreachable
        }
        _ => Exit::OsError,
    };
    CommandFailure::new(exit, anyhow!("{error}"))
}

/// Whether it was said that a line could not be written.
static UNWRITTEN: AtomicBool = AtomicBool::new(false);

fn say(record: &ConnectionRecord, format: LogFormat) {
    use std::io::Write;
    let line = match format {
        LogFormat::Text => plain(&record.to_string()).into_owned(),
        LogFormat::Json => plain_json(&serde_json::to_string(record).unwrap_or_default()).into_owned(),
    };
    // The proxy goes on without a log.
    if let Err(error) = writeln!(std::io::stdout().lock(), "{line}")
        && !UNWRITTEN.swap(true, Ordering::Relaxed)
    {
        eprintln!("gqos: write (standard output): {error}; lines for connections are lost");
    }
}
