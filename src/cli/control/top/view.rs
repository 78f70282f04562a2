//! The picture of `gqos top`.

use flowspec::{Direction, Rate};
use gqos::admission::Totals;
use gqos::control::{InterfaceRecord, PolicyClassRecord};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};

use super::state::{TopFlow, TopState};
use crate::cli::output::counted;
use crate::cli::plain::plain;

/// Draws a state.
pub(super) fn view(state: &TopState, frame: &mut Frame<'_>) {
    let interfaces = interface_lines(state, frame.area().width);
    let height = u16::try_from(interfaces.len()).unwrap_or(u16::MAX).min(frame.area().height / 2);
    let parts = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(height),
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(1),
    ]);
    let [head, above, title, below, foot] = parts.areas(frame.area());
    frame.render_widget(Paragraph::new(head_line(state)), head);
    frame.render_widget(Paragraph::new(interfaces), above);
    let rows = state.rows();
    frame.render_widget(Paragraph::new(title_line(state, frame.area().width)), title);
    let shown = rows.iter().skip(state.first).take(usize::from(below.height));
    let lines: Vec<_> = shown.map(|row| flow_line(row, below.width)).collect();
    frame.render_widget(Paragraph::new(lines), below);
    frame.render_widget(Paragraph::new(foot_line(state, rows.len())), foot);
    if state.shows_help {
        help(frame);
    }
}

fn style(state: &TopState, colour: Color) -> Style {
    if state.colours { Style::new().fg(colour) } else { Style::new() }
}

fn head_line(state: &TopState) -> Line<'static> {
    let mut spans = Vec::new();
    match state.status() {
        None => spans.push(Span::raw("gqos top")),
        Some(status) => {
            let clients = counted(status.connections, "client");
            let flows = counted(status.flows, "reservation");
            spans.push(Span::raw(format!("gqos {}  {flows}  {clients}", plain(&status.version))));
            if status.draining {
                spans.push(Span::styled("  [draining]", style(state, Color::Yellow)));
            }
        }
    }
    if state.is_paused {
        spans.push(Span::styled("  [paused]", style(state, Color::Yellow)));
    }
    if let Some(trouble) = &state.trouble {
        spans.push(Span::styled(format!("  ! {}", plain(trouble)), style(state, Color::Red)));
    }
    Line::from(spans)
}

fn interface_lines(state: &TopState, width: u16) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for interface in state.status().into_iter().flat_map(|status| &status.interfaces) {
        for direction in Direction::BOTH {
            lines.push(interface_line(state, interface, direction, width));
        }
        if state.hides_classes {
            continue;
        }
        let classes = state.status().into_iter().flat_map(|status| &status.policy_classes);
        for class in classes.filter(|class| class.interface == interface.interface) {
            lines.extend(class_lines(state, class, width));
        }
    }
    lines
}

/// A line for each direction in which the class has reserved something; one at least.
fn class_lines(state: &TopState, class: &PolicyClassRecord, width: u16) -> Vec<Line<'static>> {
    let PolicyClassRecord { class: name, totals, flows, .. } = class;
    let is_shown = |direction: &Direction| {
        *direction == Direction::Sending || totals.get(*direction).reserved > Rate::ZERO
    };
    let line = |direction: Direction| {
        let totals = totals.get(direction);
        let text = format!("{}, {}", share(totals), counted(*flows, "flow"));
        let name = format!("  {}", cut(&plain(name), 8));
        bar_line(state, (name, direction), totals, (text, width))
    };
    Direction::BOTH.into_iter().filter(is_shown).map(line).collect()
}

/// `252 Mbit/s of 800 Mbit/s, 548 Mbit/s free`.
fn share(totals: &Totals) -> String {
    format!("{} of {}, {} free", short(totals.reserved), short(totals.budget), short(totals.available()))
}

/// `eth0 sending [####....] 252 Mbit/s of 800 Mbit/s, 548 Mbit/s free, 250 Mbit/s used`.
fn interface_line(
    state: &TopState,
    interface: &InterfaceRecord,
    direction: Direction,
    width: u16,
) -> Line<'static> {
    let totals = interface.totals.get(direction);
    let mut text = share(totals);
    if direction == Direction::Sending {
        match (state.used_of(interface), &interface.not_programmed) {
            (Some(used), _) => text.push_str(&format!(", {} used", short(used))),
            (None, Some(_)) => text.push_str(", user space"),
            (None, None) => {}
        }
    }
    let name = cut(&plain(&interface.interface), 10);
    bar_line(state, (name, direction), totals, (text, width))
}

/// A name, a bar of what is reserved, and what stands behind it.
fn bar_line(
    state: &TopState,
    (name, direction): (String, Direction),
    totals: &Totals,
    (text, width): (String, u16),
) -> Line<'static> {
    let cells = usize::from(if width >= 100 { 20_u16 } else { 10 });
    let filled = filled(totals.reserved, totals.budget, cells);
    let is_over = totals.reserved > totals.budget;
    let colour = match () {
        () if is_over => Color::Red,
        () if filled * 10 >= cells * 9 => Color::Yellow,
        () => Color::Green,
    };
    // What is over differs in shape as well.
    let mark = if is_over { "!" } else { "#" };
    let bar = format!("[{}{}]", mark.repeat(filled), ".".repeat(cells - filled));
    let direction = direction.to_string();
    Line::from(vec![
        Span::raw(format!("{name:<10} {direction:<9} ")),
        Span::styled(bar, style(state, colour)),
        Span::raw(format!(" {text}")),
    ])
}

fn filled(reserved: Rate, budget: Rate, cells: usize) -> usize {
    let (reserved, budget) = (u128::from(reserved.get()), u128::from(budget.get()).max(1));
    // What is reserved at all is seen.
    let filled = (reserved * cells as u128).div_ceil(budget);
    usize::try_from(filled).unwrap_or(cells).min(cells)
}

/// The columns of a flow that fit a width, each with its own, in the order of the titles.
fn columns(width: u16) -> &'static [usize] {
    match width {
        0..80 => &[20, 8, 11, 11],
        80..120 => &[20, 8, 11, 11, 12, 11],
        120..160 => &[30, 12, 11, 11, 12, 11, 7, 12],
        _ => &[30, 12, 11, 11, 12, 11, 7, 12, 14, 7, 7, 10],
    }
}

/// The class is that of the policy; TC is the kernel's.
const TITLES: [&str; 12] = [
    "ID",
    "INTERFACE",
    "SENDING",
    "USED",
    "CLASS",
    "RECEIVING",
    "SEEN",
    "CLIENT",
    "GROUP",
    "USER",
    "PROCESS",
    "TC",
];

fn title_line(state: &TopState, width: u16) -> Line<'static> {
    let text = cells(&TITLES.map(str::to_owned), width);
    let modifier = if state.colours { Modifier::REVERSED } else { Modifier::empty() };
    Line::styled(text, Style::new().add_modifier(modifier))
}

fn flow_line(row: &TopFlow, width: u16) -> Line<'static> {
    let TopFlow { flow, used, age } = row;
    let none = || "-".to_owned();
    let name = |name: &Option<String>| name.as_ref().map_or_else(none, |name| plain(name).into_owned());
    let values = [
        plain(&flow.id).into_owned(),
        plain(&flow.interface).into_owned(),
        short(flow.charged.sending),
        used.map_or_else(none, short),
        name(&flow.policy_class),
        short(flow.charged.receiving),
        lasted(*age),
        name(&flow.client),
        name(&flow.group),
        flow.uid.to_string(),
        flow.pid.map_or_else(none, |pid| pid.to_string()),
        flow.class.map_or_else(none, |class| class.to_string()),
    ];
    Line::raw(cells(&values, width))
}

fn cells(values: &[String; 12], width: u16) -> String {
    let mut text = String::new();
    for (value, width) in values.iter().zip(columns(width)) {
        text.push_str(&format!("{:<width$} ", cut(value, *width)));
    }
    text
}

/// A text in at most this number of characters; `…` stands for what is left out.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// A rate in three digits, rounded down: `12.3 Mbit/s`.
fn short(rate: Rate) -> String {
    let bits = u128::from(rate.get()) * 8;
    let units = [(1_000_000_000, "Gbit/s"), (1_000_000, "Mbit/s"), (1000, "kbit/s")];
    let Some((unit, name)) = units.into_iter().find(|(unit, _)| bits >= *unit) else {
        return format!("{bits} bit/s");
    };
    let (whole, tenth) = (bits / unit, bits * 10 / unit % 10);
    if whole >= 100 || tenth == 0 { format!("{whole} {name}") } else { format!("{whole}.{tenth} {name}") }
}

fn lasted(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

fn foot_line(state: &TopState, rows: usize) -> Line<'static> {
    if state.is_typing {
        return Line::raw(format!("/{}_  Enter keeps, Esc clears", plain(&state.filter)));
    }
    let filter = match state.filter.is_empty() {
        true => String::new(),
        false => format!("  filter {:?}", plain(&state.filter)),
    };
    let flows = counted(rows, "flow");
    Line::raw(format!(
        "{flows}  by {}{filter}  |  q quit  s sort  / filter  p pause  ? help",
        state.order.name()
    ))
}

fn help(frame: &mut Frame<'_>) {
    let text = [
        "q, Esc   quit",
        "s        sort by rate, used, age, id, class, client, group, user",
        "/        show flows whose id, interface, class, client or group contains a text",
        "c        show the policy's classes, or not",
        "p, Space pause",
        "j k, arrows, Page Up, Page Down: scroll",
        "?        this help",
        "# reserved   . free   ! more than may be reserved",
        "used: what the kernel's classes have sent in the last second",
    ];
    let area = frame.area();
    let (width, height) = (area.width.min(82), area.height.min(9));
    let place =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(text.map(Line::raw).to_vec()), place);
}

#[cfg(test)]
mod tests {
    use gqos::control::{FlowRecord, StatusReply};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::{Value, json};

    use super::super::state::{Order, Reading};
    use super::*;

    fn status(sent: u64) -> StatusReply {
        let totals = |reserved: u64| json!({ "budget": 100_000_000, "reserved": reserved });
        let class = |number: u32, flow: &str, sent_bytes: u64| json!({ "class": format!("6771:{number}"), "flow": flow, "rate": 1_000_000, "sent_bytes": sent_bytes, "dropped": 0 });
        let interface = |name: &str, classes: Value| {
            json!({
                "interface": name,
                "totals": { "sending": totals(31_500_000), "receiving": totals(0) },
                "not_programmed": null,
                "flows": 2,
                "direct_packets": 0,
                "classes": classes,
            })
        };
        let classes = json!([class(100, "v1", sent), class(101, "v2", 0)]);
        serde_json::from_value(json!({
            "version": "0.1.0", "pid": 1, "policy": ["p.toml"], "draining": false, "connections": 2, "flows": 2,
            "interfaces": [interface("eth0", classes)],
        }))
        .unwrap()
    }

    fn flow(id: &str, sending: u64) -> FlowRecord {
        serde_json::from_value(json!({
            "id": id, "interface": "eth0", "charged": { "sending": sending, "receiving": 0 }, "group": null,
            "class": "6771:100", "uid": 1000, "pid": 42, "cookie": null,
        }))
        .unwrap()
    }

    fn state() -> TopState {
        let mut state = TopState::default();
        let flows = || vec![flow("v1", 750_000), flow("v\u{202e}2\u{1b}[2J", 1_500_000)];
        state.read(Reading { at: 0, status: status(0), flows: flows() });
        state.read(Reading { at: 2000, status: status(1_500_000), flows: flows() });
        state
    }

    fn lines(state: &TopState, width: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, 10)).unwrap();
        terminal.draw(|frame| view(state, frame)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let row = |y: u16| (0..width).map(|x| buffer[(x, y)].symbol().to_owned()).collect::<String>();
        (0..10).map(|y| row(y).trim_end().to_owned()).collect()
    }

    #[test]
    fn the_picture_of_two_flows() {
        let lines = lines(&state(), 120);
        assert_eq!(lines[0], "gqos 0.1.0  2 reservations  2 clients");
        assert_eq!(
            lines[1],
            "eth0       sending   [#######.............] 252 Mbit/s of 800 Mbit/s, 548 Mbit/s free, 6 Mbit/s used"
        );
        assert_eq!(
            lines[2],
            "eth0       receiving [....................] 0 bit/s of 800 Mbit/s, 800 Mbit/s free"
        );
        assert!(
            lines[3].starts_with("ID                             INTERFACE    SENDING     USED"),
            "{}",
            lines[3]
        );
        assert!(
            lines[4].starts_with("v\\u{202e}2\\u{1b}[2J"),
            "the highest rate first, as text: {}",
            lines[4]
        );
        assert!(
            lines[5].starts_with("v1                             eth0         6 Mbit/s    6 Mbit/s"),
            "{}",
            lines[5]
        );
        assert!(lines[9].starts_with("2 flows  by rate  |  q quit"), "{}", lines[9]);
    }

    #[test]
    fn every_width_and_height_is_drawn() {
        let mut state = state();
        for width in 60..=200 {
            assert!(lines(&state, width).iter().any(|line| line.starts_with("v1 ")), "{width}");
        }
        state.shows_help = true;
        for size in 1..12 {
            let mut terminal = Terminal::new(TestBackend::new(size, size)).unwrap();
            terminal.draw(|frame| view(&state, frame)).unwrap();
        }
        assert!(lines(&state, 80).iter().any(|line| line.contains("more than may be reserved")));
    }

    #[test]
    fn classes_of_the_policy_are_below_their_interfaces() {
        let mut state = state();
        let mut status = status(0);
        let class = json!({ "interface": "eth0", "class": "vi\u{1b}ewer", "flows": 3, "totals": {
            "sending": { "budget": 50_000_000, "reserved": 25_000_000 }, "receiving": { "budget": 1, "reserved": 0 } } });
        status.policy_classes = vec![serde_json::from_value(class).unwrap()];
        let mut of_client = flow("v3", 1);
        (of_client.policy_class, of_client.client) = (Some("viewer".into()), Some("origin-1".into()));
        state.read(Reading { at: 4000, status, flows: vec![flow("v1", 2), of_client] });
        let shown = lines(&state, 120);
        assert_eq!(
            shown[3],
            "  vi\\u{1b… sending   [##########..........] 200 Mbit/s of 400 Mbit/s, 200 Mbit/s free, 3 flows"
        );
        (state.order, state.hides_classes) = (Order::Client, true);
        let shown = lines(&state, 120);
        assert!(shown[5].starts_with("v3 ") && shown[5].contains("viewer"), "{shown:?}");
        assert!(shown[5].ends_with("origin-1"), "{shown:?}");
        state.filter = "ORIGIN".into();
        assert!(lines(&state, 120)[4].starts_with("v3 "));
    }

    #[test]
    fn keys_choose_what_is_shown() {
        let mut state = state();
        state.order = Order::Id;
        assert!(lines(&state, 80)[4].starts_with("v1 "));
        state.filter = "V1".into();
        let shown = lines(&state, 80);
        assert!(shown[4].starts_with("v1 ") && shown[5].is_empty(), "{shown:?}");
        state.filter.clear();
        state.scroll(true, 1);
        assert!(lines(&state, 80)[4].starts_with("v\\u{202e}2"));
        state.scroll(true, 100);
        state.scroll(false, 100);
        state.is_paused = true;
        state.trouble = Some("the daemon cannot be reached".into());
        let shown = lines(&state, 120);
        assert!(shown[0].ends_with("[paused]  ! the daemon cannot be reached"), "{shown:?}");
    }

    #[test]
    fn what_is_over_its_budget_differs_in_shape() {
        let mut over = status(0);
        over.interfaces[0].totals.sending.reserved = Rate::from_mbit(900);
        let mut state = TopState::default();
        state.read(Reading { at: 0, status: over, flows: Vec::new() });
        assert!(lines(&state, 80)[1].contains("[!!!!!!!!!!]"));
    }
}
