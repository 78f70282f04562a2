//! Lines over time: the last minutes, up to now.

use std::fmt::Write;

use plotters::chart::ChartBuilder;
use plotters::coord::combinators::BindKeyPoints;
use plotters::drawing::IntoDrawingArea;
use plotters::element::{PathElement, Polygon, Rectangle};
use plotters::prelude::SVGBackend;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontDesc, FontFamily, FontStyle, RGBColor, TRANSPARENT, TextStyle};

use super::draw::NotDrawn;
use super::escape::escape;
use super::palette::Colour;

/// Values over time, on an axis from some seconds ago until now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Timeline {
    /// Unique on its page: the ids of the alternative text begin with it. Letters, digits and hyphens.
    pub id: String,
    /// The first part of the alternative text.
    pub title: String,
    /// What the lines show, in words and numbers: the second part of the alternative text.
    pub description: String,
    /// The unit of the vertical axis.
    pub unit: String,
    /// How many positions make one unit.
    pub positions_per_unit: u32,
    /// How many minutes ago the axis begins.
    pub minutes: u32,
    /// The lines; later ones are drawn above earlier ones.
    pub series: Vec<TimeSeries>,
}

/// The values of one thing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TimeSeries {
    /// Its text in the legend.
    pub label: String,
    /// The colour of its line.
    pub colour: Colour,
    /// Tells it apart without colour.
    pub shape: LineShape,
    /// Seconds before now, oldest first, and the value then; `None` where it is not known.
    pub points: Vec<(u32, Option<u32>)>,
}

/// The form of a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LineShape {
    /// A line of one pixel.
    Thin,
    /// A line of three pixels.
    Thick,
    /// The area below the values.
    Area,
}

/// Text of 13 pixels. Plotters writes a font size divided by 1.24.
const TEXT: f64 = 16.125;
const FONTS: &str = "Helvetica, Arial, 'Liberation Sans', sans-serif";

const HEIGHT: u32 = 190;
/// The line with the legend, the swatch of an entry, and the width of a character.
const LEGEND: i32 = 22;
const SWATCH: i32 = 20;
const CHARACTER: i32 = 7;
/// The labels below and beside the plot.
const TIMES: u32 = 28;
const NUMBERS: u32 = 52;
const RIGHT: i32 = 14;

/// From this width on, the axis of time has five intervals, and two below it.
const WIDE_ENOUGH: u32 = 440;

/// The most lines on an axis.
const MOST_NUMBERS: u32 = 5;

/// A timeline as an SVG document, to be a part of an HTML page with [`chart_style`](super::chart_style).
///
/// - **Units**: `width` in pixels, from 280 to 4000; other widths are the nearest of these.
/// - **Errors**: none that a caller can cause.
pub fn timeline_svg(chart: &Timeline, width: u32) -> Result<String, NotDrawn> {
    let width = width.clamp(280, 4000);
    let mut drawn = String::new();
    let area = SVGBackend::with_string(&mut drawn, (width, HEIGHT)).into_drawing_area();
    area.fill(&rgb(Colour::Background))?;
    let mut left = 0;
    for series in &chart.series {
        let (colour, middle) = (rgb(series.colour), LEGEND / 2 - 2);
        let half = match series.shape {
            LineShape::Thin => 0,
            LineShape::Thick => 1,
            LineShape::Area => 6,
        };
        let swatch = [(left, middle - half), (left + SWATCH - 6, middle + half + 1)];
        area.draw(&Rectangle::new(swatch, colour.filled()))?;
        area.draw_text(&series.label, &text(), (left + SWATCH, 3))?;
        let letters = i32::try_from(series.label.chars().count()).unwrap_or(i32::MAX / 64);
        left += SWATCH + letters * CHARACTER + 16;
    }
    let start = -i32::try_from(chart.minutes.clamp(1, 600)).unwrap_or(600) * 60;
    let step = nice_step(highest(chart), chart.positions_per_unit.max(1));
    let top = highest(chart).div_ceil(step).max(1).saturating_mul(step).min(i32::MAX.unsigned_abs());
    let parts = if width < WIDE_ENOUGH { 2 } else { 5 };
    let times: Vec<_> = (0..=parts).map(|part| start / parts * part).collect();
    let numbers: Vec<_> = (0..=top / step).map(|number| signed(number * step)).collect();
    let mut builder = ChartBuilder::on(&area);
    builder.margin_top(LEGEND + 4).margin_right(RIGHT).x_label_area_size(TIMES).y_label_area_size(NUMBERS);
    let mut context = builder
        .build_cartesian_2d((start..0).with_key_points(times), (0..signed(top)).with_key_points(numbers))?;
    let time = |seconds: &i32| match seconds / 60 {
        0 => "now".to_owned(),
        minutes => format!("{minutes} min").replace('-', "\u{2212}"),
    };
    let number = |position: &i32| units(position.unsigned_abs(), chart.positions_per_unit);
    context
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(rgb(Colour::Grid))
        .axis_style(rgb(Colour::Text))
        .label_style(text())
        .x_label_formatter(&time)
        .y_label_formatter(&number)
        .draw()?;
    for series in &chart.series {
        let colour = rgb(series.colour);
        for run in series.runs() {
            let at = |(ago, value): (u32, u32)| (-signed(ago).min(-start), signed(value));
            let points: Vec<(i32, i32)> = run.iter().copied().map(at).collect();
            match (series.shape, points.first(), points.last()) {
                (LineShape::Area, Some(first), Some(last)) => {
                    let ends = [(last.0, 0), (first.0, 0)];
                    let around: Vec<_> = points.iter().copied().chain(ends).collect();
                    context.plotting_area().draw(&Polygon::new(around, colour.filled()))?;
                }
                (LineShape::Thick, ..) => {
                    context.plotting_area().draw(&PathElement::new(points, colour.stroke_width(3)))?;
                }
                _ => context.plotting_area().draw(&PathElement::new(points, colour.stroke_width(1)))?,
            }
        }
    }
    area.present()?;
    drop(context);
    drop(area);
    Ok(document(chart, width, &drawn))
}

/// The drawing with a root element of our own, for the alternative text.
fn document(chart: &Timeline, width: u32, drawn: &str) -> String {
    let id: String =
        chart.id.chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-').collect();
    let content = drawn.split_once('>').map_or("", |(_, content)| content);
    let (title, description) = (escape(&chart.title), escape(&chart.description));
    let mut svg = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" aria-labelledby=\"{id}-title {id}-desc\" width=\"{width}\" height=\"{HEIGHT}\" viewBox=\"0 0 {width} {HEIGHT}\"><title id=\"{id}-title\">{title}</title><desc id=\"{id}-desc\">{description}</desc>{content}"
    );
    svg
}

impl TimeSeries {
    /// The values without those that are not known, in runs.
    fn runs(&self) -> Vec<Vec<(u32, u32)>> {
        let known = self.points.split(|(_, value)| value.is_none());
        let runs = known.map(|run| run.iter().filter_map(|(ago, value)| Some((*ago, (*value)?))).collect());
        runs.filter(|run: &Vec<_>| !run.is_empty()).collect()
    }
}

fn highest(chart: &Timeline) -> u32 {
    let values = chart.series.iter().flat_map(|series| &series.points).filter_map(|(_, value)| *value);
    values.max().unwrap_or(0)
}

/// The distance of the lines of an axis that reaches a value: 1, 2 or 5 times a power of ten, of units or of positions.
fn nice_step(highest: u32, unit: u32) -> u32 {
    let least = highest.div_ceil(MOST_NUMBERS).max(1);
    let mut decade = if least > unit { unit } else { 1 };
    while let Some(next) = decade.checked_mul(10).filter(|_| decade * 5 < least) {
        decade = next;
    }
    [1, 2, 5]
        .into_iter()
        .map(|times| decade.saturating_mul(times))
        .find(|step| *step >= least)
        .unwrap_or(least)
}

/// A position in units, with the decimals that it has.
fn units(position: u32, unit: u32) -> String {
    let unit = unit.max(1);
    let (whole, rest) = (position / unit, position % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let decimals = (u64::from(rest) * 1000 / u64::from(unit)).min(999);
    format!("{whole}.{decimals:03}").trim_end_matches('0').to_owned()
}

fn text() -> TextStyle<'static> {
    let font = FontDesc::new(FontFamily::Name(FONTS), TEXT, FontStyle::Normal);
    font.color(&rgb(Colour::Text)).pos(Pos::new(HPos::Left, VPos::Top))
}

fn rgb(colour: Colour) -> RGBColor {
    let [red, green, blue] = colour.on_light();
    RGBColor(red, green, blue)
}

fn signed(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(u32, Option<u32>)>) -> Timeline {
        let series = |label: &str, colour, shape| {
            let points = points.clone();
            TimeSeries { label: label.into(), colour, shape, points }
        };
        Timeline {
            id: "eth0-sending".into(),
            title: "<eth0>".into(),
            description: "reserved \"80\" & used".into(),
            unit: "Mbit/s".into(),
            positions_per_unit: 1000,
            minutes: 10,
            series: vec![
                series("used", Colour::Grey, LineShape::Area),
                series("reserved", Colour::Blue, LineShape::Thick),
                series("budget", Colour::Text, LineShape::Thin),
            ],
        }
    }

    #[test]
    fn drawings_are_well_formed_and_named() {
        for points in [
            vec![],
            vec![(0, Some(0))],
            vec![(600, Some(80_000)), (300, None), (200, Some(1)), (0, Some(u32::MAX))],
            vec![(9000, Some(5)), (0, Some(7))],
        ] {
            for width in [0, 328, 520] {
                let svg = timeline_svg(&chart(points.clone()), width).unwrap();
                let document = roxmltree::Document::parse(&svg).unwrap();
                let text = |tag: &str| {
                    document.descendants().find(|node| node.has_tag_name(tag)).unwrap().text().unwrap()
                };
                assert_eq!((text("title"), text("desc")), ("<eth0>", "reserved \"80\" & used"));
                assert!(!svg.contains("style="), "a strict content policy has no styles in elements");
                let middle = if width == 520 { "\u{2212}2 min" } else { "\u{2212}5 min" };
                let labels: Vec<_> =
                    document.descendants().filter(|node| node.has_tag_name("text")).collect();
                let has = |label: &str| labels.iter().any(|node| node.text().unwrap().trim() == label);
                for label in ["used", "reserved", "budget", "now", "\u{2212}10 min", middle, "0"] {
                    assert!(has(label), "{label}: {svg}");
                }
            }
        }
    }

    #[test]
    fn axes_have_few_round_numbers() {
        for (highest, unit, expected) in [
            (80_000, 1000, 20_000),
            (100_000, 1000, 20_000),
            (1, 1000, 1),
            (900, 1000, 200),
            (0, 1000, 1),
            (1_000_000, 1000, 200_000),
            (3000, 1000, 1000),
        ] {
            assert_eq!(nice_step(highest, unit), expected, "{highest}");
        }
        for highest in [1, 7, 99, 12_345, 4_000_000_000, u32::MAX] {
            assert!(highest.div_ceil(nice_step(highest, 1000)) <= MOST_NUMBERS, "{highest}");
        }
        assert_eq!([units(20_000, 1000), units(1250, 1000), units(200, 1000)], ["20", "1.25", "0.2"]);
    }
}
