//! The demo's result as pictures and as an HTML page. Pure: takes a result, gives charts and text.
//!
//! # Types
//!
//! - **In**: a [`DemoResult`](super::demo::DemoResult), and for the page the [`Provenance`] of the run: its date,
//!   command, kernel and policy.
//! - **Out**: a [`Chart`](crate::chart::Chart) of [`picture`], one row per viewer and one cell per second, or of
//!   [`rates`], each viewer's rate beside what it needs or was promised; the text of [`html`], a page with both and
//!   with tables.
//!
//! # Order of calls
//!
//! [`Provenance::here_and_now`] when the run ends, then [`html`], which draws both charts itself; or [`picture`] alone.

mod page;
mod pictures;
mod provenance;

pub use page::html;
pub use pictures::{picture, rates};
pub use provenance::Provenance;
