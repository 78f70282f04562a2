//! `[group.*]`: one reservation that several flows share.

use flowspec::Qos;

use super::flowspec::qos;
use super::reference::{Reference, ReferenceKind};
use super::section::Section;
use crate::policy::code::Code;
use crate::policy::device::device_name_fault;
use crate::policy::model::{Group, GroupMode};

/// Reads a group, and adds the names that it uses to the references. A group whose keys cannot be read is defined all the
/// same, so that its users are not reported as well.
pub(super) fn group(section: Section<'_>, references: &mut Vec<Reference>) -> Group {
    let interface = section.string("interface");
    if !section.has("interface") {
        section.missing("interface");
    }
    if let Some(interface) = &interface {
        match device_name_fault(interface.value) {
            Some(fault) => {
                let message = format!("{}.interface: {fault}", section.path);
                section.problem(Code::BadName, &interface.place, message);
            }
            None => references.push(Reference::new(&section.path, ReferenceKind::Interface, interface)),
        }
    }
    let class = section.string("class");
    references.extend(class.as_ref().map(|class| Reference::new(&section.path, ReferenceKind::Class, class)));
    let class = class.map(|class| class.value.to_owned());
    let mode = section.choice("mode", &GroupMode::WORDS).map_or(GroupMode::Envelope, |mode| mode.value);
    if mode == GroupMode::Envelope && !section.has("sending") && !section.has("receiving") {
        section.missing("sending or receiving, which its members share");
    }
    let qos = qos(&section).unwrap_or(Qos::BEST_EFFORT);
    let place = section.place.clone();
    section.finish();
    let interface = interface.map_or(String::new(), |interface| interface.value.to_owned());
    Group { interface, class, mode, qos, place }
}
