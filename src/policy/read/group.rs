//! `[group.*]`: one reservation that several flows share.

use super::flowspec::qos;
use super::section::Section;
use crate::policy::model::{Group, GroupMode};

pub(super) fn group(section: Section<'_>) -> Option<Group> {
    let interface = section.text("interface");
    if !section.has("interface") {
        section.missing("interface");
    }
    let class = section.text("class");
    let mode = section.choice("mode", &GroupMode::WORDS).map_or(GroupMode::Envelope, |mode| mode.value);
    if mode == GroupMode::Envelope && !section.has("sending") && !section.has("receiving") {
        section.missing("sending or receiving, which its members share");
    }
    let qos = qos(&section);
    let place = section.place.clone();
    section.finish();
    Some(Group { interface: interface?, class, mode, qos: qos?, place })
}
