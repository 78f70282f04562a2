//! The endpoint's thread: started once the daemon runs, ended with it.

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::watch;

use super::counted::CountedEvents;
use super::facts::HttpFacts;
use super::listener::HttpListener;
use super::live::Live;
use super::serve::serve;
use crate::daemon::error::DaemonStartError;
use crate::daemon::state::DaemonServer;
use crate::engine::Engine;
use crate::failure::KernelCall;
use crate::policy::HttpAddress;

/// An endpoint whose socket listens, and which nothing serves yet.
pub(in crate::daemon) struct BoundEndpoint {
    listener: HttpListener,
    address: HttpAddress,
}

/// An endpoint that is served. Dropped, it ends.
pub(in crate::daemon) struct HttpEndpoint {
    address: HttpAddress,
    /// Dropped before the thread is waited for.
    stop: Option<watch::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl BoundEndpoint {
    /// Listens at an address.
    ///
    /// - **Errors**: another process has the address; the kernel's.
    pub(in crate::daemon) fn bind(
        address: &HttpAddress,
        administrators: Option<u32>,
    ) -> Result<Self, DaemonStartError> {
        let listener = HttpListener::bind(address, administrators)?;
        let address = match &listener {
            HttpListener::Port(_, bound) => HttpAddress::Port(*bound),
            HttpListener::Socket(..) => address.clone(),
        };
        Ok(Self { listener, address })
    }

    /// Serves from now on; what happens from now on is counted.
    ///
    /// - **Errors**: the thread does not start.
    pub(in crate::daemon) fn start(
        self,
        server: Arc<DaemonServer>,
    ) -> Result<HttpEndpoint, DaemonStartError> {
        let Self { listener, address } = self;
        let failed = |call| {
            let object = address.to_string();
            move |error| KernelCall(call).failed(object, error)
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(failed("epoll_create"))?;
        let (events, (stop, stopped)) = (server.engine.events(), watch::channel(()));
        let run = move || {
            runtime.block_on(async move {
                let facts = Arc::new(HttpFacts::new(server));
                let counting = tokio::spawn(CountedEvents::follow(Arc::clone(facts.counted()), events));
                let live = Arc::new(Live::new(facts));
                let following = tokio::spawn(Arc::clone(&live).run());
                serve(listener, live, stopped).await;
                counting.abort();
                following.abort();
            });
        };
        let thread = std::thread::Builder::new().name("gqos-http".into()).spawn(run);
        let thread = thread.map_err(failed("clone"))?;
        Ok(HttpEndpoint { address, stop: Some(stop), thread: Some(thread) })
    }
}

impl HttpEndpoint {
    /// Where it listens: the port that the kernel has chosen, where it has.
    pub(in crate::daemon) const fn address(&self) -> &HttpAddress {
        &self.address
    }
}

impl Drop for HttpEndpoint {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // The thread ends as soon as its current computation does. Its panic, if any, was printed by the panic hook.
            let _ = thread.join();
        }
    }
}
