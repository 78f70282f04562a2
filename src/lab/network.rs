//! Two hosts connected by a wire.
//!
//! ```text
//!   server             wire                  client
//!   eth0 ────── wire0 (routes) wire1 ────── eth0
//!   gqos runs here   TBF towards each side: the link's rate and its queue
//! ```

use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::mpsc;
use std::thread::JoinHandle;

use flowspec::{Bytes, Micros, Rate};
use tokio::runtime::{Builder, Handle as Runtime};
use tokio::sync::oneshot;

use crate::failure::{KernelCall, KernelFailure};
use crate::linux::namespace::{self, Namespace};
use crate::linux::{Netlink, NewQdisc, Veth};
use crate::tc::{Handle, Tbf};

/// The server's address.
pub const SERVER_V4: Ipv4Addr = Ipv4Addr::new(10, 71, 1, 2);
/// The client's address.
pub const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(10, 71, 2, 2);
/// The server's IPv6 address.
pub const SERVER_V6: Ipv6Addr = Ipv6Addr::new(0xfd71, 1, 0, 0, 0, 0, 0, 2);
/// The client's IPv6 address.
pub const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0xfd71, 2, 0, 0, 0, 0, 0, 2);

/// The link header of Ethernet, which the wire counts besides the IP datagram.
pub const WIRE_HEADER: u64 = 14;

const WIRE_TO_SERVER: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(10, 71, 1, 1), Ipv6Addr::new(0xfd71, 1, 0, 0, 0, 0, 0, 1));
const WIRE_TO_CLIENT: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(10, 71, 2, 1), Ipv6Addr::new(0xfd71, 2, 0, 0, 0, 0, 0, 1));

/// The wire's queue, as a time at its rate: a typical queue of a router.
const WIRE_QUEUE: Micros = Micros::new(100_000);

/// The wire's burst, as a time at its rate. After a late timer the wire catches up by this much; a real wire would have
/// sent meanwhile. With a smaller burst it carries less than its rate.
const WIRE_BURST: Micros = Micros::new(20_000);

/// Two hosts with a wire between them.
pub struct LabNetwork {
    /// The host that sends; gqos runs on it.
    pub server: Site,
    /// The host that receives.
    pub client: Site,
    /// Held for its namespace, which ends with it.
    _wire: Site,
}

/// A host: a thread in a network namespace of its own, with a tokio runtime.
pub struct Site {
    runtime: Runtime,
    thread_id: i32,
    namespace: Namespace,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl LabNetwork {
    /// Creates both hosts and a wire of this rate, link headers included.
    ///
    /// - **Errors**: the kernel refused a call.
    pub fn new(link: Rate) -> Result<Self, KernelFailure> {
        let (server, client, wire) = (Site::new("server")?, Site::new("client")?, Site::new("wire")?);
        for (site, peer) in [(&server, "wire0"), (&client, "wire1")] {
            let namespace = wire.namespace.duplicate()?;
            site.run(async move {
                disable_address_detection();
                Netlink::open()?.add_veth(Veth { name: "eth0", peer, namespace: &namespace }).await
            })??;
        }
        let tbf = Tbf {
            rate: link,
            burst: link.bytes_in(WIRE_BURST).max(Bytes::new(5_000)),
            limit: link.bytes_in(WIRE_QUEUE).max(Bytes::new(30_000)),
        };
        wire.run(async move {
            disable_address_detection();
            let netlink = Netlink::open()?;
            forward()?;
            for (name, (v4, v6)) in [("wire0", WIRE_TO_SERVER), ("wire1", WIRE_TO_CLIENT)] {
                let link = netlink.link_by_name(name).await?;
                configure(&netlink, link.index, v4, v6).await?;
                let (parent, handle) = (Handle::ROOT, Handle::qdisc(1));
                let options = tbf.options();
                let options = options.map_err(|error| KernelFailure::not_expressible(name, error))?;
                let qdisc = NewQdisc { parent, handle, kind: Tbf::KIND, options };
                netlink.add_qdisc(link.index, qdisc).await?;
            }
            Ok(())
        })??;
        let sides = [
            (&server, SERVER_V4, SERVER_V6, WIRE_TO_SERVER),
            (&client, CLIENT_V4, CLIENT_V6, WIRE_TO_CLIENT),
        ];
        for (site, v4, v6, gateway) in sides {
            site.run(async move {
                let netlink = Netlink::open()?;
                for name in ["lo", "eth0"] {
                    let link = netlink.link_by_name(name).await?;
                    if name == "lo" {
                        netlink.set_up(link.index).await?;
                    } else {
                        configure(&netlink, link.index, v4, v6).await?;
                        default_route(&netlink, link.index, gateway).await?;
                    }
                }
                Ok(())
            })??;
        }
        for (site, address, end) in [
            (&server, (SERVER_V4, SERVER_V6), ("wire0", WIRE_TO_SERVER)),
            (&client, (CLIENT_V4, CLIENT_V6), ("wire1", WIRE_TO_CLIENT)),
        ] {
            introduce((site, "eth0", address), (&wire, end.0, end.1))?;
        }
        Ok(Self { server, client, _wire: wire })
    }
}

impl Site {
    /// Creates a host that has no interface but its loopback.
    ///
    /// - **Errors**: the namespace, the thread or its runtime cannot be created.
    pub fn new(name: &str) -> Result<Self, KernelFailure> {
        let namespace = Namespace::new()?;
        let entered = namespace.duplicate()?;
        let (stop, stopped) = oneshot::channel();
        let (ready, started) = mpsc::channel();
        let body = move || {
            let runtime = entered.enter().and_then(|()| {
                let runtime = Builder::new_current_thread().enable_all().build();
                runtime.map_err(|error| KernelCall("epoll_create").failed("tokio runtime", error))
            });
            match runtime {
                Ok(runtime) => {
                    let thread_id = namespace::thread_id();
                    // The caller waits for this message, unless its thread has ended.
                    let _ = ready.send(Ok((runtime.handle().clone(), thread_id)));
                    // Both a message and an error, which means that the site was dropped, end the thread.
                    let _ = runtime.block_on(stopped);
                    // Ends all spawned tasks without waiting for them.
                    runtime.shutdown_background();
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            }
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(body);
        let thread = thread.map_err(|error| KernelCall("clone").failed(format!("thread {name}"), error))?;
        let gone =
            || KernelCall("clone").failed(format!("thread {name}"), std::io::Error::other("ended early"));
        let (runtime, thread_id) = started.recv().map_err(|_| gone())??;
        Ok(Self { runtime, thread_id, namespace, stop: Some(stop), thread: Some(thread) })
    }

    /// Runs a future on the host and blocks until it is done. Not to be called on a thread of a runtime.
    ///
    /// - **Errors**: the future panicked or the host has stopped.
    pub fn run<F>(&self, future: F) -> Result<F::Output, KernelFailure>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let (send, receive) = mpsc::channel();
        self.runtime.spawn(async move {
            // The receiver is waiting below.
            let _ = send.send(future.await);
        });
        let gone = || {
            KernelCall("run").failed("a task of the lab", std::io::Error::other("it ended without a result"))
        };
        receive.recv().map_err(|_| gone())
    }

    /// The host's runtime: tasks spawned on it run in the host's namespace.
    pub const fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// The path of the host's namespace, for `nsenter --net=…` from outside.
    pub fn namespace_path(&self) -> String {
        format!("/proc/{}/task/{}/ns/net", std::process::id(), self.thread_id)
    }

    /// The network namespace of the host.
    pub const fn namespace(&self) -> &Namespace {
        &self.namespace
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // An error means that the thread has ended.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            // A panic has been reported by the thread itself.
            let _ = thread.join();
        }
    }
}

/// Disables duplicate address detection, so that addresses are usable at once.
fn disable_address_detection() {
    for scope in ["default", "all"] {
        // A kernel without IPv6 has no such file.
        let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/accept_dad"), "0");
    }
}

fn forward() -> Result<(), KernelFailure> {
    let path = "/proc/sys/net/ipv4/ip_forward";
    std::fs::write(path, "1").map_err(|error| KernelCall("write").failed(path, error))?;
    let path = "/proc/sys/net/ipv6/conf/all/forwarding";
    match std::fs::write(path, "1") {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(KernelCall("write").failed(path, error))
        }
        _ => Ok(()),
    }
}

async fn configure(netlink: &Netlink, index: u32, v4: Ipv4Addr, v6: Ipv6Addr) -> Result<(), KernelFailure> {
    netlink.set_up(index).await?;
    netlink.add_address(index, v4.into(), 24).await?;
    if has_ipv6() {
        netlink.add_address(index, v6.into(), 64).await?;
    }
    Ok(())
}

/// A host with an interface and its addresses.
type End<'a> = (&'a Site, &'static str, (Ipv4Addr, Ipv6Addr));

/// Makes the two ends of a pair know each other. The kernel's own question to the other end sometimes stays without an answer in
/// a network that has just been made, and connections fail with EHOSTUNREACH after three seconds.
fn introduce(one: End<'_>, other: End<'_>) -> Result<(), KernelFailure> {
    for ((site, name, _), (far, far_name, (v4, v6))) in [(one, other), (other, one)] {
        let link_address = far.run(async move {
            let netlink = Netlink::open()?;
            let link = netlink.link_by_name(far_name).await?;
            netlink.link_address(link.index).await
        })??;
        site.run(async move {
            let netlink = Netlink::open()?;
            let link = netlink.link_by_name(name).await?;
            netlink.add_neighbour(link.index, v4.into(), &link_address).await?;
            match has_ipv6() {
                true => netlink.add_neighbour(link.index, v6.into(), &link_address).await,
                false => Ok(()),
            }
        })??;
    }
    Ok(())
}

async fn default_route(
    netlink: &Netlink,
    index: u32,
    gateway: (Ipv4Addr, Ipv6Addr),
) -> Result<(), KernelFailure> {
    netlink.add_default_route(index, gateway.0.into()).await?;
    if has_ipv6() {
        netlink.add_default_route(index, gateway.1.into()).await?;
    }
    Ok(())
}

fn has_ipv6() -> bool {
    std::path::Path::new("/proc/sys/net/ipv6").exists()
}
