//! Charts as SVG text, for pages and files. Pure: the same data give the same text, byte for byte. This module does
//! not know the meaning of the data.
//!
//! # Types
//!
//! - **Data**: a [`Chart`] has [`Panel`]s with [`Row`]s of [`ChartMark`]s on one [`Axis`], and a [`Series`] for each kind of
//!   mark.
//! - **Appearance**: a series has a [`Colour`] and a [`MarkShape`]. Readers with colour blindness can distinguish the
//!   colours. Each colour has one value for light and one for dark backgrounds. The shapes can be distinguished
//!   without colour.
//!
//! - **Over time**: a [`Timeline`] has a [`TimeSeries`] for each line, and each line has its own [`LineShape`]. A
//!   timeline contains no styles; the page that contains it needs those of [`chart_style`].
//!
//! # Order of calls
//!
//! [`svg`] computes a layout for the width, draws it with plotters, and adds the alternative text and the style sheet.
//! [`escape`] is for pages that contain a chart.

mod data;
mod draw;
mod escape;
mod layout;
mod palette;
mod timeline;

pub use data::{Axis, Chart, ChartMark, MarkShape, Panel, Row, Series};
pub use draw::{NotDrawn, svg};
pub use escape::escape;
pub use palette::{Colour, chart_style};
pub use timeline::{LineShape, TimeSeries, Timeline, timeline_svg};
