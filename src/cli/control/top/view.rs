//! The picture of `gqos top`.

use flowspec::{Both, Direction, Rate};
use gqos::admission::Totals;
use gqos::control::{FlowRecord, InterfaceRecord, StatusReply, TrafficRecord};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};

use super::super::numbers::{lasted, short, short_count};
use super::state::TopState;
use crate::cli::output::counted;
use crate::cli::plain::plain;

/// Draws a state.
pub(super) fn view(state: &TopState, frame: &mut Frame<'_>) {
    let width = frame.area().width;
    let sums = shown_sums(state, frame.area());
    let height = u16::try_from(sums.len()).unwrap_or(u16::MAX);
    let parts = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(height),
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(1),
    ]);
    let [head, sum_title, above, title, below, foot] = parts.areas(frame.area());
    let (sum_widths, widths) = (fitting(&SUM_WIDTHS, width), fitting(&WIDTHS, width));
    frame.render_widget(Paragraph::new(head_line(state)), head);
    frame.render_widget(Paragraph::new(title_line(state, cells(&SUM_TITLES, &sum_widths))), sum_title);
    frame.render_widget(Paragraph::new(sums), above);
    frame.render_widget(Paragraph::new(title_line(state, cells(&TITLES, &widths))), title);
    let shown = state.rows().iter().take(usize::from(below.height));
    let lines: Vec<_> = shown.map(|row| flow_line(row, &widths)).collect();
    frame.render_widget(Paragraph::new(lines), below);
    frame.render_widget(Paragraph::new(foot_line(state)), foot);
    if state.shows_help {
        help(state, frame);
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

/// What a line of sums is about.
struct Sum<'a> {
    name: String,
    totals: &'a Both<Totals>,
    flows: usize,
    traffic: Option<&'a TrafficRecord>,
}

/// The widths of the first columns that fit a terminal whole, so that no number is cut. The first one, of names, gets what is
/// left.
fn fitting(widths: &[usize], terminal: u16) -> Vec<usize> {
    // Each column but the last has a space behind it.
    let mut left = usize::from(terminal) + 1;
    let fits = |width: &&usize| match left.checked_sub(**width + 1) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    let mut fitting: Vec<_> = widths.iter().take_while(fits).copied().collect();
    match fitting.first_mut() {
        Some(names) => *names = names.saturating_add(left).min(MOST_NAME),
        None => fitting.push(usize::from(terminal)),
    }
    fitting
}

/// The widest column of names.
const MOST_NAME: usize = 30;

/// A rate has eleven letters at most (`31.6 Mbit/s`), and a mark where it is too much.
const SUM_WIDTHS: [usize; 11] = [10, 9, 12, 11, 11, 7, 7, 6, 11, 6, 22];

const SUM_TITLES: [&str; 11] = [
    "INTERFACE",
    "DIRECTION",
    "RESERVED",
    "FREE",
    "USED",
    "DELAYED",
    "DROPPED",
    "BELOW",
    "BUDGET",
    "FLOWS",
    "",
];

/// The lines of interfaces for a terminal: at most half of its height. The first one says what is above, the last one
/// what is below.
fn shown_sums(state: &TopState, terminal: Rect) -> Vec<Line<'static>> {
    let (mut lines, height) = (sum_lines(state, terminal.width), usize::from(terminal.height / 2));
    if lines.len() <= height || height == 0 {
        lines.truncate(height);
        return lines;
    }
    let above = state.first_sum.min(lines.len() - 1);
    let mut lines = lines.split_off(above);
    // Where there is a line for it.
    let hint = (above > 0 && height > 1).then(|| Line::raw(format!("… {above} more above: [ scrolls back")));
    let height = height - usize::from(hint.is_some());
    if lines.len() > height {
        let below = lines.split_off(height - 1);
        // The lines of classes and groups are indented.
        let begins = |line: &&Line<'_>| !line.spans.iter().any(|span| span.content.starts_with(' '));
        let interfaces = below.iter().filter(begins).count() / Direction::BOTH.len();
        let left = match interfaces {
            0 => counted(below.len(), "more line"),
            interfaces => counted(interfaces, "more interface"),
        };
        lines.push(Line::raw(format!("… {left}: ] and [ scroll")));
    }
    hint.into_iter().chain(lines).collect()
}

/// How many lines there are of interfaces, classes and groups.
pub(super) fn sum_count(state: &TopState) -> usize {
    sum_lines(state, u16::MAX).len()
}

/// The lines of interfaces, and below each those of its classes and groups.
fn sum_lines(state: &TopState, width: u16) -> Vec<Line<'static>> {
    let Some(status) = state.status() else { return Vec::new() };
    let (mut lines, widths) = (Vec::new(), fitting(&SUM_WIDTHS, width));
    for interface in &status.interfaces {
        let InterfaceRecord { interface: name, totals, flows, traffic, .. } = interface;
        let name = plain(name).into_owned();
        let sum = Sum { name, totals, flows: *flows, traffic: traffic.as_ref() };
        lines.extend(Direction::BOTH.map(|direction| sum_line(state, &sum, (direction, &widths))));
        if !state.hides_classes {
            let parts = parts(status, &interface.interface);
            lines.extend(parts.iter().flat_map(|sum| part_lines(state, sum, &widths)));
        }
    }
    lines
}

/// The classes of an interface, and its groups in brackets.
fn parts<'a>(status: &'a StatusReply, interface: &'a str) -> Vec<Sum<'a>> {
    let classes = status.policy_classes.iter().filter(|class| class.interface == interface);
    let classes = classes.map(|class| Sum {
        name: format!("  {}", plain(&class.class)),
        totals: &class.totals,
        flows: class.flows,
        traffic: class.traffic.as_ref(),
    });
    let groups = status.groups.iter().filter(|group| group.interface == interface);
    let groups = groups.map(|group| Sum {
        name: format!("  [{}]", plain(&group.group)),
        totals: &group.totals,
        flows: group.flows,
        traffic: group.traffic.as_ref(),
    });
    classes.chain(groups).collect()
}

/// A line for each direction in which something is reserved; one at least.
fn part_lines(state: &TopState, sum: &Sum<'_>, widths: &[usize]) -> Vec<Line<'static>> {
    let is_shown = |direction: &Direction| {
        *direction == Direction::Sending || sum.totals.get(*direction).reserved > Rate::ZERO
    };
    let shown = Direction::BOTH.into_iter().filter(is_shown);
    shown.map(|direction| sum_line(state, sum, (direction, widths))).collect()
}

fn sum_line(state: &TopState, sum: &Sum<'_>, (direction, widths): (Direction, &[usize])) -> Line<'static> {
    let totals = sum.totals.get(direction);
    let is_over = totals.reserved > totals.budget;
    // The kernel counts what is sent.
    let [used, delayed, dropped, below] =
        traffic_cells(sum.traffic.filter(|_| direction == Direction::Sending));
    let values = [
        sum.name.clone(),
        direction.to_string(),
        format!("{}{}", if is_over { "!" } else { "" }, short(totals.reserved)),
        short(totals.available()),
        used,
        delayed,
        dropped,
        below,
        short(totals.budget),
        sum.flows.to_string(),
        bar(totals),
    ];
    let text = cells(&values.each_ref().map(String::as_str), widths);
    match is_over {
        true => Line::styled(text, style(state, Color::Red)),
        false => Line::raw(text),
    }
}

/// What the kernel has counted; `-` where it counts nothing.
fn traffic_cells(traffic: Option<&TrafficRecord>) -> [String; 4] {
    let none = || "-".to_owned();
    [
        traffic.and_then(|traffic| traffic.used).map_or_else(none, short),
        traffic.map_or_else(none, |traffic| short_count(traffic.delayed)),
        traffic.map_or_else(none, |traffic| short_count(traffic.dropped)),
        traffic.map_or_else(none, |traffic| lasted(traffic.below_promise_us)),
    ]
}

/// `[########............]`.
fn bar(totals: &Totals) -> String {
    const CELLS: usize = 20;
    let filled = filled(totals.reserved, totals.budget, CELLS);
    let full = if totals.reserved > totals.budget { "!" } else { "#" };
    format!("[{}{}]", full.repeat(filled), ".".repeat(CELLS - filled))
}

fn filled(reserved: Rate, budget: Rate, cells: usize) -> usize {
    let (reserved, budget) = (u128::from(reserved.get()), u128::from(budget.get()).max(1));
    // What is reserved at all is seen.
    let filled = (reserved * cells as u128).div_ceil(budget);
    usize::try_from(filled).unwrap_or(cells).min(cells)
}

/// In the order of the titles.
const WIDTHS: [usize; 15] = [12, 11, 11, 7, 7, 6, 12, 10, 11, 6, 12, 12, 6, 7, 10];

/// The class is that of the policy; TC is the kernel's.
const TITLES: [&str; 15] = [
    "ID",
    "SENDING",
    "USED",
    "DELAYED",
    "DROPPED",
    "BELOW",
    "CLASS",
    "INTERFACE",
    "RECEIVING",
    "AGE",
    "CLIENT",
    "GROUP",
    "USER",
    "PROCESS",
    "TC",
];

fn title_line(state: &TopState, text: String) -> Line<'static> {
    let modifier = if state.colours { Modifier::REVERSED } else { Modifier::empty() };
    Line::styled(text, Style::new().add_modifier(modifier))
}

fn flow_line(flow: &FlowRecord, widths: &[usize]) -> Line<'static> {
    let none = || "-".to_owned();
    let name = |name: &Option<String>| name.as_ref().map_or_else(none, |name| plain(name).into_owned());
    let [used, delayed, dropped, below] = traffic_cells(flow.traffic.as_ref());
    let values = [
        plain(&flow.id).into_owned(),
        short(flow.charged.sending),
        used,
        delayed,
        dropped,
        below,
        name(&flow.policy_class),
        plain(&flow.interface).into_owned(),
        short(flow.charged.receiving),
        lasted(flow.age_us),
        name(&flow.client),
        name(&flow.group),
        flow.uid.to_string(),
        flow.pid.map_or_else(none, |pid| pid.to_string()),
        flow.class.map_or_else(none, |class| class.to_string()),
    ];
    Line::raw(cells(&values.each_ref().map(String::as_str), widths))
}

fn cells(values: &[&str], widths: &[usize]) -> String {
    let mut text = String::new();
    for (value, width) in values.iter().zip(widths) {
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

fn foot_line(state: &TopState) -> Line<'static> {
    if state.is_typing {
        return Line::raw(format!("/{}_  Enter keeps, Esc clears", plain(&state.filter)));
    }
    let filter = match state.filter.is_empty() {
        true => String::new(),
        false => format!("  filter {:?}", plain(&state.filter)),
    };
    let from = match state.first {
        0 => String::new(),
        first => format!(" from {}", first + 1),
    };
    let flows = counted(state.matching(), "flow");
    let order = state.order.name();
    Line::raw(format!("{flows}{from}  by {order}{filter}  |  q quit  s sort  / filter  p pause  ? help"))
}

fn help(state: &TopState, frame: &mut Frame<'_>) {
    let text = [
        "q, Esc   quit",
        "s        sort by rate, used, delayed, dropped, below, age, id, class, client, group, user",
        "/        show flows whose id, interface, class, client or group contains a text",
        "c        show the policy's classes and the [groups], or not",
        "p, Space pause",
        "j k, arrows, Page Up, Page Down, Home: scroll the flows",
        "[ ]      scroll the interfaces where they do not all fit",
        "USED     sent between the kernel's last two readings, link headers included",
        "DELAYED  how often a class ran out of tokens, so that packets waited",
        "DROPPED  packets that queues dropped",
        "BELOW    how long less was sent than promised although packets waited",
        "-        not known: the kernel has no class for this flow alone",
        "!        more is reserved than may be",
    ];
    let area = frame.area();
    let (width, height) = (area.width.min(82), area.height.min(14));
    let lines: Vec<_> = text.iter().flat_map(|line| textwrap::wrap(line, hanging(width))).collect();
    let last = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_sub(height);
    let place =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    frame.render_widget(Clear, place);
    let lines: Vec<_> = lines.into_iter().map(Line::raw).collect();
    frame.render_widget(Paragraph::new(lines).scroll((state.help_first.min(last), 0)), place);
}

/// Lines of this width; those that continue one are indented.
fn hanging(width: u16) -> textwrap::Options<'static> {
    textwrap::Options::new(usize::from(width.max(1))).subsequent_indent("         ")
}

#[cfg(test)]
mod tests {
    use gqos::control::FlowOrder;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::{Value, json};

    use super::super::state::Reading;
    use super::*;

    fn totals(reserved: u64) -> Value {
        let totals = |reserved: u64| json!({ "budget": 100_000_000, "reserved": reserved });
        json!({ "sending": totals(reserved), "receiving": totals(0) })
    }

    fn traffic(used: u64) -> Value {
        json!({ "flows": 1, "used": used, "delayed": 12_345, "dropped": 7, "below_promise_us": 3_500_000,
            "watched_us": 9_000_000 })
    }

    fn status(reserved: u64) -> StatusReply {
        let interface = json!({
            "interface": "eth0", "totals": totals(reserved), "not_programmed": null, "flows": 2, "direct_packets": 0,
            "traffic": traffic(750_000),
        });
        serde_json::from_value(json!({
            "version": "0.1.0", "pid": 1, "policy": ["p.toml"], "draining": false, "connections": 2, "flows": 2,
            "interfaces": [interface],
        }))
        .unwrap()
    }

    fn flow(id: &str, sending: u64, traffic: Value) -> FlowRecord {
        serde_json::from_value(json!({
            "id": id, "interface": "eth0", "charged": { "sending": sending, "receiving": 0 }, "group": null,
            "class": "6771:100", "uid": 1000, "pid": 42, "cookie": null, "age_us": 5_000_000, "traffic": traffic,
        }))
        .unwrap()
    }

    fn reading(status: StatusReply) -> Reading {
        let hostile = flow("v\u{202e}2\u{1b}[2J", 1_500_000, Value::Null);
        Reading { status, flows: vec![hostile, flow("v1", 750_000, traffic(749_999))], matching: 2 }
    }

    fn state() -> TopState {
        let mut state = TopState::default();
        state.read(reading(status(31_500_000)));
        state
    }

    fn lines(state: &TopState, width: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, 12)).unwrap();
        terminal.draw(|frame| view(state, frame)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let row = |y: u16| (0..width).map(|x| buffer[(x, y)].symbol().to_owned()).collect::<String>();
        (0..12).map(|y| row(y).trim_end().to_owned()).collect()
    }

    #[test]
    fn the_picture_of_two_flows() {
        let shown = lines(&state(), 80);
        let expected = [
            "gqos 0.1.0  2 reservations  2 clients",
            "INTERFACE  DIRECTION RESERVED     FREE        USED        DELAYED DROPPED BELOW",
            "eth0       sending   252 Mbit/s   548 Mbit/s  6 Mbit/s    12 k    7       3 s",
            "eth0       receiving 0 bit/s      800 Mbit/s  -           -       -       -",
            "ID                   SENDING     USED        DELAYED DROPPED BELOW  CLASS",
            "v\\u{202e}2\\u{1b}[2J  12 Mbit/s   -           -       -       -      -",
            "v1                   6 Mbit/s    5.9 Mbit/s  12 k    7       3 s    -",
        ];
        assert_eq!(shown[..7], expected, "{shown:#?}");
        assert!(shown[11].starts_with("2 flows  by rate  |  q quit"), "{}", shown[11]);
        let wide = lines(&state(), 180);
        assert!(wide[2].ends_with("800 Mbit/s  2      [#######.............]"), "{}", wide[2]);
        assert!(wide[6].ends_with("1000   42      6771:100"), "{}", wide[6]);
    }

    #[test]
    fn interfaces_that_do_not_fit_are_counted_and_scroll() {
        let mut read = reading(status(0));
        let first = read.status.interfaces[0].clone();
        read.status.interfaces = (0..8)
            .map(|number| InterfaceRecord { interface: format!("eth{number}"), ..first.clone() })
            .collect();
        let mut state = TopState::default();
        state.read(read);
        let shown = lines(&state, 80);
        assert!(shown[6].starts_with("eth2       sending"), "{shown:#?}");
        assert_eq!(shown[7], "… 5 more interfaces: ] and [ scroll");
        (0..11).for_each(|_| state.scroll_sums(true, sum_count(&state)));
        let shown = lines(&state, 80);
        assert!(
            shown[3].starts_with("eth5       receiving") && shown[7].starts_with("eth7       rec"),
            "{shown:#?}"
        );
        assert_eq!(shown[2], "… 11 more above: [ scrolls back");
        (0..99).for_each(|_| state.scroll_sums(true, sum_count(&state)));
        state.scroll_sums(false, sum_count(&state));
        assert!(lines(&state, 80)[3].starts_with("eth7       sending"));
    }

    #[test]
    fn what_passes_another_filter_is_shown_from_its_first_flow_on() {
        for change in
            [|state: &mut TopState| state.push_filter('v'), TopState::pop_filter, TopState::clear_filter]
        {
            let mut state = TopState::default();
            state.first = 2;
            change(&mut state);
            assert_eq!(state.wanted(24).first, Some(0));
        }
    }

    #[test]
    fn no_width_cuts_a_number() {
        let mut state = TopState::default();
        let mut read = reading(status(112_500_000));
        read.status.interfaces[0].traffic = serde_json::from_value(traffic(3_955_000)).unwrap();
        state.read(read);
        for width in 1..=200 {
            let shown = lines(&state, width);
            for (title, line, used) in [(1, 2, " 31.6 Mbit/s"), (4, 6, " 5.9 Mbit/s")] {
                let (title, line) = (&shown[title], &shown[line]);
                assert!(!title.contains(" USED") || line.contains(used), "{width}: {line}");
                assert!(!line.chars().skip(12).any(|letter| letter == '…'), "{width}: {line}");
            }
        }
        assert!(lines(&state, 100)[2].contains(" 31.6 Mbit/s "), "{:?}", lines(&state, 100));
    }

    #[test]
    fn the_help_is_scrolled_where_it_is_higher_than_the_terminal() {
        let mut state = state();
        state.shows_help = true;
        assert!(lines(&state, 40)[0].starts_with("q, Esc   quit"));
        state.scroll(true, 1);
        assert!(!lines(&state, 40)[0].starts_with("q, Esc"));
        state.scroll(true, 1000);
        assert!(lines(&state, 40)[11].contains("more is reserved"), "{:?}", lines(&state, 40));
    }

    #[test]
    fn every_width_and_height_is_drawn() {
        let mut state = state();
        for width in 60..=200 {
            assert!(lines(&state, width).iter().any(|line| line.starts_with("v1 ")), "{width}");
        }
        state.shows_help = true;
        for size in 1..20 {
            let mut terminal = Terminal::new(TestBackend::new(size, size)).unwrap();
            terminal.draw(|frame| view(&state, frame)).unwrap();
        }
        assert!(lines(&state, 80).iter().any(|line| line.contains("ran out of tokens")));
    }

    #[test]
    fn classes_and_groups_are_below_their_interfaces() {
        let mut state = state();
        let mut status = status(31_500_000);
        let class =
            json!({ "interface": "eth0", "class": "vi\u{1b}ewer", "flows": 3, "totals": totals(25_000_000) });
        let group = json!({ "interface": "eth0", "group": "team", "flows": 1, "totals": totals(50_000_000),
            "traffic": traffic(1_250_000) });
        status.policy_classes = vec![serde_json::from_value(class).unwrap()];
        status.groups = vec![serde_json::from_value(group).unwrap()];
        state.read(reading(status));
        let shown = lines(&state, 80);
        assert_eq!(shown[4], "  vi\\u{1b… sending   200 Mbit/s   600 Mbit/s  -           -       -       -");
        assert_eq!(shown[5], "  [team]   sending   400 Mbit/s   400 Mbit/s  10 Mbit/s   12 k    7       3 s");
        state.hides_classes = true;
        assert!(lines(&state, 80)[4].starts_with("ID "));
    }

    #[test]
    fn keys_choose_what_is_read() {
        let mut state = state();
        let wanted = state.wanted(40);
        assert_eq!((wanted.sort, wanted.first, wanted.most), (Some(FlowOrder::Rate), Some(0), Some(40)));
        state.sort();
        state.filter = "V1".into();
        state.scroll(true, 100);
        let wanted = state.wanted(40);
        assert_eq!((wanted.sort, wanted.first), (Some(FlowOrder::Used), Some(1)));
        assert_eq!(wanted.contains.as_deref(), Some("V1"));
        assert!(lines(&state, 120)[11].starts_with("2 flows from 2  by used  filter \"V1\""));
        state.scroll(false, 100);
        assert_eq!(state.first, 0);
        state.is_paused = true;
        state.trouble = Some("the daemon cannot be reached".into());
        let shown = lines(&state, 120);
        assert!(shown[0].ends_with("[paused]  ! the daemon cannot be reached"), "{shown:?}");
    }

    #[test]
    fn what_is_over_its_budget_differs_in_shape() {
        let mut state = TopState::default();
        state.read(reading(status(112_500_000)));
        assert!(lines(&state, 80)[2].contains(" !900 Mbit/s "), "{:?}", lines(&state, 80));
        assert!(lines(&state, 130)[2].ends_with("[!!!!!!!!!!!!!!!!!!!!]"));
    }
}
