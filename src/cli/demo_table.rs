//! What the demo shows: a live table while it runs, a summary at the end.

use std::fmt::Write;
use std::io::IsTerminal;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use flowspec::Rate;
use gqos::lab::demo::{Outcome, Phase, Progress, ViewerResult};

/// The live table, on standard error where that is a terminal.
#[derive(Default)]
pub(super) struct Live {
    lines: usize,
    phase: &'static str,
}

impl Live {
    pub(super) fn show(&mut self, progress: &Progress) {
        if !std::io::stderr().is_terminal() {
            return;
        }
        let Progress { phase, elapsed, seconds, rungs, bulk } = progress;
        let mut table = table(&["rendition", "watching", "refused", "promised", "least now", "stalls"]);
        for rung in rungs {
            table.add_row(numbers(&[
                rung.name.clone(),
                rung.watching.to_string(),
                rung.refused.to_string(),
                mbit(rung.promised),
                mbit(rung.least),
                rung.stalls.to_string(),
            ]));
        }
        let text = format!("{}  {elapsed}/{seconds} s   bulk {}\n{table}", title(phase), mbit(*bulk));
        // The table of a new phase stands below the last one of the old.
        let up = if self.phase == *phase { self.lines } else { 0 };
        if up > 0 {
            eprint!("\x1b[{up}A\x1b[J");
        }
        eprintln!("{text}");
        (self.lines, self.phase) = (text.lines().count(), phase);
    }
}

/// Everything that was measured, side by side.
pub(super) fn summary(outcome: &Outcome) -> String {
    let mut text = String::new();
    let [without, with] = outcome.phases.as_slice() else { return text };
    let link = Rate::new(outcome.link_bytes_per_second);
    // Writing to a String does not fail.
    let _ = writeln!(
        text,
        "{} viewers and a bulk transfer over {link} for {} s, first without gqos, then with it (TCP: {})\n",
        with.viewers.len(),
        with.seconds,
        outcome.congestion_control
    );
    let mut table = table(&["", "", "", "without gqos", "", "", "with gqos", "", "", "", ""]);
    table.add_row([
        "viewer", "asks for", "promised", "worst s", "median s", "stalls", "decision", "reserved", "worst s",
        "median s", "stalls",
    ]);
    for (before, after) in without.viewers.iter().zip(&with.viewers) {
        table.add_row(numbers(&viewer_row(before, after)));
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
    let transport = match after.transport {
        gqos::lab::viewer::Transport::Tcp => "tcp",
        gqos::lab::viewer::Transport::Udp => "udp",
    };
    let stalls = |viewer: &ViewerResult| match viewer.stalls {
        0 => "none".to_owned(),
        count => format!("{count} ({} ms)", viewer.stall_ms),
    };
    let admitted = |text: String| if after.admitted { text } else { String::new() };
    [
        after.id.clone(),
        format!("{} {transport}", after.template),
        mbit(after.token_rate),
        mbit(before.achieved.worst_second),
        mbit(before.achieved.median_second),
        stalls(before),
        if after.admitted { "admitted" } else { "refused" }.to_owned(),
        admitted(mbit(after.charged)),
        admitted(mbit(after.achieved.worst_second)),
        admitted(mbit(after.achieved.median_second)),
        admitted(stalls(after)),
    ]
}

fn totals(phase: &Phase) -> String {
    let admitted = phase.viewers.iter().filter(|viewer| viewer.admitted).count();
    let stalled = phase.viewers.iter().filter(|viewer| viewer.stalls > 0).count();
    let stalls: u64 = phase.viewers.iter().map(|viewer| viewer.stalls).sum();
    let reserved = phase.viewers.iter().filter(|viewer| viewer.admitted).map(|viewer| viewer.charged).sum();
    let reserved = match phase.name {
        "managed" => format!(", {} reserved", Rate::new(reserved)),
        _ => String::new(),
    };
    format!(
        "{:<13} {admitted} watched{reserved}, {} refused; {stalled} stalled, {stalls} times; bulk {}, {} % of what was left",
        title(phase.name),
        phase.refused.len(),
        mbit(phase.bulk.mean),
        percent(phase.bulk.share_of_rest),
    )
}

fn kernel(phase: &Phase) -> String {
    if let Some(lacking) = &phase.kernel.lacking {
        return format!("In user space alone, since the kernel does not help: {lacking}");
    }
    let mut table = table(&["class", "flow", "rate", "sent", "dropped"]);
    for class in &phase.kernel.classes {
        table.add_row(numbers(&[
            class.class.clone(),
            class.flow.clone(),
            mbit(class.rate.get()),
            format!("{} B", class.sent_bytes),
            class.dropped.to_string(),
        ]));
    }
    let direct = phase.kernel.direct_packets;
    format!("The kernel's classes on eth0 (rates with link headers), direct_packets {direct}:\n{table}")
}

fn title(phase: &str) -> &'static str {
    if phase == "managed" { "With gqos:" } else { "Without gqos:" }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    table
}

/// The first two columns are words, the others numbers.
fn numbers(cells: &[String]) -> Vec<Cell> {
    let cells = cells.iter().enumerate().map(|(column, text)| {
        let alignment = if column < 2 { CellAlignment::Left } else { CellAlignment::Right };
        Cell::new(text).set_alignment(alignment)
    });
    cells.collect()
}

/// Megabits per second with two decimals, rounded down.
fn mbit(bytes_per_second: u64) -> String {
    let hundredths = u128::from(bytes_per_second) * 8 / 10_000;
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
