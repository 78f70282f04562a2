//! Names with numbers: flows keep the number of a name that many of them have.

use std::sync::Arc;

use crate::ordered::OrderedMap;

/// Each name once, numbered from 0.
#[derive(Clone, Debug, Default)]
pub(crate) struct NameTable {
    texts: Vec<Arc<str>>,
    numbers: OrderedMap<Arc<str>, u32>,
}

impl NameTable {
    pub(crate) fn number(&self, text: &str) -> Option<u32> {
        self.numbers.get(text).copied()
    }

    /// The number of a name, which gets one if it has none.
    ///
    /// # Panics
    /// After 2³² names, which do not fit in memory.
    pub(crate) fn intern(&mut self, text: &str) -> u32 {
        if let Some(number) = self.number(text) {
            return number;
        }
        let number = u32::try_from(self.texts.len()).expect("fewer names than numbers");
        let text: Arc<str> = Arc::from(text);
        self.texts.push(text.clone());
        self.numbers.insert(text, number);
        number
    }

    pub(crate) fn text(&self, number: u32) -> &Arc<str> {
        &self.texts[number as usize]
    }

    /// Every name with its number, in the order of the names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, u32)> {
        self.numbers.iter().map(|(text, number)| (text, *number))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }
}
