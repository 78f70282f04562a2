//! The demo's result as a picture and as an HTML page.
//!
//! Both are pure functions of the result. [`picture`] has one row per viewer and one cell per second, [`rates`] compares
//! each viewer's rate with what it needs or was promised, and [`html`] is a page with both, tables and the conditions of
//! the run, which are a [`Provenance`].

mod page;
mod pictures;
mod provenance;

pub use page::html;
pub use pictures::{picture, rates};
pub use provenance::Provenance;
