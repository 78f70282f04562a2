//! Classes by number: those of the policy, and those that flows still have after a reload has removed them.

use super::names::NameTable;
use crate::admission::refusal::Refusal;
use crate::policy::{Class, Policy};

/// The classes of the policy, and those that flows have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Classes {
    pub(crate) names: NameTable,
    /// By number.
    known: Vec<KnownClass>,
}

#[derive(Clone, Debug)]
struct KnownClass {
    class: Class,
    /// Whether the policy still has it. Otherwise these are its last settings, by which its flows are charged.
    is_stated: bool,
}

impl Classes {
    pub(crate) fn of(policy: &Policy) -> Self {
        let mut classes = Self::default();
        for (name, class) in &policy.classes {
            classes.names.intern(name);
            classes.known.push(KnownClass { class: class.clone(), is_stated: true });
        }
        classes
    }

    /// The number of a class that flows have from before a reload, whether or not the policy still has it. `before` are
    /// the classes before, where it has a number as well.
    pub(crate) fn intern(&mut self, before: &Self, number: u32) -> u32 {
        let number_now = self.names.intern(before.names.text(number));
        if self.known.len() < self.names.len() {
            self.known.push(KnownClass { class: before.settings(number).clone(), is_stated: false });
        }
        number_now
    }

    /// The class of this name with its number, if the policy has it.
    pub(crate) fn find(&self, name: &str) -> Result<(u32, &Class), Refusal> {
        let unknown = || Refusal::UnknownClass { class: name.to_owned() };
        let number = self.names.number(name).ok_or_else(unknown)?;
        self.policy(number).map(|class| (number, class))
    }

    /// The policy's settings of a class.
    pub(crate) fn policy(&self, number: u32) -> Result<&Class, Refusal> {
        match &self.known[number as usize] {
            KnownClass { class, is_stated: true } => Ok(class),
            KnownClass { is_stated: false, .. } => {
                Err(Refusal::UnknownClass { class: self.names.text(number).to_string() })
            }
        }
    }

    /// The same; `None` where the policy no longer has it.
    pub(crate) fn stated(&self, number: u32) -> Option<&Class> {
        let KnownClass { class, is_stated } = self.known.get(number as usize)?;
        is_stated.then_some(class)
    }

    /// The policy's settings of a class, or the last ones where the policy no longer has it.
    pub(crate) fn settings(&self, number: u32) -> &Class {
        &self.known[number as usize].class
    }
}
