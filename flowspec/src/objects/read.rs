//! Reads the objects of a buffer into their checked form.

use crate::abi::{Abi, FLOWSPEC_SIZE, le_u32};
use crate::buffer::{LONGEST_PROVIDER_SPECIFIC, QosBytes, checked_flowspec, invalid_flowspec};
use crate::invalid::{ExpectedLength, FieldProblem, Invalid, PolicyProblem, ValueProblem};
use crate::raw::{QOS_NOT_SPECIFIED, RawFlowspec};
use crate::units::Rate;

use super::adspec::GuaranteedParams;
use super::adspec::{Adspec, CONTROL_SERVICE_SIZE, ControlService, GENERAL_PARAMS_SIZE, GeneralParams};
use super::hex::Hex;
use super::object::{DiffservRule, Object, ShapeDiscardMode};
use super::object_type;
use super::pointer::{Outside, Pointee, PointerTarget, Tail};
use super::policy::{PolicyElement, PolicyInfo};
use super::reserve::{
    FILTERSPEC_SIZE, FilterSpec, FlowDescriptor, ReservationStyle, ReserveInfo, descriptor_size,
};
use super::socket_address::socket_address;
use super::walk::{HEADER_SIZE, RawObject};

/// WCHAR[256].
const FRIENDLY_NAME_UNITS: usize = 256;

impl Object {
    /// Every object of a buffer, in order.
    pub(crate) fn read_all(qos: &QosBytes<'_>) -> Result<Vec<Self>, Invalid> {
        let buffer = qos.provider_specific;
        if buffer.is_empty() {
            return Ok(Vec::new());
        }
        let origin = qos.abi.qos_size();
        if buffer.len() > LONGEST_PROVIDER_SPECIFIC {
            return Err(Invalid {
                field: "provider_specific.len".into(),
                offset: 2 * FLOWSPEC_SIZE,
                value: buffer.len() as u64,
                problem: FieldProblem::BufferTooLong { limit: LONGEST_PROVIDER_SPECIFIC },
            });
        }
        let base = qos.qos.provider_specific.buf;
        let mut walk = qos.objects();
        let mut tail = Tail::new(buffer, base, origin);
        let mut seen = 0;
        let mut objects = Vec::with_capacity(4);
        while let Some(object) = walk.advance() {
            let object = &object;
            let body = Body { object, abi: qos.abi };
            let invalid =
                |problem| Err(body.invalid("object_type", 0, u64::from(object.object_type), problem));
            let Some(bit) = object_type::bit(object.object_type) else {
                return invalid(FieldProblem::UnknownObject);
            };
            if seen & bit != 0 {
                let same = |first: &RawObject<'_>| first.object_type == object.object_type;
                let first = qos.objects().flatten().find(same).map_or(0, |first| first.offset);
                return invalid(FieldProblem::Duplicate { first });
            }
            seen |= bit;
            if object_type::has_pointers(object.object_type) {
                tail.begin(walk.clone())?;
            }
            objects.push(body.read(&mut tail)?);
        }
        walk.end()?;
        Ok(objects)
    }
}

/// An object's bytes and their layout.
#[derive(Clone, Copy)]
struct Body<'a> {
    object: &'a RawObject<'a>,
    abi: Abi,
}

// `inline(always)` builds small objects in their final place. Copied from a call's result, each copy waits for the
// writes before it (store forwarding fails): 20 of the 160 ns for three objects.
impl Body<'_> {
    #[inline(always)]
    fn read(self, tail: &mut Tail<'_>) -> Result<Object, Invalid> {
        match self.object.object_type {
            object_type::END_OF_LIST => self.exactly(HEADER_SIZE).map(|()| Object::EndOfList),
            object_type::TCP_TRAFFIC => self.exactly(HEADER_SIZE).map(|()| Object::TcpTraffic),
            object_type::SD_MODE => self.sd_mode(),
            object_type::SHAPING_RATE => self.shaping_rate(),
            object_type::DESTADDR => self.destaddr(tail),
            object_type::STATUS_INFO => self.status_info(),
            object_type::RESERVE_INFO => self.reserve_info(tail),
            object_type::ADSPEC => self.adspec(),
            object_type::POLICY_INFO => self.policy_info().map(Object::PolicyInfo),
            object_type::DS_CLASS => self
                .small("ds_field", 63, ValueProblem::CodePoint)
                .map(|ds_field| Object::DsClass { ds_field }),
            object_type::TRAFFIC_CLASS => {
                let value = self.small("traffic_class", 7, ValueProblem::UserPriority);
                value.map(|traffic_class| Object::TrafficClass { traffic_class })
            }
            object_type::DIFFSERV => self.diffserv(),
            object_type::FRIENDLY_NAME => self.friendly_name(),
            unknown => Err(self.invalid("object_type", 0, u64::from(unknown), FieldProblem::UnknownObject)),
        }
    }

    #[inline(always)]
    fn sd_mode(self) -> Result<Object, Invalid> {
        self.exactly(12)?;
        let value = self.u32(8);
        let mode = ShapeDiscardMode::from_value(value);
        mode.map(|shape_discard_mode| Object::SdMode { shape_discard_mode }).ok_or_else(|| {
            self.invalid("shape_discard_mode", 8, u64::from(value), FieldProblem::ShapeDiscardMode)
        })
    }

    #[inline(always)]
    fn shaping_rate(self) -> Result<Object, Invalid> {
        self.exactly(12)?;
        match self.u32(8) {
            value @ (0 | QOS_NOT_SPECIFIED) => {
                Err(self.invalid("shaping_rate", 8, u64::from(value), FieldProblem::ShapingRate))
            }
            value => Ok(Object::ShapingRate { shaping_rate: Rate::new(u64::from(value)) }),
        }
    }

    fn status_info(self) -> Result<Object, Invalid> {
        self.exactly(20)?;
        let [status_code, extended_status1, extended_status2] = [8, 12, 16].map(|at| self.u32(at));
        Ok(Object::StatusInfo { status_code, extended_status1, extended_status2 })
    }

    /// A word with a small range, for an object that holds nothing else.
    #[inline(always)]
    fn small(self, name: &str, most: u8, problem: ValueProblem) -> Result<u8, Invalid> {
        self.exactly(12)?;
        let value = self.u32(8);
        let small = u8::try_from(value).ok().filter(|&small| small <= most);
        small.ok_or_else(|| self.invalid(name, 8, u64::from(value), FieldProblem::Value(problem)))
    }

    fn destaddr(self, tail: &mut Tail<'_>) -> Result<Object, Invalid> {
        let pointer = self.abi.pointer_size();
        self.exactly(2 * pointer + 8)?;
        let length = self.u32(8 + pointer);
        let invalid_length = |problem| {
            let problem = FieldProblem::Value(problem);
            Err(self.invalid("socket_address_length", 8 + pointer, u64::from(length), problem))
        };
        if length == 0 {
            return invalid_length(ValueProblem::SocketAddressLength);
        }
        let lead = self.lead("socket_address", 8, u64::from(length));
        let socket_address = match tail.follow(&lead)? {
            None => Pointee::Outside(Outside { pointer: lead.pointer, count: length }),
            Some((bytes, _)) => match socket_address(bytes) {
                Ok(address) => Pointee::Inside(address),
                Err(problem) => return invalid_length(problem),
            },
        };
        Ok(Object::Destaddr { socket_address })
    }

    fn reserve_info(self, tail: &mut Tail<'_>) -> Result<Object, Invalid> {
        let (count_at, list_at, size) = match self.abi {
            Abi::Win32 => (20, 24, 28),
            Abi::Win64 => (24, 32, 40),
        };
        self.exactly(size)?;
        let style = ReservationStyle::from_value(self.u32(8))
            .ok_or_else(|| self.invalid("style", 8, u64::from(self.u32(8)), FieldProblem::Style))?;
        let policy_element_list = match self.pointer(16) {
            0 => None,
            pointer => Some(self.policy_element_list(pointer, tail)?),
        };
        let count = self.u32(count_at);
        let flow_desc_list = match count {
            0 => None,
            count => Some(self.flow_desc_list(list_at, count, tail)?),
        };
        let confirm_request = self.u32(12);
        Ok(Object::ReserveInfo(ReserveInfo { style, confirm_request, policy_element_list, flow_desc_list }))
    }

    /// A policy object after the list; its header has its length.
    fn policy_element_list(self, pointer: u64, tail: &mut Tail<'_>) -> Result<Pointee<PolicyInfo>, Invalid> {
        let header = self.lead("policy_element_list", 16, HEADER_SIZE as u64);
        let Some((bytes, offset)) = tail.follow(&header)? else {
            return Ok(Pointee::Outside(Outside { pointer, count: 1 }));
        };
        let (found_type, length) = (le_u32(bytes, 0), le_u32(bytes, 4));
        let rest = tail.rest_from(offset);
        let whole = usize::try_from(length).ok().filter(|&length| length >= HEADER_SIZE);
        let Some(bytes) = whole.and_then(|length| rest.get(..length)) else {
            let field = format!("provider_specific[{}].policy_element_list.object_length", self.object.index);
            let problem = FieldProblem::ObjectLength(ExpectedLength::PointedPolicy { left: rest.len() });
            return Err(Invalid { field, offset: offset + 4, value: u64::from(length), problem });
        };
        if bytes.len() > HEADER_SIZE {
            let needed = (bytes.len() - HEADER_SIZE) as u64;
            tail.follow(&PointerTarget {
                pointer: pointer.wrapping_add(HEADER_SIZE as u64),
                needed,
                ..header
            })?;
        }
        let object = RawObject { index: self.object.index, offset, object_type: found_type, bytes };
        let body = Body { object: &object, abi: self.abi };
        if found_type != object_type::POLICY_INFO {
            let problem = FieldProblem::PolicyObject(PolicyProblem::ObjectType);
            return Err(body.invalid("policy_element_list.object_type", 0, u64::from(found_type), problem));
        }
        body.policy_info().map(Pointee::Inside)
    }

    fn flow_desc_list(
        self,
        at: usize,
        count: u32,
        tail: &mut Tail<'_>,
    ) -> Result<Pointee<Vec<FlowDescriptor>>, Invalid> {
        let size = descriptor_size(self.abi);
        let lead = self.lead("flow_desc_list", at, u64::from(count) * size as u64);
        if lead.pointer == 0 {
            return Err(Invalid { value: u64::from(count), ..lead.invalid(FieldProblem::FlowCount) });
        }
        let Some((bytes, offset)) = tail.follow(&lead)? else {
            return Ok(Pointee::Outside(Outside { pointer: lead.pointer, count }));
        };
        let descriptors = bytes.chunks_exact(size).enumerate();
        let descriptors = descriptors.map(|(nth, bytes)| {
            let place = DescriptorPlace { offset: offset + nth * size, index: self.object.index, nth };
            flow_descriptor(bytes, place, self.abi, tail)
        });
        descriptors.collect::<Result<_, _>>().map(Pointee::Inside)
    }

    fn adspec(self) -> Result<Object, Invalid> {
        const SERVICES_AT: usize = HEADER_SIZE + GENERAL_PARAMS_SIZE + 4;
        let bytes = self.object.bytes;
        let services = bytes.get(SERVICES_AT..).map(|rest| rest.len() / CONTROL_SERVICE_SIZE);
        let expected = services.map(|services| SERVICES_AT + services * CONTROL_SERVICE_SIZE);
        if expected != Some(bytes.len()) {
            return Err(self.wrong_length(ExpectedLength::Adspec));
        }
        let count = self.u32(SERVICES_AT - 4);
        if usize::try_from(count).ok() != services {
            let problem = FieldProblem::Value(ValueProblem::ServiceCount);
            return Err(self.invalid("number_of_services", SERVICES_AT - 4, u64::from(count), problem));
        }
        let words = |at: usize| std::array::from_fn(|word| self.u32(at + word * 4));
        let service = |nth: usize| {
            let at = SERVICES_AT + nth * CONTROL_SERVICE_SIZE;
            let length = self.u32(at);
            if usize::try_from(length) != Ok(CONTROL_SERVICE_SIZE) {
                let problem = FieldProblem::ObjectLength(ExpectedLength::Service);
                return Err(self.invalid(&format!("services[{nth}].length"), at, u64::from(length), problem));
            }
            let [c_total, d_total, c_sum, d_sum] = words_of(self.object.bytes, at + 28);
            Ok(ControlService {
                service: self.u32(at + 4),
                overrides: GeneralParams::from_words(words(at + 8)),
                guaranteed: GuaranteedParams { c_total, d_total, c_sum, d_sum },
            })
        };
        Ok(Object::Adspec(Adspec {
            general_params: GeneralParams::from_words(words(HEADER_SIZE)),
            services: (0..services.unwrap_or(0)).map(service).collect::<Result<_, _>>()?,
        }))
    }

    fn policy_info(self) -> Result<PolicyInfo, Invalid> {
        if self.object.bytes.len() < 12 {
            return Err(self.wrong_length(ExpectedLength::Policy));
        }
        let count = self.u32(8);
        let invalid_count = || {
            let problem = FieldProblem::PolicyObject(PolicyProblem::ElementCount);
            self.invalid("num_policy_element", 8, u64::from(count), problem)
        };
        let mut policy_elements = Vec::new();
        let mut rest = &self.object.bytes[12..];
        while let [l0, l1, t0, t1, ..] = *rest {
            let at = self.object.bytes.len() - rest.len();
            let nth = policy_elements.len();
            let (len, element_type) = (u16::from_le_bytes([l0, l1]), u16::from_le_bytes([t0, t1]));
            let Some(info) = rest.get(4..usize::from(len)) else {
                let problem = FieldProblem::PolicyObject(PolicyProblem::ElementLength);
                return Err(self.invalid(&format!("policy_element[{nth}].len"), at, u64::from(len), problem));
            };
            if element_type == 0 {
                let field = format!("policy_element[{nth}].type");
                return Err(self.invalid(&field, at + 2, 0, FieldProblem::ReservedPolicyElement));
            }
            policy_elements.push(PolicyElement { element_type, info: Hex(info.to_vec()) });
            rest = &rest[usize::from(len)..];
        }
        if !rest.is_empty() || usize::try_from(count) != Ok(policy_elements.len()) {
            return Err(invalid_count());
        }
        Ok(PolicyInfo { policy_elements })
    }

    fn diffserv(self) -> Result<Object, Invalid> {
        let bytes = self.object.bytes;
        if bytes.len() < 12 {
            return Err(self.wrong_length(ExpectedLength::Diffserv));
        }
        let count = self.u32(8);
        let needed = u64::from(count) * 5 + 12;
        // The object ends with its last rule, or is padded to the structure's alignment.
        if bytes.len() as u64 != needed && bytes.len() as u64 != needed.next_multiple_of(4) {
            let problem = FieldProblem::Value(ValueProblem::RuleCount);
            return Err(self.invalid("ds_field_count", 8, u64::from(count), problem));
        }
        let mut rules: Vec<DiffservRule> = Vec::new();
        let most = [
            (63, "inbound_ds_field", ValueProblem::CodePoint),
            (63, "conforming_outbound_ds_field", ValueProblem::CodePoint),
            (63, "nonconforming_outbound_ds_field", ValueProblem::CodePoint),
            (7, "conforming_user_priority", ValueProblem::UserPriority),
            (7, "nonconforming_user_priority", ValueProblem::UserPriority),
        ];
        for (nth, rule) in bytes[12..].as_chunks::<5>().0.iter().enumerate() {
            let at = 12 + nth * 5;
            let invalid = |field: usize, problem| {
                let name = format!("rules[{nth}].{}", most[field].1);
                self.invalid(&name, at + field, u64::from(rule[field]), FieldProblem::Value(problem))
            };
            if let Some(field) = (0..5).find(|&field| rule[field] > most[field].0) {
                return Err(invalid(field, most[field].2));
            }
            if rules.iter().any(|other| other.inbound_ds_field == rule[0]) {
                return Err(invalid(0, ValueProblem::DuplicateRule));
            }
            rules.push(DiffservRule {
                inbound_ds_field: rule[0],
                conforming_outbound_ds_field: rule[1],
                nonconforming_outbound_ds_field: rule[2],
                conforming_user_priority: rule[3],
                nonconforming_user_priority: rule[4],
            });
        }
        Ok(Object::Diffserv { rules })
    }

    fn friendly_name(self) -> Result<Object, Invalid> {
        self.exactly(HEADER_SIZE + 2 * FRIENDLY_NAME_UNITS)?;
        let units =
            self.object.bytes[HEADER_SIZE..].as_chunks::<2>().0.iter().copied().map(u16::from_le_bytes);
        let units: Vec<_> = units.take_while(|&unit| unit != 0).collect();
        let invalid = |unit: usize, problem| {
            let value = self.object.bytes.get(HEADER_SIZE + 2 * unit).map_or(0, |&byte| u64::from(byte));
            Err(self.invalid("friendly_name", HEADER_SIZE + 2 * unit, value, FieldProblem::Value(problem)))
        };
        if units.len() == FRIENDLY_NAME_UNITS {
            return invalid(FRIENDLY_NAME_UNITS - 1, ValueProblem::NameWithoutEnd);
        }
        let mut at = 0;
        let mut name = String::new();
        for character in char::decode_utf16(units) {
            let Ok(character) = character else { return invalid(at, ValueProblem::SurrogateHalf) };
            at += character.len_utf16();
            name.push(character);
        }
        Ok(Object::FriendlyName { friendly_name: name })
    }

    fn u32(self, at: usize) -> u32 {
        le_u32(self.object.bytes, at)
    }

    fn pointer(self, at: usize) -> u64 {
        pointer(self.object.bytes, at, self.abi)
    }

    fn lead(self, name: &'static str, at: usize, needed: u64) -> PointerTarget {
        let (index, offset) = (self.object.index, self.object.offset + at);
        PointerTarget { index, descriptor: None, name, offset, pointer: self.pointer(at), needed }
    }

    #[inline(always)]
    fn exactly(self, size: usize) -> Result<(), Invalid> {
        if self.object.bytes.len() == size { Ok(()) } else { Err(self.other_length(size)) }
    }

    #[cold]
    fn other_length(self, size: usize) -> Invalid {
        self.wrong_length(ExpectedLength::Exactly { object_type: self.object.object_type, bytes: size })
    }

    #[cold]
    fn wrong_length(self, expected: ExpectedLength) -> Invalid {
        let problem = FieldProblem::ObjectLength(expected);
        self.invalid("object_length", 4, self.object.bytes.len() as u64, problem)
    }

    #[cold]
    fn invalid(self, name: &str, at: usize, value: u64, problem: FieldProblem) -> Invalid {
        let field = format!("provider_specific[{}].{name}", self.object.index);
        Invalid { field, offset: self.object.offset + at, value, problem }
    }
}

/// Where a flow descriptor is.
#[derive(Clone, Copy)]
struct DescriptorPlace {
    /// In bytes from the start of the objects, as of every field.
    offset: usize,
    /// The number of its object.
    index: usize,
    /// Its number in the list of that object.
    nth: usize,
}

fn flow_descriptor(
    bytes: &[u8],
    place: DescriptorPlace,
    abi: Abi,
    tail: &mut Tail<'_>,
) -> Result<FlowDescriptor, Invalid> {
    let DescriptorPlace { offset, index, nth } = place;
    let raw = RawFlowspec::from_words(words_of(bytes, 0));
    let flowspec = checked_flowspec(&raw, None).map_err(|error| {
        let name = format!("provider_specific[{index}].flow_desc_list[{nth}].flowspec");
        invalid_flowspec(&raw, offset, &name, error, FieldProblem::InnerFlowspec)
    })?;
    let (count, list_at) = (le_u32(bytes, FLOWSPEC_SIZE), descriptor_size(abi) - abi.pointer_size());
    if count == 0 {
        return Ok(FlowDescriptor { flowspec, filter_list: None });
    }
    let pointer = pointer(bytes, list_at, abi);
    let lead = PointerTarget {
        index,
        descriptor: Some(nth),
        name: "filter_list",
        offset: offset + list_at,
        pointer,
        needed: u64::from(count) * FILTERSPEC_SIZE as u64,
    };
    if pointer == 0 {
        return Err(Invalid { value: u64::from(count), ..lead.invalid(FieldProblem::FilterCount) });
    }
    let Some((bytes, offset)) = tail.follow(&lead)? else {
        return Ok(FlowDescriptor {
            flowspec,
            filter_list: Some(Pointee::Outside(Outside { pointer, count })),
        });
    };
    let filters = bytes.as_chunks::<FILTERSPEC_SIZE>().0.iter().enumerate().map(|(which, filter)| {
        FilterSpec::read(filter).ok_or_else(|| Invalid {
            field: format!("provider_specific[{index}].flow_desc_list[{nth}].filter_list[{which}].type"),
            offset: offset + which * FILTERSPEC_SIZE,
            value: u64::from(le_u32(filter, 0)),
            problem: FieldProblem::FilterType,
        })
    });
    Ok(FlowDescriptor { flowspec, filter_list: Some(Pointee::Inside(filters.collect::<Result<_, _>>()?)) })
}

fn pointer(bytes: &[u8], at: usize, abi: Abi) -> u64 {
    let low = u64::from(le_u32(bytes, at));
    match abi {
        Abi::Win32 => low,
        Abi::Win64 => u64::from(le_u32(bytes, at + 4)) << 32 | low,
    }
}

fn words_of<const N: usize>(bytes: &[u8], at: usize) -> [u32; N] {
    std::array::from_fn(|word| le_u32(bytes, at + word * 4))
}
