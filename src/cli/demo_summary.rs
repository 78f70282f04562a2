//! The demo's result for people: a table of all viewers, and a short summary at the end.

use gqos::lab::demo::{
    DemoResult, PhaseName, PhaseResult, RefusalKind, ViewerResult, ViewerTotals, ViewerVerdict,
};

use super::demo_table::{Alignment, Cell, Column, Screen, Tone, megabits, seconds, table};
use super::output::counted;

/// How much is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Detail {
    /// Each kind of refusal once.
    Kinds,
    /// Every refusal, and the kernel's classes.
    All,
}

pub(super) const fn title(phase: PhaseName) -> &'static str {
    match phase {
        PhaseName::Managed => "With gqos",
        PhaseName::Unmanaged => "Without gqos",
    }
}

/// The result, the summary last. No line is longer than the screen is wide.
pub(super) fn summary(outcome: &DemoResult, screen: Screen, detail: Detail) -> String {
    let [without, with] = outcome.phases.as_slice() else { return String::new() };
    let mut text = screen.wrapped(&headline(outcome, with), "");
    text.push('\n');
    text += &table(viewers(without, with), screen);
    text.push('\n');
    if detail == Detail::All {
        text += &every_refusal(with, screen);
        text += &classes(with, screen);
    }
    text += &table(phases(&outcome.phases), screen);
    text.push('\n');
    for kind in RefusalKind::of(&with.refused) {
        text += &refusal_kind(&kind, screen);
    }
    text += &screen.wrapped(&kernel(with), "  ");
    if let Some(daemon) = &with.daemon {
        text += &screen.wrapped(&daemon.sentence(with.totals().stalled), "  ");
    }
    text += &screen.wrapped(&with.judgement(), "  ");
    text += &conclusion(with.totals(), screen);
    text
}

fn headline(outcome: &DemoResult, phase: &PhaseResult) -> String {
    format!(
        "{} and a bulk transfer share {} for {} s, first without gqos, then with it (TCP: {}). Rates are payload in Mbit/s; worst and median are those of whole seconds.",
        counted(phase.viewers.len(), "viewer"),
        outcome.link_bytes_per_second,
        phase.seconds,
        outcome.congestion_control
    )
}

/// The longest name of a rendition that is shown.
const LONGEST_NAME: usize = 16;

fn viewers(without: &PhaseResult, with: &PhaseResult) -> Vec<Column> {
    let before = |title, rank, cell: fn(&ViewerResult) -> Cell| Column {
        group: "without gqos",
        ..column(title, rank, without.viewers.iter().map(cell).collect())
    };
    let after = |title, rank, cell: fn(&ViewerResult) -> String| {
        let of_admitted = |viewer: &ViewerResult| {
            let refused = with.verdict(viewer) == ViewerVerdict::Refused;
            if refused { Cell::from("") } else { Cell::from(cell(viewer)) }
        };
        Column { group: "with gqos", ..column(title, rank, with.viewers.iter().map(of_admitted).collect()) }
    };
    let left = |title, rank, cell: fn(&ViewerResult) -> Cell| Column {
        alignment: Alignment::Left,
        ..column(title, rank, with.viewers.iter().map(cell).collect())
    };
    let mut columns = vec![
        left("viewer", 0, |viewer| Cell::from(viewer.id.as_str())),
        left("rendition", 4, |viewer| rendition(viewer).into()),
        before("needs", 3, |viewer| megabits(viewer.media_rate).into()),
        before("worst", 5, |viewer| megabits(viewer.achieved.worst_second).into()),
        before("median", 2, |viewer| megabits(viewer.achieved.median_second).into()),
        before("stalls", 6, |viewer| match viewer.stalls {
            0 => "-".into(),
            stalls => Cell::new(stalls.to_string(), Tone::Bad),
        }),
        before("stalled", 0, |viewer| match viewer.stalls {
            0 => "-".into(),
            _ => Cell::new(seconds(viewer.stall_ms), Tone::Bad),
        }),
        after("reserved", 7, |viewer| megabits(viewer.charged)),
        after("promised", 3, |viewer| megabits(viewer.token_rate)),
        after("worst", 5, |viewer| megabits(viewer.achieved.worst_second)),
        after("median", 2, |viewer| megabits(viewer.achieved.median_second)),
        Column {
            group: "with gqos",
            ..column(
                "result",
                0,
                with.viewers.iter().map(|viewer| result(with.verdict(viewer), viewer)).collect(),
            )
        },
    ];
    if with.daemon.is_some() {
        let server =
            |viewer: &ViewerResult| viewer.server.map_or_else(String::new, |number| number.to_string());
        let cells = with.viewers.iter().map(|viewer| server(viewer).into()).collect();
        let last = columns.len() - 1;
        columns.insert(last, Column { group: "with gqos", ..column("server", 1, cells) });
    }
    columns
}

fn rendition(viewer: &ViewerResult) -> String {
    let name = &viewer.template;
    let shown = if name.chars().count() <= LONGEST_NAME {
        name.clone()
    } else {
        name.chars().take(LONGEST_NAME - 3).collect::<String>() + "..."
    };
    format!("{shown} {}", viewer.transport)
}

fn result(verdict: ViewerVerdict, viewer: &ViewerResult) -> Cell {
    match verdict {
        ViewerVerdict::Refused => Cell::new("refused", Tone::Refused),
        ViewerVerdict::Stalled => Cell::new(format!("stalled {}", seconds(viewer.stall_ms)), Tone::Bad),
        ViewerVerdict::Short => Cell::new("short", Tone::Bad),
        ViewerVerdict::Kept => Cell::new("kept", Tone::Good),
        ViewerVerdict::Undisturbed => Cell::from("-"),
    }
}

/// One row for each phase.
fn phases(phases: &[PhaseResult]) -> Vec<Column> {
    let each = |title, rank, cell: fn(&PhaseResult, ViewerTotals) -> Cell| {
        column(title, rank, phases.iter().map(|phase| cell(phase, phase.totals())).collect())
    };
    let count = |count: usize, tone| match count {
        0 => Cell::from("0"),
        count => Cell::new(count.to_string(), tone),
    };
    let refused = phases.iter().map(|phase| count(phase.totals().refused, Tone::Refused)).collect();
    let stalled = phases.iter().map(|phase| count(phase.totals().stalled, Tone::Bad)).collect();
    vec![
        Column { alignment: Alignment::Left, ..each("", 0, |phase, _| title(phase.name).into()) },
        each("watch", 0, |_, totals| totals.admitted.to_string().into()),
        column("refused", 0, refused),
        column("stalled", 0, stalled),
        each("stalled for", 2, |_, totals| seconds(totals.stall_ms).into()),
        each("bulk Mbit/s", 1, |phase, _| megabits(phase.bulk.mean).into()),
        each("of what is left", 3, |phase, _| format!("{} %", percent(phase.bulk.share_of_rest)).into()),
    ]
}

fn refusal_kind(kind: &RefusalKind, screen: Screen) -> String {
    let first = kind.ids.first().map_or("", String::as_str);
    let message = &kind.message;
    let heading = format!("{} refused: {}", counted(kind.ids.len(), "request"), kind.name());
    screen.wrapped(&heading, "  ") + &indented(&format!("the first, {first}: {message}"), screen)
}

fn every_refusal(phase: &PhaseResult, screen: Screen) -> String {
    if phase.refused.is_empty() {
        return String::new();
    }
    let mut text = "Refused:\n".to_owned();
    for refusal in &phase.refused {
        let part = |key: &str| refusal[key].as_str().unwrap_or_default();
        let code = refusal["code"].as_u64().unwrap_or_default();
        let line = format!("{}: {} ({code}), {}", part("id"), part("error"), part("message"));
        text += &indented(&line, screen);
    }
    text + "\n"
}

/// A text indented by two, its further lines by four.
fn indented(text: &str, screen: Screen) -> String {
    let narrower = Screen { columns: screen.columns - 2, ..screen };
    narrower.wrapped(text, "  ").lines().map(|line| format!("  {line}\n")).collect()
}

fn classes(phase: &PhaseResult, screen: Screen) -> String {
    let classes = &phase.kernel.classes;
    if classes.is_empty() {
        return String::new();
    }
    let left = |title, cells| Column { alignment: Alignment::Left, ..column(title, 0, cells) };
    let columns = vec![
        left("class", classes.iter().map(|class| class.class.as_str().into()).collect()),
        left("flow", classes.iter().map(|class| class.flow.as_str().into()).collect()),
        column("rate", 0, classes.iter().map(|class| megabits(class.rate).into()).collect()),
        column("sent bytes", 1, classes.iter().map(|class| class.sent_bytes.to_string().into()).collect()),
        column("dropped packets", 2, classes.iter().map(|class| class.dropped.to_string().into()).collect()),
    ];
    let heading = "The kernel's classes on the server's eth0; rates with link headers:";
    screen.wrapped(heading, "") + &table(columns, screen) + "\n"
}

/// What the kernel did, in one sentence.
fn kernel(phase: &PhaseResult) -> String {
    if let Some(lacking) = &phase.kernel.lacking {
        return format!("Enforced in user space alone; tc is not in use: {lacking}");
    }
    let flows = phase
        .kernel
        .classes
        .iter()
        .filter(|class| phase.viewers.iter().any(|viewer| viewer.id == class.flow));
    let (mut count, mut dropped) = (0, 0u64);
    for class in flows {
        count += 1;
        dropped += u64::from(class.dropped);
    }
    format!(
        "Kernel: {} with a tc class each; packets dropped in them: {dropped}, outside of all classes: {}.",
        counted(count, "viewer"),
        phase.kernel.direct_packets
    )
}

/// The last line.
fn conclusion(totals: ViewerTotals, screen: Screen) -> String {
    let ViewerTotals { admitted, refused, kept, reserved, .. } = totals;
    let text = format!(
        "{kept} of {} kept with {reserved} reserved, {refused} refused.",
        counted(admitted, "promise")
    );
    let tone = if kept == admitted { Tone::Good } else { Tone::Bad };
    screen.wrapped(&text, "  ").lines().map(|line| screen.paint(line, tone) + "\n").collect()
}

const fn column(title: &'static str, rank: u8, cells: Vec<Cell>) -> Column {
    Column { group: "", title, alignment: Alignment::Right, rank, cells }
}

#[expect(
    clippy::float_arithmetic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a ratio that is only shown"
)]
fn percent(share: f64) -> u64 {
    (share * 100.0).round() as u64
}

#[cfg(test)]
#[path = "../../tests/demo/outcome.rs"]
mod outcome;

#[cfg(test)]
mod tests {
    use gqos::lab::demo::{DaemonResult, ServerProcess};

    use super::outcome::outcome;
    use super::*;

    fn shown(columns: usize, detail: Detail) -> String {
        summary(&outcome(40), Screen { columns, colour: false }, detail)
    }

    /// The columns of the table of viewers on a screen, and that no line is longer than the screen is wide.
    #[track_caller]
    fn check(columns: usize, expected: &str) {
        for detail in [Detail::Kinds, Detail::All] {
            let text = shown(columns, detail);
            for line in text.lines() {
                assert!(
                    line.chars().count() <= columns,
                    "{} of {columns} columns: {line}",
                    line.chars().count()
                );
            }
            let titles = text.lines().find(|line| line.starts_with("viewer ")).expect("a table of viewers");
            assert_eq!(titles.split_whitespace().collect::<Vec<_>>().join(" "), expected, "{columns}");
        }
    }

    #[test]
    fn lines_fit_their_terminal() {
        check(40, "viewer median stalled median result");
        check(80, "viewer rendition needs median stalled promised median result");
        let all = "viewer rendition needs worst median stalls stalled reserved promised worst median result";
        check(99, &all.replace("reserved ", ""));
        check(100, all);
        check(140, all);
    }

    #[test]
    fn the_summary_is_last_and_short() {
        let text = shown(80, Detail::Kinds);
        let lines: Vec<_> = text.lines().collect();
        let last_viewer = lines.iter().rposition(|line| line.starts_with("v40 ")).expect("40 viewers");
        assert!(lines.len() - last_viewer < 19, "{text}");
        let judged = "A promise is kept if play never stops and the median second carries 98 % of it. The worst second carried less for 27 viewers of those that are kept, 97 % for v1.";
        assert!(text.split_whitespace().collect::<Vec<_>>().join(" ").contains(judged), "{text}");
        assert_eq!(lines.last(), Some(&"27 of 27 promises kept with 113.454 Mbit/s reserved, 13 refused."));
    }

    #[test]
    fn a_daemon_that_was_killed_is_in_the_table_and_above_the_conclusion() {
        let mut outcome = outcome(6);
        let server = |number: usize, pid: u32| ServerProcess { number, pid, port: 8080 };
        outcome.phases[1].daemon = Some(DaemonResult {
            servers: vec![server(1, 101), server(2, 102)],
            killed_pid: 42,
            killed_at_ms: 7_512,
            next_pid: 43,
            served_after_ms: 1_140,
            reservations_before: 4,
            reservations_after: 4,
        });
        for (index, viewer) in outcome.phases[1].viewers.iter_mut().enumerate() {
            viewer.server = Some(index % 2 + 1);
        }
        let text = summary(&outcome, Screen { columns: 200, colour: false }, Detail::Kinds);
        let expected = "2 servers (processes 101, 102) reserved by one daemon (process 42), which was killed by SIGKILL after 7.5 s; the next (process 43) served 1.1 s later with 4 of 4 reservations. No promised viewer stalled.";
        assert!(text.split_whitespace().collect::<Vec<_>>().join(" ").contains(expected), "{text}");
        let row = text.lines().find(|line| line.starts_with("v2 ")).expect("a row");
        assert!(row.trim_end().ends_with("2     kept"), "{text}");
        assert!(text.lines().any(|line| line.ends_with("server   result")), "{text}");
        assert_eq!(
            outcome.phases[1]
                .daemon
                .as_ref()
                .map(|daemon| daemon.sentence(1).contains("1 promised viewer stalled.")),
            Some(true)
        );
    }

    #[test]
    fn the_worst_second_of_a_promise_that_is_kept_is_named() {
        let mut phase = outcome(6).phases.remove(1);
        let mut check = |rates: &[(usize, u64)], expected: &str| {
            for (index, rate) in rates {
                phase.viewers[*index].achieved.worst_second = flowspec::Rate::new(*rate);
            }
            let text = phase.judgement();
            assert!(text.ends_with(expected), "{text}");
        };
        let whole = [(0, 470_400), (1, 470_400), (3, 480_000), (4, 500_000)];
        check(&whole, "98 % of it; every second of those that are kept did.");
        check(
            &[(3, 230_500)],
            "98 % of it. The worst second carried less for 1 viewer of those that are kept, 48 % for v4.",
        );
        check(&[(1, 0)], "less for 2 viewers of those that are kept, 0 % for v2.");
        // A viewer that was refused got nothing, and was promised nothing.
        check(&[(2, 0), (1, 480_000), (3, 480_000)], "every second of those that are kept did.");
    }

    #[test]
    fn a_refusal_is_shown_once_and_listed_on_request() {
        let count =
            |text: &str| text.matches("interface_budget").count() + text.matches("(10045), eth0").count();
        let short = shown(100, Detail::Kinds);
        assert_eq!(count(&short), 1, "{short}");
        assert!(short.contains("13 requests refused: WSAEOPNOTSUPP (10045), interface_budget\n"), "{short}");
        assert_eq!(count(&shown(100, Detail::All)), 14);
    }

    #[test]
    fn colour_marks_what_stalled_what_was_refused_and_what_was_kept() {
        let painted = summary(&outcome(3), Screen { columns: 100, colour: true }, Detail::Kinds);
        let row = |id: &str| painted.lines().find(|line| line.starts_with(id)).expect("a row");
        assert!(row("v1 ").contains("\u{1b}[1m\u{1b}[31m") || row("v1 ").contains("\u{1b}[31m"), "{painted}");
        assert!(row("v1 ").contains("\u{1b}[32m") && row("v1 ").contains("kept"), "{painted}");
        assert!(row("v3 ").contains("\u{1b}[33m") && row("v3 ").contains("refused"), "{painted}");
        assert!(!shown(100, Detail::All).contains('\u{1b}'));
    }
}
