//! What measured classes have sent: the kernel's counts, as rates.

use std::collections::BTreeMap;

use flowspec::{Micros, Moment, Rate};

use crate::ordered::OrderedMap;
use crate::tc::Handle;

/// The counts of one interface, as they were last read.
#[derive(Debug, Default)]
pub(super) struct InterfaceMeter {
    /// When that was.
    read: Option<Moment>,
    sent: OrderedMap<Handle, u64>,
    /// Bytes of flows that have ended since; nothing where one's are not known.
    ended: OrderedMap<String, Option<u64>>,
}

impl InterfaceMeter {
    /// A flow of a class ends: its kernel class has sent so much in all.
    pub(super) fn ended(&mut self, class: &str, handle: Handle, sent: Option<u64>) {
        let before = match sent {
            // Its class may be the next flow's.
            Some(sent) => self.sent.insert(handle, sent),
            None => self.sent.remove(&handle),
        };
        let before = before.unwrap_or(0);
        let sum = self.ended.entry(class.to_owned()).or_insert_with(|| Some(0));
        *sum = (*sum).zip(sent).map(|(sum, sent)| sum + sent.saturating_sub(before));
    }

    /// A class is added: it has sent nothing yet.
    pub(super) fn added(&mut self, handle: Handle) {
        self.sent.remove(&handle);
    }

    /// What each class has sent since the last time: over how long, and at which rate, rounded up.
    /// `classes` are the kernel classes that carry its flows now, `sent` what every kernel class has sent in all.
    pub(super) fn read(
        &mut self,
        classes: &BTreeMap<String, Vec<Handle>>,
        sent: &OrderedMap<Handle, u64>,
        now: Moment,
    ) -> Vec<(String, Micros, Rate)> {
        let before = std::mem::replace(&mut self.sent, sent.clone());
        let mut ended = std::mem::take(&mut self.ended);
        let Some(window) = self.read.replace(now).map(|read| now.saturating_since(read)) else {
            return Vec::new();
        };
        let rate = |(class, handles): (&String, &Vec<Handle>)| {
            let gone = ended.remove(class).unwrap_or(Some(0))?;
            let since = handles.iter().map(|handle| {
                let (now, then) = (sent.get(handle)?, before.get(handle).copied().unwrap_or(0));
                // A class that has sent less than before is another of the same number.
                Some(now.checked_sub(then).unwrap_or(*now))
            });
            let bytes = since.sum::<Option<u64>>()? + gone;
            let rate = u128::from(bytes) * 1_000_000 / u128::from(window.get().max(1)) + 1;
            Some((class.clone(), window, Rate::new(u64::try_from(rate).unwrap_or(u64::MAX))))
        };
        classes.iter().filter_map(rate).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tc::flow_class;

    #[test]
    fn what_was_sent_between_two_readings_is_a_rate() {
        let (a, b) = (flow_class(0), flow_class(1));
        let classes = BTreeMap::from([("voice".to_owned(), vec![a, b])]);
        let mut meter = InterfaceMeter::default();
        let at = |second: u64| Moment::from_micros(second * 1_000_000);
        let second = Micros::new(1_000_000);
        assert!(
            meter.read(&classes, &OrderedMap::from([(a, 1_000), (b, 0)]), at(0)).is_empty(),
            "the first time"
        );
        let read = meter.read(&classes, &OrderedMap::from([(a, 1_500), (b, 500)]), at(1));
        assert_eq!(read, [("voice".to_owned(), second, Rate::new(1_001))]);
        // One ends with its bytes known, another begins under its number.
        meter.ended("voice", b, Some(800));
        meter.added(b);
        let read = meter.read(&classes, &OrderedMap::from([(a, 1_500), (b, 100)]), at(2));
        assert_eq!(read, [("voice".to_owned(), second, Rate::new(401))]);
        // One ends, and another begins in its class.
        meter.ended("voice", a, Some(1_700));
        let read = meter.read(&classes, &OrderedMap::from([(a, 1_900), (b, 100)]), at(3));
        assert_eq!(read, [("voice".to_owned(), second, Rate::new(401))]);
        // The bytes of a flow that ended are not known: this interval gives no measurement.
        meter.ended("voice", b, None);
        assert!(meter.read(&classes, &OrderedMap::from([(a, 1_900), (b, 0)]), at(4)).is_empty());
        // Neither does an interval at whose end the kernel does not show a class.
        assert!(meter.read(&classes, &OrderedMap::from([(a, 1_900)]), at(5)).is_empty());
    }
}
