//! Why a group is not as the policy states it.

use serde::{Deserialize, Serialize};

use super::refusal::Refusal;

/// Why a group is not as the policy states it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GroupDifference {
    /// It does not fit. It is made, or changed, as soon as it does; until then it is as it was.
    #[error("does not fit yet: {0}")]
    Refused(Refusal),
    /// Its mode is another now, which cannot change while it has members. It ends with its last member, and is made anew
    /// then; until then it takes no new members.
    #[error("has members, and its mode cannot change while it does: it is made anew after its last member")]
    OtherMode,
    /// Its interface is another now: as with another mode.
    #[error("has members on {interface}: it is made anew on its other interface after its last member")]
    OtherInterface {
        /// The interface that its members use.
        interface: String,
    },
    /// Its members exceed its new flowspec together. New members are admitted by the new flowspec; the group is charged
    /// what it was until its members fit.
    #[error("has members that exceed its flowspec together, and is charged what it was until they fit")]
    Outgrown,
    /// A reload has changed its class, and it has members that were admitted in the former one. They stay there and count
    /// for that class's limits until they end.
    #[error("has members that were admitted {}, and stay so until they end", former_class(class.as_deref()))]
    OtherClass {
        /// The former class; `None` where it had none.
        class: Option<String>,
    },
    /// The policy does not have it any more. It ends with its last member.
    #[error("is not in the policy and has members: it ends with its last member")]
    Removed,
}

#[cfg(feature = "daemon")]
impl GroupDifference {
    /// Names no flows, except those that may be seen.
    pub(crate) fn retain_holders(&mut self, may_see: &dyn Fn(&str) -> bool) {
        if let Self::Refused(refusal) = self {
            refusal.retain_holders(may_see);
        }
    }
}

fn former_class(class: Option<&str>) -> String {
    class.map_or_else(|| "without a class".to_owned(), |class| format!("in class {class}"))
}
