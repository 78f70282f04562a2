//! The streams of notices: which client is notified of what.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::control::ClientNotice;

/// The most notices that wait for a client. One that reads too slowly loses its stream.
const MOST_WAITING: usize = 1024;

/// The processes of the notices' clients.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Process {
    pub(super) uid: u32,
    pub(super) pid: Option<u32>,
}

/// All streams of notices.
#[derive(Default)]
pub(super) struct Notices(Mutex<Vec<Subscriber>>);

struct Subscriber {
    process: Process,
    /// The only flow that it is about.
    id: Option<String>,
    sender: mpsc::Sender<ClientNotice>,
}

impl Notices {
    /// The notices of a process from now on, of one flow or of all.
    pub(super) fn subscribe(&self, process: Process, id: Option<String>) -> mpsc::Receiver<ClientNotice> {
        let (sender, receiver) = mpsc::channel(MOST_WAITING);
        self.subscribers().push(Subscriber { process, id, sender });
        receiver
    }

    /// Notifies a process about a flow.
    pub(super) fn notify(&self, process: Process, id: &str, notice: &ClientNotice) {
        self.send(notice, |subscriber| {
            subscriber.process == process && subscriber.id.as_deref().is_none_or(|only| only == id)
        });
    }

    /// Notifies every process about an interface.
    pub(super) fn notify_all(&self, notice: &ClientNotice) {
        self.send(notice, |subscriber| subscriber.id.is_none());
    }

    fn send(&self, notice: &ClientNotice, is_for: impl Fn(&Subscriber) -> bool) {
        // The end of a stream is how its client learns that something is missing.
        self.subscribers().retain(|subscriber| {
            if is_for(subscriber) {
                subscriber.sender.try_send(notice.clone()).is_ok()
            } else {
                !subscriber.sender.is_closed()
            }
        });
    }

    fn subscribers(&self) -> MutexGuard<'_, Vec<Subscriber>> {
        // The list is whole between any two statements that can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_reaches_its_process_and_no_other() {
        let notices = Notices::default();
        let process = |uid, pid| Process { uid, pid: Some(pid) };
        let mut own = notices.subscribe(process(1, 10), None);
        let mut one = notices.subscribe(process(1, 10), Some("v2".into()));
        let mut others = [process(1, 11), process(2, 10)].map(|process| notices.subscribe(process, None));
        let notice = ClientNotice::Capacity { id: "v1".into() };
        notices.notify(process(1, 10), "v1", &notice);
        assert_eq!(own.try_recv(), Ok(notice));
        assert!(one.try_recv().is_err() && others.iter_mut().all(|other| other.try_recv().is_err()));
        let over = ClientNotice::Overcommitted { interface: "eth0".into(), over: true };
        notices.notify_all(&over);
        assert_eq!((own.try_recv(), others[1].try_recv()), (Ok(over.clone()), Ok(over)));
        assert!(one.try_recv().is_err(), "it asked about one flow");
    }

    #[test]
    fn a_client_that_does_not_read_loses_its_stream() {
        let notices = Notices::default();
        let process = Process { uid: 1, pid: None };
        let mut slow = notices.subscribe(process, None);
        for number in 0..=MOST_WAITING {
            notices.notify(process, "v", &ClientNotice::Capacity { id: number.to_string() });
        }
        let received = std::iter::from_fn(|| slow.blocking_recv()).count();
        assert_eq!(received, MOST_WAITING, "and then the stream ends");
    }
}
