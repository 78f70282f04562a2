//! `gqos proxy`: an unmodified origin behind admission and shaping.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::ValueEnum;
use gqos::connect::{ConnectError, Host};
use gqos::failure::KernelFailure;
use gqos::policy::{Policy, Proxy, ProxyProtocol};
use gqos::proxy::{ConnectionRecord, ProxyError, Server};
use serde_json::json;
use tokio::sync::oneshot;

use super::failure::{CommandFailure, Exit};
use super::input::load_policy;
use super::signals::signalled;

/// Put an unmodified origin behind admission and shaping.
///
/// Serves the [proxy.NAME] tables of the policy, or one proxy that --listen and --to state. Each client reserves before the
/// origin hears of it; a refused one is answered with 503 by HTTP, with 453 by RTSP, and closed or reset otherwise. What the
/// origin sends to an admitted client is shaped to the reservation.
///
/// Prints a line for each connection that has ended. SIGTERM and SIGINT end it: no client is accepted any more, those that
/// are served may finish within the policy's drain time; a second signal ends them at once.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The policy; several files merge.
    #[arg(long, short, value_name = "POLICY", required = true)]
    policy: Vec<PathBuf>,
    /// Where clients connect: 0.0.0.0:8080; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", requires = "to")]
    listen: Option<SocketAddr>,
    /// The origin: a host name or an address, a colon and a port.
    #[arg(long, value_name = "ORIGIN", requires = "listen")]
    to: Option<String>,
    /// What the clients of --listen speak.
    #[arg(long, value_enum, requires = "listen", default_value_t = Protocol::Tcp)]
    protocol: Protocol,
    /// The template of each connection of --listen; several, best first, are a ladder. By default the rules of the policy
    /// decide.
    #[arg(long, value_name = "TEMPLATE", requires = "listen")]
    template: Vec<String>,
    /// The class of the connections of --listen.
    #[arg(long, value_name = "CLASS", requires = "listen")]
    class: Option<String>,
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
    /// TLS, which is not terminated: its server name is read.
    Tls,
    /// RTSP.
    Rtsp,
    /// RTMP, which is not read.
    Rtmp,
    /// Any stream, which is not read.
    Tcp,
    /// Datagrams: a client's address and port are a session.
    Udp,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, CommandFailure> {
    let mut policy = load_policy(&arguments.policy)?;
    let proxies = proxies(arguments, &policy)?;
    policy.proxies.clone_from(&proxies);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.context("tokio runtime").map_err(|error| CommandFailure::new(Exit::OsError, error))?;
    runtime.block_on(serve(policy, &proxies, arguments.log_format))
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
    Ok(BTreeMap::from([("command-line".to_owned(), proxy)]))
}

async fn serve(
    policy: Policy,
    proxies: &BTreeMap<String, Proxy>,
    format: LogFormat,
) -> Result<ExitCode, CommandFailure> {
    let host = Host::start(policy).await.map_err(|error| failed(&error))?;
    let server = Server::bind(&host, proxies).map_err(|error| match &error {
        ProxyError::Listen { error: cause, .. } => {
            CommandFailure { exit: failed(cause).exit, error: error.into() }
        }
        _ => CommandFailure::new(Exit::OsError, error),
    });
    let server = match server {
        Ok(server) => server,
        Err(failure) => {
            host.stop().await;
            return Err(failure);
        }
    };
    for (name, address) in server.addresses() {
        match format {
            LogFormat::Text => eprintln!("proxy.{name} listens on {address}"),
            LogFormat::Json => {
                eprintln!("{}", json!({ "event": "listening", "proxy": name, "address": address }))
            }
        }
    }
    let record = move |record: &ConnectionRecord| say(record, format);
    let (drain, draining) = oneshot::channel();
    let twice = async {
        signalled().await;
        // The server has ended where nothing receives it.
        let _ = drain.send(());
        signalled().await;
    };
    let ends = async { drop(draining.await) };
    tokio::select! {
        () = server.run(record, ends) => {}
        () = twice => eprintln!("gqos: ended by a second signal; connections were closed"),
    }
    host.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// The exit code of a host that cannot start.
fn failed(error: &ConnectError) -> CommandFailure {
    let denied = |failure: &KernelFailure| failure.is_permission();
    let exit = match error {
        ConnectError::Kernel(failure) if denied(failure) => Exit::NoPrivilege,
        ConnectError::Unsupported(_) => Exit::InvalidFile,
        _ => Exit::OsError,
    };
    CommandFailure::new(exit, anyhow!("{error}"))
}

fn say(record: &ConnectionRecord, format: LogFormat) {
    use std::io::Write;
    let line = match format {
        LogFormat::Text => record.to_string(),
        LogFormat::Json => serde_json::to_string(record).unwrap_or_default(),
    };
    // A reader that has gone needs no lines; the proxy goes on.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
