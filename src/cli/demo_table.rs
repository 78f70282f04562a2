//! The demo's output for people: a live table while it runs, and a summary at the end.

use std::fmt::Write;
use std::io::IsTerminal;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use flowspec::Rate;
use gqos::lab::demo::{Outcome, Phase, PhaseName, Progress, ViewerResult};

use super::output::counted;

/// The live table, on standard error if that is a terminal.
#[derive(Default)]
pub(super) struct Live {
    lines: usize,
    phase: Option<PhaseName>,
}

impl Live {
    pub(super) fn show(&mut self, progress: &Progress) {
        if !std::io::stderr().is_terminal() {
            return;
        }
        let Progress { phase, elapsed, seconds, rungs, bulk } = progress;
        let mut table = table(&["rendition", "watching", "refused", "reserved", "slowest now", "stalls"]);
        for rung in rungs {
            table.add_row(cells(&[
                rung.name.clone(),
                rung.watching.to_string(),
                rung.refused.to_string(),
                mbit(rung.payload_rate),
                mbit(rung.least),
                rung.stalls.to_string(),
            ]));
        }
        let text = format!("{}  {elapsed}/{seconds} s   bulk {}\n{table}", title(*phase), mbit(*bulk));
        // A phase rewrites its own table; the next phase starts a new one below.
        let up = if self.phase == Some(*phase) { self.lines } else { 0 };
        if up > 0 {
            eprint!("\x1b[{up}A\x1b[J");
        }
        eprintln!("{text}");
        (self.lines, self.phase) = (text.lines().count(), Some(*phase));
    }
}

/// All measurements of both phases, side by side.
pub(super) fn summary(outcome: &Outcome) -> String {
    let mut text = String::new();
    let [without, with] = outcome.phases.as_slice() else { return text };
    let link = outcome.link_bytes_per_second;
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{} and a bulk transfer over {link} for {} s, first without gqos, then with it (TCP: {})\n",
        counted(with.viewers.len(), "viewer"),
        with.seconds,
        outcome.congestion_control
    );
    let mut table = table(&["", "", "", "without gqos", "", "", "with gqos", "", "", "", ""]);
    table.add_row([
        "viewer",
        "rendition",
        "payload rate",
        "worst s",
        "median s",
        "stalls",
        "decision",
        "reserved",
        "worst s",
        "median s",
        "stalls",
    ]);
    for (before, after) in without.viewers.iter().zip(&with.viewers) {
        table.add_row(cells(&viewer_row(before, after)));
    }
    let _ = writeln!(text, "{table}");
    let _ = writeln!(text, "\n{}\n{}", totals(without), totals(with));
    if !with.refused.is_empty() {
        let _ = writeln!(text, "\nRefused:");
        for refusal in &with.refused {
            let part = |key: &str| refusal[key].as_str().unwrap_or_default();
            let code = refusal["code"].as_u64().unwrap_or_default();
            let _ = writeln!(text, "  {}: {} ({code}), {}", part("id"), part("error"), part("message"));
        }
    }
    let _ = write!(text, "\n{}", kernel(with));
    text
}

fn viewer_row(before: &ViewerResult, after: &ViewerResult) -> [String; 11] {
    let stalls = |viewer: &ViewerResult| match viewer.stalls {
        0 => "none".to_owned(),
        count => format!("{count} ({} ms)", viewer.stall_ms),
    };
    let if_admitted = |text: String| if after.admitted { text } else { String::new() };
    [
        after.id.clone(),
        format!("{} {}", after.template, after.transport),
        mbit(after.token_rate),
        mbit(before.achieved.worst_second),
        mbit(before.achieved.median_second),
        stalls(before),
        if after.admitted { "admitted" } else { "refused" }.to_owned(),
        if_admitted(mbit(after.charged)),
        if_admitted(mbit(after.achieved.worst_second)),
        if_admitted(mbit(after.achieved.median_second)),
        if_admitted(stalls(after)),
    ]
}

fn totals(phase: &Phase) -> String {
    let admitted = || phase.viewers.iter().filter(|viewer| viewer.admitted);
    let stalled = phase.viewers.iter().filter(|viewer| viewer.stalls > 0).count();
    let stalls: u64 = phase.viewers.iter().map(|viewer| viewer.stalls).sum();
    let reserved = match phase.name {
        PhaseName::Managed => {
            let reserved = admitted().map(|viewer| viewer.charged.get()).sum();
            format!(" with {} reserved", Rate::new(reserved))
        }
        PhaseName::Unmanaged => String::new(),
    };
    format!(
        "{:<13} {} admitted{reserved}, {} refused; {stalled} stalled, {stalls} times; bulk {}, {} % of what was left",
        title(phase.name),
        admitted().count(),
        phase.refused.len(),
        mbit(phase.bulk.mean),
        percent(phase.bulk.share_of_rest),
    )
}

fn kernel(phase: &Phase) -> String {
    if let Some(lacking) = &phase.kernel.lacking {
        return format!("Enforced in user space alone; tc is not in use: {lacking}");
    }
    let mut table = table(&["class", "flow", "rate", "sent", "dropped"]);
    for class in &phase.kernel.classes {
        table.add_row(cells(&[
            class.class.clone(),
            class.flow.clone(),
            mbit(class.rate),
            format!("{} B", class.sent_bytes),
            class.dropped.to_string(),
        ]));
    }
    let direct = phase.kernel.direct_packets;
    format!("The kernel's classes on eth0 (rates with link headers), direct_packets {direct}:\n{table}")
}

const fn title(phase: PhaseName) -> &'static str {
    match phase {
        PhaseName::Managed => "With gqos:",
        PhaseName::Unmanaged => "Without gqos:",
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    table
}

/// A row whose first two cells are words, on the left, and the others numbers, on the right.
fn cells(texts: &[String]) -> Vec<Cell> {
    let cells = texts.iter().enumerate().map(|(column, text)| {
        let alignment = if column < 2 { CellAlignment::Left } else { CellAlignment::Right };
        Cell::new(text).set_alignment(alignment)
    });
    cells.collect()
}

/// Megabits per second with two decimals, rounded down.
fn mbit(rate: Rate) -> String {
    let hundredths = u128::from(rate.get()) * 8 / 10_000;
    format!("{}.{:02} Mbit/s", hundredths / 100, hundredths % 100)
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
