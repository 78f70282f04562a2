//! The manager's events, handed to subscribers.
//!
//! A subscriber that reads too slowly loses events instead of delaying the engine; it can see how many.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::telemetry::Recorded;

/// The most events that wait for a subscriber.
pub const MOST_WAITING_EVENTS: usize = 4096;

/// The events of an engine from the subscription on. The first subscription begins with what was found of root qdiscs of other
/// programs at the start.
///
/// ```no_run
/// use gqos::connect::Host;
///
/// async fn log(host: &Host) -> serde_json::Result<()> {
///     let mut events = host.events();
///     while let Some(recorded) = events.next().await {
///         println!("{}", serde_json::to_string(&recorded)?);
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Events {
    receiver: mpsc::Receiver<Recorded>,
    dropped: Arc<AtomicU64>,
}

/// Where the events of a subscription go.
#[derive(Debug)]
struct Subscriber {
    sender: mpsc::Sender<Recorded>,
    dropped: Arc<AtomicU64>,
}

/// All subscriptions of an engine.
#[derive(Debug, Default)]
pub(super) struct Subscribers(Vec<Subscriber>);

impl Events {
    /// The next event; `None` once the engine has ended and all events were read.
    pub async fn next(&mut self) -> Option<Recorded> {
        self.receiver.recv().await
    }

    /// The next event, if one waits.
    pub fn try_next(&mut self) -> Option<Recorded> {
        self.receiver.try_recv().ok()
    }

    /// How many events were dropped since [`MOST_WAITING_EVENTS`] were waiting already.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Subscribers {
    pub(super) fn subscribe(&mut self) -> Events {
        let (sender, receiver) = mpsc::channel(MOST_WAITING_EVENTS);
        let dropped = Arc::<AtomicU64>::default();
        self.0.push(Subscriber { sender, dropped: Arc::clone(&dropped) });
        Events { receiver, dropped }
    }

    /// Hands events to all subscribers. Says whether there still are any.
    pub(super) fn publish(&mut self, events: &[Recorded]) -> bool {
        self.0.retain(|subscriber| events.iter().all(|event| subscriber.send(event.clone())));
        !self.0.is_empty()
    }
}

impl Subscriber {
    /// Hands an event over, or counts that it was dropped. Says whether the subscription still exists.
    fn send(&self, event: Recorded) -> bool {
        match self.sender.try_send(event) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(TrySendError::Closed(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use flowspec::Moment;

    use super::*;
    use crate::telemetry::Event;
    use crate::telemetry::event::CapacityAvailable;

    fn event(number: usize) -> Recorded {
        let event = Event::CapacityAvailable(CapacityAvailable { id: format!("v{number}") });
        Recorded { at: Moment::START, event }
    }

    #[test]
    fn a_subscriber_that_does_not_read_loses_the_newest_events_and_sees_how_many() {
        let mut subscribers = Subscribers::default();
        let mut events = subscribers.subscribe();
        for number in 0..MOST_WAITING_EVENTS + 3 {
            assert!(subscribers.publish(&[event(number)]));
        }
        assert_eq!(events.dropped(), 3);
        assert_eq!(events.try_next(), Some(event(0)));
        assert!(subscribers.publish(&[event(7)]));
        assert_eq!(events.dropped(), 3, "there is place again");
    }

    #[test]
    fn a_subscription_ends_with_its_subscriber_and_with_the_engine() {
        let mut subscribers = Subscribers::default();
        let gone = subscribers.subscribe();
        let mut kept = subscribers.subscribe();
        drop(gone);
        assert!(subscribers.publish(&[event(1)]), "one is left");
        assert_eq!(kept.try_next(), Some(event(1)));
        drop(kept);
        assert!(!subscribers.publish(&[event(2)]));
    }
}
