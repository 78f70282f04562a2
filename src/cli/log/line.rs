//! Lines on standard error in which nothing moves a terminal's cursor or turns the text around.

use std::io::{self, Write};

use crate::cli::plain::{plain, plain_json};

/// Where the lines of the log go.
#[derive(Debug)]
pub(super) struct LineWriter {
    pub(super) is_json: bool,
}

impl Write for LineWriter {
    /// Takes one whole event, as `tracing_subscriber` writes it.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let shown = if self.is_json { plain_json(text) } else { plain(text) };
        // At once, so that lines of several threads stay whole. A reader that has gone needs no lines; the daemon goes on.
        let _ = io::stderr().lock().write_all(format!("{shown}\n").as_bytes());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
