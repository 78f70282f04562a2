//! Draws a chart.

use std::fmt::Write;

use plotters::chart::{ChartBuilder, LabelAreaPosition};
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{Circle, PathElement, Rectangle, TriangleMarker};
use plotters::prelude::SVGBackend;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontDesc, FontFamily, FontStyle, RGBColor, TRANSPARENT, TextStyle};

use super::data::{Chart, MarkShape, Panel, Series};
use super::escape::escape;
use super::layout::{
    LINE, Layout, LegendEntry, NUMBERS, PanelLayout, SWATCH, TextLine, all_named, shown_name,
};
use super::palette::{Colour, chart_style};

/// The library refused to draw. It draws into memory, so that no text of a chart and no width cause this.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the chart could not be drawn: {0}")]
pub struct NotDrawn(String);

/// Text of 13 and of 17 pixels. Plotters writes a font size divided by 1.24.
const TEXT: f64 = 16.125;
const TITLE: f64 = 21.125;

/// The layout reckons with the widths of Helvetica, which the others share.
const FONTS: &str = "Helvetica, Arial, 'Liberation Sans', sans-serif";

/// A row is two positions high. The middle of the first is at position 2, of the second at 4.
const ROW: i32 = 2;

/// Named rows, where not all are.
const EVERY: usize = 5;

/// The space to the right of a plot.
const RIGHT: i32 = 12;

/// The pixels of an axis for each of its numbers.
const PIXELS_PER_NUMBER: u32 = 50;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Point = (i32, i32);

impl<E: std::error::Error + Send + Sync> From<DrawingAreaErrorKind<E>> for NotDrawn {
    fn from(error: DrawingAreaErrorKind<E>) -> Self {
        Self(error.to_string())
    }
}

/// A chart as an SVG document, which can be a file or a part of an HTML page.
///
/// It has a title and a description for readers without sight, and replaces its colours where dark backgrounds are
/// preferred. No text is smaller than 12 pixels at the chart's own width.
///
/// - **Units**: `width` in pixels, from 280 to 4000; other widths are the nearest of these. The height follows from it.
/// - **Errors**: none that a caller can cause.
pub fn svg(chart: &Chart, width: u32) -> Result<String, NotDrawn> {
    let layout = Layout::new(chart, width);
    let mut drawn = String::new();
    let area = SVGBackend::with_string(&mut drawn, (layout.width, layout.height)).into_drawing_area();
    area.fill(&rgb(Colour::Background))?;
    write_lines(&area, &layout.title, &text(TITLE, FontStyle::Bold))?;
    for entry in &layout.legend {
        draw_entry(&area, chart, entry)?;
    }
    for (panel, place) in chart.panels.iter().zip(&layout.panels) {
        draw_panel(&area, chart, (panel, place))?;
    }
    area.present()?;
    drop(area);
    Ok(document(chart, &layout, &drawn))
}

/// The drawing with a root element of our own, for the alternative text and the style sheet.
fn document(chart: &Chart, layout: &Layout, drawn: &str) -> String {
    let Layout { width, height, .. } = layout;
    let id: String =
        chart.id.chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-').collect();
    let content = drawn.split_once('>').map_or("", |(_, content)| content);
    let mut svg = String::new();
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" aria-labelledby=\"{id}-title {id}-desc\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">"
    );
    let _ = writeln!(svg, "<title id=\"{id}-title\">{}</title>", escape(&chart.title));
    let _ = writeln!(svg, "<desc id=\"{id}-desc\">{}</desc>", escape(&chart.description));
    let _ = write!(svg, "<style>{}</style>{content}", chart_style());
    svg
}

fn draw_entry(area: &Area<'_>, chart: &Chart, entry: &LegendEntry) -> Result<(), NotDrawn> {
    let Some(series) = chart.series.get(entry.series) else { return Ok(()) };
    let (left, top) = point(entry.left, entry.top);
    let (right, bottom) = point(entry.left + SWATCH - 6, entry.top + LINE - 6);
    // A mark without length is drawn at its left end.
    let left = if series.shape.is_bar() { left } else { i32::midpoint(left, right) };
    draw_mark(area, series, [(left, top), (right, bottom)])?;
    write_lines(area, &entry.lines, &text(TEXT, FontStyle::Normal))
}

fn draw_panel(
    area: &Area<'_>,
    chart: &Chart,
    (panel, place): (&Panel, &PanelLayout),
) -> Result<(), NotDrawn> {
    write_lines(area, &place.heading, &text(TITLE, FontStyle::Bold))?;
    write_lines(area, &place.notes, &text(TEXT, FontStyle::Normal))?;
    write_lines(area, &place.x_label, &text(TEXT, FontStyle::Normal))?;
    let plot = area.clone().shrink((place.left, place.top), (place.width, place.height));
    let rows = i32::try_from(panel.rows.len().max(1)).unwrap_or(i32::MAX).min(i32::MAX / ROW);
    let end = signed(chart.x.end.max(1));
    let mut builder = ChartBuilder::on(&plot);
    // The last number of the axis is as far to the right as its end.
    builder.margin_right(RIGHT).x_label_area_size(NUMBERS).y_label_area_size(place.names);
    let mut context = builder.build_cartesian_2d(0..end, rows * ROW + 1..1)?;
    let number = |position: &i32| chart.x.number(u32::try_from(*position).unwrap_or(0));
    let name = |position: &i32| row_name(panel, *position);
    let numbers = (place.width.saturating_sub(place.names) / PIXELS_PER_NUMBER).max(2);
    let names = if all_named(&panel.rows) { panel.rows.len() } else { panel.rows.len() / EVERY };
    context
        .configure_mesh()
        .disable_y_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(rgb(Colour::Grid))
        .axis_style(rgb(Colour::Text))
        .label_style(text(TEXT, FontStyle::Normal))
        .x_labels(numbers as usize)
        .x_label_formatter(&number)
        .y_labels(names + 1)
        .y_label_formatter(&name)
        .set_tick_mark_size(LabelAreaPosition::Left, 3)
        .draw()?;
    for (number, row) in (1..).zip(&panel.rows) {
        for mark in &row.marks {
            let Some(series) = chart.series.get(mark.series) else { continue };
            let [from, to] = [mark.from, mark.to].map(|at| signed(at).min(end));
            let corners = [(from, number * ROW - 1), (to, number * ROW + 1)];
            draw_mark(area, series, corners.map(|corner| context.plotting_area().map_coordinate(&corner)))?;
        }
    }
    Ok(())
}

/// The name of the row whose middle is at a position.
fn row_name(panel: &Panel, position: i32) -> String {
    let row = usize::try_from(position / ROW).unwrap_or(0).checked_sub(1);
    let is_middle = position % ROW == 0;
    let row = row.filter(|_| is_middle).and_then(|row| panel.rows.get(row));
    row.map_or_else(String::new, |row| shown_name(&row.name))
}

/// Draws a mark between two corners, one pixel inside of them.
fn draw_mark(
    area: &Area<'_>,
    series: &Series,
    [(left, top), (right, bottom)]: [Point; 2],
) -> Result<(), NotDrawn> {
    let colour = rgb(series.colour);
    let middle = (left, i32::midpoint(top, bottom));
    let (right, bottom) = ((right - 1).max(left + 1), (bottom - 1).max(top + 1));
    let line = |from: Point, to: Point| {
        let ends: Vec<Point> = vec![from, to];
        area.draw(&PathElement::new(ends, rgb(Colour::Background).stroke_width(2)))
    };
    match series.shape {
        MarkShape::Bar | MarkShape::StripedBar | MarkShape::CrossedBar => {
            area.draw(&Rectangle::new([(left, top), (right, bottom)], colour.filled()))?;
        }
        MarkShape::OutlinedBar => {
            let corners = [(left + 1, top + 1), (right - 1, bottom - 1)];
            area.draw(&Rectangle::new(corners, colour.stroke_width(1)))?;
        }
        MarkShape::Circle => area.draw(&Circle::new(middle, 4, colour.filled()))?,
        MarkShape::Triangle => area.draw(&TriangleMarker::new(middle, 5, colour.filled()))?,
        MarkShape::Tick => {
            let ends: Vec<Point> = vec![(left, top), (left, bottom)];
            area.draw(&PathElement::new(ends, colour.stroke_width(3)))?;
        }
    }
    if matches!(series.shape, MarkShape::StripedBar | MarkShape::CrossedBar) {
        line((left, bottom), (right, top))?;
    }
    if series.shape == MarkShape::CrossedBar {
        line((left, top), (right, bottom))?;
    }
    Ok(())
}

fn write_lines(area: &Area<'_>, lines: &[TextLine], style: &TextStyle<'_>) -> Result<(), NotDrawn> {
    for line in lines {
        area.draw_text(&line.text, style, point(line.left, line.top))?;
    }
    Ok(())
}

fn text(size: f64, style: FontStyle) -> TextStyle<'static> {
    let font = FontDesc::new(FontFamily::Name(FONTS), size, style);
    font.color(&rgb(Colour::Text)).pos(Pos::new(HPos::Left, VPos::Top))
}

fn rgb(colour: Colour) -> RGBColor {
    let [red, green, blue] = colour.on_light();
    RGBColor(red, green, blue)
}

fn point(left: u32, top: u32) -> Point {
    (signed(left), signed(top))
}

fn signed(pixels: u32) -> i32 {
    i32::try_from(pixels).unwrap_or(i32::MAX)
}
