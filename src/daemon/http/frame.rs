//! The parts of the page that change, and the frame that carries them to those that watch.

use std::fmt::{Display, Write};

use bytes::Bytes;
use flowspec::{Direction, Moment, Rate};
use serde::Serialize;

use super::counted::SeenRefusal;
use super::pictures::Picture;
use super::view::{ClassView, FlowView, InterfaceView, MOST_FLOWS, View};
use crate::admission::Totals;
use crate::chart::{escape, timeline_svg};
use crate::control::{FlowRecord, TrafficRecord};
use crate::daemon::traffic::Promise;
use crate::telemetry::is_unseen;

/// The parts of the page, by the ids of their elements.
#[derive(Debug, Serialize)]
pub(super) struct Fragments {
    pub(super) summary: String,
    pub(super) interfaces: String,
    pub(super) classes: String,
    /// `None` where they stay as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pictures: Option<String>,
    pub(super) flows: String,
    pub(super) refusals: String,
}

/// The widths of a picture on a wide page and on a narrow one.
const WIDE: u32 = 520;
const NARROW: u32 = 320;

/// What stands for a value that is not known, or that there is not.
const UNKNOWN: &str = "\u{2013}";

/// The most classes that the page lists.
const MOST_CLASSES: usize = 100;

impl Fragments {
    pub(super) fn of(view: &View, pictures: Option<&[Picture]>) -> Self {
        Self {
            summary: summary(view),
            interfaces: interfaces(&view.interfaces),
            classes: classes(&view.classes),
            pictures: pictures.map(figures),
            flows: flows(view),
            refusals: refusals(&view.refusals, view.now),
        }
    }
}

/// One event of the stream.
pub(super) fn frame(fragments: &Fragments) -> Bytes {
    // Texts alone, which JSON writes on one line.
    let json = serde_json::to_string(fragments).unwrap_or_default();
    format!("data: {json}\n\n").into()
}

/// A text of others as HTML. Letters that change the direction of what follows, or that are not seen, are named.
pub(super) fn shown(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_unseen(letter) {
            // Writing to a String cannot fail, here and below.
            let _ = write!(plain, "<U+{:04X}>", u32::from(letter));
        } else {
            plain.push(letter);
        }
    }
    escape(&plain)
}

fn summary(view: &View) -> String {
    let View { version, pid, policy, draining, connections, held, .. } = view;
    let mut html = String::new();
    if *draining {
        html.push_str("<p class=\"bad\"><strong>Draining: new flows are refused.</strong></p>");
    }
    let facts: [(&str, String); 5] = [
        ("Reservations", held.to_string()),
        ("Clients", connections.to_string()),
        ("Version", (*version).to_owned()),
        ("Process", pid.to_string()),
        ("Policy", policy.join(", ")),
    ];
    html.push_str("<dl>");
    for (name, value) in facts {
        let _ = write!(html, "<div><dt>{name}</dt><dd>{}</dd></div>", shown(&value));
    }
    html.push_str("</dl>");
    html
}

fn interfaces(interfaces: &[InterfaceView]) -> String {
    if interfaces.is_empty() {
        return "<p>No interface has been seen yet.</p>".to_owned();
    }
    let mut table = Table::new(
        "Interfaces",
        &[
            "interface",
            "direction",
            "budget",
            "reserved",
            "free",
            "used",
            "flows",
            "delayed",
            "dropped",
            "below promise",
        ],
    );
    let mut notes = String::new();
    for view in interfaces {
        for direction in Direction::BOTH {
            table.name(&view.interface);
            table.cell(direction);
            table.totals(view.totals.get(direction), *view.used.get(direction));
            table.cell(view.flows);
            table.traffic(direction, view.traffic.as_ref());
            table.end_row();
        }
        if let Some(why) = &view.not_programmed {
            let (interface, why) = (shown(&view.interface), shown(why));
            let _ = write!(notes, "<p>{interface}: enforced in user space alone: {why}</p>");
        }
    }
    table.end() + &notes
}

fn classes(classes: &[ClassView]) -> String {
    if classes.is_empty() {
        return "<p>The policy has no classes.</p>".to_owned();
    }
    let mut table = Table::new(
        "Classes",
        &[
            "interface",
            "class",
            "direction",
            "share",
            "reserved",
            "free",
            "used",
            "flows",
            "delayed",
            "dropped",
            "below promise",
        ],
    );
    for ClassView { class, used, traffic } in classes.iter().take(MOST_CLASSES) {
        for direction in Direction::BOTH {
            if class.totals.receiving.reserved == Rate::ZERO && direction == Direction::Receiving {
                continue;
            }
            table.name(&class.interface);
            table.text(&class.class);
            table.cell(direction);
            table.totals(class.totals.get(direction), *used.get(direction));
            table.cell(class.flows);
            table.traffic(direction, traffic.as_ref());
            table.end_row();
        }
    }
    table.end() + &left_out(classes.len(), MOST_CLASSES, "classes")
}

fn figures(pictures: &[Picture]) -> String {
    let mut html = String::new();
    for Picture { heading, timeline } in pictures {
        let _ = write!(
            html,
            "<figure><figcaption>{} <span>in {}</span></figcaption>",
            shown(heading),
            escape(&timeline.unit)
        );
        for (class, width) in [("wide", WIDE), ("narrow", NARROW)] {
            let mut timeline = timeline.clone();
            timeline.id = format!("{}-{class}", timeline.id);
            // No text and no number of a timeline makes the drawing fail.
            let svg = timeline_svg(&timeline, width).unwrap_or_default();
            let _ = write!(html, "<div class=\"{class}\">{svg}</div>");
        }
        html.push_str("</figure>");
    }
    match html.is_empty() {
        true => "<p>There is no interface with a budget yet.</p>".to_owned(),
        false => html,
    }
}

fn flows(view: &View) -> String {
    if view.flows.is_empty() {
        return "<p>No reservation is held.</p>".to_owned();
    }
    let headings = [
        "flow",
        "interface",
        "class",
        "group",
        "sending",
        "receiving",
        "sent",
        "promise",
        "delayed",
        "dropped",
        "below promise",
        "user",
        "process",
    ];
    let mut table = Table::new("Flows", &headings);
    for view in &view.flows {
        let FlowRecord { id, interface, charged, group, policy_class, uid, pid, traffic, .. } = &view.flow;
        table.name(id);
        table.text(interface);
        table.text(policy_class.as_deref().unwrap_or(UNKNOWN));
        table.text(group.as_deref().unwrap_or(UNKNOWN));
        table.cell(charged.sending);
        table.cell(charged.receiving);
        let sent = traffic.and_then(|traffic| traffic.used);
        table.cell(sent.map_or_else(|| UNKNOWN.to_owned(), short));
        let (class, text) = promise(view);
        table.classed(class, &text);
        table.traffic(Direction::Sending, traffic.as_ref());
        table.cell(uid);
        table.cell(pid.map_or_else(|| UNKNOWN.to_owned(), |pid| pid.to_string()));
        table.end_row();
    }
    table.end() + &left_out(view.held, MOST_FLOWS, "flows")
}

/// The promise of a flow, with what is known of it.
fn promise(flow: &FlowView) -> (&'static str, String) {
    let dropped = flow.dropped;
    let packets = if dropped == 1 { "packet" } else { "packets" };
    match flow.promise {
        Promise::Kept => ("good", "kept".to_owned()),
        Promise::Exceeded if dropped == 0 => ("good", "kept; sends more, packets wait".to_owned()),
        Promise::Exceeded => ("good", format!("kept; sends more, {dropped} {packets} dropped")),
        Promise::NotKept if dropped == 0 => ("bad", "not kept: packets wait".to_owned()),
        Promise::NotKept => ("bad", format!("not kept: {dropped} {packets} dropped")),
        Promise::Unknown if flow.flow.class.is_none() => ("", "enforced by its client".to_owned()),
        Promise::Unknown => ("", "not measured".to_owned()),
    }
}

fn refusals(refusals: &[SeenRefusal], now: Moment) -> String {
    if refusals.is_empty() {
        return "<p>No flow was refused since the daemon started.</p>".to_owned();
    }
    let mut html = "<ol>".to_owned();
    for SeenRefusal { at, id, reason, message } in refusals.iter().rev() {
        let (id, message) = (shown(id), shown(message));
        let ago = ago(now.as_micros().saturating_sub(at.as_micros()) / 1_000_000);
        let _ = write!(html, "<li><bdi>{id}</bdi> <span>{ago} ago, {reason}</span><p>{message}</p></li>");
    }
    html.push_str("</ol>");
    html
}

fn ago(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

/// A time in seconds, with a tenth.
fn seconds(micros: u64) -> String {
    let tenths = micros / 100_000;
    format!("{}.{} s", tenths / 10, tenths % 10)
}

fn left_out(all: usize, shown: usize, what: &str) -> String {
    if all <= shown {
        return String::new();
    }
    format!("<p>and {} more {what}; gqos flows and gqos status --json list all</p>", all - shown)
}

/// A rate in Mbit/s with two decimals, rounded down: measured rates are no round numbers.
fn short(rate: Rate) -> String {
    let hundredths = u128::from(rate.get()) * 8 / 10_000;
    format!("{}.{:02} Mbit/s", hundredths / 100, hundredths % 100)
}

/// A table that scrolls by itself where it is wider than the page; each cell has its column's name, for narrow pages.
struct Table {
    html: String,
    headings: Vec<&'static str>,
    column: usize,
}

impl Table {
    fn new(label: &str, headings: &[&'static str]) -> Self {
        let mut html = format!("<table aria-label=\"{label}\"><thead><tr>");
        for heading in headings {
            let _ = write!(html, "<th scope=\"col\">{heading}</th>");
        }
        html.push_str("</tr></thead><tbody><tr>");
        Self { html, headings: headings.to_vec(), column: 0 }
    }

    /// The cell that names the row.
    fn name(&mut self, text: &str) {
        let _ = write!(self.html, "<th scope=\"row\"><bdi>{}</bdi></th>", shown(text));
        self.column += 1;
    }

    fn text(&mut self, text: &str) {
        let text = format!("<bdi>{}</bdi>", shown(text));
        self.write("name", &text);
    }

    fn cell(&mut self, value: impl Display) {
        let text = escape(&value.to_string());
        self.write("value", &text);
    }

    fn classed(&mut self, class: &str, text: &str) {
        self.write(class, &escape(text));
    }

    fn write(&mut self, class: &str, html: &str) {
        let heading = self.headings.get(self.column).copied().unwrap_or_default();
        let _ = write!(self.html, "<td data-label=\"{heading}\" class=\"{class}\">{html}</td>");
        self.column += 1;
    }

    fn totals(&mut self, totals: &Totals, used: Option<Rate>) {
        self.cell(totals.budget);
        self.cell(totals.reserved);
        self.cell(totals.available());
        self.cell(used.map_or_else(|| UNKNOWN.to_owned(), short));
    }

    /// What was delayed and dropped, and the time below the promise. The kernel counts what is sent.
    fn traffic(&mut self, direction: Direction, traffic: Option<&TrafficRecord>) {
        let traffic = traffic.filter(|_| direction == Direction::Sending);
        let cells = traffic.map(|traffic| {
            let TrafficRecord { delayed, dropped, below_promise_us, .. } = traffic;
            [delayed.to_string(), dropped.to_string(), seconds(below_promise_us.get())]
        });
        cells.unwrap_or_else(|| [UNKNOWN; 3].map(str::to_owned)).iter().for_each(|cell| self.cell(cell));
    }

    fn end_row(&mut self) {
        self.html.push_str("</tr><tr>");
        self.column = 0;
    }

    fn end(self) -> String {
        let rows = self.html.strip_suffix("<tr>").unwrap_or(&self.html);
        format!("{rows}</tbody></table>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_text() {
        let name = "<img src=x onerror=\"alert(1)\">\u{202E}gpj\u{1B}[31m'&";
        let expected =
            "&lt;img src=x onerror=&quot;alert(1)&quot;&gt;&lt;U+202E&gt;gpj\u{FFFD}[31m&#39;&amp;";
        assert_eq!(shown(name), expected);
        assert_eq!(shown("\u{2066}a\u{200B}\u{FEFF}"), "&lt;U+2066&gt;a&lt;U+200B&gt;&lt;U+FEFF&gt;");
        assert_eq!(shown("größe 1080p \u{5E9}"), "größe 1080p \u{5E9}");
    }

    #[test]
    fn a_frame_is_one_event_of_one_line() {
        let fragments = Fragments {
            summary: "a\n\nb".into(),
            interfaces: String::new(),
            classes: String::new(),
            pictures: None,
            flows: "\r\n".into(),
            refusals: String::new(),
        };
        let frame = frame(&fragments);
        let text = std::str::from_utf8(&frame).unwrap();
        assert!(text.starts_with("data: {\"summary\":\"a\\n\\nb\"") && text.ends_with("}\n\n"), "{text}");
        assert_eq!(text.matches('\n').count(), 2);
    }

    #[test]
    fn times_and_rates_are_short() {
        assert_eq!([ago(0), ago(119), ago(120), ago(7200)], ["0 s", "119 s", "2 min", "2 h"]);
        assert_eq!(short(Rate::new(1_250_999)), "10.00 Mbit/s");
    }
}
