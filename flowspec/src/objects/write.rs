//! Writes checked objects into a buffer: the list, then the targets of its pointers.

use crate::abi::Abi;
use crate::invalid::{FieldProblem, Invalid, PolicyProblem, ValueProblem};
use crate::raw::RawFlowspec;

use super::adspec::{Adspec, CONTROL_SERVICE_SIZE};
use super::object::Object;
use super::object_type;
use super::pointer::Pointee;
use super::policy::PolicyElement;
use super::reserve::{FlowDescriptor, ReserveInfo, descriptor_size};
use super::socket_address::socket_address_bytes;
use super::walk::HEADER_SIZE;

impl Object {
    /// Appends a buffer with these objects. Pointers count from the start of the buffer.
    ///
    /// An END_OF_LIST is added where there is none and a target follows the list.
    pub(crate) fn write_all(objects: &[Self], abi: Abi, buffer: &mut Vec<u8>) -> Result<(), Invalid> {
        let mut writer = Writer { abi, list: Vec::new(), tail: Vec::new(), leads: Vec::new() };
        for (index, object) in objects.iter().enumerate() {
            if objects[..index].contains(&Self::EndOfList) {
                return Err(Invalid {
                    field: format!("provider_specific[{index}].object_type"),
                    offset: abi.qos_size() + writer.list.len(),
                    value: u64::from(object.object_type()),
                    problem: FieldProblem::AfterEnd,
                });
            }
            writer.object(object, index)?;
        }
        if !writer.tail.is_empty() && !objects.contains(&Self::EndOfList) {
            writer.object(&Self::EndOfList, objects.len())?;
        }
        writer.finish(buffer);
        Ok(())
    }
}

/// The list and the targets after it, while both grow.
struct Writer {
    abi: Abi,
    list: Vec<u8>,
    tail: Vec<u8>,
    /// The pointers to set once the start of the tail is known.
    leads: Vec<PendingPointer>,
}

struct PendingPointer {
    place: PointerPlace,
    /// An offset in the tail.
    target: usize,
}

#[derive(Clone, Copy)]
enum PointerPlace {
    List(usize),
    Tail(usize),
}

impl Writer {
    fn object(&mut self, object: &Object, index: usize) -> Result<(), Invalid> {
        let start = self.list.len();
        self.word(object.object_type());
        self.word(0);
        match object {
            Object::EndOfList | Object::TcpTraffic => {}
            Object::SdMode { shape_discard_mode } => self.word(shape_discard_mode.value()),
            Object::ShapingRate { shaping_rate } => {
                let rate = shaping_rate.get();
                let Ok(rate) = u32::try_from(rate) else {
                    return Err(Invalid {
                        field: format!("provider_specific[{index}].shaping_rate"),
                        offset: self.abi.qos_size() + self.list.len(),
                        value: rate,
                        problem: FieldProblem::Value(ValueProblem::RateTooLarge),
                    });
                };
                self.word(rate);
            }
            Object::Destaddr { socket_address } => {
                let length = match socket_address {
                    Pointee::Outside(outside) => {
                        self.pointer(outside.pointer);
                        outside.count
                    }
                    Pointee::Inside(address) => {
                        let bytes = socket_address_bytes(address);
                        let target = self.keep(&bytes);
                        self.lead(PointerPlace::List(self.list.len()), target);
                        self.pointer(0);
                        small(bytes.len())
                    }
                };
                self.word(length);
                self.align(start);
            }
            Object::StatusInfo { status_code, extended_status1, extended_status2 } => {
                self.words([*status_code, *extended_status1, *extended_status2]);
            }
            Object::ReserveInfo(info) => self.reserve_info(info, index)?,
            Object::Adspec(adspec) => self.adspec(adspec),
            Object::PolicyInfo(info) => {
                let body = policy_elements(&info.policy_elements, index)?;
                self.list.extend(body);
            }
            Object::DsClass { ds_field } => self.word(u32::from(*ds_field)),
            Object::TrafficClass { traffic_class } => self.word(u32::from(*traffic_class)),
            Object::Diffserv { rules } => {
                self.word(small(rules.len()));
                self.list.extend(rules.iter().flat_map(|rule| rule.bytes()));
                self.align_to(start, 4);
            }
            Object::FriendlyName { friendly_name } => {
                let units: Vec<_> = friendly_name.encode_utf16().collect();
                if units.len() > 255 || units.contains(&0) {
                    return Err(Invalid {
                        field: format!("provider_specific[{index}].friendly_name"),
                        offset: self.abi.qos_size() + self.list.len(),
                        value: units.len() as u64,
                        problem: FieldProblem::Value(ValueProblem::NameTooLong),
                    });
                }
                let padded = units.into_iter().chain(std::iter::repeat(0)).take(256);
                self.list.extend(padded.flat_map(u16::to_le_bytes));
            }
        }
        let length = small(self.list.len() - start);
        self.list[start + 4..start + HEADER_SIZE].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }

    fn reserve_info(&mut self, info: &ReserveInfo, index: usize) -> Result<(), Invalid> {
        let start = self.list.len() - HEADER_SIZE;
        self.word(info.style.value());
        self.word(info.confirm_request);
        match &info.policy_element_list {
            None => self.pointer(0),
            Some(Pointee::Outside(outside)) => self.pointer(outside.pointer),
            Some(Pointee::Inside(policy)) => {
                let body = policy_elements(&policy.policy_elements, index)?;
                let mut object = object_type::POLICY_INFO.to_le_bytes().to_vec();
                object.extend(small(body.len() + HEADER_SIZE).to_le_bytes());
                object.extend(body);
                let target = self.keep(&object);
                self.lead(PointerPlace::List(self.list.len()), target);
                self.pointer(0);
            }
        }
        match &info.flow_desc_list {
            None => {
                self.word(0);
                self.align(start);
                self.pointer(0);
            }
            Some(Pointee::Outside(outside)) => {
                self.word(outside.count);
                self.align(start);
                self.pointer(outside.pointer);
            }
            Some(Pointee::Inside(descriptors)) => {
                let target = self.descriptors(descriptors, index)?;
                self.word(small(descriptors.len()));
                self.align(start);
                self.lead(PointerPlace::List(self.list.len()), target);
                self.pointer(0);
            }
        }
        Ok(())
    }

    fn descriptors(&mut self, descriptors: &[FlowDescriptor], index: usize) -> Result<usize, Invalid> {
        let size = descriptor_size(self.abi);
        let target = self.keep(&vec![0; descriptors.len() * size]);
        for (nth, descriptor) in descriptors.iter().enumerate() {
            let at = target + nth * size;
            let raw: RawFlowspec = descriptor.flowspec.to_raw().map_err(|error| Invalid {
                field: format!("provider_specific[{index}].flow_desc_list[{nth}].flowspec.{}", error.field()),
                offset: at,
                value: error.value(),
                problem: FieldProblem::InnerFlowspec(error),
            })?;
            let mut bytes = Vec::with_capacity(size);
            raw.write(&mut bytes);
            let pointer_at = at + size - self.abi.pointer_size();
            let (count, pointer) = match &descriptor.filter_list {
                None => (0, 0),
                Some(Pointee::Outside(outside)) => (outside.count, outside.pointer),
                Some(Pointee::Inside(filters)) => {
                    let filters: Vec<_> = filters.iter().map(|filter| filter.bytes()).collect();
                    let list = self.keep(filters.as_flattened());
                    self.lead(PointerPlace::Tail(pointer_at), list);
                    (small(filters.len()), 0)
                }
            };
            bytes.extend(count.to_le_bytes());
            self.tail[at..at + bytes.len()].copy_from_slice(&bytes);
            let pointer = pointer.to_le_bytes();
            let wide = self.abi.pointer_size();
            self.tail[pointer_at..pointer_at + wide].copy_from_slice(&pointer[..wide]);
        }
        Ok(target)
    }

    fn adspec(&mut self, adspec: &Adspec) {
        self.words(adspec.general_params.words());
        self.word(small(adspec.services.len()));
        for service in &adspec.services {
            self.word(small(CONTROL_SERVICE_SIZE));
            self.word(service.service);
            self.words(service.overrides.words());
            let guaranteed = &service.guaranteed;
            self.words([guaranteed.c_total, guaranteed.d_total, guaranteed.c_sum, guaranteed.d_sum]);
        }
    }

    fn word(&mut self, word: u32) {
        self.list.extend(word.to_le_bytes());
    }

    fn words<const N: usize>(&mut self, words: [u32; N]) {
        self.list.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    }

    fn pointer(&mut self, pointer: u64) {
        self.list.extend(&pointer.to_le_bytes()[..self.abi.pointer_size()]);
    }

    /// Pads an object that began at `start` to the alignment of a pointer.
    fn align(&mut self, start: usize) {
        self.align_to(start, self.abi.pointer_size());
    }

    fn align_to(&mut self, start: usize, alignment: usize) {
        let length = (self.list.len() - start).next_multiple_of(alignment);
        self.list.resize(start + length, 0);
    }

    /// Appends a target to the tail, aligned for a pointer, and returns its offset there.
    fn keep(&mut self, bytes: &[u8]) -> usize {
        self.tail.resize(self.tail.len().next_multiple_of(8), 0);
        let target = self.tail.len();
        self.tail.extend_from_slice(bytes);
        target
    }

    fn lead(&mut self, place: PointerPlace, target: usize) {
        self.leads.push(PendingPointer { place, target });
    }

    fn finish(mut self, buffer: &mut Vec<u8>) {
        if !self.tail.is_empty() {
            self.align_to(0, 8);
        }
        let base = self.list.len();
        let wide = self.abi.pointer_size();
        for PendingPointer { place, target } in &self.leads {
            let pointer = ((base + target) as u64).to_le_bytes();
            let bytes = match *place {
                PointerPlace::List(at) => &mut self.list[at..at + wide],
                PointerPlace::Tail(at) => &mut self.tail[at..at + wide],
            };
            bytes.copy_from_slice(&pointer[..wide]);
        }
        buffer.append(&mut self.list);
        buffer.append(&mut self.tail);
    }
}

/// NumPolicyElement and the elements.
fn policy_elements(elements: &[PolicyElement], index: usize) -> Result<Vec<u8>, Invalid> {
    let mut bytes = small(elements.len()).to_le_bytes().to_vec();
    for (nth, element) in elements.iter().enumerate() {
        let length = element.info.0.len() + 4;
        let Ok(len) = u16::try_from(length) else {
            return Err(Invalid {
                field: format!("provider_specific[{index}].policy_element[{nth}].len"),
                offset: bytes.len(),
                value: length as u64,
                problem: FieldProblem::PolicyObject(PolicyProblem::ElementTooLong),
            });
        };
        bytes.extend(len.to_le_bytes());
        bytes.extend(element.element_type.to_le_bytes());
        bytes.extend(&element.info.0);
    }
    Ok(bytes)
}

/// A count as 32 bits. A count that does not fit becomes the largest number; the check of the written bytes then fails.
fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
