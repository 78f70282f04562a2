//! The demo's result as an HTML page.

use std::fmt::{Display, Write};

use super::pictures::{headline, notes, picture, rates, title};
use super::provenance::Provenance;
use crate::chart::{Chart, NotDrawn, escape, svg};
use crate::lab::demo::{DemoResult, PhaseName, PhaseResult, RefusalKind, ViewerResult, ViewerVerdict};
use flowspec::Rate;

/// The widths of a chart on a wide page and on a narrow one, in pixels, and the width of a page from which it is wide.
const WIDE: u32 = 1080;
const NARROW: u32 = 328;

const STYLE: &str = "\
:root{color-scheme:light dark;--ground:#fff;--text:#1f2328;--line:#d8dee4;--bad:#b34700;--good:#005a8c;--quiet:#59636e}
@media (prefers-color-scheme:dark){:root{--ground:#0d1117;--text:#e6edf3;--line:#30363d;--bad:#ff9a5c;--good:#79c7f2;--quiet:#9198a1}}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;background:var(--ground);color:var(--text);margin:0 auto;padding:16px;max-width:1112px;overflow-wrap:anywhere}
h1{font-size:1.6rem;margin:.2em 0}h2{font-size:1.25rem;margin:1.6em 0 .4em}h3{font-size:1rem;margin:0 0 .4em}p{margin:.4em 0;max-width:75ch}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2em 1em;margin:1em 0}dt{color:var(--quiet)}dd{margin:0}
code,pre{font-family:ui-monospace,monospace;font-size:.875rem}pre{white-space:pre-wrap;padding:12px;border:1px solid var(--line)}
figure{margin:1em 0}figure svg{display:block;max-width:100%;height:auto}.wide{display:none}
.tables{display:grid;gap:24px}table{border-collapse:collapse;width:100%;font-size:.875rem;font-variant-numeric:tabular-nums}
th,td{padding:3px 4px;border-bottom:1px solid var(--line);text-align:right;vertical-align:top;overflow-wrap:normal}
th:first-child,td:first-child{text-align:left}td.stalled,td.short{color:var(--bad);font-weight:600}td.kept{color:var(--good)}td.refused{color:var(--quiet)}
@media (max-width:480px){table{font-size:.8125rem}th,td{padding:3px 2px}}
@media (min-width:1000px){.wide{display:block}.narrow{display:none}.tables{grid-template-columns:1fr 1fr}}
";

/// A page that stands alone: the conditions of the run, the pictures, each kind of refusal once, a table of all viewers,
/// the kernel's classes and the policy. It reads at a width of 360 pixels and above.
///
/// - **Errors**: none that a caller can cause.
pub fn html(outcome: &DemoResult, provenance: &Provenance) -> Result<String, NotDrawn> {
    let mut page = Page::default();
    page.raw("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n");
    page.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    page.element("title", &format!("gqos demo: {}", headline(outcome)));
    page.raw("<style>\n");
    page.raw(STYLE);
    page.raw("</style></head>\n<body>\n");
    page.element("h1", "gqos demo");
    let streams = "first without gqos, then with it";
    page.element("p", &format!("{}: {streams}. {}", headline(outcome), conclusion(outcome)));
    page.provenance(outcome, provenance);
    page.element("h2", "Every second of every viewer");
    page.figure(|id| picture(outcome, id), "seconds")?;
    page.element("h2", "Rate against promise");
    page.figure(|id| rates(outcome, id), "rates")?;
    page.refusals(outcome);
    page.element("h2", "Viewers");
    page.element("p", "Rates are payload in Mbit/s; worst and median are those of whole seconds.");
    page.raw("<div class=\"tables\">\n");
    outcome.phases.iter().for_each(|phase| page.viewers(phase));
    page.raw("</div>\n");
    outcome
        .phases
        .iter()
        .filter(|phase| phase.name == PhaseName::Managed)
        .for_each(|phase| page.kernel(phase));
    page.element("h2", "Policy");
    let fitted = format!(
        "{}; the demo sets the capacities to the link's rate, {}.",
        provenance.policy_name, outcome.link_bytes_per_second
    );
    page.element("p", &fitted);
    page.element("pre", &provenance.policy);
    page.raw("</body></html>\n");
    Ok(page.0)
}

/// What the run shows, and how it is judged.
fn conclusion(outcome: &DemoResult) -> String {
    let Some(managed) = outcome.phases.iter().find(|phase| phase.name == PhaseName::Managed) else {
        return String::new();
    };
    let totals = managed.totals();
    let daemon = managed.daemon.as_ref().map(|daemon| format!(" {}", daemon.sentence(totals.stalled)));
    format!(
        "With gqos {} of {} promises are kept, and {} requests are refused. {}{}",
        totals.kept,
        totals.admitted,
        totals.refused,
        managed.judgement(),
        daemon.unwrap_or_default()
    )
}

/// HTML text. Text of others is written by [`Page::element`] and [`Page::cell`], which escape it.
#[derive(Default)]
struct Page(String);

impl Page {
    fn raw(&mut self, markup: &str) {
        self.0.push_str(markup);
    }

    fn element(&mut self, tag: &str, text: &str) {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(self.0, "<{tag}>{}</{tag}>", escape(text));
    }

    fn cell(&mut self, class: &str, text: impl Display) {
        let _ = write!(self.0, "<td class=\"{}\">{}</td>", escape(class), escape(&text.to_string()));
    }

    fn header(&mut self, cells: &[&str]) {
        self.raw("<table><thead><tr>");
        for cell in cells {
            let _ = write!(self.0, "<th scope=\"col\">{}</th>", escape(cell));
        }
        self.raw("</tr></thead><tbody>\n");
    }

    fn provenance(&mut self, outcome: &DemoResult, provenance: &Provenance) {
        let Provenance { date, command, gqos, kernel, policy_name, .. } = provenance;
        let seconds = outcome.phases.iter().map(|phase| phase.seconds).max().unwrap_or(0);
        self.raw("<dl>\n");
        for (name, value) in [
            ("Date", date.as_str()),
            ("gqos", gqos),
            ("Kernel", kernel),
            ("TCP", outcome.congestion_control),
            ("Policy", policy_name),
            ("Length", &format!("{seconds} s for each phase")),
        ] {
            let _ = writeln!(self.0, "<dt>{name}</dt><dd>{}</dd>", escape(value));
        }
        let _ = writeln!(self.0, "<dt>Command</dt><dd><code>{}</code></dd>\n</dl>", escape(command));
    }

    /// A chart in two widths, of which the page shows one.
    fn figure(&mut self, chart: impl Fn(&str) -> Chart, id: &str) -> Result<(), NotDrawn> {
        self.raw("<figure>\n");
        for (class, width) in [("wide", WIDE), ("narrow", NARROW)] {
            let _ = writeln!(
                self.0,
                "<div class=\"{class}\">{}</div>",
                svg(&chart(&format!("{id}-{class}")), width)?
            );
        }
        self.raw("</figure>\n");
        Ok(())
    }

    fn refusals(&mut self, outcome: &DemoResult) {
        self.element("h2", "Refusals");
        let kinds = outcome.phases.iter().flat_map(|phase| RefusalKind::of(&phase.refused));
        let mut any = false;
        for kind in kinds {
            any = true;
            let noun = if kind.ids.len() == 1 { "request" } else { "requests" };
            self.element("h3", &format!("{} {noun}: {}", kind.ids.len(), kind.name()));
            self.element("p", &kind.ids.join(", "));
            self.element("p", &format!("The first: {}", kind.message));
        }
        if !any {
            self.element("p", "No request was refused.");
        }
    }

    fn viewers(&mut self, phase: &PhaseResult) {
        self.raw("<section>\n");
        self.element("h3", &format!("{}: {}", title(phase.name), notes(phase).join(" ")));
        match phase.name {
            PhaseName::Unmanaged => self.header(&["viewer", "needs", "worst", "median", "stalled"]),
            PhaseName::Managed => self.header(&["viewer", "promised", "worst", "median", "result"]),
        }
        for viewer in &phase.viewers {
            self.viewer(phase, viewer);
        }
        self.raw("</tbody></table>\n</section>\n");
    }

    fn viewer(&mut self, phase: &PhaseResult, viewer: &ViewerResult) {
        let verdict = phase.verdict(viewer);
        let (class, result) = match verdict {
            ViewerVerdict::Refused => ("refused", "refused".to_owned()),
            ViewerVerdict::Stalled => ("stalled", seconds(viewer.stall_ms)),
            ViewerVerdict::Short => ("short", "short".to_owned()),
            ViewerVerdict::Kept => ("kept", "kept".to_owned()),
            ViewerVerdict::Undisturbed => ("", "–".to_owned()),
        };
        let expected = match phase.name {
            PhaseName::Unmanaged => viewer.media_rate,
            PhaseName::Managed => viewer.token_rate,
        };
        self.raw("<tr>");
        let server = viewer.server.map_or_else(String::new, |number| format!(", server {number}"));
        self.cell("", format!("{} {} {}{server}", viewer.id, viewer.template, viewer.transport));
        for rate in [expected, viewer.achieved.worst_second, viewer.achieved.median_second] {
            let text = if verdict == ViewerVerdict::Refused { String::new() } else { megabits(rate) };
            self.cell("", text);
        }
        self.cell(class, result);
        self.raw("</tr>\n");
    }

    fn kernel(&mut self, phase: &PhaseResult) {
        self.element("h2", "Kernel");
        if let Some(lacking) = &phase.kernel.lacking {
            self.element("p", &format!("Enforced in user space alone; tc is not in use: {lacking}"));
            return;
        }
        let direct = phase.kernel.direct_packets;
        let text = format!("The tc classes on the server's eth0; {direct} packets bypassed all classes.");
        self.element("p", &text);
        self.header(&["class", "flow", "rate", "sent (kB)", "dropped"]);
        for class in &phase.kernel.classes {
            self.raw("<tr>");
            self.cell("", &class.class);
            self.cell("", &class.flow);
            self.cell("", megabits(class.rate));
            self.cell("", class.sent_bytes / 1000);
            self.cell("", class.dropped);
            self.raw("</tr>\n");
        }
        self.raw("</tbody></table>\n");
    }
}

/// Megabits per second with two decimals, rounded down, without the unit.
fn megabits(rate: Rate) -> String {
    let hundredths = u128::from(rate.get()) * 8 / 10_000;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// Seconds with one decimal, rounded up: a stall is never shown as none.
fn seconds(milliseconds: u64) -> String {
    let tenths = milliseconds.div_ceil(100);
    format!("{}.{} s", tenths / 10, tenths % 10)
}
