//! The demo's picture, its report and its JSON, of a result that no run has measured.

#![allow(missing_docs, clippy::unwrap_used, clippy::float_arithmetic, reason = "tests")]

#[path = "demo/outcome.rs"]
mod outcome;

use std::collections::BTreeSet;
use std::process::Command;

use gqos::chart::{Chart, Colour, MarkShape, svg};
use gqos::lab::demo::DemoResult;
use gqos::lab::report::{Provenance, html, picture, rates};
use outcome::outcome;
use serde_json::Value;

const WIDTHS: [u32; 4] = [328, 600, 830, 1400];

fn charts(outcome: &DemoResult) -> [Chart; 2] {
    [picture(outcome, "seconds"), rates(outcome, "rates")]
}

/// Calls a function with each chart at each width, as text and parsed.
fn each_drawing(check: impl Fn(&Chart, u32, &roxmltree::Document<'_>)) {
    for viewers in [1, 12, 40, 200] {
        for chart in charts(&outcome(viewers)) {
            for width in WIDTHS {
                let text = svg(&chart, width).unwrap();
                let document = roxmltree::Document::parse(&text).unwrap();
                check(&chart, width, &document);
            }
        }
    }
}

fn attribute(node: roxmltree::Node<'_, '_>, name: &str) -> f64 {
    node.attribute(name).unwrap().parse().unwrap()
}

fn texts<'a>(document: &'a roxmltree::Document<'_>) -> impl Iterator<Item = roxmltree::Node<'a, 'a>> {
    document.descendants().filter(|node| node.has_tag_name("text"))
}

#[test]
fn pictures_have_alternative_text() {
    each_drawing(|chart, _, document| {
        let root = document.root_element();
        assert_eq!(root.attribute("role"), Some("img"));
        let labels: Vec<_> = root.attribute("aria-labelledby").unwrap().split(' ').collect();
        assert_eq!(labels.len(), 2);
        for (id, (tag, expected)) in
            labels.iter().zip([("title", &chart.title), ("desc", &chart.description)])
        {
            let node = root.children().find(|node| node.has_tag_name(tag)).unwrap();
            assert_eq!(node.attribute("id"), Some(*id));
            assert_eq!(node.text(), Some(expected.as_str()));
            assert!(!expected.is_empty());
        }
    });
    let [seconds, _] = charts(&outcome(12));
    assert!(
        seconds.description.contains("Without gqos: 12 watch, 6 of them stall."),
        "{}",
        seconds.description
    );
    assert!(seconds.description.contains("With gqos: 8 admitted, 0 of them stall; 4 refused at once."));
}

#[test]
fn text_has_at_least_twelve_pixels_and_stays_inside() {
    each_drawing(|_, width, document| {
        assert!(texts(document).count() > 10);
        for text in texts(document) {
            let size = attribute(text, "font-size");
            assert!(size >= 12.0, "{size}: {:?}", text.text());
            let letters = f64::from(u32::try_from(text.text().unwrap().trim().chars().count()).unwrap());
            let (x, length) = (attribute(text, "x"), letters * size * 0.53);
            let (left, right) = match text.attribute("text-anchor") {
                Some("middle") => (x - length / 2.0, x + length / 2.0),
                Some("end") => (x - length, x),
                _ => (x, x + length),
            };
            assert!(
                left >= 0.0 && right <= f64::from(width),
                "{left} to {right} of {width}: {:?}",
                text.text()
            );
        }
    });
}

#[test]
fn the_legend_is_complete_at_every_width() {
    each_drawing(|chart, width, document| {
        let all: Vec<_> = texts(document).map(|text| text.text().unwrap().trim().to_owned()).collect();
        let all = all.join(" ");
        for series in &chart.series {
            assert!(all.contains(&series.label), "{width}: {:?} is not in {all}", series.label);
        }
        for part in [&chart.x.label, &chart.y_label, &chart.panels[0].heading, &chart.panels[1].heading] {
            assert!(all.contains(part.as_str()), "{width}: {part:?} is not in {all}");
        }
    });
}

#[test]
fn series_differ_in_shape_as_well_as_in_colour() {
    for chart in charts(&outcome(12)) {
        let shapes: Vec<_> = chart.series.iter().map(|series| series.shape).collect();
        for (index, shape) in shapes.iter().enumerate() {
            assert!(!shapes[..index].contains(shape), "{shape:?}");
        }
    }
    // A stripe is one line of the background's colour, a cross two.
    let chart = picture(&outcome(12), "seconds");
    let text = svg(&chart, 830).unwrap();
    let document = roxmltree::Document::parse(&text).unwrap();
    let background = format!("#{}", Colour::Background.on_light().map(|part| format!("{part:02X}")).concat());
    let lines = document.descendants().filter(|node| node.has_tag_name("polyline"));
    let hatches = lines.filter(|node| node.attribute("stroke") == Some(&background)).count();
    let marks = |shape| {
        let marks = chart.panels.iter().flat_map(|panel| &panel.rows).flat_map(|row| &row.marks);
        1 + marks.filter(|mark| chart.series[mark.series].shape == shape).count()
    };
    assert_eq!(hatches, marks(MarkShape::StripedBar) + 2 * marks(MarkShape::CrossedBar));
}

#[test]
fn every_colour_has_one_for_dark_backgrounds() {
    each_drawing(|_, _, document| {
        let style = document.descendants().find(|node| node.has_tag_name("style")).unwrap().text().unwrap();
        assert!(style.starts_with("@media (prefers-color-scheme:dark){"));
        for node in document.descendants() {
            for property in ["fill", "stroke"] {
                let Some(colour) = node.attribute(property).filter(|colour| *colour != "none") else {
                    continue;
                };
                assert!(
                    style.contains(&format!("[{property}=\"{colour}\"]{{{property}:#")),
                    "{property} {colour}"
                );
            }
        }
    });
}

fn provenance() -> Provenance {
    Provenance {
        date: "2026-01-02T03:04:05Z".into(),
        command: "gqos demo --report x.html".into(),
        gqos: "1.2.3".into(),
        kernel: "Linux 6.18.44".into(),
        policy_name: "p.toml".into(),
        policy: "version = 1\n[interface.eth0]\n".into(),
    }
}

#[test]
fn the_report_has_the_conditions_of_the_run() {
    let page = html(&outcome(12), &provenance()).unwrap();
    for part in [
        "2026-01-02T03:04:05Z",
        "<code>gqos demo --report x.html</code>",
        "<dd>1.2.3</dd>",
        "<dd>Linux 6.18.44</dd>",
        "<pre>version = 1\n[interface.eth0]\n</pre>",
        "12 viewers and a bulk transfer share 100 Mbit/s",
        "8 of 8 promises are kept, and 4 requests are refused. A promise is kept if play never stops and the median second carries 98 % of it. The worst second carried less for 8 viewers of those that are kept, 97 % for v1.",
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">",
    ] {
        assert!(page.contains(part), "{part:?} is not in the page");
    }
    // Each kind of refusal once, with all its requests.
    assert_eq!(page.matches("79.847 Mbit/s reserved of 80 Mbit/s").count(), 1);
    assert!(page.contains("<h3>4 requests: WSAEOPNOTSUPP (10045), interface_budget</h3>"));
    assert!(page.contains("<p>v3, v6, v9, v12</p>"));
    assert_eq!(page.matches("<svg ").count(), 4, "two charts, each for wide and for narrow pages");
    let ids: Vec<_> = page.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "ids are unique: {ids:?}");
}

#[test]
fn a_viewer_without_gqos_is_promised_nothing() {
    let page = html(&outcome(12), &provenance()).unwrap();
    let tables: Vec<_> =
        page.split("<table>").skip(1).map(|table| table.split("</table>").next().unwrap()).collect();
    assert!(tables[0].contains(">needs<") && !tables[0].contains("promise"));
    assert!(tables[1].contains(">promised<") && !tables[1].contains(">needs<"));
    assert_eq!(tables[0].matches("<tr>").count(), 13);
    assert_eq!(tables[1].matches(">kept<").count(), 8);
    assert_eq!(tables[1].matches(">refused<").count(), 4);
    assert_eq!(
        tables[1].matches(">3.84<").count(),
        16,
        "a promise and a median each; none for a refused viewer"
    );
}

#[test]
fn hostile_text_stays_text() {
    const HOSTILE: &str = "</title><script>alert(1)</script>\"'&\u{1b}[31m";
    let mut outcome = outcome(3);
    for phase in &mut outcome.phases {
        for viewer in &mut phase.viewers {
            viewer.template = HOSTILE.into();
            viewer.id = HOSTILE.into();
        }
        for refusal in &mut phase.refused {
            for key in ["id", "error", "reason", "message"] {
                refusal[key] = HOSTILE.into();
            }
        }
        for class in &mut phase.kernel.classes {
            class.flow = HOSTILE.into();
        }
    }
    let hostile = || HOSTILE.to_owned();
    let conditions = Provenance {
        date: hostile(),
        command: hostile(),
        gqos: hostile(),
        kernel: hostile(),
        policy_name: hostile(),
        policy: hostile(),
    };
    let page = html(&outcome, &conditions).unwrap();
    assert!(page.contains("&lt;script&gt;"));
    assert_eq!(page.matches("</title>").count(), 5, "one of the page and one of each picture");
    let mut drawings = charts(&outcome);
    for chart in &mut drawings {
        for text in
            [&mut chart.id, &mut chart.title, &mut chart.description, &mut chart.y_label, &mut chart.x.label]
        {
            *text = hostile();
        }
        chart.series[0].label = hostile();
        chart.panels[0].heading = hostile();
    }
    let drawn = drawings.map(|chart| svg(&chart, 830).unwrap());
    for text in drawn.iter().chain([&page]) {
        assert!(!text.contains("<script") && !text.contains('\u{1b}'));
    }
    for text in &drawn {
        roxmltree::Document::parse(text).unwrap();
    }
}

/// The names of a value's fields, those of nested values behind a point.
fn fields(value: &Value, prefix: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let name = format!("{prefix}.{key}");
                fields(value, &name, found);
                found.insert(name);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| fields(value, prefix, found)),
        _ => {}
    }
}

#[test]
fn the_json_has_the_fields_of_its_contract() {
    let mut outcome = outcome(3);
    outcome.phases.iter_mut().for_each(|phase| phase.refused.clear());
    let mut found = BTreeSet::new();
    fields(&serde_json::to_value(&outcome).unwrap(), "", &mut found);
    let viewer =
        ["id", "transport", "template", "admitted", "token_rate", "charged", "media_rate", "achieved"];
    let viewer = viewer
        .into_iter()
        .chain(["stalls", "stall_ms", "lost"])
        .map(|name| format!(".phases.viewers.{name}"));
    let achieved = ["worst_second", "median_second", "mean", "by_second"];
    let achieved = achieved.map(|name| format!(".phases.viewers.achieved.{name}"));
    let classes = ["class", "flow", "rate", "sent_bytes", "dropped"];
    let classes = classes.map(|name| format!(".phases.kernel.classes.{name}"));
    let phase =
        ["name", "seconds", "viewers", "refused", "bulk", "bulk.mean", "bulk.share_of_rest", "kernel"];
    let phase = phase
        .into_iter()
        .chain(["kernel.direct_packets", "kernel.classes"])
        .map(|name| format!(".phases.{name}"));
    let top = ["link_bytes_per_second", "congestion_control", "phases"].map(|name| format!(".{name}"));
    let expected: BTreeSet<_> = viewer.chain(achieved).chain(classes).chain(phase).chain(top).collect();
    assert_eq!(found, expected);
}

#[track_caller]
fn check_refused(report: &str, code: i32, message: &str) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_gqos")).args(["demo", "--report", report]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{report}: {stderr}");
    assert!(stderr.contains(message), "{report}: {stderr}");
    assert_eq!(output.stdout, b"");
}

#[test]
fn a_report_that_cannot_be_made_is_refused_before_the_run() {
    let directory = tempfile::tempdir().unwrap();
    let inside = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    for name in ["x.pdf", "x", "x.html.gz"] {
        check_refused(&inside(name), 2, "end its name in .html or .svg");
    }
    check_refused(&inside("absent/x.html"), 71, "No such file");
    std::fs::create_dir(directory.path().join("folder.svg")).unwrap();
    check_refused(&inside("folder.svg"), 71, "Is a directory");
    let names: Vec<_> =
        std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["folder.svg"], "nothing is left");
}
