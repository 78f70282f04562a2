//! Reads the steps of a test.

use core::net::IpAddr;

use flowspec::{Both, Bytes, Direction, Flowspec, Micros, Rate, Share};
use toml::Spanned;
use toml::de::DeValue;

use super::connect::Connect;
use super::expectations::{error, message, reason, rendition, status};
use super::named::{NameKind, NameUse, NameUses};
use super::names::IdPattern;
use super::requested::RequestedQos;
use super::step::{Action, Expect, GroupStep, Step, Time, Tolerance, Transfer};
use crate::admission::{LONGEST_MEASUREMENT, PeerState, Reason, SHORTEST_MEASUREMENT};
use crate::policy::read::flowspec::flowspec;
use crate::policy::read::section::{Placed, Section};
use crate::policy::{Code, GroupMode, Owner, Place, Protocol};

/// The most flows of one step.
const MOST_REPEATED: u64 = 1_000_000;

/// How long a transfer is measured: by default, at least and at most.
const DEFAULT_TRANSFER: Micros = Micros::new(3_000_000);
const SHORTEST_TRANSFER: Micros = Micros::new(500_000);
const LONGEST_TRANSFER: Micros = Micros::new(60_000_000);

/// The default tolerance of a transfer's rate: 2 %.
const DEFAULT_TOLERANCE: Share = Share::Part(20_000_000);

pub(super) fn step(section: Section<'_>) -> Option<Step> {
    let at = section.quantity::<Micros>("at");
    let after = section.quantity::<Micros>("after");
    if let (Some(_), Some(after)) = (&at, &after) {
        let message = format!("{}: at and after exclude each other", section.path);
        section.problem(Code::Conflict, &after.place, message);
    }
    let uses = NameUses::default();
    let problems_before = section.problem_count();
    let mut actions = Vec::new();
    for key in ["connect", "accept"] {
        actions.extend(section.section(key).map(|section| connect(section, &uses).map(Action::Connect)));
    }
    actions.extend(section.section("query").map(|section| query(section, &uses).map(Action::Query)));
    actions.extend(section.section("renegotiate").map(|section| renegotiate(section, &uses)));
    actions.extend(section.section("refresh").map(|section| refresh(section, &uses)));
    actions.extend(section.section("peer").map(|section| peer(section, &uses)));
    actions.extend(section.section("group").map(|section| group(section, &uses)));
    let ungroup = uses.text(&section, "ungroup", NameKind::Group);
    if section.has("ungroup") {
        actions.push(ungroup.map(Action::Ungroup));
    }
    actions.extend(section.section("capacity").map(|section| capacity(section, &uses)));
    actions.extend(section.section("measure").map(|section| measure(section, &uses)));
    actions.extend(section.section("transfer").map(|section| transfer(section, &uses)));
    if let Some(value) = section.raw("close") {
        actions.push(close(&section, value, &uses));
    }
    let reload = section.string("reload");
    if section.has("reload") {
        actions.push(reload.as_ref().map(|path| Action::Reload(path.value.to_owned())));
    }
    let crash = uses.text(&section, "crash", NameKind::Client);
    if section.has("crash") {
        actions.push(crash.map(Action::Crash));
    }
    let wait = section.quantity::<Micros>("wait");
    if section.has("wait") {
        actions.push(wait.as_ref().map(|_| Action::Wait));
    }
    let (expect, expected) = section.section("expect").map(expect).unzip();
    // A query whose delay no interface meets is answered: never.
    let is_answered = |expect: &Expect| section.has("query") && expect.admitted == Some(true);
    if expect.as_ref().is_some_and(|expect| expects_inconsistent_flowspec(expect) || is_answered(expect)) {
        section.withdraw(Code::BadFlowspec, problems_before);
    }
    let place = section.place.clone();
    if actions.len() > 1 {
        let message = format!("{}: a step has one action, and this one has {}", section.path, actions.len());
        section.problem(Code::Conflict, &place, message);
    } else if actions.is_empty() && !section.has("at") && !section.has("after") && !section.has_unread() {
        // An unknown key is a misspelt action, and a problem of its own.
        section.missing(
            "connect, accept, query, renegotiate, refresh, peer, close, group, ungroup, capacity, measure, reload, crash, wait or transfer",
        );
    }
    section.finish();
    let time = time(at.as_ref(), after, wait);
    let action = actions.pop().unwrap_or(Some(Action::Wait))?;
    let mut names = uses.into_inner();
    names.extend(expected.into_iter().flatten());
    let reload = reload.map(|path| path.place);
    Some(Step { time, at, action, expect, place, names, reload })
}

/// When a step happens: where it waits, when it has waited.
fn time(at: Option<&Placed<Micros>>, after: Option<Placed<Micros>>, wait: Option<Placed<Micros>>) -> Time {
    let value = |time: Option<Placed<Micros>>| time.map(|time| time.value);
    let wait = value(wait).unwrap_or_default().get();
    let waited = |time: Micros| Micros::new(time.get().saturating_add(wait));
    match (at.map(|at| at.value), value(after)) {
        (Some(at), _) => Time::At(waited(at)),
        (None, after) => Time::After(waited(after.unwrap_or_default())),
    }
}

/// Whether a step expects a refusal that follows from an inconsistent flowspec, or that is found out before that is.
fn expects_inconsistent_flowspec(expect: &Expect) -> bool {
    const FOUND_BEFORE_CAPACITY: [Reason; 16] = [
        Reason::InvalidFlowspec,
        Reason::ServiceNotOffered,
        Reason::Mtu,
        Reason::Delay,
        Reason::FlowRate,
        Reason::UnknownId,
        Reason::DuplicateId,
        Reason::ClientLimit,
        Reason::InvalidWindow,
        Reason::InvalidPriority,
        Reason::UnknownInterface,
        Reason::UnknownCapacity,
        Reason::UnknownClass,
        Reason::ClassOwner,
        Reason::UnknownGroup,
        Reason::GroupElsewhere,
    ];
    let reason = expect.reason.as_deref();
    FOUND_BEFORE_CAPACITY.iter().any(|found| reason == Some(found.name()))
}

fn connect(section: Section<'_>, uses: &NameUses) -> Option<Box<Connect>> {
    let id = names(&section, None);
    let wait = section.flag("wait").is_some_and(|wait| wait.value);
    let connect = flow(&section, uses);
    section.finish();
    Some(Box::new(Connect { id: id?, wait, ..connect? }))
}

/// A query may name its flow, and need not.
fn query(section: Section<'_>, uses: &NameUses) -> Option<Box<Connect>> {
    let id = section.text("id").unwrap_or_default();
    let query = flow(&section, uses);
    if query.as_ref().is_some_and(|query| query.qos.templates().len() > 1) {
        let message = format!("{}: a query takes one template", section.path);
        section.problem(Code::Conflict, &section.place, message);
    }
    section.finish();
    Some(Box::new(Connect { id: IdPattern::one(&id), ..query? }))
}

/// What a flow asks for, without its id.
fn flow(section: &Section<'_>, uses: &NameUses) -> Option<Connect> {
    let interface = interface(section, uses);
    let class = uses.text(section, "class", NameKind::Class);
    let group = uses.text(section, "group", NameKind::Group);
    let client = section.text("client");
    let number = |key| {
        section.integer(key, 0..=u64::from(u32::MAX)).and_then(|number| u32::try_from(number.value).ok())
    };
    let owner = Owner { uid: number("uid"), gid: number("gid"), cgroup: section.text("cgroup") };
    let qos = requested_qos(section, uses);
    let time = |key| section.quantity::<Micros>(key).map(|time| time.value);
    let (start, duration, time_to_live) = (time("start"), time("duration"), time("ttl"));
    let priority = |key| section.integer(key, 0..=7).and_then(|number| u8::try_from(number.value).ok());
    let (setup_priority, holding_priority) = (priority("setup_priority"), priority("holding_priority"));
    let protocol = section.choice("protocol", &Protocol::WORDS);
    let local_port = section.integer("local_port", 0..=65_535);
    let peer = section.string("peer").and_then(|peer| {
        let address = peer.value.parse::<IpAddr>();
        if address.is_err() {
            let message = format!("{}.peer: {:?} is not an address", section.path, peer.value);
            section.problem(Code::BadValue, &peer.place, message);
        }
        address.ok()
    });
    Some(Connect {
        id: IdPattern::one(""),
        interface: interface?,
        class,
        group,
        client,
        owner,
        qos,
        start,
        duration,
        time_to_live,
        wait: false,
        setup_priority,
        holding_priority,
        protocol: protocol.map(|protocol| protocol.value),
        local_port: local_port.and_then(|port| u16::try_from(port.value).ok()),
        peer,
    })
}

/// By template, by a ladder of them, or by flowspecs.
fn requested_qos(section: &Section<'_>, uses: &NameUses) -> RequestedQos {
    let mut templates: Vec<_> = uses.text(section, "template", NameKind::Template).into_iter().collect();
    let ladder = uses.texts(section, "templates", NameKind::Template);
    let place = || section.raw("templates").map_or(section.place.clone(), |value| section.at(value.span()));
    if ladder.as_ref().is_some_and(Vec::is_empty) {
        let message = format!("{}.templates: an empty list matches nothing; leave it out", section.path);
        section.problem(Code::BadValue, &place(), message);
    } else if ladder.is_some() && section.has("template") {
        let message = format!("{}: template and templates exclude each other", section.path);
        section.problem(Code::Conflict, &place(), message);
    }
    templates.extend(ladder.unwrap_or_default());
    RequestedQos::new(templates, flowspecs(section)).unwrap_or_else(|| {
        template_and_flowspec(section);
        RequestedQos::Templates(Vec::new())
    })
}

fn template_and_flowspec(section: &Section<'_>) {
    let message =
        format!("{}: a template stands for sending and receiving: give one or the other", section.path);
    section.problem(Code::Conflict, &section.place, message);
}

/// A flow or a group needs a name.
fn refuse_empty_id(section: &Section<'_>, id: &str, place: &Place) {
    if id.is_empty() {
        section.problem(Code::BadValue, place, format!("{}.id: an empty id names nothing", section.path));
    }
}

fn group(section: Section<'_>, uses: &NameUses) -> Option<Action> {
    let id = section.string("id");
    if let Some(id) = &id {
        refuse_empty_id(&section, id.value, &id.place);
    }
    let id = id.map(|id| id.value.to_owned());
    let interface = uses.text(&section, "interface", NameKind::Interface);
    let class = uses.text(&section, "class", NameKind::Class);
    for key in ["id", "interface"] {
        if !section.has(key) {
            section.missing(key);
        }
    }
    let mode = section.choice("mode", &GroupMode::WORDS).map_or(GroupMode::Envelope, |mode| mode.value);
    let qos = requested_qos(&section, uses);
    if qos.templates().len() > 1 {
        let message = format!("{}: a group takes one template", section.path);
        section.problem(Code::Conflict, &section.place, message);
    }
    section.finish();
    Some(Action::Group(Box::new(GroupStep { id: id?, interface: interface?, class, mode, qos })))
}

fn renegotiate(section: Section<'_>, uses: &NameUses) -> Option<Action> {
    let id = names(&section, Some(uses));
    let template = uses.text(&section, "template", NameKind::Template);
    let flowspecs = Box::new(flowspecs(&section));
    if template.is_none() && !section.has("sending") && !section.has("receiving") {
        section.missing("template, sending or receiving");
    } else if section.has("template") && (section.has("sending") || section.has("receiving")) {
        template_and_flowspec(&section);
    }
    section.finish();
    Some(Action::Renegotiate { id: id?, template, flowspecs })
}

fn refresh(section: Section<'_>, uses: &NameUses) -> Option<Action> {
    let id = names(&section, Some(uses));
    let time_to_live = section.quantity::<Micros>("ttl");
    if !section.has("ttl") {
        section.missing("ttl");
    }
    section.finish();
    Some(Action::Refresh { id: id?, time_to_live: time_to_live?.value })
}

fn peer(section: Section<'_>, uses: &NameUses) -> Option<Action> {
    let id = names(&section, Some(uses));
    let state = section.choice("state", &PeerState::WORDS);
    if !section.has("state") {
        section.missing("state");
    }
    let lasting = section.quantity::<Micros>("for");
    section.finish();
    Some(Action::Peer { id: id?, state: state?.value, lasting })
}

fn capacity(section: Section<'_>, uses: &NameUses) -> Option<Action> {
    let interface = interface(&section, uses);
    let directions = [("egress", Direction::Sending), ("ingress", Direction::Receiving)];
    let direction = section.choice("direction", &directions);
    let capacity = section.quantity::<Rate>("capacity");
    for key in ["direction", "capacity"] {
        if !section.has(key) {
            section.missing(key);
        }
    }
    section.finish();
    Some(Action::Capacity { interface: interface?, direction: direction?.value, capacity: capacity?.value })
}

fn measure(section: Section<'_>, uses: &NameUses) -> Option<Action> {
    let interface = interface(&section, uses);
    let class = uses.text(&section, "class", NameKind::Class);
    let window = section.quantity::<Micros>("window");
    let (sending, receiving) = (section.quantity::<Rate>("sending"), section.quantity::<Rate>("receiving"));
    for key in ["class", "window"] {
        if !section.has(key) {
            section.missing(key);
        }
    }
    if !section.has("sending") && !section.has("receiving") {
        section.missing("sending or receiving");
    }
    if let Some(window) = &window
        && !(SHORTEST_MEASUREMENT..=LONGEST_MEASUREMENT).contains(&window.value)
    {
        let message = format!("{}.window: {} is not between 100 ms and a day", section.path, window.value);
        section.problem(Code::BadValue, &window.place, message);
    }
    section.finish();
    let rate = |rate: Option<Placed<Rate>>| rate.map_or(Rate::ZERO, |rate| rate.value);
    let rate = Both { sending: rate(sending), receiving: rate(receiving) };
    Some(Action::Measure { interface: interface?, class: class?, window: window?.value, rate })
}

fn transfer(section: Section<'_>, uses: &NameUses) -> Option<Action> {
    let id = uses.text(&section, "id", NameKind::Flow);
    if !section.has("id") {
        section.missing("id");
    }
    let duration = section.quantity::<Micros>("duration");
    let bytes = section.quantity::<Bytes>("bytes");
    if let Some(duration) = &duration
        && !(SHORTEST_TRANSFER..=LONGEST_TRANSFER).contains(&duration.value)
    {
        let message = format!(
            "{}.duration: {} is not between {SHORTEST_TRANSFER} and {LONGEST_TRANSFER}",
            section.path, duration.value
        );
        section.problem(Code::BadValue, &duration.place, message);
    }
    section.finish();
    let longest = if bytes.is_some() { LONGEST_TRANSFER } else { DEFAULT_TRANSFER };
    Some(Action::Transfer(Transfer {
        id: id?,
        duration: duration.map_or(longest, |duration| duration.value),
        bytes: bytes.map(|bytes| bytes.value),
    }))
}

/// `close = "v1"`, or `{ id = "v{n}", repeat = 3 }`.
fn close<'a>(section: &Section<'a>, value: &'a Spanned<DeValue<'a>>, uses: &NameUses) -> Option<Action> {
    if let DeValue::String(id) = value.get_ref() {
        let names = IdPattern::one(id.as_ref());
        uses.note(NameKind::Flow, names.clone(), section.at(value.span()));
        return Some(Action::Close(names));
    }
    let inner = section.section("close")?;
    let names = names(&inner, Some(uses));
    inner.finish();
    names.map(Action::Close)
}

/// The interface of a step, which it has to name.
fn interface(section: &Section<'_>, uses: &NameUses) -> Option<String> {
    if !section.has("interface") {
        section.missing("interface");
    }
    uses.text(section, "interface", NameKind::Interface)
}

/// The ids of a step. They are noted where the step needs flows that exist.
fn names(section: &Section<'_>, uses: Option<&NameUses>) -> Option<IdPattern> {
    let id = section.string("id");
    if !section.has("id") {
        section.missing("id");
    }
    let repeat = section.integer("repeat", 1..=MOST_REPEATED);
    let id = id?;
    refuse_empty_id(section, id.value, &id.place);
    let count = repeat.as_ref().map_or(1, |repeat| repeat.value);
    if count > 1 && !id.value.contains("{n}") {
        let message =
            format!("{}.id: {:?} would be the id of {count} flows; write \"v{{n}}\"", section.path, id.value);
        section.problem(Code::Conflict, &id.place, message);
    }
    let names = IdPattern { pattern: id.value.to_owned(), repeat: count };
    if let Some(uses) = uses {
        uses.note(NameKind::Flow, names.clone(), id.place);
    }
    Some(names)
}

fn flowspecs(section: &Section<'_>) -> Both<Option<Flowspec>> {
    let read = |key, direction| section.section(key).map(|section| flowspec(section, direction));
    Both { sending: read("sending", Direction::Sending), receiving: read("receiving", Direction::Receiving) }
}

fn expect(section: Section<'_>) -> (Expect, Vec<NameUse>) {
    let names = NameUses::expected();
    let decision = section.choice("decision", &[("admitted", true), ("refused", false)]);
    let (rate, within) = (section.quantity::<Rate>("rate"), section.quantity::<Share>("within"));
    if let (None, Some(within)) = (&rate, &within) {
        let message = format!("{}.within has no effect without rate", section.path);
        section.problem(Code::Conflict, &within.place, message);
    }
    let expect = Expect {
        admitted: decision.map(|decision| decision.value),
        error: error(&section),
        status: status(&section),
        reason: reason(&section),
        message: message(&section),
        rendition: rendition(&section, &names),
        interface: names.text(&section, "interface", NameKind::Interface),
        reserved: rates(&section, "reserved"),
        available: rates(&section, "available"),
        charged: rates(&section, "charged"),
        would_fit: section.quantity::<Rate>("would_fit").map(|rate| rate.value),
        preempted: names.texts(&section, "preempted", NameKind::Flow),
        shed: names.texts(&section, "shed", NameKind::Flow),
        expired: names.texts(&section, "expired", NameKind::Flow),
        dead: names.texts(&section, "dead", NameKind::Flow),
        stalled: names.texts(&section, "stalled", NameKind::Flow),
        notified: names.texts(&section, "notified", NameKind::Flow),
        waiting: section.flag("waiting").map(|waiting| waiting.value),
        flows: section.integer("flows", 0..=u64::MAX).map(|flows| flows.value),
        rate: rate.map(|rate| Tolerance {
            rate: rate.value,
            within: within.map_or(DEFAULT_TOLERANCE, |within| within.value),
        }),
        keys: section.entries().map(|(key, _)| (key.get_ref().to_string(), section.at(key.span()))).collect(),
        place: section.place.clone(),
    };
    // Those two say only how something else is compared.
    if expect.keys.iter().all(|(key, _)| ["interface", "within"].contains(&key.as_str())) {
        section.missing("a key that is compared, such as decision, reason, reserved or available");
    }
    section.finish();
    (expect, names.into_inner())
}

/// `"3 Mbit/s"` for sending, or a table of both directions.
fn rates(section: &Section<'_>, key: &'static str) -> Option<Both<Option<Rate>>> {
    if let Some(DeValue::Table(_)) = section.raw(key).map(|value| value.get_ref()) {
        let inner = section.section(key)?;
        let rate = |key| inner.quantity::<Rate>(key).map(|rate| rate.value);
        let rates = Both { sending: rate("sending"), receiving: rate("receiving") };
        if !inner.has("sending") && !inner.has("receiving") {
            inner.missing("sending or receiving");
        }
        inner.finish();
        return Some(rates);
    }
    section.quantity::<Rate>(key).map(|rate| Both { sending: Some(rate.value), receiving: None })
}
