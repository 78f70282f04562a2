//! Datagrams of an origin that wait for their tokens: the socket is emptied meanwhile.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Datagrams in their order, up to so many bytes.
#[derive(Debug)]
pub(super) struct DatagramQueue {
    state: Mutex<State>,
    came: Notify,
    /// Bytes of payload; each datagram counts for at least [`LEAST`].
    most: usize,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Vec<u8>>,
    bytes: usize,
    lost: u64,
}

/// What the smallest datagram counts for: about what it costs to hold.
const LEAST: usize = 64;

fn size(datagram: &[u8]) -> usize {
    datagram.len().max(LEAST)
}

impl DatagramQueue {
    pub(super) fn new(most: usize) -> Self {
        Self { state: Mutex::default(), came: Notify::new(), most }
    }

    /// Adds a datagram, or loses it where the queue is full.
    pub(super) fn push(&self, datagram: &[u8]) {
        let mut state = self.lock();
        if state.bytes + size(datagram) > self.most {
            state.lost += 1;
            return;
        }
        state.bytes += size(datagram);
        state.waiting.push_back(datagram.to_vec());
        self.came.notify_one();
    }

    /// Waits for the next datagram.
    pub(super) async fn next(&self) -> Vec<u8> {
        loop {
            let first = {
                let mut state = self.lock();
                let first = state.waiting.pop_front();
                state.bytes -= first.as_deref().map_or(0, size);
                first
            };
            match first {
                Some(datagram) => return datagram,
                None => self.came.notified().await,
            }
        }
    }

    /// How many datagrams found the queue full.
    pub(super) fn lost(&self) -> u64 {
        self.lock().lost
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements that can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_loses_the_newest_datagram() {
        let queue = DatagramQueue::new(300);
        for datagram in [&[1; 100][..], &[2; 100], &[3; 101], &[4; 99], b""] {
            queue.push(datagram);
        }
        assert_eq!(queue.lost(), 2, "the third is too large, and the last counts as 64 bytes");
        for expected in [1, 2, 4] {
            assert_eq!(queue.next().await[0], expected);
        }
        queue.push(b"");
        assert_eq!(queue.next().await, b"");
    }
}
