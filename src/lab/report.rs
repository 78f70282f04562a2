//! The demo's result as a picture: one row per viewer and one cell per second, without gqos and with it.

use std::fmt::Write;

use flowspec::Rate;

use super::demo::{Outcome, Phase, PhaseName, ViewerResult};

/// The width and height of a cell with its gap.
const CELL: (usize, usize) = (18, 11);
/// The width of a row's label.
const LABEL: usize = 96;
/// The height above the rows.
const TOP: usize = 64;
/// The space between the two phases.
const GAP: usize = 66;

/// A second with less than this part of the stream's mean rate, in per cent, is short.
const SHORT: u64 = 98;
/// A second with less than this part is very short.
const VERY_SHORT: u64 = 80;

/// The picture.
pub fn svg(outcome: &Outcome) -> String {
    let rows = outcome.phases.iter().map(|phase| phase.viewers.len()).max().unwrap_or(0);
    let seconds = outcome.phases.iter().map(columns).max().unwrap_or(0);
    let panel = LABEL + seconds * CELL.0 + GAP;
    let width = panel * outcome.phases.len().max(1);
    let height = TOP + rows * CELL.1 + 44;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"9\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    for (index, phase) in outcome.phases.iter().enumerate() {
        draw_phase(&mut svg, phase, index * panel + 10);
    }
    legend(&mut svg, height - 16);
    svg.push_str("</svg>\n");
    svg
}

/// An HTML page with the picture and the refusals.
pub fn html(outcome: &Outcome) -> String {
    let link = outcome.link_bytes_per_second;
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>gqos demo</title>\n<style>body{{font:14px/1.5 sans-serif;margin:2em;max-width:90em}}svg{{max-width:100%;height:auto}}code{{font-size:12px}}</style></head>\n<body><h1>gqos demo</h1>\n<p>The same viewers and the same bulk transfer over a link of {link}, first without gqos, then with it.</p>\n"
    );
    page.push_str(&svg(outcome));
    for phase in &outcome.phases {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(page, "<h2>{}</h2><p>{}</p>", title(phase), escape(&sentence(phase)));
        if !phase.refused.is_empty() {
            page.push_str("<ul>\n");
            for refusal in &phase.refused {
                let part = |key: &str| escape(refusal[key].as_str().unwrap_or_default());
                let _ = writeln!(
                    page,
                    "<li><b>{}</b> {}: <code>{}</code></li>",
                    part("id"),
                    part("error"),
                    part("message")
                );
            }
            page.push_str("</ul>\n");
        }
    }
    page.push_str("</body></html>\n");
    page
}

fn draw_phase(svg: &mut String, phase: &Phase, left: usize) {
    let _ = writeln!(
        svg,
        "<text x=\"{left}\" y=\"20\" font-size=\"15\" font-weight=\"bold\">{}</text>",
        title(phase)
    );
    for (line, text) in sentence(phase).split("; ").enumerate() {
        let y = 36 + line * 13;
        let _ = writeln!(
            svg,
            "<text x=\"{left}\" y=\"{y}\" font-size=\"11\" fill=\"#555\">{}</text>",
            escape(text)
        );
    }
    for (row, viewer) in phase.viewers.iter().enumerate() {
        let y = TOP + row * CELL.1;
        draw_viewer(svg, viewer, left, y, columns(phase));
    }
}

fn draw_viewer(svg: &mut String, viewer: &ViewerResult, left: usize, y: usize, columns: usize) {
    let label = escape(&format!("{} {} {}", viewer.id, viewer.template, viewer.transport));
    let _ = writeln!(svg, "<text x=\"{left}\" y=\"{}\" fill=\"#333\">{label}</text>", y + 8);
    let x = left + LABEL;
    if !viewer.admitted {
        let width = columns * CELL.0 - 1;
        let height = CELL.1 - 1;
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"#e4e4e4\"/>"
        );
        let _ = writeln!(svg, "<text x=\"{}\" y=\"{}\" fill=\"#777\">refused: 10045</text>", x + 4, y + 8);
        return;
    }
    for (second, rate) in viewer.achieved.by_second.iter().enumerate() {
        let percent = u128::from(rate.get()) * 100 / u128::from(viewer.media_rate.get().max(1));
        let colour = colour(u64::try_from(percent).unwrap_or(u64::MAX));
        let (x, width, height) = (x + second * CELL.0, CELL.0 - 1, CELL.1 - 1);
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{colour}\"/>"
        );
    }
    if viewer.stalls > 0 {
        let x = x + columns * CELL.0 + 2;
        let _ =
            writeln!(svg, "<text x=\"{x}\" y=\"{}\" fill=\"#b3261e\">{} ms</text>", y + 8, viewer.stall_ms);
    }
}

fn legend(svg: &mut String, y: usize) {
    let entries = [
        ("#2e7d32", "a second at the mean rate of the stream"),
        ("#f9a825", "below 98 % of it"),
        ("#c62828", "below 80 %"),
    ];
    let mut x = 10;
    for (colour, text) in entries {
        let _ =
            writeln!(svg, "<rect x=\"{x}\" y=\"{}\" width=\"14\" height=\"10\" fill=\"{colour}\"/>", y - 9);
        let _ = writeln!(svg, "<text x=\"{}\" y=\"{y}\" font-size=\"11\">{text}</text>", x + 18);
        x += 40 + text.len() * 6;
    }
    let _ = writeln!(
        svg,
        "<text x=\"{x}\" y=\"{y}\" font-size=\"11\" fill=\"#b3261e\">ms: total time of stalls</text>"
    );
}

const fn colour(percent: u64) -> &'static str {
    match percent {
        SHORT.. => "#2e7d32",
        VERY_SHORT.. => "#f9a825",
        _ => "#c62828",
    }
}

/// The largest number of whole seconds of a viewer of the phase.
fn columns(phase: &Phase) -> usize {
    phase.viewers.iter().map(|viewer| viewer.achieved.by_second.len()).max().unwrap_or(0)
}

fn title(phase: &Phase) -> &'static str {
    match phase.name {
        PhaseName::Managed => "With gqos",
        PhaseName::Unmanaged => "Without gqos",
    }
}

/// A phase in words: the viewers; then the bulk transfer, rounded down to whole Mbit/s.
fn sentence(phase: &Phase) -> String {
    let admitted = phase.viewers.iter().filter(|viewer| viewer.admitted).count();
    let stalled = phase.viewers.iter().filter(|viewer| viewer.stalls > 0).count();
    let bulk = Rate::new(phase.bulk.mean.get() / 125_000 * 125_000);
    let viewers = if admitted == 1 { "viewer" } else { "viewers" };
    format!(
        "{admitted} {viewers} admitted, {} refused, {stalled} stalled; bulk transfer {bulk}",
        phase.refused.len()
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
