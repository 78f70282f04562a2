//! The threads that serve clients: each has a runtime with a timing wheel and with the sockets of its clients.

use std::io;
use std::num::NonZeroUsize;
use std::thread::{Builder, JoinHandle};

use tokio::runtime::{self, Handle};
use tokio::sync::oneshot;

/// Threads that end when this is dropped, with all that they still serve.
#[derive(Debug, Default)]
pub(super) struct Workers(Vec<Worker>);

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Chooses the worker of each client of a listener, one after another.
#[derive(Debug)]
pub(super) struct Turns {
    next: usize,
    first: usize,
}

impl Workers {
    /// - **Errors**: a thread or its epoll instance cannot be made.
    pub(super) fn start(count: NonZeroUsize) -> io::Result<Self> {
        (0..count.get()).map(Worker::start).collect::<Result<_, _>>().map(Self)
    }

    /// The runtime whose turn it is among the `most` that may serve a listener; `None` where the caller's serves all.
    pub(super) fn next(&self, turns: &mut Turns, most: Option<NonZeroUsize>) -> Option<&Handle> {
        let among = most.map_or(self.0.len(), NonZeroUsize::get).min(self.0.len());
        if among == 0 {
            return None;
        }
        turns.next = (turns.next + 1) % among;
        let chosen = turns.first.wrapping_add(turns.next) % self.0.len();
        self.0.get(chosen).map(|worker| &worker.runtime)
    }
}

impl Turns {
    /// Those of a listener; `number` tells it from others, so that they begin with different workers.
    pub(super) const fn new(number: usize) -> Self {
        Self { next: 0, first: number }
    }
}

impl Worker {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (handle, (end, ends)) = (runtime.handle().clone(), oneshot::channel::<()>());
        let thread = Builder::new().name(format!("gqos-proxy-{number}"));
        let thread = thread.spawn(move || drop(runtime.block_on(ends)))?;
        Ok(Self { runtime: handle, end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // A thread that has panicked has ended as well.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_spread_evenly_and_over_no_more_threads_than_a_listener_may_use() {
        let count = |number| NonZeroUsize::new(number).expect("not zero");
        let workers = Workers::start(count(3)).expect("three threads");
        let ids: Vec<_> = workers.0.iter().map(|worker| worker.runtime.id()).collect();
        let check = |number: usize, most: Option<usize>, expected: &[usize]| {
            let mut turns = Turns::new(number);
            let chosen: Vec<_> = (0..6)
                .map(|_| workers.next(&mut turns, most.map(count)).map(Handle::id))
                .map(|id| ids.iter().position(|known| Some(*known) == id).expect("a worker"))
                .collect();
            assert_eq!(chosen, expected, "{number} {most:?}");
        };
        check(0, None, &[1, 2, 0, 1, 2, 0]);
        check(1, Some(2), &[2, 1, 2, 1, 2, 1]);
        check(2, Some(1), &[2; 6]);
        check(0, Some(9), &[1, 2, 0, 1, 2, 0]);
        assert!(Workers::default().next(&mut Turns::new(0), None).is_none());
    }
}
