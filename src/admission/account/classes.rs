//! Classes by number: those of the policy, and those that flows still have after a reload has removed them.

use super::names::Names;
use crate::admission::refusal::Refusal;
use crate::policy::{Class, Policy};

/// The classes of the policy, and those that flows have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Classes {
    pub(crate) names: Names,
    /// By number; `None` for a class that the policy no longer has.
    policies: Vec<Option<Class>>,
}

impl Classes {
    /// The classes of a policy.
    pub(crate) fn of(policy: &Policy) -> Self {
        let mut classes = Self::default();
        for (name, class) in &policy.classes {
            classes.names.intern(name);
            classes.policies.push(Some(class.clone()));
        }
        classes
    }

    /// The number of a class that flows have, whether or not the policy still has it.
    pub(crate) fn intern(&mut self, name: &str) -> u32 {
        let number = self.names.intern(name);
        self.policies.resize(self.names.len(), None);
        number
    }

    /// The class of this name with its number, if the policy has it.
    pub(crate) fn find(&self, name: &str) -> Result<(u32, &Class), Refusal> {
        let unknown = || Refusal::UnknownClass { class: name.to_owned() };
        let number = self.names.number(name).ok_or_else(unknown)?;
        Ok((number, self.policies[number as usize].as_ref().ok_or_else(unknown)?))
    }

    /// The policy's settings of a class.
    pub(crate) fn policy(&self, number: u32) -> Result<&Class, Refusal> {
        let unknown = || Refusal::UnknownClass { class: self.names.text(number).to_string() };
        self.policies[number as usize].as_ref().ok_or_else(unknown)
    }
}
